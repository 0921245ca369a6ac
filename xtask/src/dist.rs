//! `cargo xtask dist`: what an operator gets: the executable with the web pages in it, licence and readme, as a tar.gz with
//! its SHA-256, below target/dist.
//!
//! A build without pages works and says so at every page; in a package it would be a defect. So the executable is looked
//! through for the pages that were built before it is packed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::built;
use crate::step::{Steps, cargo, command, root};
use crate::web;

/// Where packages are left, relative to the checkout.
const FOLDER: &str = "target/dist";

/// Goes with the executable.
const DOCUMENTS: [&str; 2] = ["LICENSE", "README.md"];

/// Builds all of it and packs it.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    // First, because the executable embeds them.
    web::build(&mut steps)?;
    let mut build = cargo();
    build.args(["build", "--release", "--package", "selfsame"]);
    if cfg!(target_os = "linux") {
        // Cameras of the terminal's own machine.
        build.args(["--features", "v4l2"]);
    }
    steps.run("dist: build", &mut build)?;
    let program = built("release");
    let version = printed(&program.to_string_lossy(), &["--version"])?;
    let version = version.split_whitespace().last().context("the executable tells no version")?;
    let rustc = printed("rustc", &["-vV"])?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc tells no host")?;
    let name = format!("selfsame-{version}-{host}");
    let packed = pack(&mut steps, &program, &pages()?, &root().join(FOLDER), &name)?;
    steps.print_table();
    let bytes = fs::metadata(&packed).map_or(0, |found| found.len());
    println!("\n{} ({:.1} MB), and its SHA-256 beside it", packed.display(), bytes as f64 / 1e6);
    Ok(())
}

/// Packs an executable that has `pages` in it, and answers where. Whatever was packed under this name before is gone.
fn pack(steps: &mut Steps, program: &Path, pages: &[String], folder: &Path, name: &str) -> Result<PathBuf> {
    let content = fs::read(program).with_context(|| format!("failed to read `{}`", program.display()))?;
    let absent: Vec<&str> =
        pages.iter().map(String::as_str).filter(|page| !contains(&content, page.as_bytes())).collect();
    ensure!(
        absent.is_empty(),
        "`{}` is not packed, because it lacks the web pages: there is no {} in it",
        program.display(),
        absent.join(", ")
    );
    let inside = folder.join(name);
    if inside.exists() {
        fs::remove_dir_all(&inside).with_context(|| format!("failed to remove `{}`", inside.display()))?;
    }
    fs::create_dir_all(&inside).with_context(|| format!("failed to make `{}`", inside.display()))?;
    let copy = |from: &Path, to: &str| {
        fs::copy(from, inside.join(to)).with_context(|| format!("failed to copy `{}`", from.display()))
    };
    copy(program, "selfsame")?;
    for document in DOCUMENTS {
        copy(&root().join(document), document)?;
    }
    // The time of the commit and nobody's name: the same content makes the same package.
    let time = printed("git", &["log", "-1", "--format=@%ct"])?;
    let archive = format!("{name}.tar.gz");
    let mut tar = command("tar");
    tar.current_dir(folder);
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+r-w"]);
    tar.args(["--mtime", time.trim(), "--create", "--gzip", "--file", &archive, name]);
    steps.run("dist: package", &mut tar)?;
    let mut sum = command("sha256sum");
    let output = sum.current_dir(folder).arg(&archive).output().context("failed to start sha256sum")?;
    ensure!(output.status.success(), "sha256sum failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let sums = folder.join(format!("{archive}.sha256"));
    fs::write(&sums, output.stdout).with_context(|| format!("failed to write `{}`", sums.display()))?;
    Ok(folder.join(archive))
}

/// Names of the files that the built pages load. They hold a hash of their content, so an executable in which they stand has
/// these pages and no earlier ones.
fn pages() -> Result<Vec<String>> {
    let folder = root().join("web/dist/pages/assets");
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("there are no built pages in `{}`: `cargo xtask web`", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    if names.is_empty() {
        bail!("there are no built pages in `{}`: `cargo xtask web`", folder.display());
    }
    names.sort();
    Ok(names)
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    content.windows(wanted.len()).any(|window| window == wanted)
}

/// What a program prints.
fn printed(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        command(program).args(arguments).output().with_context(|| format!("failed to start `{program}`"))?;
    ensure!(output.status.success(), "`{program}` failed ({})", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{program}` prints no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("selfsame-dist-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        /// Something that stands for the executable, with this in the middle of it.
        fn program(&self, text: &str) -> PathBuf {
            let program = self.0.join("program");
            fs::write(&program, format!("\0\u{1}{text}\0")).unwrap();
            program
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn pages() -> Vec<String> {
        ["kiosk-1a2b.js", "till-3c4d.js"].map(str::to_owned).to_vec()
    }

    #[test]
    fn an_executable_without_the_built_pages_is_not_packed() {
        let folder = Folder::new("without");
        let out = folder.0.join("dist");
        for text in ["", "assets/kiosk-1a2b.js", "assets/kiosk-1a2b.js assets/till-0000.js"] {
            let program = folder.program(text);
            let error = pack(&mut Steps::default(), &program, &pages(), &out, "x").unwrap_err().to_string();
            assert!(error.contains("lacks the web pages") && error.contains("till-3c4d.js"), "{error}");
            assert!(!out.exists(), "nothing is left that somebody could take for a package");
        }
    }

    #[test]
    fn a_package_holds_executable_licence_and_readme_and_is_the_same_each_time() {
        let folder = Folder::new("with");
        let program = folder.program("assets/kiosk-1a2b.js assets/till-3c4d.js");
        let make = || pack(&mut Steps::default(), &program, &pages(), &folder.0, "selfsame-0").unwrap();
        let packed = make();
        let first = fs::read(&packed).unwrap();
        let listed = printed("tar", &["--list", "--file", packed.to_str().unwrap()]).unwrap();
        let listed: Vec<&str> = listed.lines().collect();
        let expected = ["selfsame-0/", "selfsame-0/LICENSE", "selfsame-0/README.md", "selfsame-0/selfsame"];
        assert_eq!(listed, expected);
        let mut check = command("sha256sum");
        check.args(["--check", "--status", "selfsame-0.tar.gz.sha256"]).current_dir(&folder.0);
        assert!(check.status().unwrap().success());
        fs::write(folder.0.join("selfsame-0/left-over"), "").unwrap();
        assert!(fs::read(make()).unwrap() == first, "the same content makes the same package");
    }
}
