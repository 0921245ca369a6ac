//! The benchmarks, run small: what they count must add up, however fast the machine is.

use std::process::Output;

use selfsame_cluster::{Cluster, Options, is_installed_or_skip};
use serde_json::Value;
use tempfile::TempDir;

use crate::processes::{PATIENCE, program};

/// What the smallest run comes to: two delays at two knobs and the mix, one payment for each flow.
const SETTINGS: usize = 4;

/// The longer one of these delays, in microseconds.
const DELAY_US: i64 = 40_000;

fn microseconds(value: &Value) -> i64 {
    value.as_i64().expect("whole microseconds")
}

fn kinds(steps: &Value) -> Vec<String> {
    let steps = steps.as_array().expect("steps");
    steps.iter().map(|step| step[0].as_str().expect("a step has a kind").to_owned()).collect()
}

/// Every stage of a payment is in its sum, and what is waited for depends on the flow alone.
fn check(payment: &Value) {
    let parts: i64 = payment["path"]
        .as_array()
        .expect("a path")
        .iter()
        .flat_map(|step| step[1].as_object().expect("parts").values())
        .map(microseconds)
        .sum();
    let whole = microseconds(&payment["request_to_paid_us"]);
    assert!((parts + microseconds(&payment["unexplained_us"]) - whole).abs() <= 50, "{payment}");
    assert!(microseconds(&payment["wait_us"]) <= whole, "{payment}");
    let (steps, path) = (kinds(&payment["steps"]), kinds(&payment["path"]));
    match payment["flow"].as_str().expect("a flow") {
        "conventional" => {
            assert_eq!(steps, ["order", "permission", "verification", "handover", "charge"]);
            assert_eq!(path, steps, "one after the other");
        }
        "conventional_cached" => {
            assert_eq!(steps, ["order", "verification", "handover", "charge"]);
            assert_eq!(path, steps, "one after the other");
        }
        "barcode" => assert_eq!(path, ["order", "charge"]),
        "general_last" => {
            assert_eq!(steps, ["order", "verification", "handover", "charge"]);
            let (waited_for, then) = path.split_at(path.len() - 2);
            assert_eq!(then, ["handover", "charge"]);
            // Whoever was held up may have the answer of a merchant next door before asking for the verification.
            let may_be_both = microseconds(&payment["steps"][0][1]) < DELAY_US;
            assert!(
                waited_for.len() == 1 || (may_be_both && waited_for == ["order", "verification"]),
                "one of order and verification is waited for: {payment}"
            );
        }
        "general_first" => {
            assert_eq!(steps, ["basket", "order", "verification", "handover", "charge"]);
            assert_eq!(path[path.len() - 2..], ["handover", "charge"]);
        }
        other => panic!("an unknown flow {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stages_of_benched_payments_add_up_and_follow_their_flow() {
    // Short, because a socket's path has 107 bytes at most.
    let folder = TempDir::with_prefix_in("selfsame-", "/tmp").expect("a temporary folder");
    let mut command = program();
    command.env("TMPDIR", "/tmp").args([
        "bench",
        "till",
        "--json",
        "--delays-ms",
        "0,40",
        "--repetitions",
        "1",
    ]);
    command.args(["--digit-ms", "1", "--basket-ms", "80", "--out"]).arg(folder.path());
    let ended = tokio::time::timeout(3 * PATIENCE, command.output()).await.expect("it ends");
    let ended = ended.expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let result: Value = serde_json::from_slice(&ended.stdout).expect("the result is JSON");
    let payments = result["payments"].as_array().expect("payments");
    // Somebody may not be recognised at a few tries in a row, and is left out then.
    assert!(payments.len() > SETTINGS * 4 && payments.len() <= SETTINGS * 5, "{}", payments.len());
    payments.iter().for_each(check);
    let slow = |payment: &&Value| payment["setting"] == 1 && payment["flow"] == "conventional";
    for payment in payments.iter().filter(slow) {
        let order = microseconds(&payment["steps"][0][1]);
        assert!(order >= DELAY_US, "a delay that was set is never undercut: {order}");
    }
    for file in ["till.json", "till.md", "wait.svg", "wait.png"] {
        let length = std::fs::metadata(folder.path().join(file)).expect("it is written").len();
        assert!(length > 1_000, "{file} has {length} bytes");
    }
    // Nothing of the payers is in what is published.
    let text = String::from_utf8_lossy(&ended.stdout);
    for secret in ["0142", "acct_", "pay_", "sk_test"] {
        assert!(!text.contains(&format!("\"{secret}")), "`{secret}` is in the result");
    }
}

/// Somebody who may make databases, and somebody who may not.
const ROLES: &str =
    "create role bench login createdb password 'sesame1'; create role guest login password 'sesame2'";

/// `selfsame bench payments`, small.
async fn bench_payments(arguments: &[&str], path: Option<&str>) -> Output {
    let mut command = program();
    command.env("TMPDIR", "/tmp").env_remove("SELFSAME_BENCH_DATABASE");
    command.args(["bench", "payments", "--tiny", "--seconds", "1", "--rounds", "1"]).args(arguments);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let ended = tokio::time::timeout(3 * PATIENCE, command.output()).await.expect("it ends");
    ended.expect("it runs")
}

/// Databases that a benchmark has left behind.
async fn left_behind(cluster: &Cluster) -> String {
    let sql = "select datname from pg_database where datname like 'selfsame_bench%'";
    cluster.query("postgres", sql).await.expect("the cluster answers")
}

/// Every line that the parts promise, and what PostgreSQL tells of each.
fn check_lines(results: &Value) {
    for line in [
        "store path, 256 in flight",
        "HTTP edge, 256 in flight",
        "store path, one writer",
        "store path, two writers",
        "store path, four writers",
        "5 ms away: store path, 256 in flight",
        "5 ms away: one statement each, 32 in flight",
        "open loop of 500/s: store path",
        "open loop of 500/s: one statement each",
        "open loop of 500/s: two round trips each",
        "open loop of 500/s: one textbook statement each",
        "one server, HTTP, 256 in flight",
        "two servers, HTTP, 256 in flight",
    ] {
        let found = &results[line];
        let round = &found["rounds"][0];
        assert!(round["paid"].as_u64().is_some_and(|paid| paid > 0), "{line}: {found}");
        assert_eq!(round["refused"], 0, "{line}");
        assert_eq!(found["deadlocks"], 0, "{line}");
        // A row, and a mark in an index, at the very least.
        assert!(found["log_bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{line}: {found}");
    }
    for line in ["5 ms away: store path, 256 in flight", "two servers, HTTP, 256 in flight"] {
        assert!(results[line]["rounds"][0]["pgbench_tpcb_per_second"].is_u64(), "{line}");
    }
    // A payment over a database 5 ms away asks at least once, and twice in a batch.
    for (line, trips) in
        [("5 ms away: store path, 256 in flight", 2), ("5 ms away: one statement each, 32 in flight", 1)]
    {
        let p50_us = results[line]["p50_us"].as_u64();
        assert!(p50_us >= Some(trips * 5_000), "{line}: {p50_us:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_benched_at_a_server_of_the_operators_which_is_left_as_it_was() {
    if !is_installed_or_skip() {
        return;
    }
    let cluster = Cluster::start(Options::default().loopback()).await.expect("a cluster");
    cluster.query("postgres", ROLES).await.expect("roles");
    let url = format!("postgres://bench:sesame1@{}/postgres", cluster.address().expect("a port"));
    let parts = "main,limits,writers,away,open,servers";
    let ended = bench_payments(&["--database", &url, "--only", parts, "--json"], None).await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let result: Value = serde_json::from_slice(&ended.stdout).expect("the result is JSON");
    check_lines(&result["results"]);
    assert_eq!(result["facts"]["database"], "PostgreSQL of the operator");
    let asked_us = result["facts"]["the same with 2.5 ms each way asked for, us"].as_u64();
    assert!(asked_us >= Some(5_000), "a delay that was set is never undercut: {asked_us:?}");
    let bars = result["bars"].as_array().expect("bars");
    for bar in [
        "store path to pgbench",
        "HTTP edge to pgbench",
        "log of a payment",
        "p99",
        "two servers",
        "deadlocks",
    ] {
        let told = bars.iter().find(|told| told["bar"].as_str().is_some_and(|name| name.starts_with(bar)));
        assert!(told.is_some_and(|told| told["met"].is_boolean()), "{bar}: {bars:?}");
        // People are told as well.
        assert!(said.contains(bar), "{bar}: {said}");
    }
    assert!(!said.contains("sesame") && !String::from_utf8_lossy(&ended.stdout).contains("sesame"));
    assert_eq!(left_behind(&cluster).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_of_payments_that_cannot_be_says_why_and_leaves_nothing_behind() {
    let ended = bench_payments(&["--only", "writers"], None).await;
    assert_eq!(ended.status.code(), Some(2), "SQLite has one writer");
    if !is_installed_or_skip() {
        return;
    }
    let cluster = Cluster::start(Options::default().loopback()).await.expect("a cluster");
    cluster.query("postgres", ROLES).await.expect("roles");
    let address = cluster.address().expect("a port");
    for (role, path, reason) in [
        ("guest:sesame2", None, "permission denied to create database"),
        ("bench:wrong-sesame", None, "password authentication failed"),
        ("bench:sesame1", Some("/nowhere"), "failed to start pgbench"),
    ] {
        let url = format!("postgres://{role}@{address}/postgres");
        let ended = bench_payments(&["--database", &url], path).await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(reason) && !said.contains("sesame"), "{said}");
        assert_eq!(left_behind(&cluster).await, "", "after: {said}");
    }
}
