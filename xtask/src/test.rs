//! `cargo xtask test`: what CI runs, in the order in which it fails soonest.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::step::{Steps, answers, cargo, command, root};
use crate::{torture, web};

/// Installs what is missing if `setup`, then formats, lints and tests.
pub(crate) fn run(setup: bool) -> Result<()> {
    let mut steps = Steps::default();
    let result = run_steps(setup, &mut steps);
    steps.print_table();
    result
}

fn run_steps(setup: bool, steps: &mut Steps) -> Result<()> {
    if setup {
        install(steps);
    }
    // First, because the executable embeds them, and the tests open them.
    let pages = build_pages(steps)?;
    steps.run("format", cargo().args(["fmt", "--all", "--check"]))?;
    let lints = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    steps.run("lints", cargo().args(lints))?;
    if has_windows() {
        let lints =
            ["clippy", "--package", "selfsame-terminal-c", "--target", WINDOWS, "--", "-D", "warnings"];
        steps.run("lints: C library for Windows", cargo().args(lints))?;
    } else {
        println!("the C library is not checked for Windows: `rustup target add {WINDOWS}`, or `--setup`");
    }
    if pages {
        web::test(steps)?;
    }
    if has_nextest() {
        steps.run(
            "tests",
            cargo().args(["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"]),
        )?;
        if is_installed("initdb") {
            let tests =
                ["nextest", "run", "--workspace", "--all-features", "--no-fail-fast", "-E", ON_POSTGRES];
            steps.run("tests on PostgreSQL", cargo().env("SELFSAME_TEST_ENGINE", "postgres").args(tests))?;
        }
    } else {
        println!(
            "cargo-nextest is not installed: `cargo test` runs the same tests, more slowly. `--setup` installs it."
        );
        let tests = ["test", "--workspace", "--all-features", "--all-targets", "--no-fail-fast"];
        steps.run("tests", cargo().args(tests))?;
    }
    torture::run_after_tests(steps)?;
    if any_doc_test(&root().join("crates"))? {
        steps.run("doc tests", cargo().args(["test", "--doc", "--workspace", "--all-features"]))?;
    }
    Ok(())
}

/// Builds the web pages. Without Node the rest is tested all the same, but not in CI; tests that need the pages say so.
fn build_pages(steps: &mut Steps) -> Result<bool> {
    match web::missing() {
        Some(missing) if std::env::var_os("CI").is_none() => {
            println!("skipped, the pages and what is tested with them: {missing}");
            Ok(false)
        }
        _ => web::build(steps).map(|()| true),
    }
}

/// The tests over HTTP that are run on PostgreSQL as well: all of the server's but those about SQLite's own failures, and of
/// the executable's those that pay, with the real matcher, but not those that look into the files.
const ON_POSTGRES: &str = "\
    (package(selfsame-server) & kind(test) & !test(/^(crash|failure)::/)) \
    | (package(selfsame) & kind(test) & test(/^(account|authentication|consent|enrolment|ledger|payment|payment_code|\
pin_verification|race|refusal|terminal|top_up|verification)::/) \
    - test(/destroys_the_templates_and_their_key|^payment_code::a_site_does_not_start/))";

fn has_nextest() -> bool {
    let mut nextest = cargo();
    nextest.arg("nextest");
    answers(nextest, "--version")
}

/// The target by which the C library is checked for Windows: it needs no more than Rust's own files.
const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// Whether Rust's standard library is there for Windows.
fn has_windows() -> bool {
    let folder = command("rustc").args(["--print", "target-libdir", "--target", WINDOWS]).output();
    folder.is_ok_and(|output| Path::new(&*String::from_utf8_lossy(output.stdout.trim_ascii())).is_dir())
}

