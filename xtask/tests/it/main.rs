//! Tidy: what the compiler does not check about this checkout. Every finding names file and line and says what to do.

mod documents;
mod imports;
mod sources;
mod sql;

use std::fs;
use std::path::Path;
use std::process::Command;

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace's folder")
}

/// Every file that is committed or would be by `git add --all`, relative to the checkout.
fn files() -> Vec<String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root()).output();
    let output = output.expect("git runs: tidy asks it which files belong to the project");
    assert!(output.status.success(), "git ls-files failed: tidy works in a git checkout, not in an archive");
    let text = String::from_utf8(output.stdout).expect("our file names are UTF-8");
    let mut files: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files.dedup();
    files
}

/// A file of the checkout as text.
fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("failed to read {file}: {error}"))
}

/// Fails with one line per finding.
#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} finding(s):\n{}\n", findings.len(), findings.join("\n"));
}
