//! The tasks that README and CI call: `cargo xtask demo`, `test`, `torture`, `gadget`, `web`, `bench`,
//! `dist`, `openapi`, `models`.
//!
//! Plain programs started one after the other; the state is in the file system, so each task can be run again. The
//! tidy rules (who may import whom, documents that name real files, SQL subset) are ordinary tests in `tests/it`.

mod bench;
mod demo;
mod dist;
mod gadget;
mod models;
mod openapi;
mod step;
mod test;
mod torture;
mod web;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK

tasks:
  demo [-- ARGS]   build `selfsame` and run its demo: a payer pays at a till by finger.
                   `cargo xtask demo -- --exit` ends after the last line; without it the
                   processes stay up until Ctrl-C. Needs Rust, git and a C compiler.
  test [--setup]   web pages, format, lints, all tests, one round of torture. `--setup` first installs
                   what only tests need (cargo-nextest; Rust's files for Windows; zbar-tools
                   and valgrind through apt-get); without it, what is missing is done
                   without or fails by name.
  torture [ARGS]   start the real server on a real database, kill it, freeze it, take its
                   disk and its clock away, and check everything that its clients were told
                   (docs/torture.md). Short: 3 rounds of each scenario, about a minute;
                   `--long`: 50 rounds; `--postgres`: on PostgreSQL, killed and promoted;
                   `--help`: all the rest. Needs Linux and a C compiler, or PostgreSQL.
  gadget [--setup] registers that type (USB keyboard) and write (serial line) against a real
                   kernel's USB gadget in QEMU, without KVM: a minute or two after the first
                   build (docs/gadget.md). `--setup` first installs what is missing through
                   apt-get. Fetches Debian's kernel once, 70 MB. Needs Debian on x86-64.
  web              build the web pages (web/) and check their types and sizes: `cargo build`
                   embeds them. Needs Node 20.19 or newer with npm, and network the first
                   time. Without it the program works, and a page says how to build it.
  bench [--only NAME] [--out DIR]
                   measure what has a budget and fail when it is missed, on a quiet machine:
                   pages (chromium, as the tests), terminal, face, payments (`selfsame bench`,
                   in a release build). `--only` may be given several times. The figures are
                   left as JSON in DIR, else in target/bench.
  dist             the package for operators, in target/dist: the executable in a release
                   build with the web pages in it, licence and readme as tar.gz, and its
                   SHA-256. Needs Node as `web` does, and GNU tar.
  openapi          write the documents in docs/openapi from the code, and the types that the web
                   pages have of them. Run it after every change of a route or a wire type.
  models [--setup] [--upstream DIR] [--out DIR] [--pack NAME]
                   make the face model packs from the files that their authors published
                   (docs/models.md). DIR has those of xtask/models/sources.toml; it may be
                   given several times, and ../shared/models is looked at as well. The
                   packs go to `--out`, else to target/models. `--setup` first installs
                   Python packages into target/models-venv; nothing else needs network.
  help             this text

Everything can be run again; what is built already is not built twice. `demo` and `test`
share one build profile.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["torture", "--help" | "-h"] => torture::run(&["--help"]),
        [] | ["help" | "--help" | "-h"] | [_, "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        ["demo", "--", rest @ ..] | ["demo", rest @ ..] => demo::run(rest),
        ["test"] => test::run(false),
        ["test", "--setup"] => test::run(true),
        ["torture", "--", rest @ ..] | ["torture", rest @ ..] => torture::run(rest),
        ["gadget", rest @ ..] => gadget::run(rest),
        ["web"] => web::run(),
        ["bench", "--", rest @ ..] | ["bench", rest @ ..] => bench::run(rest),
        ["dist"] => dist::run(),
        ["openapi"] => openapi::run(),
        ["models", rest @ ..] => models::run(rest),
        other => {
            eprintln!("error: there is no task `{}`\n\n{HELP}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
