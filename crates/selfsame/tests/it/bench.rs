//! The benchmark of whole payments, run small: what it counts must add up, however fast the machine is.

use serde_json::Value;
use tempfile::TempDir;

use crate::processes::{PATIENCE, program};

/// What the smallest run comes to: two delays at two knobs and the mix, one payment for each flow.
const SETTINGS: usize = 4;

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
            assert_eq!(path.len(), 3, "one of order and verification is waited for: {path:?}");
            assert_eq!(path[1..], ["handover", "charge"]);
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
        let order = payment["steps"][0][1].as_u64().expect("the order's length");
        assert!(order >= 40_000, "a delay that was set is never undercut: {order}");
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
