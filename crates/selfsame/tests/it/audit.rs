//! The ledger as a file, by the executable.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn selfsame(site: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
    command.env_remove("SELFSAME_SITE").arg("--site").arg(site).args(arguments);
    command.output().expect("the executable starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_site_is_exported_and_the_file_verified_alone() {
    let folder = TempDir::new().expect("a temporary folder");
    let site = folder.path().join("site");
    assert!(selfsame(&site, &["init", "--test"]).status.success());
    let file = folder.path().join("ledger.jsonl");
    let name = file.to_str().expect("a path of text");
    let exported = selfsame(&site, &["audit", "export", name]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert!(!selfsame(&site, &["audit", "export", name]).status.success(), "nothing is overwritten");
    let elsewhere = folder.path().join("no-site");
    let verified = selfsame(&elsewhere, &["audit", "verify", name]);
    assert!(text(&verified.stdout).contains("0 rows verified"), "{}", text(&verified.stderr));
    let key = selfsame(&site, &["audit", "public-key"]);
    assert_eq!(text(&key.stdout).trim_end().len(), 64);
    let lines = std::fs::read_to_string(&file).expect("the export");
    std::fs::write(&file, lines.replace("\"sequence\":0", "\"sequence\":1")).expect("it is written");
    let refused = selfsame(&elsewhere, &["audit", "verify", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("slot 0"), "{}", text(&refused.stderr));
}
