//! The simulated terminal with everything real around it: server, matcher, codes, charges.

use std::sync::Arc;
use std::time::Duration;

use selfsame_api::client::Client;
use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{
    HandoverRequest, Outcome, Session, SessionState, TerminalState, TerminalStatus,
};
use selfsame_api::register::HandoverState;
use selfsame_api::simulator::{Delays, ExpectedHandover, NewScenario, Record, Scenario, SimulatorState};
use selfsame_domain::clock::SystemClock;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_terminal::register::Registers;
use selfsame_terminal::{Budgets, RegisterAccess, TerminalConfig, TerminalError, run_simulated_terminal};
use serde_json::{Value, json};

use crate::site::{Setup, TestSite};

/// Longest wait for something that only a defect can delay.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

fn config(site: &TestSite) -> TerminalConfig {
    TerminalConfig {
        socket: site.folder().join("terminal.sock"),
        verifier_socket: site.folder().join("verifier.sock"),
        journal: site.folder().join("journal"),
        configuration: site.folder().join("configuration.json"),
        identity: site.till.identity.clone(),
        budgets: Budgets { identifier: Duration::from_secs(20), capture: Duration::from_millis(500) },
        handover: Registers::default(),
        registers: RegisterAccess {
            registers: site.folder().join("registers.json"),
            origins: Vec::new(),
            loopback: None,
            lan: None,
        },
        kiosk: None,
        clock: Arc::new(SystemClock),
    }
}

fn chosen(scenario: Scenario) -> NewScenario {
    let delays = Delays { payer_ms: 5, server_ms: 20, busy_ms: 300 };
    NewScenario { scenario, delays, repeat: Some(1) }
}

/// The payers with a fate, and a terminal that verifies them.
async fn simulated(site: &TestSite) -> Client {
    for number in 0..4 {
        let member_number = format!("TEST-{number:04}");
        let payer = site.payer_with_number(7_000_000 + number, &member_number, SensorGrade::Simulated).await;
        if number == 0 {
            site.top_up(&payer.account, 10_000).await;
        }
    }
    let config = config(site);
    let interface = Client::unix(&config.socket, Arc::new(SystemClock));
    tokio::spawn(run_simulated_terminal(config, chosen(Scenario::Pass), std::future::pending()));
    let ready = async {
        loop {
            let status = interface.get::<TerminalStatus>("/v1/terminal", PATIENCE).await;
            if status.is_ok_and(|status| status.state == TerminalState::Ready) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("the terminal is ready");
    interface
}

/// Asks until the terminal is free, and follows the session to its end. Answers how often the terminal was busy.
async fn verify(interface: &Client, body: &Value) -> (Session, u32) {
    let mut busy = 0;
    let mut session: Session = loop {
        match interface.post("/v1/verifications", body, PATIENCE).await {
            Ok(session) => break session,
            Err(error) => {
                assert_eq!(error.problem().expect("a problem").code.as_str(), "busy");
                busy += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    while session.state != SessionState::Done {
        let path = format!("/v1/verifications/{}?after={}&wait_ms=5000", session.id, session.sequence);
        session = interface.get(&path, PATIENCE).await.expect("the session");
    }
    (session, busy)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_ends_as_it_says_at_a_real_server_and_its_code_is_charged() {
    let site = TestSite::start().await;
    let interface = simulated(&site).await;
    let mut paid = 0;
    for scenario in Scenario::ALL.iter().copied() {
        let state: SimulatorState =
            interface.post("/v1/simulator", &chosen(scenario), PATIENCE).await.expect("chosen");
        assert_eq!(state.next.scenario, scenario);
        let body = json!({ "request_id": format!("order-{scenario}"), "modality": "face" });
        let (done, busy) = verify(&interface, &body).await;
        let expected = scenario.describe();
        let error = done.error.map(|error| error.code);
        assert_eq!((done.outcome, error), (Some(expected.outcome), expected.error), "{scenario}");
        assert_eq!(busy > 0, scenario == Scenario::Busy, "{scenario}");
        let path = format!("/v1/verifications/{}/handover", done.id);
        let hand_over =
            async || interface.post::<Session>(&path, &HandoverRequest::default(), PATIENCE).await;
        match expected.handover {
            ExpectedHandover::None => {
                let refused = hand_over().await.expect_err("there is no pass");
                assert_eq!(
                    refused.problem().expect("a problem").code.as_str(),
                    "invalid_state",
                    "{scenario}"
                );
                continue;
            }
            ExpectedHandover::CodeOnSecondTry => {
                let lost = hand_over().await.expect_err("it is lost on the way");
                assert_eq!(lost.problem().expect("a problem").code.as_str(), "unavailable", "{scenario}");
            }
            ExpectedHandover::UncertainThenCode => {
                let stuck = hand_over().await.expect("an answer").handover.expect("a hand-over");
                assert_eq!((stuck.state, stuck.digits), (HandoverState::Uncertain, None), "{scenario}");
            }
            ExpectedHandover::Code => {}
        }
        let handed = hand_over().await.expect("a code").handover.and_then(|handover| handover.digits);
        site.charge(&format!("o-{scenario}"), 100, &handed.expect("digits")).await.ok(201);
        paid += 1;
    }
    assert_eq!(paid, 6);
    let record: Record = interface.get("/v1/simulator/record", PATIENCE).await.expect("the record");
    assert!(
        record.data.iter().any(|call| call.status == 409)
            && record.data.iter().any(|call| call.status == 503)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_site_has_no_simulator() {
    let site = TestSite::start_with(Setup { mode: Mode::Live, ..Setup::default() }).await;
    let refused = run_simulated_terminal(config(&site), chosen(Scenario::Pass), std::future::pending()).await;
    assert!(matches!(refused, Err(TerminalError::LiveSite)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_payers_of_a_test_site_nobody_passes() {
    let site = TestSite::start().await;
    let config = config(&site);
    let interface = Client::unix(&config.socket, Arc::new(SystemClock));
    tokio::spawn(run_simulated_terminal(config, chosen(Scenario::Pass), std::future::pending()));
    while interface.get::<TerminalStatus>("/v1/terminal", PATIENCE).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    let (done, _) = verify(&interface, &json!({ "request_id": "nobody", "modality": "finger" })).await;
    assert_eq!(
        (done.outcome, done.error.map(|error| error.code)),
        (Some(Outcome::Declined), None::<FailureCode>)
    );
}
