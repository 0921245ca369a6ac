//! The fleet as its operator and its registers meet it: what a terminal says of itself, and what is set for it.

use std::time::Duration;

use selfsame_api::configuration::ConfigurationSource;
use selfsame_api::fleet::Reason;
use selfsame_api::interface::{HandoverMode, Outcome, RegisterKind, Session, SessionState, TerminalState};
use serde_json::{Value, json};

use crate::payer::texts;
use crate::processes::{PATIENCE, Processes, refused};

/// A finger that nobody has enrolled.
const STRANGER: u64 = 77;

impl Processes {
    /// `selfsame desk ...` by the operator.
    async fn desk(&self, arguments: &[&str]) -> Option<String> {
        let key = self.site().join("keys/operator");
        let key = ["--key-file", key.to_str().expect("our own path")];
        self.run(&[&["desk"], arguments, &key].concat(), "").await
    }

    async fn configure(&self, arguments: &[&str]) -> Value {
        let set = self.desk(&[&["terminal", "configure"], arguments].concat()).await;
        serde_json::from_str(&set.expect("it can be set")).expect("JSON")
    }

    /// The till as the operator sees it, as soon as it is what is wanted.
    async fn seen(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let (operator, terminal) = (self.server("operator"), self.identity().terminal.terminal);
        let path = format!("/v1/terminals/{terminal}");
        let mut last = Value::Null;
        let seen = async {
            loop {
                if let Ok(found) = operator.get::<Value>(&path, PATIENCE).await {
                    if wanted(&found) {
                        return found;
                    }
                    last = found;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let seen = tokio::time::timeout(2 * PATIENCE, seen).await;
        seen.unwrap_or_else(|_| panic!("the operator does not see what is wanted, but: {last}"))
    }

    async fn request(&self, request_id: &str) -> Result<Session, selfsame_api::client::ClientError> {
        let identifier = json!({ "kind": "phone_last4", "value": "0142" });
        let request = json!({ "request_id": request_id, "modality": "finger", "identifier": identifier });
        self.interface.post("/v1/verifications", &request, PATIENCE).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_maintenance_no_payer_is_asked_to_look_and_the_cashier_reads_why() {
    let processes = Processes::start().await;
    processes.ready().await;
    let before = processes.ask("before").await;
    let set = processes.configure(&["all", "--maintenance", "back at 14:00"]).await;
    assert_eq!(set, json!({ "maintenance": { "text": "back at 14:00" } }));
    let status = processes.status(|status| status.state == TerminalState::Maintenance).await;
    assert_eq!(status.maintenance.and_then(|maintenance| maintenance.text).as_deref(), Some("back at 14:00"));
    assert_eq!((status.reasons, status.server_reachable), (vec![], true));

    let refusal = processes.request("refused").await.expect_err("no payer is asked");
    let problem = refusal.problem().expect("a problem");
    assert_eq!((problem.code.as_str(), problem.status), ("terminal_maintenance", 503));
    assert_eq!(problem.detail.as_deref(), Some("back at 14:00"));
    let prepared = processes.interface.post::<Value>("/v1/prepare", &json!({}), PATIENCE).await;
    assert_eq!(prepared.expect_err("no camera is opened").problem().expect("a problem").code, problem.code);
    // Who was there before goes on, also under the same reference.
    assert_eq!(processes.request("before").await.expect("the session from before").id, before.id);
    assert!(processes.press_until_done(&before, 5_000).await);

    assert_eq!(processes.configure(&["all", "--no-maintenance"]).await, json!({}));
    processes.ready().await;
    assert_eq!(processes.pay("afterwards", 5_100).await["result"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_a_terminal_holds_for_the_next_payer_and_the_request_comes_first() {
    let processes = Processes::start().await;
    processes.ready().await;
    let terminal = processes.identity().terminal.terminal.to_string();
    let set = ["--register", "screen", "--handover-mode", "immediate", "--language", "zh-CN"];
    processes.configure(&[&[terminal.as_str()], &set[..]].concat()).await;
    // A register that this terminal does not have: everybody sees that before the first payer.
    processes.configure(&[&terminal, "--register", "keyboard"]).await;
    let seen = processes.seen(|till| till["health"]["configuration"]["register"] == "keyboard").await;
    assert_eq!(seen["health"]["reasons"], json!(["register_unavailable"]));
    let status = processes.status(|_| true).await;
    assert_eq!((status.state, status.reasons), (TerminalState::Ready, vec![Reason::RegisterUnavailable]));
    processes.configure(&[&terminal, "--register", "screen"]).await;
    processes.configure(&[&terminal, "--deadline-seconds", "50"]).await;
    processes.seen(|till| till["configured"] == true && till["configuration"]["deadline_ms"] == 50_000).await;
    let status = processes.status(|status| status.reasons.is_empty()).await;
    let default = status.registers.iter().find(|offer| offer.is_default).expect("a default");
    assert_eq!((default.register, default.mode), (RegisterKind::Screen, HandoverMode::Immediate));

    let session = processes.request("set").await.expect("accepted");
    processes.follow(&session, |session| session.state == SessionState::Capturing).await;
    assert!(processes.press_by(STRANGER, 1).await);
    let guided = processes.follow(&session, |session| session.guidance.is_some()).await;
    let told = (guided.guidance.as_deref(), guided.guidance_text.as_deref());
    assert_eq!(told, (Some("not_recognised"), Some("请再试一次")));
    assert!(processes.press_until_done(&session, 5_000).await);
    let done = processes.follow(&session, |session| session.state == SessionState::Done).await;
    assert_eq!(
        done.handover.map(|handover| handover.register),
        Some(RegisterKind::Screen),
        "nobody asked for it"
    );
    assert_eq!(done.guidance_text, None);

    let request = json!({
        "request_id": "said", "modality": "finger", "deadline_ms": 1_000, "handover": { "mode": "on_request" },
    });
    let said: Session =
        processes.interface.post("/v1/verifications", &request, PATIENCE).await.expect("accepted");
    let said = processes.follow(&said, |session| session.state == SessionState::Done).await;
    assert_eq!(said.outcome, Some(Outcome::TimedOut));
    assert!(processes.desk(&["terminal", "configure", &terminal, "--register", "pigeon"]).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_without_its_server_says_so_and_keeps_what_was_set_through_a_restart() {
    let processes = Processes::start().await;
    processes.ready().await;
    let terminal = processes.identity().terminal.terminal.to_string();
    processes.configure(&[&terminal, "--deadline-seconds", "1"]).await;
    processes.seen(|till| till["configured"] == true && till["configuration"]["deadline_ms"] == 1_000).await;
    // It does not answer, and nobody starts another one: as if the line were cut.
    processes.signal("server", "-STOP").await;
    let offline = processes.status(|status| status.state == TerminalState::Offline).await;
    assert_eq!(offline.reasons, [Reason::ServerUnreachable]);
    assert_eq!((offline.server_reachable, offline.configuration_source), (false, ConfigurationSource::Kept));

    processes.kill("terminal").await;
    let kept = processes.status(|status| status.state == TerminalState::Offline).await;
    assert_eq!(kept.configuration_source, ConfigurationSource::Kept);
    let session = processes.request("kept").await.expect("accepted");
    let done = processes.follow(&session, |session| session.state == SessionState::Done).await;
    assert_eq!(done.outcome, Some(Outcome::TimedOut), "within the second that was set, and not a minute");

    processes.signal("server", "-CONT").await;
    let back = processes.status(|status| status.state == TerminalState::Ready).await;
    assert_eq!((back.server_reachable, back.configuration_source), (true, ConfigurationSource::Server));
    assert_eq!(back.reasons, []);
    processes.configure(&[&terminal, "--unset", "deadline"]).await;
    processes.seen(|till| till["online"] == true && till["configuration"]["deadline_ms"] == 60_000).await;
    assert_eq!(processes.pay("back", 5_100).await["result"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_program_that_is_gone_degrades_the_terminal_for_register_and_operator_until_it_is_back()
 {
    let processes = Processes::start().await;
    processes.ready().await;
    processes.signal("verifier", "-STOP").await;
    let degraded = processes.status(|status| status.state == TerminalState::Degraded).await;
    assert_eq!((degraded.reasons, degraded.modalities), (vec![Reason::VerifierUnavailable], vec![]));
    let seen = processes.seen(|till| till["health"]["state"] == "degraded").await;
    assert_eq!(seen["health"]["reasons"], json!(["verifier_unavailable"]));
    // It is replaced.
    processes.ready().await;
    let seen = processes.seen(|till| till["health"]["state"] == "ready").await;
    assert_eq!((&seen["health"]["reasons"], &seen["online"]), (&json!([]), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_far_off_is_named() {
    let processes = Processes::start().await;
    processes.ready().await;
    let well = processes.status(|status| status.clock_skew_ms.is_some()).await;
    assert!(well.clock_skew_ms.is_some_and(|skew_ms| skew_ms.abs() < 5_000), "{:?}", well.clock_skew_ms);
    // The server's clock, and not the terminal's, can be moved here: the terminal is behind by ten minutes.
    let advance = json!({ "seconds": 600 });
    let operator = processes.server("operator");
    operator.post::<Value>("/v1/test-clock/advance", &advance, PATIENCE).await.expect("a test site");
    // A change is reported at once, and the report refused.
    processes.configure(&["all", "--language", "zh-CN"]).await;
    let behind = processes.status(|status| status.state == TerminalState::Degraded).await;
    assert_eq!(behind.reasons, [Reason::ClockSkew]);
    let skew_ms = behind.clock_skew_ms.expect("measured");
    assert!((-605_000..=-595_000).contains(&skew_ms), "{skew_ms}");
    // A new server has the machine's clock again.
    processes.kill("server").await;
    processes.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lists_locks_and_retires_terminals_by_commands() {
    let processes = Processes::start().await;
    assert_eq!(processes.pay("counted", 5_000).await["result"], "paid");
    let till = processes.identity().terminal.terminal.to_string();
    // The next report tells of it: a new configuration is one.
    processes.configure(&["all", "--deadline-seconds", "59"]).await;
    let seen = processes.seen(|till| till["health"]["last_outcome"].is_object()).await;
    assert_eq!(seen["health"]["last_outcome"]["outcome"], "passed");
    for secret in ["0142", "A***", "Ada"] {
        assert!(!texts(&seen).iter().any(|told| told.contains(secret)), "{secret}: {seen}");
    }
    let listed = processes.desk(&["terminals", "--json"]).await.expect("a list");
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let found = listed.iter().find(|found| found["id"] == till.as_str()).expect("the till is there");
    assert_eq!(
        (&found["online"], &found["health"]["version"]),
        (&json!(true), &json!(env!("CARGO_PKG_VERSION")))
    );

    let store = found["store"].as_str().expect("a store");
    let made = processes.desk(&["terminal", "create", store, "Till 9", "--json"]).await.expect("made");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let made = made["id"].as_str().expect("an id");
    let table = processes.desk(&["terminals"]).await.expect("a table");
    let line = |id: &str| table.lines().find(|line| line.ends_with(id)).map(str::to_owned);
    let (there, waiting) = (line(&till).expect("the till"), line(made).expect("the new one"));
    assert!(there.starts_with("●") && there.contains("passed"), "{there}");
    assert!(waiting.starts_with('-') && waiting.contains("unactivated"), "{waiting}");

    processes.desk(&["terminal", "retire", made]).await.expect("retired");
    assert!(!processes.desk(&["terminals"]).await.expect("a table").contains(made));
    assert!(processes.desk(&["terminals", "--all"]).await.expect("a table").contains(made));
    processes.desk(&["terminal", "lock", &till]).await.expect("locked");
    processes.status(|status| status.state == TerminalState::Locked).await;
    assert_eq!(refused(processes.request("locked").await), "terminal_locked");
    processes.desk(&["terminal", "unlock", &till]).await.expect("unlocked");
    processes.ready().await;
    let shown = processes.desk(&["terminal", "show", &till]).await.expect("shown");
    assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON")["state"], "active");
}
