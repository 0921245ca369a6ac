//! Hundreds of verifications over the real processes, and processes killed at random: every request that was accepted has
//! its one outcome, and nothing grows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selfsame_api::interface::{HandoverRequest, Outcome, Session, SessionState};
use serde_json::json;

use crate::processes::{PATIENCE, PAUSE, Processes};

/// Verifications over real processes.
const VERIFICATIONS: u64 = 300;

/// Of these before the first look at what the processes take: connections, caches and the allocator have settled then.
const SETTLED: u64 = 100;

/// By how much a process may have grown from the first look to the last, in KiB: what two hundred remembered sessions and
/// an allocator's arenas may take. A picture that stays is 150 KiB, so two hundred of them are seen.
const GROWTH_KIB: u64 = 8 * 1024;

/// Kills unless `SELFSAME_KILLS` says otherwise. A program that is killed again and again starts after pauses of up to five
/// seconds, so a hundred take minutes: `SELFSAME_KILLS=100`.
const KILLS: u64 = 10;

const PROCESSES: [&str; 4] = ["server", "matcher", "terminal", "verifier"];

/// What a process takes.
#[derive(Debug)]
struct Taken {
    resident_kib: u64,
    handles: usize,
}

fn taken(processes: &Processes) -> BTreeMap<&'static str, Taken> {
    let of = |process| {
        let folder = format!("/proc/{}", processes.pid(process));
        let status = std::fs::read_to_string(format!("{folder}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let resident_kib = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        let handles = std::fs::read_dir(format!("{folder}/fd")).expect("its handles").count();
        Taken { resident_kib, handles }
    };
    PROCESSES.into_iter().map(|process| (process, of(process))).collect()
}

/// One verification that ends in the way its number says; answers the expected outcome and the real one.
async fn verify(processes: &Processes, number: u64) -> (Outcome, Session) {
    let mut request = json!({
        "request_id": format!("endurance-{number}"),
        "modality": "finger",
        "identifier": { "kind": "phone_last4", "value": "0142" },
    });
    let expected = match number % 8 {
        // Nobody touches the reader.
        0 => Outcome::TimedOut,
        // The cashier cancels before anybody was asked for anything, or while the finger is awaited.
        1 | 2 => Outcome::Canceled,
        _ => Outcome::Passed,
    };
    if expected == Outcome::TimedOut {
        request["deadline_ms"] = json!(1000);
    }
    let interface = &processes.interface;
    let mut session: Session =
        interface.post("/v1/verifications", &request, PATIENCE).await.expect("accepted");
    let path = format!("/v1/verifications/{}", session.id);
    if number % 8 != 1 {
        session = processes
            .follow(&session, |session| {
                !matches!(session.state, SessionState::Waking | SessionState::Verifying)
            })
            .await;
    }
    match expected {
        Outcome::Canceled => {
            let cancel = json!({ "reason": "cashier" });
            let _: Session =
                interface.post(&format!("{path}/cancel"), &cancel, PATIENCE).await.expect("canceled");
        }
        Outcome::Passed => {
            assert!(
                processes.press_until_done(&session, 10_000 + 10 * number).await,
                "verification {number}"
            );
            let handed: Session = interface
                .post(&format!("{path}/handover"), &HandoverRequest::default(), PATIENCE)
                .await
                .expect("handed over");
            assert!(
                handed.handover.is_some_and(|handover| handover.digits.is_some()),
                "verification {number}"
            );
        }
        _ => {}
    }
    (expected, processes.follow(&session, |session| session.state == SessionState::Done).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_verifications_over_real_processes_end_once_each_and_nothing_grows() {
    let processes = Processes::start().await;
    let mut before = BTreeMap::new();
    for number in 0..VERIFICATIONS {
        if number == SETTLED {
            before = taken(&processes);
        }
        let (expected, done) = verify(&processes, number).await;
        assert_eq!(done.outcome, Some(expected), "verification {number}: {:?}", done.error);
    }
    // Busy while a session is open.
    processes.ready().await;
    let after = taken(&processes);
    for (process, after) in &after {
        let before = &before[process];
        assert!(
            after.resident_kib <= before.resident_kib + GROWTH_KIB,
            "{process} grew from {before:?} to {after:?}"
        );
        // A connection more or less may be kept alive for the next request.
        assert!(after.handles <= before.handles + 4, "{process} grew from {before:?} to {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifier_and_matcher_are_killed_at_random_and_no_request_is_without_an_outcome() {
    let kills = match std::env::var("SELFSAME_KILLS") {
        Ok(kills) => kills.parse().expect("`SELFSAME_KILLS` is a number"),
        Err(_) => KILLS,
    };
    let processes = Arc::new(Processes::start().await);
    let over = Arc::new(AtomicBool::new(false));
    let payers = tokio::spawn(pay_until(processes.clone(), over.clone()));
    let random = |below: u64| getrandom::u64().expect("random numbers") % below;
    for _ in 0..kills {
        // Some moment of somebody's verification.
        for _ in 0..random(10) {
            tokio::time::sleep(PAUSE).await;
        }
        processes.kill(if random(2) == 0 { "verifier" } else { "matcher" }).await;
    }
    over.store(true, Ordering::Relaxed);
    let outcomes = payers.await.expect("every request has its outcome");
    println!("{kills} kills, {outcomes:?}");
    assert!(outcomes.contains_key("Failed"), "no kill met anybody: {outcomes:?}");
    assert_eq!(processes.pay("after-all-kills", 900_000).await["result"], "paid");
}

/// One payer after the other, as fast as the terminal takes them; answers how often each outcome came. Panics where a request
/// that was accepted has none.
async fn pay_until(processes: Arc<Processes>, over: Arc<AtomicBool>) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let request = json!({
            "request_id": format!("killed-{number}"),
            "modality": "finger",
            "identifier": { "kind": "phone_last4", "value": "0142" },
            "deadline_ms": 10_000,
        });
        // While nothing works the terminal says so before it takes a request.
        let Ok(session) = processes.interface.post::<Session>("/v1/verifications", &request, PATIENCE).await
        else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        processes.press_until_done(&session, 500_000 + 10 * number).await;
        let done = processes.follow(&session, |session| session.state == SessionState::Done).await;
        let outcome = done.outcome.expect("a session that is done has its outcome");
        *outcomes.entry(format!("{outcome:?}")).or_default() += 1;
    }
    outcomes
}
