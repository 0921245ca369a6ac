//! Sources that stay readable, finished and free of what does not belong into a repository.

use crate::{assert_none, files, read};

/// Longest source without a reason at its top.
const LINES_MAX: usize = 600;

/// Lines in which the reason may stand.
const TOP_LINES: usize = 5;

/// Marks of unfinished work, with what to do. Split so that this file does not find itself.
const UNFINISHED: &[(&str, &str)] = &[
    (concat!("to", "do!"), "finish it, or return a typed refusal"),
    (concat!("unimple", "mented!"), "finish it, or return a typed refusal"),
    (concat!("#[ig", "nore"), "repair the test or delete it"),
    (concat!("FIX", "ME"), "repair it, or open an issue"),
];

/// Places on somebody's machine.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Pictures, models and databases: weights and people's data are never committed.
const BINARY_EXTENSIONS: &[&str] = &[
    "png", "jpg", "jpeg", "bmp", "tif", "tiff", "gif", "webp", "pgm", "wsq", "onnx", "rten", "tflite", "pt",
    "pth", "bin", "db", "sqlite", "sqlite3",
];

const TEXT_EXTENSIONS: &[&str] =
    &["rs", "py", "md", "toml", "sql", "json", "sh", "yml", "yaml", "ts", "mjs", "svelte", "css", "html"];

/// Sources that people write: these stay short.
const SOURCE_EXTENSIONS: &[&str] = &["rs", "ts", "mjs", "svelte", "css"];

/// Types that are written from the documents.
const GENERATED: &str = "web/src/api/";

/// Screens of the pages for the documents: pictures of ours, with nobody's face.
const SCREENS: &str = "docs/pages/";

fn has_extension(file: &str, extensions: &[&str]) -> bool {
    file.rsplit_once('.')
        .is_some_and(|(_, extension)| extensions.contains(&extension.to_lowercase().as_str()))
}

fn findings_in_source(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    let reason = text.lines().take(TOP_LINES).any(|line| line.trim().starts_with("// Long because: "));
    if lines > LINES_MAX && !reason {
        findings.push(format!(
            "{file}:1: {lines} lines, more than {LINES_MAX}. Do: split it where it does two things, or say \
             `// Long because: ...` in its first {TOP_LINES} lines"
        ));
    }
    for (index, line) in text.lines().enumerate() {
        for (mark, advice) in UNFINISHED.iter().filter(|(mark, _)| line.contains(mark)) {
            findings.push(format!("{file}:{}: `{mark}`. Do: {advice}", index + 1));
        }
    }
    findings
}

fn machine_paths(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for path in MACHINE_PATHS.iter().filter(|path| line.contains(**path)) {
            let place = format!("{file}:{}", index + 1);
            findings.push(format!(
                "{place}: `{path}` is a place on one machine. Do: make it relative or an argument"
            ));
        }
    }
    findings
}

#[test]
fn sources_are_short_and_finished() {
    let sources = files().into_iter().filter(|file| has_extension(file, SOURCE_EXTENSIONS));
    let sources = sources.filter(|file| !file.starts_with(GENERATED));
    assert_none(&sources.flat_map(|file| findings_in_source(&file, &read(&file))).collect::<Vec<_>>());
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let texts = files().into_iter().filter(|file| has_extension(file, TEXT_EXTENSIONS));
    assert_none(&texts.flat_map(|file| machine_paths(&file, &read(&file))).collect::<Vec<_>>());
}

#[test]
fn no_picture_model_or_database_is_committed() {
    let committed = files().into_iter().filter(|file| has_extension(file, BINARY_EXTENSIONS));
    let committed = committed.filter(|file| !(file.starts_with(SCREENS) && has_extension(file, &["png"])));
    let advice = "Do: generate it in the test, or name it in .gitignore";
    assert_none(
        &committed.map(|file| format!("{file}: a picture, model or database. {advice}")).collect::<Vec<_>>(),
    );
}

#[test]
fn what_the_rules_forbid_is_found() {
    let long = "//! Head.\n".repeat(LINES_MAX + 1);
    assert_eq!(findings_in_source("a.rs", &long).len(), 1);
    assert_eq!(findings_in_source("a.rs", &format!("// Long because: one table.\n{long}")).len(), 0);
    for (mark, _) in UNFINISHED {
        assert_eq!(findings_in_source("a.rs", &format!("fn f() {{\n    {mark}\n}}")).len(), 1, "{mark}");
    }
    assert_eq!(machine_paths("a.md", &format!("see {}x", MACHINE_PATHS[0])).len(), 1);
    assert!(has_extension("a/b.PNG", BINARY_EXTENSIONS) && !has_extension("a/binary", BINARY_EXTENSIONS));
}
