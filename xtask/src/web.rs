//! `cargo xtask web`: the web pages, built from `web/` to `web/dist/pages`, where `crates/pages` embeds them.
//!
//! What is built already is not built again: the executable would be linked anew each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::step::{Steps, command, root};

/// The oldest Node that the build tool runs on.
const NODE_MIN: (u32, u32) = (20, 19);

/// What `npm ci` leaves when it is done.
const INSTALLED: &str = "node_modules/.package-lock.json";

/// What the build leaves when it is done, apart from the pages.
const BUILT: &str = "dist/pages/manifest.json";

/// Builds the pages, and checks types and sizes.
pub(crate) fn run() -> Result<()> {
    build(&mut Steps::default())
}

/// The same as part of something longer.
pub(crate) fn build(steps: &mut Steps) -> Result<()> {
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    if !is_newer(&web(INSTALLED), &[web("package-lock.json"), web("package.json")])? {
        steps.run("web: packages", npm().args(["ci", "--no-audit", "--no-fund"]))?;
    }
    let mut sources = Vec::new();
    list(&web(""), &mut sources)?;
    if is_newer(&web(BUILT), &sources)? {
        println!("the web pages are built already");
        return Ok(());
    }
    // The sizes are checked last, so a page that is too heavy is not taken for built.
    steps.run("web: types", npm().args(["run", "--silent", "check"]))?;
    let built = steps.run("web: build", npm().args(["run", "--silent", "build"]));
    if built.is_err() {
        let _ = fs::remove_file(web(BUILT));
    }
    built
}

/// Runs the pages' unit tests.
pub(crate) fn test(steps: &mut Steps) -> Result<()> {
    steps.run("web: tests", npm().args(["run", "--silent", "test"]))
}

/// What keeps the pages from being built here, if anything does, and what to do about it.
pub(crate) fn missing() -> Option<String> {
    let (major, minor) = NODE_MIN;
    let wanted = format!("the web pages need Node {major}.{minor} or newer with npm (Debian: nodejs, npm)");
    let version = |program: &str| {
        let output = command(program).arg("--version").stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(node) = version("node") else { return Some(format!("{wanted}; there is no `node` here")) };
    if !is_new_enough(&node) {
        return Some(format!("{wanted}; here is {node}"));
    }
    if version("npm").is_none() {
        return Some(format!("{wanted}; there is no `npm` here"));
    }
    None
}

/// Whether Node's answer to `--version`, e.g. `v20.19.0`, names one that the build tool runs on.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= NODE_MIN,
        _ => false,
    }
}

fn npm() -> Command {
    let mut npm = command("npm");
    npm.current_dir(web(""));
    npm
}

fn web(path: &str) -> PathBuf {
    root().join("web").join(path)
}

/// Everything that goes into the pages: no packages, no results.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read `{}`", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if ["node_modules", "dist", "tests"].iter().any(|other| name == *other) {
            continue;
        }
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether `result` is there and no older than any of `sources`.
fn is_newer(result: &Path, sources: &[PathBuf]) -> Result<bool> {
    let changed = |path: &Path| -> std::io::Result<SystemTime> { fs::metadata(path)?.modified() };
    let Ok(made) = changed(result) else { return Ok(false) };
    for source in sources {
        let changed = changed(source).with_context(|| format!("failed to look at `{}`", source.display()))?;
        if changed > made {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn an_old_node_is_told_from_a_new_one() {
        for version in ["v20.19.0", "v20.20.2", "v22.12.0", "v26.0.1"] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["v20.18.3", "v18.20.4", "v9.0.0", "", "next"] {
            assert!(!is_new_enough(version), "{version}");
        }
    }
}
