//! `cargo xtask bench`: what has a budget, measured. Each benchmark is a program of its own that prints its figures, leaves
//! them as JSON in the folder of reports, and fails when a budget is missed. Tests assert no times: a machine may be busy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::{Steps, cargo, command, root};
use crate::web;

/// Where a model pack and photos are, unless these variables name other folders: beside a developer's checkout.
const MODELS: (&str, &str) = ("SELFSAME_MODELS", "../shared/models");
const FACES: (&str, &str) = ("SELFSAME_FACES", "../shared/faces");

/// Where reports lie unless `--out` names another folder.
const REPORTS: &str = "target/bench";

/// Something that is measured.
struct Bench {
    /// What `--only` takes, and the name of its report.
    name: &'static str,
    what: &'static str,
    /// Of `selfsame bench`, where it is one of the product's own.
    arguments: &'static [&'static str],
    run: fn(&mut Steps, &Bench, &Path) -> Result<()>,
}

/// All of them, in the order in which they run.
const BENCHES: &[Bench] = &[
    Bench {
        name: "pages",
        what: "first paint, and touch to reaction, of the web pages in chromium",
        arguments: &[],
        run: pages,
    },
    Bench {
        name: "till",
        what: "whole payments against a slow merchant, the short form",
        arguments: &["till", "--short", "--tills", "2"],
        run: product,
    },
    Bench {
        name: "till-face",
        what: "the same by face before a camera; needs a model pack and photos",
        arguments: &["till", "--short", "--tills", "2", "--faces"],
        run: with_faces,
    },
    Bench {
        name: "terminal",
        what: "what a till waits for at the terminal, and memory",
        arguments: &["terminal"],
        run: product,
    },
    Bench {
        name: "face",
        what: "a verification by face; needs a model pack and photos",
        arguments: &["face", "--seconds", "10", "--images"],
        run: with_faces,
    },
    Bench {
        name: "payments",
        what: "payments a second, beside pgbench",
        arguments: &["payments"],
        run: product,
    },
    Bench {
        name: "postgres",
        what: "the same with the site in PostgreSQL; also several writers and servers, and a database 5 ms away",
        arguments: &["payments", "--postgres", "--seconds", "1"],
        run: product,
    },
];

/// Runs all benchmarks, or those that `arguments` name, one after the other. One that fails keeps none from running.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let Wanted { benches, reports } = wanted(arguments)?;
    fs::create_dir_all(&reports).with_context(|| format!("failed to make `{}`", reports.display()))?;
    let mut steps = Steps::default();
    let mut failed = Vec::new();
    for bench in benches {
        println!("\n{}: {}", bench.name, bench.what);
        let report = reports.join(format!("{}.json", bench.name));
        // What is left out must not look as if it had been measured now.
        let _ = fs::remove_file(&report);
        match (bench.run)(&mut steps, bench, &report) {
            Ok(()) if report.exists() => println!("{}: the figures are in {}", bench.name, report.display()),
            Ok(()) => {}
            Err(error) => {
                println!("{}: {error:#}", bench.name);
                failed.push(bench.name);
            }
        }
    }
    steps.print_table();
    if failed.is_empty() { Ok(()) } else { bail!("failed, or a budget was missed: {}", failed.join(", ")) }
}

struct Wanted {
    benches: Vec<&'static Bench>,
    reports: PathBuf,
}

fn wanted(arguments: &[&str]) -> Result<Wanted> {
    let mut wanted = Wanted { benches: Vec::new(), reports: root().join(REPORTS) };
    let mut rest = arguments;
    while let [option, value, others @ ..] = rest {
        match *option {
            "--only" => {
                let found = BENCHES.iter().find(|bench| bench.name == *value);
                wanted
                    .benches
                    .push(found.with_context(|| format!("there is no benchmark `{value}`: {}", names()))?);
            }
            // As the caller means it, who may not be in the checkout's folder.
            "--out" => wanted.reports = std::path::absolute(value).context("there is no current folder")?,
            other => bail!("`{other}` is no option of it: --only NAME, --out DIR"),
        }
        rest = others;
    }
    if let [option] = rest {
        bail!("`{option}` is no option of it, or its value is missing: --only NAME ({}), --out DIR", names());
    }
    if wanted.benches.is_empty() {
        wanted.benches = BENCHES.iter().collect();
    }
    Ok(wanted)
}

fn names() -> String {
    BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ")
}

/// The pages on the processes of a demo, in the build of the tests: what is measured runs in the browser.
fn pages(steps: &mut Steps, _: &Bench, report: &Path) -> Result<()> {
    web::build(steps)?;
    steps.run("bench pages: build", cargo().args(["build", "--workspace", "--all-features", "--bins"]))?;
    let program = built("debug");
    let mut measure = command("node");
    measure.arg(root().join("web/tests/browser/times.mjs")).arg(program).arg(report);
    steps.run("bench pages", &mut measure)
}

/// A benchmark of the product itself, `selfsame bench NAME`, in a release build.
fn product(steps: &mut Steps, bench: &Bench, report: &Path) -> Result<()> {
    run_product(steps, bench, report, |_| {})
}

fn run_product(
    steps: &mut Steps,
    bench: &Bench,
    report: &Path,
    complete: impl FnOnce(&mut Command),
) -> Result<()> {
    steps.run("bench: release build", cargo().args(["build", "--release", "--package", "selfsame"]))?;
    let file = File::create(report).with_context(|| format!("failed to make `{}`", report.display()))?;
    let mut measure = command(&built("release").to_string_lossy());
    measure.args(["bench"]).args(bench.arguments);
    complete(&mut measure);
    measure.arg("--json").stdout(file);
    steps.run(bench.name, &mut measure)
}

/// The same for one that wants people: its last argument is the folder of photos. Without photos and packs it is left
/// out, which is said and is no failure: they are not ours to ship.
fn with_faces(steps: &mut Steps, bench: &Bench, report: &Path) -> Result<()> {
    let folder = |(variable, default): (&str, &str)| match std::env::var_os(variable) {
        Some(folder) => PathBuf::from(folder),
        None => root().join(default),
    };
    let (models, faces) = (folder(MODELS), folder(FACES));
    if !models.is_dir() || !faces.is_dir() {
        println!("{}: left out, there is no `{}` or no `{}`", bench.name, models.display(), faces.display());
        return Ok(());
    }
    let measure = |measure: &mut Command| {
        measure.env(MODELS.0, models).arg(faces);
    };
    run_product(steps, bench, report, measure)
}

/// Our executable, wherever cargo's target folder is.
pub(crate) fn built(profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(target).join(profile).join("selfsame")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(arguments: &[&str]) -> Vec<&'static str> {
        wanted(arguments).unwrap().benches.iter().map(|bench| bench.name).collect()
    }

    #[test]
    fn benchmarks_are_chosen_by_name_and_nothing_else_is_taken_for_one() {
        assert_eq!(named(&["--only", "pages"]), ["pages"]);
        assert_eq!(named(&["--only", "payments", "--out", "x", "--only", "pages"]), ["payments", "pages"]);
        assert_eq!(named(&[]).len(), BENCHES.len());
        assert_eq!(wanted(&["--out", "/x"]).unwrap().reports, Path::new("/x"));
        for wrong in [["--only", "speed"].as_slice(), &["--only"], &["pages"], &["--fast", "pages"]] {
            assert!(wanted(wrong).is_err(), "{wrong:?}");
        }
    }
}
