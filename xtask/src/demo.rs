//! `cargo xtask demo`: the first payment, from a clean checkout.

use std::os::unix::process::CommandExt;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::step::{Steps, answers, cargo, command, root};
use crate::web;

/// Where the demo's site lies. Relative to the checkout on purpose: paths of Unix sockets are short (108 bytes).
const SITE: &str = "target/demo";

/// Builds the executable and runs its demo with `arguments`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let started = Instant::now();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if !answers(command(&compiler), "--version") {
        bail!(
            "there is no C compiler (`{compiler}`), and SQLite is compiled from source. Install one: \
             `sudo apt-get install build-essential` (Debian, Ubuntu), `sudo dnf install gcc` (Fedora), \
             `xcode-select --install` (macOS)"
        );
    }
    println!(
        "The demo builds one executable and starts its four processes with a site of their own below {SITE}."
    );
    println!("The first build compiles everything and takes minutes; later ones take seconds.");
    let mut steps = Steps::default();
    // First, because the executable embeds them.
    let missing = web::missing().or_else(|| web::build(&mut steps).err().map(|error| format!("{error:#}")));
    if let Some(missing) = missing {
        println!("The demo goes without the pages for the browser: {missing}.");
    }
    steps.run("build", cargo().args(["build", "--package", "selfsame"]))?;

    let mut demo = cargo();
    demo.args(["run", "--quiet", "--package", "selfsame", "--", "demo"]).args(arguments);
    demo.env("SELFSAME_SITE", SITE);
    // Beside a developer's checkout. Whoever has them elsewhere says so; without them the demo pays by finger only.
    for (variable, folder) in [("SELFSAME_MODELS", "../shared/models"), ("SELFSAME_FACES", "../shared/faces")]
    {
        let folder = root().join(folder);
        if std::env::var_os(variable).is_none() && folder.is_dir() {
            demo.env(variable, folder);
        }
    }
    if !arguments.contains(&"--exit") {
        // The demo stays up: it takes our place, so that Ctrl-C and signals reach it and nothing is left behind.
        return Err(demo.exec()).context("failed to start the demo");
    }
    let result = steps.run("demo", &mut demo);
    println!("total: {:.1} s", started.elapsed().as_secs_f64());
    result
}
