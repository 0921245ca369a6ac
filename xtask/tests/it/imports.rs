//! Who may import whom. The table is ARCHITECTURE.md's; a new edge needs an ADR.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{assert_none, root};

/// Crate, and those of ours that it may import; build and test dependencies included.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("selfsame-domain", &[]),
    ("selfsame-biometrics", &[]),
    ("selfsame-pages", &[]),
    ("selfsame-cluster", &[]),
    ("selfsame-api", &["selfsame-domain"]),
    // The throw-away clusters in tests only (ADR 0033, ADR 0035).
    ("selfsame-store", &["selfsame-domain", "selfsame-cluster"]),
    (
        "selfsame-server",
        &["selfsame-domain", "selfsame-api", "selfsame-store", "selfsame-pages", "selfsame-cluster"],
    ),
    ("selfsame-matcher", &["selfsame-domain", "selfsame-api", "selfsame-biometrics"]),
    ("selfsame-terminal", &["selfsame-domain", "selfsame-api", "selfsame-biometrics", "selfsame-pages"]),
    ("selfsame-terminal-c", &[]),
    ("selfsame", ALL),
    ("selfsame-sim", ALL),
    ("xtask", &[]),
];

const ALL: &[&str] = &[
    "selfsame-domain",
    "selfsame-biometrics",
    "selfsame-pages",
    "selfsame-api",
    "selfsame-store",
    "selfsame-server",
    "selfsame-matcher",
    "selfsame-terminal",
    "selfsame-cluster",
];

/// Each crate of the workspace with those of ours that it names.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let name = |value: &Value| value["name"].as_str().expect("everything here has a name").to_owned();
    let packages: Vec<&Value> = metadata["packages"].as_array().expect("packages").iter().collect();
    let ours: BTreeSet<String> = packages.iter().map(|package| name(package)).collect();
    let edges = |package: &&Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        (name(package), dependencies.map(name).filter(|dependency| ours.contains(dependency)).collect())
    };
    packages.iter().map(edges).collect()
}

fn forbidden(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut findings = Vec::new();
    for (crate_name, dependencies) in imports {
        let folder = crate_name.strip_prefix("selfsame-").unwrap_or(crate_name);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| name == crate_name) else {
            findings.push(format!(
                "crates/{folder}/Cargo.toml: `{crate_name}` is not in the import table. Do: write an ADR and add it \
                 to ARCHITECTURE.md and to MAY_IMPORT in xtask/tests/it/imports.rs"
            ));
            continue;
        };
        for dependency in dependencies.iter().filter(|dependency| !allowed.contains(&dependency.as_str())) {
            findings.push(format!(
                "crates/{folder}/Cargo.toml: `{crate_name}` must not import `{dependency}`. Do: move the code to the \
                 side that may know it, or write an ADR for the new edge"
            ));
        }
    }
    findings
}

#[test]
fn crates_import_only_whom_the_table_allows() {
    assert_none(&forbidden(&imports()));
}

#[test]
fn a_new_edge_and_a_new_crate_are_found() {
    let one = |name: &str, dependency: &str| {
        let dependencies = BTreeSet::from([dependency.to_owned()]);
        forbidden(&BTreeMap::from([(name.to_owned(), dependencies)])).len()
    };
    assert_eq!(one("selfsame-server", "selfsame-store"), 0);
    assert_eq!(one("selfsame-server", "selfsame-biometrics"), 1);
    assert_eq!(one("selfsame-terminal", "selfsame-store"), 1);
    assert_eq!(one("selfsame-domain", "selfsame-api"), 1);
    assert_eq!(one("selfsame-utils", "selfsame-domain"), 1);
}

#[test]
fn the_table_in_architecture_is_the_one_that_is_tested() {
    let document = crate::read("ARCHITECTURE.md");
    let mut findings = Vec::new();
    for crate_name in imports().keys() {
        let short = crate_name.strip_prefix("selfsame-").unwrap_or(crate_name);
        let row = document.lines().find(|line| line.starts_with(&format!("| `{short}` |")));
        let Some(row) = row else {
            findings
                .push(format!("ARCHITECTURE.md: the import table has no row that begins with | `{short}` |"));
            continue;
        };
        let cell = row.split('|').nth(2).unwrap_or_default();
        let mut written: Vec<&str> = cell.split(',').map(|word| word.trim().trim_matches('`')).collect();
        written.retain(|word| !matches!(*word, "none" | "all"));
        let (_, allowed) = MAY_IMPORT.iter().find(|(name, _)| name == crate_name).expect("tested above");
        let mut tested: Vec<&str> =
            allowed.iter().map(|name| name.strip_prefix("selfsame-").unwrap_or(name)).collect();
        if *allowed == ALL {
            tested.clear();
        }
        tested.sort_unstable();
        written.sort_unstable();
        if written != tested {
            findings.push(format!(
                "ARCHITECTURE.md: `{short}` may import {tested:?}, the table says {written:?}"
            ));
        }
    }
    assert_none(&findings);
}
