//! The verification interface as a register's programmer meets it: events, leases, cancels, diagnostics.

use std::sync::Arc;

use selfsame_api::client::{Client, Events};
use selfsame_api::diagnostics::Diagnostics;
use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{
    Board, CancelResult, HandoverRequest, Outcome, Session, SessionState, TerminalState,
};
use selfsame_api::verifier::CameraWish;
use selfsame_domain::clock::SystemClock;
use serde_json::{Value, json};

use crate::payer::texts;
use crate::processes::{PATIENCE, Processes};

async fn events(client: &Client, path: &str) -> Events {
    client.events(path, PATIENCE, PATIENCE).await.expect("a stream of events")
}

/// All events until the stream ends.
async fn to_the_end(mut events: Events) -> Vec<Session> {
    let mut seen = Vec::new();
    while let Some(session) = events.next::<Session>().await.expect("a session") {
        seen.push(session);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn poll_events_and_later_questions_tell_the_same_outcome_once() {
    let processes = Processes::start().await;
    processes.ready().await;
    let session = processes.ask("told").await;
    let path = format!("/v1/verifications/{}/events", session.id);
    let (early, late) =
        (events(&processes.interface, &path).await, events(&processes.interface, &path).await);
    let streams = tokio::spawn(async move { tokio::join!(to_the_end(early), to_the_end(late)) });
    let mut board = events(&processes.interface, "/v1/events").await;
    assert!(processes.press_until_done(&session, 5_000).await);
    let polled = processes.follow(&session, |session| session.state == SessionState::Done).await;
    assert_eq!(polled.outcome, Some(Outcome::Passed));
    while board.next::<Board>().await.unwrap().unwrap().session.and_then(|s| s.outcome) != polled.outcome {}
    // A cancel before anything was paid is in time, and nothing changes after it: the streams end.
    let cancel = format!("/v1/verifications/{}/cancel", session.id);
    let canceled: Session =
        processes.interface.post(&cancel, &json!({ "reason": "cashier" }), PATIENCE).await.expect("canceled");
    assert_eq!((canceled.outcome, canceled.cancel), (Some(Outcome::Passed), Some(CancelResult::InTime)));
    let (early, late) = streams.await.expect("both streams end");
    for seen in [early, late] {
        assert!(seen.is_sorted_by_key(|session| session.sequence));
        let outcomes: Vec<_> = seen.iter().filter_map(|session| session.outcome).collect();
        assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == Outcome::Passed));
        assert!(seen.iter().skip_while(|session| session.outcome.is_none()).all(|s| s.outcome.is_some()));
    }
    // Whoever comes after the end hears it, too.
    let after = to_the_end(events(&processes.interface, &path).await).await;
    assert_eq!(after.last().map(|session| session.outcome), Some(Some(Outcome::Passed)));
    let wrong = reqwest::Client::builder()
        .unix_socket(processes.site().join("run/terminal.sock"))
        .build()
        .expect("a client")
        .get(format!("http://localhost{path}"))
        .header("last-event-id", "none")
        .send()
        .await
        .expect("an answer");
    assert_eq!(wrong.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_payment_says_that_it_is_too_late_and_the_session_tells_of_the_payment() {
    let processes = Processes::start().await;
    processes.ready().await;
    let session = processes.ask("late").await;
    assert!(processes.press_until_done(&session, 5_000).await);
    let path = format!("/v1/verifications/{}", session.id);
    let handed: Session = processes
        .interface
        .post(&format!("{path}/handover"), &HandoverRequest::default(), PATIENCE)
        .await
        .expect("a code");
    let digits = handed.handover.and_then(|handover| handover.digits).expect("digits");
    assert_eq!(processes.charge("late", &digits).await["result"], "paid");
    let paid =
        processes.follow(&session, |session| session.payment.is_some()).await.payment.expect("a payment");
    assert_eq!((paid.amount.minor(), paid.merchant_name.as_str()), (10, "Canteen"));
    let cancel = json!({ "reason": "pos_shutdown" });
    let canceled: Session =
        processes.interface.post(&format!("{path}/cancel"), &cancel, PATIENCE).await.expect("answered");
    assert_eq!(canceled.cancel, Some(CancelResult::TooLate));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_went_away_leaves_the_terminal_free_and_one_that_waits_keeps_it() {
    let processes = Processes::start().await;
    processes.ready().await;
    let asked = |request_id: &str, lease_ms: u64| json!({ "request_id": request_id, "modality": "finger", "lease_ms": lease_ms });
    let short = processes.interface.post::<Session>("/v1/verifications", &asked("short", 1), PATIENCE).await;
    assert_eq!(short.expect_err("too short").problem().expect("a problem").code.as_str(), "invalid_request");
    let session: Session = processes
        .interface
        .post("/v1/verifications", &asked("gone", 2_000), PATIENCE)
        .await
        .expect("accepted");
    // Nobody asks about this session; what is looked at is the terminal.
    processes.ready().await;
    let left = processes.follow(&session, |session| session.state == SessionState::Done).await;
    let why = left.error.map(|error| error.code);
    assert_eq!((left.outcome, why), (Some(Outcome::Canceled), Some(FailureCode::CallerGone)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_does_not_come_ends_as_timed_out_and_costs_nobody_anything() {
    let processes = Processes::start().await;
    processes.ready().await;
    let changes = [
        ("identifier_seconds = 30", "identifier_seconds = 1"),
        ("capture_seconds = 30", "capture_seconds = 1"),
    ];
    processes.change_settings(&changes).await;
    let ask = async |body: Value| {
        let session: Session =
            processes.interface.post("/v1/verifications", &body, PATIENCE).await.expect("accepted");
        processes.follow(&session, |session| session.state == SessionState::Done).await
    };
    let no_digits = ask(json!({ "request_id": "no-digits", "modality": "finger" })).await;
    let identifier = json!({ "kind": "phone_last4", "value": "0142" });
    let no_finger =
        ask(json!({ "request_id": "no-finger", "modality": "finger", "identifier": identifier })).await;
    for ended in [no_digits, no_finger] {
        let why = ended.error.map(|error| error.code);
        assert_eq!((ended.outcome, why), (Some(Outcome::TimedOut), Some(FailureCode::PayerAbsent)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_that_expects_a_payer_has_the_camera_opened() {
    let processes = Processes::start().await;
    processes.ready().await;
    let verifier = Client::unix(&processes.site().join("run/verifier.sock"), Arc::new(SystemClock));
    let before: CameraWish = verifier.get("/v1/camera", PATIENCE).await.expect("the camera's switch");
    assert!(!before.on);
    processes.interface.post::<Value>("/v1/prepare", &json!({}), PATIENCE).await.expect("prepared");
    let path = format!("/v1/camera?after={}&wait_ms=25000", before.sequence);
    assert!(verifier.get::<CameraWish>(&path, PATIENCE).await.expect("news").on);
}

#[tokio::test(flavor = "multi_thread")]
async fn diagnostics_tell_how_the_terminal_fares_and_nothing_of_anybody() {
    let processes = Processes::start().await;
    assert_eq!(processes.pay("diagnosed", 5_000).await["result"], "paid");
    let text: Value = processes.interface.get("/v1/diagnostics", PATIENCE).await.expect("diagnostics");
    for secret in ["0142", "A***", "Ada", "digits"] {
        assert!(!texts(&text).iter().any(|told| told.contains(secret)), "{secret}: {text}");
    }
    let told: Diagnostics = serde_json::from_value(text).expect("as documented");
    assert_eq!(told.standing.as_deref(), Some("active"));
    assert!(told.outcomes["passed"] >= 1 && told.latest[0].outcome == Some(Outcome::Passed));
    assert!(told.verifier.is_some_and(|verifier| verifier.sources == ["synthetic"]));
    assert_eq!(told.budgets_ms["wake"], 1_500);
    processes.kill("server").await;
    let board = events(&processes.interface, "/v1/events").await;
    let mut board = board;
    // It was away for a moment, or is back already: both are told as they are.
    while board.next::<Board>().await.unwrap().unwrap().terminal.state != TerminalState::Ready {}
}