/// What only tests need. Nothing here stops the run: the tests that miss something say so themselves.
fn install(steps: &mut Steps) {
    let warn = |result: Result<()>, then: &str| {
        if let Err(error) = result {
            println!("warning: {error:#}; {then}");
        }
    };
    if !has_nextest() {
        println!("cargo-nextest is missing: it is built from source now, which takes minutes, once.");
        let install = ["install", "cargo-nextest", "--locked"];
        warn(steps.run("set-up: cargo-nextest", cargo().args(install)), "going on with `cargo test`");
    }
    if !has_windows() {
        let result = steps.run("set-up: Windows target", command("rustup").args(["target", "add", WINDOWS]));
        warn(result, "the C library is not checked for Windows");
    }
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(program, _, _)| !is_installed(program))
        .map(|(program, package, what)| {
            println!("{program} is missing: it {what}.");
            *package
        })
        .collect();
    if !missing.is_empty() {
        warn(
            install_packages(steps, &missing),
            &format!("install by hand, for the tests that need them, the packages {}", missing.join(", ")),
        );
    }
}

/// Whether a program is on the path, or where Debian keeps PostgreSQL's. Not asked for its version: Xvfb fails at that.
pub(crate) fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_postgres = versions.map(|version| version.path().join("bin"));
    std::env::split_paths(&folders).chain(of_postgres).any(|folder| folder.join(program).is_file())
}

/// Installs packages of Debian.
pub(crate) fn install_packages(steps: &mut Steps, packages: &[&str]) -> Result<()> {
    steps.run("set-up: apt-get update", apt_get().args(["update", "--quiet"]))?;
    steps.run("set-up: packages", apt_get().args(["install", "--yes", "--quiet"]).args(packages))
}

/// Programs that tests run, the Debian packages that have them, and what each does.
const PACKAGES: &[(&str, &str, &str)] = &[
    ("zbarimg", "zbar-tools", "reads back the bar codes that a terminal's screen shows"),
    ("softhsm2-util", "softhsm2", "makes the tokens in which terminals keep their keys"),
    ("initdb", "postgresql", "makes the databases that tests kill, promote and throw away"),
    ("valgrind", "valgrind", "watches the memory of programs in C that use our library"),
    ("chromium", "chromium", "is the till's browser that codes are typed into"),
    ("Xvfb", "xvfb", "is the screen of that browser"),
    ("xdotool", "xdotool", "presses the keys of its keyboard"),
    ("setxkbmap", "x11-xkb-utils", "sets the layout of its keyboard"),
    ("curl", "curl", "reaches a terminal as a cash register"),
    (
        "ss",
        "iproute2",
        "comes with `ip`, which makes the network in which a cash register is another machine",
    ),
];

/// apt-get with the rights it needs: as root, else through sudo.
fn apt_get() -> std::process::Command {
    let user = command("id").arg("-u").output();
    let is_root = user.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let mut apt_get = command(if is_root { "apt-get" } else { "sudo" });
    if !is_root {
        apt_get.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    apt_get
}

/// Whether any source below `folder` has an example that `cargo test --doc` would run; the step costs a build.
fn any_doc_test(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to read `{}`", folder.display()))? {
        let path = entry?.path();
        let found = if path.is_dir() {
            any_doc_test(&path)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && has_doc_test(&fs::read_to_string(&path)?)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_doc_test(source: &str) -> bool {
    let mut inside = false;
    source.lines().map(str::trim_start).any(|line| {
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(fence) = comment.and_then(|text| text.trim().strip_prefix("```")) else {
            return false;
        };
        inside = !inside;
        inside && ["", "rust", "no_run", "should_panic", "compile_fail"].contains(&fence)
    })
}

#[cfg(test)]
mod tests {
    use super::has_doc_test;

    #[test]
    fn only_rust_examples_are_doc_tests() {
        assert!(has_doc_test("/// Adds.\n/// ```\n/// assert!(true);\n/// ```\nfn f() {}"));
        assert!(has_doc_test("//! ```no_run\n//! ```"));
        assert!(!has_doc_test("/// ```text\n/// a picture\n/// ```\nfn f() {}\n// ```"));
    }
}
