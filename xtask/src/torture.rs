//! `cargo xtask torture`: the real server under faults. What is done and checked is in `crates/sim/examples/torture`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::{Steps, cargo, command};
use crate::test::is_installed;

/// Rounds of each scenario in `cargo xtask test`: some seconds together. The short form has more.
const ROUNDS_IN_TEST: &str = "1";

/// Builds server and driver, and tortures with `arguments`. Says nothing itself: the driver's output may be JSON.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let packages = ["--package", "selfsame", "--package", "selfsame-sim"];
    let mut build = cargo();
    build.arg("build").args(packages).args(["--bins", "--examples"]);
    if !build.status().context("failed to start cargo")?.success() {
        bail!("the server and its driver were not built");
    }
    // The driver takes our place, so that Ctrl-C reaches it and its servers end with it.
    Err(driver()?.args(arguments).exec()).context("failed to start the driver")
}

/// A short run on what the tests have built.
pub(crate) fn run_after_tests(steps: &mut Steps) -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("torture is left out: it lets disks fail by a shim that is for Linux");
        return Ok(());
    }
    let build = ["build", "--workspace", "--all-features", "--bins", "--examples"];
    steps.run("torture: build", cargo().args(build))?;
    steps.run("torture", driver()?.args(["--rounds", ROUNDS_IN_TEST]))?;
    if !is_installed("initdb") && std::env::var_os("CI").is_none() {
        println!(
            "torture on PostgreSQL is left out: install the Debian package `postgresql`, or use `--setup`"
        );
        return Ok(());
    }
    steps.run("torture: PostgreSQL", driver()?.args(["--postgres", "--rounds", ROUNDS_IN_TEST]))
}

/// Lies beside us, wherever cargo's target folder is, and finds the server beside itself.
fn driver() -> Result<Command> {
    let ours = std::env::current_exe().context("failed to find our own executable")?;
    let driver = ours.with_file_name("examples").join("torture");
    Ok(command(driver.to_str().context("the path of cargo's target folder is not UTF-8")?))
}
