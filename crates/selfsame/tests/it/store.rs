//! The data of a site as a whole, by the executable: in PostgreSQL, moved, backed up, looked at.

use std::path::Path;
use std::process::{Command, Output};

use selfsame_cluster::{Cluster, Options, is_installed_or_skip};
use tempfile::TempDir;

fn selfsame(site: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
    command
        .env_remove("SELFSAME_SITE")
        .env_remove("SELFSAME_DATABASE")
        .arg("--site")
        .arg(site)
        .args(arguments);
    command.output().expect("the executable starts")
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn files(folder: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    entries.map(|name| name.into_string().expect("a name of text")).collect()
}

#[test]
fn a_site_is_backed_up_looked_at_and_restored() {
    let folder = TempDir::new().expect("a temporary folder");
    let [site, backup, keys, restored] =
        ["site", "backup", "keys", "restored"].map(|name| folder.path().join(name));
    let before = refused(&selfsame(&site, &["backup", "--to", name(&backup)]));
    assert!(before.contains("there is no site"), "{before}");
    done(&selfsame(&site, &["init", "--test"]));
    done(&selfsame(&site, &["backup", "--to", name(&backup), "--keys-to", name(&keys)]));
    assert_eq!(files(&backup), ["site.db"], "one file, with no log beside it, and the keys apart");
    assert_eq!(files(&keys), ["keys.db"]);
    let again = refused(&selfsame(&site, &["backup", "--to", name(&backup)]));
    assert!(again.contains("backup"), "nothing is overwritten: {again}");
    let found = done(&selfsame(&site, &["restore-check", name(&backup), "--keys", name(&keys)]));
    assert!(found.contains("0 rows of the ledger") && found.contains("Every account"), "{found}");
    done(&selfsame(&site, &["store", "copy", "--from", name(&backup), "--to", name(&restored)]));
    let taken =
        refused(&selfsame(&site, &["store", "copy", "--from", name(&backup), "--to", name(&restored)]));
    assert!(taken.contains("a site in the target already"), "{taken}");
    // A backup that is no backup is not taken for one, and is left as it is.
    std::fs::write(backup.join("site.db"), "no database ".repeat(100)).expect("it is written");
    refused(&selfsame(&site, &["restore-check", name(&backup)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_made_in_postgresql_and_moves_to_files() {
    if !is_installed_or_skip() {
        return;
    }
    let cluster = Cluster::start(Options::default()).await.expect("PostgreSQL starts");
    let url = cluster.create_database("site").await.expect("a database");
    let folder = TempDir::new().expect("a temporary folder");
    let (site, files) = (folder.path().join("site"), folder.path().join("files"));
    done(&selfsame(&site, &["init", "--test", "--database", &url]));
    assert!(!site.join("data/site.db").exists());
    let settings = site.join("selfsame.toml");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&settings).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o077, 0, "the address may hold a password");
    // Somebody else's folder, the same database: there is a site already.
    let other = folder.path().join("other");
    refused(&selfsame(&other, &["init", "--test", "--database", &url]));
    let export = folder.path().join("ledger.jsonl");
    done(&selfsame(&site, &["audit", "export", name(&export)]));
    let moved = done(&selfsame(&site, &["store", "copy", "--to", name(&files), "--json"]));
    let moved: serde_json::Value = serde_json::from_str(&moved).expect("JSON");
    assert_eq!((&moved["tables"]["site"], &moved["tables"]["terminals"]), (&1.into(), &2.into()));
    // A database that cannot be reached is told as that, without its address.
    let unreachable = "postgres://someone:secret@127.0.0.1:1/none";
    std::fs::write(
        &settings,
        std::fs::read_to_string(&settings).expect("it is there").replace(&url, unreachable),
    )
    .expect("it is written");
    let told = refused(&selfsame(&site, &["audit", "export", name(&folder.path().join("none"))]));
    assert!(told.contains("connect to PostgreSQL") && !told.contains("secret"), "{told}");
    // Whoever names the database means that one, whatever the settings say.
    let (export, backup) = (folder.path().join("named.jsonl"), folder.path().join("backup"));
    done(&selfsame(&site, &["audit", "export", name(&export), "--database", &url]));
    done(&selfsame(&site, &["backup", "--to", name(&backup), "--database", &url]));
    let again = folder.path().join("again");
    done(&selfsame(&site, &["store", "copy", "--to", name(&again), "--database", &url]));
    let told = refused(&selfsame(&site, &["server", "--database", unreachable]));
    assert!(told.contains("connect to PostgreSQL") && !told.contains("secret"), "{told}");
}
