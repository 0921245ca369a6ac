//! What a cluster is told, and what is left of it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use selfsame_cluster::{Cluster, ClusterError, Options, is_installed_or_skip};

use crate::{rows, start, write};

/// Set for the process that owns a cluster and is killed.
const OWNER: &str = "SELFSAME_CLUSTER_OWNER";

/// Processes that work in this folder or are named after it: the database's, and the guard.
fn processes(folder: &Path) -> Vec<i32> {
    let folder = folder.to_str().unwrap();
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let belongs = |pid: &i32| {
        let works_at = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let told = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        works_at.starts_with(folder) || String::from_utf8_lossy(&told).contains(folder)
    };
    numbers.filter(belongs).collect()
}

fn database_processes(folder: &Path) -> Vec<i32> {
    let mut found = processes(folder);
    let works_at = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    found.retain(|pid| works_at(pid) == folder.join("data"));
    found
}

/// Pieces of shared memory that a process has made.
fn segments(creator: &str) -> usize {
    let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    all.lines().filter(|line| line.split_whitespace().nth(4) == Some(creator)).count()
}

async fn until_gone(folder: &Path) {
    while folder.exists() || !processes(folder).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_dropped_cluster_leaves_nothing() {
    let Some(cluster) = start(Options::default().not_durable()).await else { return };
    let folder = cluster.folder().to_owned();
    let postmaster = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let postmaster = postmaster.lines().next().unwrap();
    assert_eq!(cluster.query("postgres", "select 6 * 7").await.unwrap(), "42");
    assert_eq!(segments(postmaster), 1);
    drop(cluster);
    assert_eq!(segments(postmaster), 0);
    assert!(database_processes(&folder).is_empty());
    until_gone(&folder).await;
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_a_stop() {
    let Some(mut cluster) = start(Options::default()).await else { return };
    write(&cluster, "a").await;
    cluster.kill().await.unwrap();
    assert!(cluster.query("postgres", "select 1").await.is_err());
    cluster.start_again().await.unwrap();
    write(&cluster, "b").await;
    cluster.stop().await.unwrap();
    cluster.start_again().await.unwrap();
    assert_eq!(rows(&cluster).await, "a,b");
}

#[tokio::test]
async fn a_database_compares_text_by_its_bytes_and_settings_reach_the_server() {
    let options = Options::default().not_durable().setting("max_connections", "7");
    let Some(cluster) = start(options).await else { return };
    let url = cluster.create_database("site").await.unwrap();
    assert_eq!(url, cluster.url("site"));
    assert_eq!(cluster.query("site", "select 'Z' < 'a', current_setting('fsync')").await.unwrap(), "t|off");
    cluster.set("work_mem", "1MB").await.unwrap();
    let sql = "select current_setting('work_mem'), current_setting('max_connections')";
    assert_eq!(cluster.query("site", sql).await.unwrap(), "1MB|7");
    let refused = cluster.query("site", "select nothing").await.unwrap_err();
    assert!(matches!(&refused, ClusterError::Program { program, .. } if program == "psql"), "{refused}");
}

#[tokio::test]
async fn the_port_wants_a_password_and_the_socket_does_not() {
    let Some(cluster) = start(Options::default().not_durable().loopback()).await else { return };
    let connect = async |url: &str| tokio_postgres::connect(url, tokio_postgres::NoTls).await.map(drop);
    let url = cluster.url_at(cluster.address().unwrap(), "postgres");
    connect(&url).await.unwrap();
    connect(&cluster.url("postgres")).await.unwrap();
    let (user, rest) = url.rsplit_once('@').unwrap();
    let wrong = connect(&format!("{user}0@{rest}")).await.unwrap_err();
    assert_eq!(wrong.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));
}

#[tokio::test]
async fn a_cluster_that_does_not_start_says_why() {
    if !is_installed_or_skip() {
        return;
    }
    let error = Cluster::start(Options::default().setting("shared_buffers", "much")).await.err().unwrap();
    assert!(error.to_string().contains("invalid value for parameter \"shared_buffers\""), "{error}");
}

/// This test again, in a process of its own, which makes a cluster and keeps it until it is killed.
fn owner(test: &str) -> (Child, PathBuf) {
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.args(["--exact", test, "--nocapture"]).env(OWNER, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    let told = BufReader::new(owner.stdout.take().unwrap());
    let folder =
        told.lines().map(Result::unwrap).find_map(|line| Some(line.split_once("folder: ")?.1.to_owned()));
    (owner, folder.expect("the owner names its cluster").into())
}

/// What that process does. Answers no in the one that was started by a person.
async fn is_owner(then: impl FnOnce()) -> bool {
    if std::env::var_os(OWNER).is_none() {
        return false;
    }
    let cluster = Cluster::start(Options::default().not_durable()).await.unwrap();
    println!("folder: {}", cluster.folder().display());
    then();
    true
}

#[tokio::test]
async fn an_owner_that_is_killed_leaves_nothing() {
    let wait = || drop(std::io::stdin().read(&mut [0]));
    if is_owner(wait).await || !is_installed_or_skip() {
        return;
    }
    let (mut owner, folder) = owner("cluster::an_owner_that_is_killed_leaves_nothing");
    assert!(!database_processes(&folder).is_empty());
    owner.kill().unwrap();
    owner.wait().unwrap();
    until_gone(&folder).await;
}

#[tokio::test]
async fn an_owner_that_panics_leaves_nothing() {
    if is_owner(|| panic!("as planned")).await || !is_installed_or_skip() {
        return;
    }
    let (mut owner, folder) = owner("cluster::an_owner_that_panics_leaves_nothing");
    assert!(!owner.wait().unwrap().success());
    until_gone(&folder).await;
}

#[tokio::test]
async fn what_owner_and_guard_have_left_is_cleared_away_by_the_next() {
    let wait = || drop(std::io::stdin().read(&mut [0]));
    if is_owner(wait).await || !is_installed_or_skip() {
        return;
    }
    let (mut owner, folder) = owner("cluster::what_owner_and_guard_have_left_is_cleared_away_by_the_next");
    let guards = processes(&folder).into_iter().filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sh")
    });
    for guard in guards {
        let killed = Command::new("kill").args(["-9", &guard.to_string()]).status().unwrap();
        assert!(killed.success());
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Another test may have been faster.
    drop(start(Options::default().not_durable()).await);
    until_gone(&folder).await;
}
