//! Documents name what is there.

use crate::{assert_none, files, read, root};

/// Top-level folders: a word in backticks that begins with one of them is a path.
const FOLDERS: &[&str] = &["crates/", "docs/", "web/src/", "xtask/", ".ci/", ".cargo/"];

/// Paths in backticks, with their line. What ends in `*` means the folder before it.
fn named_paths(document: &str) -> Vec<(usize, &str)> {
    let mut paths = Vec::new();
    for (index, line) in document.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/')
                && !word.starts_with('/')
                && !word.contains([' ', '<', '{', ':'])
                && (FOLDERS.iter().any(|folder| word.starts_with(folder))
                    || [".rs", ".md", ".sql"].iter().any(|extension| word.ends_with(extension)));
            if is_path {
                paths.push((index + 1, word.split('*').next().unwrap_or(word)));
            }
        }
    }
    paths
}

/// Targets of links to files, with their line.
fn links(document: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (index, line) in document.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or(rest).split('#').next().unwrap_or(rest);
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push((index + 1, target));
            }
        }
    }
    links
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let mut findings = Vec::new();
    for file in ["ARCHITECTURE.md", "README.md", "SECURITY.md"] {
        for (line, path) in named_paths(&read(file)) {
            if !root().join(path).exists() {
                findings.push(format!(
                    "{file}:{line}: `{path}` does not exist. Do: name the file that does this now"
                ));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.ends_with(".md")) {
        let folder = root().join(file).parent().expect("a file lies in a folder").to_path_buf();
        for (line, target) in links(&read(file)) {
            if !folder.join(target).exists() {
                findings.push(format!(
                    "{file}:{line}: the link to `{target}` leads nowhere. Do: correct or remove it"
                ));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn ci_calls_exactly_the_test_command_of_the_readme() {
    let readme = read("README.md");
    let mut commands = readme.lines().map(str::trim).filter(|line| line.starts_with("cargo xtask test"));
    let command = commands.next().expect("README.md has a line that begins with `cargo xtask test`");
    assert!(
        commands.all(|other| other == command),
        "README.md shows two different test commands. Do: keep one"
    );
    let script = read(".ci/run");
    let set_up =
        |line: &&str| !line.is_empty() && !["#", "set ", "cd "].iter().any(|word| line.starts_with(word));
    let called: Vec<&str> = script.lines().map(str::trim).filter(set_up).collect();
    assert_eq!(called, [command], ".ci/run must call README.md's test command and nothing else");
}

#[cfg(unix)]
#[test]
fn the_ci_script_can_be_started() {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(root().join(".ci/run")).expect(".ci/run exists").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, ".ci/run is not executable. Do: chmod +x .ci/run");
}

#[test]
fn every_decision_is_listed() {
    let index = read("docs/adr/README.md");
    let mut findings = Vec::new();
    for file in files() {
        let Some(name) = file.strip_prefix("docs/adr/").filter(|name| *name != "README.md") else { continue };
        if !index.contains(&format!("({name})")) {
            findings.push(format!("docs/adr/README.md: `{name}` is not linked. Do: add it to the list"));
        }
        let text = read(&file);
        for heading in ["## Context", "## Options", "## Decision", "## Consequences"] {
            if !text.lines().any(|line| line == heading) {
                findings.push(format!("{file}: there is no `{heading}`. Do: say it, in one line if need be"));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn paths_are_told_from_routes_and_words() {
    let text = "see `crates/api/src/lib.rs`, `store/src/payment.rs` and `crates/x/`\n`POST /v1/payments`, `a/b`, `/v1/x`";
    assert_eq!(
        named_paths(text),
        [(1, "crates/api/src/lib.rs"), (1, "store/src/payment.rs"), (1, "crates/x/")]
    );
    assert_eq!(links("[a](b.md#c) [d](https://example.com)\n[e](../f.md)"), [(1, "b.md"), (2, "../f.md")]);
}
