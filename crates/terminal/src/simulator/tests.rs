//! Every scenario, over and over, through the real interface, sessions and verification program, on paused time. The payment
//! server is a few lines here that decide by the member number, so that nothing but this crate can grow.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use axum::body::Bytes as Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use selfsame_api::bytes::Bytes;
use selfsame_api::channel::Situation;
use selfsame_api::diagnostics::Diagnostics;
use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{HandoverRequest, Outcome, Session, SessionState};
use selfsame_api::payment_code::PaymentCode;
use selfsame_api::register::HandoverState;
use selfsame_api::sealing::OpeningKey;
use selfsame_api::simulator::{Delays, ExpectedHandover};
use selfsame_api::terminal::{ActivatedTerminal, Activation};
use selfsame_api::verification::{Decision, Ending, NewVerification, Verification};
use selfsame_domain::clock::AdvancingClock;
use selfsame_domain::id::{KeyId, MerchantId, PaymentCodeId, StoreId, TerminalId, VerificationId};
use selfsame_domain::payment_code::{PaymentCode as Digits, Prefix};
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::terminal::{Purpose, Standing};
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::State as ServerState;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::device::{DeviceIdentity, KeySource};
use crate::listen::RegisterAccess;
use crate::random;
use crate::register::Registers;
use crate::verifier::Budgets;

/// How many. Half a minute of a busy machine.
const VERIFICATIONS: usize = 10_000;

/// The simulated time between two payers. A day has 288 of them, so that most sessions of this test are forgotten again.
const BETWEEN_PAYERS: Duration = Duration::from_secs(300);

/// Longest wait for anything, on paused time.
const PATIENCE: Duration = Duration::from_secs(300);

/// A clock that stands, for one that is advanced.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000)
    }
}

type TestClock = AdvancingClock<Still>;

/// The payment server, as far as a terminal sees it.
struct Server {
    clock: Arc<TestClock>,
    mode: Mode,
    key: OpeningKey,
    terminal: TerminalId,
    open: Mutex<HashMap<VerificationId, (String, Verification)>>,
    codes: AtomicU64,
    samples: AtomicU64,
    ended: AtomicU64,
}

impl Server {
    fn activate(&self, activation: &Activation) -> ActivatedTerminal {
        let now = self.clock.now();
        ActivatedTerminal {
            terminal: activation.terminal,
            key_id: KeyId::new(now, [1; 10]),
            merchant: MerchantId::new(now, [1; 10]),
            store: StoreId::new(now, [1; 10]),
            purpose: Purpose::Till,
            mode: self.mode,
            matcher_key: self.key.public().clone(),
            server_time: now,
        }
    }

    /// Refuses requests that were signed at another time, as the real server does.
    fn check_clock(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let input = headers["signature-input"].to_str().unwrap();
        let created = input.split_once(";created=").and_then(|(_, rest)| rest.split_once(';')).unwrap().0;
        let age_seconds = self.clock.now().as_seconds() - created.parse::<i64>().unwrap();
        if age_seconds.abs() <= 30 {
            return Ok(());
        }
        let problem = Problem::new(ProblemCode::SignatureExpired);
        Err(Problem { server_time: Some(self.clock.now().to_string()), ..problem })
    }

    fn open(&self, new: &NewVerification) -> Verification {
        assert_eq!(new.sensor_grade, SensorGrade::Simulated);
        let verification = Verification {
            id: VerificationId::new(self.clock.now(), random()),
            terminal: self.terminal,
            sensor_grade: new.sensor_grade,
            challenge: None,
            state: ServerState::Capturing,
            ending: None,
            nonce: Some(Bytes::from(random::<32>())),
            attempts_left: 3,
            payer_display: None,
            paid: false,
            expires_at: self.clock.now() + Duration::from_secs(60),
            timings: Timings::default(),
        };
        let kept = (new.identifier.value.clone(), verification.clone());
        lock(&self.open).insert(verification.id, kept);
        verification
    }

    fn decide(&self, verification: VerificationId) -> Verification {
        self.samples.fetch_add(1, Ordering::Relaxed);
        let mut open = lock(&self.open);
        let (number, found) = open.get_mut(&verification).expect("it was opened");
        let decision = match number.as_str() {
            "TEST-0000" => Decision::Match,
            "TEST-0001" => Decision::NoMatch,
            "TEST-0002" => Decision::Ambiguous,
            "TEST-0003" => Decision::Attack,
            other => panic!("the payer typed {other}"),
        };
        found.ending = Some(Ending::Decision { decision });
        found.attempts_left -= 1;
        found.state = match decision {
            Decision::Match => ServerState::Passed,
            Decision::NoMatch if found.attempts_left > 0 => ServerState::Capturing,
            _ => ServerState::Failed,
        };
        found.nonce = (found.state == ServerState::Capturing).then(|| Bytes::from(random::<32>()));
        let answer = found.clone();
        if answer.state != ServerState::Capturing {
            open.remove(&verification);
        }
        answer
    }

    fn end(&self, verification: VerificationId) -> Result<Verification, Problem> {
        let ended = lock(&self.open).remove(&verification);
        let (_, ended) = ended.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
        self.ended.fetch_add(1, Ordering::Relaxed);
        Ok(Verification { state: ServerState::Ended, ..ended })
    }

    fn issue(&self, verification: VerificationId) -> PaymentCode {
        let number = self.codes.fetch_add(1, Ordering::Relaxed);
        let prefix = Prefix::default_for(self.mode);
        let digits = Digits::from_random(prefix, &[number]).expect("a small number");
        PaymentCode {
            id: PaymentCodeId::new(self.clock.now(), random()),
            verification,
            digits: digits.expose().to_owned(),
            amount_minor_max: 5_000,
            currency: "EUR".parse().unwrap(),
            expires_at: self.clock.now() + Duration::from_secs(60),
            expires_in_ms: 60_000,
        }
    }

    /// The first event of the channel; it stays open and says no more.
    fn situation(&self) -> Response {
        let situation = Situation {
            terminal: self.terminal,
            standing: Standing::Active,
            configuration: None,
            place: None,
            payments: Vec::new(),
        };
        let event = format!("data: {}\n\n", serde_json::to_string(&situation).unwrap());
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(event)]);
        let events = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        ([(header::CONTENT_TYPE, "text/event-stream")], axum::body::Body::from_stream(events)).into_response()
    }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &Body) -> T {
    serde_json::from_slice(body).expect("the terminal sends what is documented")
}

type Shared = State<Arc<Server>>;

fn server_routes(server: Arc<Server>) -> Router {
    let activate = async |State(server): Shared, body: Body| Json(server.activate(&parsed(&body)));
    let open = async |State(server): Shared, headers: HeaderMap, body: Body| {
        server.check_clock(&headers)?;
        Ok::<_, Problem>((StatusCode::CREATED, Json(server.open(&parsed(&body)))))
    };
    let samples =
        async |State(server): Shared, Path(id): Path<String>| Json(server.decide(id.parse().unwrap()));
    let end = async |State(server): Shared, Path(id): Path<String>| server.end(id.parse().unwrap()).map(Json);
    let issue = async |State(server): Shared, body: Body| {
        let asked: Value = parsed(&body);
        Json(server.issue(asked["verification"].as_str().unwrap().parse().unwrap()))
    };
    let channel = async |State(server): Shared| server.situation();
    Router::new()
        .route("/v1/terminals/activate", post(activate))
        .route("/v1/verifications", post(open))
        .route("/v1/verifications/{id}/samples", post(samples))
        .route("/v1/verifications/{id}/end", post(end))
        .route("/v1/payment-codes", post(issue))
        .route("/v1/channel", get(channel))
        .with_state(server)
}

/// A simulated terminal with its server.
struct World {
    _folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    server: Arc<Server>,
    interface: Client,
}

/// A server on a port of its own, and a terminal that was activated there.
async fn activated(mode: Mode) -> (World, TerminalConfig) {
    let clock = Arc::new(AdvancingClock::new(Still));
    let folder = tempfile::TempDir::with_prefix_in("selfsame-", "/tmp").unwrap();
    let terminal = TerminalId::new(clock.now(), [7; 10]);
    let server = Arc::new(Server {
        clock: clock.clone(),
        mode,
        key: OpeningKey::from_seed(&Zeroizing::new([4; 32])),
        terminal,
        open: Mutex::default(),
        codes: AtomicU64::new(0),
        samples: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = server_routes(server.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let file = folder.path().join("device.json");
    let identity =
        DeviceIdentity::activate(&url, terminal, "any", KeySource::File, &file, clock.clone()).await.unwrap();
    let config = TerminalConfig {
        socket: folder.path().join("terminal.sock"),
        verifier_socket: folder.path().join("verifier.sock"),
        journal: folder.path().join("journal"),
        configuration: folder.path().join("configuration.json"),
        identity,
        budgets: Budgets { identifier: Duration::from_secs(20), capture: Duration::from_secs(8) },
        handover: Registers::default(),
        registers: RegisterAccess {
            registers: folder.path().join("registers.json"),
            origins: Vec::new(),
            loopback: None,
            lan: None,
        },
        kiosk: None,
        clock: clock.clone(),
    };
    let interface = Client::unix(&config.socket, clock.clone());
    (World { _folder: folder, clock, server, interface }, config)
}

/// What is usual, and takes as long.
fn chosen(scenario: Scenario) -> NewScenario {
    let delays = Delays { payer_ms: 50, server_ms: 40, busy_ms: 400 };
    NewScenario { scenario, delays, repeat: Some(1) }
}

impl World {
    /// A terminal that runs as long as the test.
    async fn start() -> Self {
        let (world, config) = activated(Mode::Test).await;
        tokio::spawn(run_simulated_terminal(config, chosen(Scenario::Pass), std::future::pending()));
        while world.interface.get::<Value>("/v1/terminal", PATIENCE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Session, Box<Problem>> {
        self.interface.post(path, body, PATIENCE).await.map_err(|error| match error {
            selfsame_api::client::ClientError::Problem(problem) => problem,
            other => panic!("{path}: {other}"),
        })
    }

    /// Asks as a register does: again and again while the terminal is busy. Answers how often it was.
    async fn ask(&self, body: &Value) -> (Session, u32) {
        for busy in 0.. {
            match self.post("/v1/verifications", body).await {
                Ok(session) => return (session, busy),
                Err(problem) if problem.code == ProblemCode::Busy => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(problem) => panic!("{problem}"),
            }
        }
        unreachable!("the loop ends by its returns")
    }

    async fn done(&self, session: &Session) -> Session {
        let mut found = session.clone();
        while found.state != SessionState::Done {
            let path = format!("/v1/verifications/{}?after={}&wait_ms=25000", found.id, found.sequence);
            found = self.interface.get(&path, PATIENCE).await.expect("a session");
        }
        found
    }

    /// One verification as a register makes it, checked against what the scenario promises.
    async fn verify(&self, number: usize, scenario: Scenario) {
        self.interface
            .post::<SimulatorState>("/v1/simulator", &chosen(scenario), PATIENCE)
            .await
            .expect("chosen");
        // Half of the registers take the code at once, half of them the identifier by themselves.
        let turn = number / Scenario::ALL.len();
        let at_once = turn % 2 == 1;
        let mut body = json!({ "request_id": format!("order-{number}"), "modality": "face",
            "handover": { "mode": if at_once { "immediate" } else { "on_request" } } });
        if turn % 4 < 2 {
            body["identifier"] = json!({ "kind": "phone_last4", "value": "0142" });
        }
        let (session, busy) = self.ask(&body).await;
        assert_eq!(busy > 0, scenario == Scenario::Busy, "{scenario}");
        let done = self.done(&session).await;
        let expected = scenario.describe();
        let error = done.error.map(|error| error.code);
        assert_eq!(done.outcome, Some(expected.outcome), "{scenario} {error:?}");
        let expected_error = match expected.handover {
            ExpectedHandover::CodeOnSecondTry if at_once => Some(FailureCode::CodeIssueFailed),
            ExpectedHandover::UncertainThenCode if at_once => Some(FailureCode::HandoverUncertain),
            _ => expected.error,
        };
        assert_eq!(error, expected_error, "{scenario}");
        self.hand_over(&done, expected.handover, at_once).await;
        let later = self.done(&self.post("/v1/verifications", &body).await.expect("the same again")).await;
        assert_eq!((later.id, later.outcome), (done.id, done.outcome), "{scenario}");
    }

    async fn hand_over(&self, done: &Session, expected: ExpectedHandover, at_once: bool) {
        let path = format!("/v1/verifications/{}/handover", done.id);
        let ask = async || self.post(&path, &json!(HandoverRequest::default())).await;
        let digits =
            |session: &Session| session.handover.as_ref().and_then(|handover| handover.digits.clone());
        match (expected, at_once) {
            (ExpectedHandover::None, _) => {
                assert_eq!(ask().await.expect_err("there is no pass").code, ProblemCode::InvalidState);
            }
            (ExpectedHandover::Code, true) => assert!(digits(done).is_some()),
            (ExpectedHandover::CodeOnSecondTry, false) => {
                assert_eq!(ask().await.expect_err("it is lost").code, ProblemCode::Unavailable);
                assert!(digits(&ask().await.expect("a code")).is_some());
            }
            (ExpectedHandover::UncertainThenCode, _) => {
                let first = if at_once { done.clone() } else { ask().await.expect("an answer") };
                assert_eq!(digits(&first), None);
                assert_eq!(first.handover.map(|handover| handover.state), Some(HandoverState::Uncertain));
                assert!(digits(&ask().await.expect("a code")).is_some());
            }
            (ExpectedHandover::Code, false) | (ExpectedHandover::CodeOnSecondTry, true) => {
                assert!(digits(&ask().await.expect("a code")).is_some());
            }
        }
    }

    async fn diagnostics(&self) -> Diagnostics {
        self.interface.get("/v1/diagnostics", PATIENCE).await.expect("diagnostics")
    }
}

/// What must not grow: open files, tasks, and the memory that is in use, in pages.
fn usage() -> (usize, usize, usize) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    (files, tasks, statm.split(' ').nth(1).unwrap().parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_verification_has_its_one_outcome_and_nothing_grows() {
    let world = World::start().await;
    let mut before = None;
    for number in 0..VERIFICATIONS {
        // By then days have passed, and as many sessions are forgotten as begin.
        if number == VERIFICATIONS / 4 {
            before = Some((usage(), world.diagnostics().await));
        }
        world.verify(number, Scenario::ALL[number % Scenario::ALL.len()]).await;
        world.clock.advance(BETWEEN_PAYERS);
    }
    let ((files, tasks, pages), known) = before.expect("it was looked at half way");
    let ((files_after, tasks_after, pages_after), known_after) = (usage(), world.diagnostics().await);
    println!(
        "files {files} -> {files_after}, tasks {tasks} -> {tasks_after}, pages {pages} -> {pages_after}"
    );
    let sessions = |known: &Diagnostics| known.outcomes.values().sum::<u64>();
    let a_day = crate::journal::MEMORY.as_secs() / BETWEEN_PAYERS.as_secs();
    // The other payers of `busy` have sessions as well.
    let most = a_day + a_day / Scenario::ALL.len() as u64 + 3;
    assert!(sessions(&known) <= most && sessions(&known_after) <= most, "{:?}", known_after.outcomes);
    assert!(files_after <= files + 4, "{files} files became {files_after}");
    assert!(tasks_after <= tasks + 4, "{tasks} tasks became {tasks_after}");
    assert!(pages_after <= pages + 1024, "{pages} pages of memory became {pages_after}");
    // What the last payers left is ended at the server a moment later. An end that did not arrive is made up for by time:
    // on a busy machine the paused clock runs ahead of answers that are on their way, of one in eleven when it was busiest.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let now = world.clock.now();
    let awaited = lock(&world.server.open).values().filter(|(_, open)| open.expires_at > now).count();
    assert_eq!(awaited, 0, "the server still waits for samples of verifications that are over");
    let (ended, opened) = (world.server.ended.load(Ordering::Relaxed), lock(&world.server.open).len() as u64);
    assert!(ended > 4 * opened, "{ended} were ended and {opened} forgotten");
    assert!(
        world.server.codes.load(Ordering::Relaxed) > 0 && world.server.samples.load(Ordering::Relaxed) > 0
    );
}

#[tokio::test]
async fn a_terminal_of_a_live_site_is_not_simulated() {
    let (_world, config) = activated(Mode::Live).await;
    let refused = run_simulated_terminal(config, chosen(Scenario::Pass), std::future::pending()).await;
    assert!(matches!(refused, Err(TerminalError::LiveSite)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_choice_is_checked_lasts_as_long_as_it_says_and_is_told() {
    let world = World::start().await;
    let choose = async |body: Value| {
        world
            .interface
            .post::<SimulatorState>("/v1/simulator", &body, PATIENCE)
            .await
            .map_err(|error| error.problem().expect("a problem").code)
    };
    for wrong in [
        json!({ "scenario": "passed" }),
        json!({ "scenario": "pass", "repeat": 0 }),
        json!({ "scenario": "pass", "delays": { "payer_ms": PAYER_MS_MAX + 1 } }),
        json!({ "scenario": "server_slow", "delays": { "server_ms": SERVER_MS_MAX + 1 } }),
        json!({ "scenario": "busy", "delays": { "busy_ms": BUSY_MS_MAX + 1 } }),
    ] {
        assert_eq!(choose(wrong.clone()).await, Err(ProblemCode::InvalidRequest), "{wrong}");
    }
    let twice = json!({ "scenario": "liveness_fail", "repeat": 2, "delays": { "payer_ms": 1 } });
    assert_eq!(choose(twice).await.expect("chosen").next.repeat, Some(2));
    let mut outcomes = Vec::new();
    for number in 0..3 {
        let body = json!({ "request_id": format!("three-{number}"), "modality": "finger" });
        let (session, _) = world.ask(&body).await;
        outcomes.push(world.done(&session).await.outcome.unwrap());
    }
    assert_eq!(outcomes, [Outcome::Declined, Outcome::Declined, Outcome::Passed]);
    let state: SimulatorState = world.interface.get("/v1/simulator", PATIENCE).await.expect("told");
    assert_eq!((state.next.scenario, state.next.repeat), (Scenario::Pass, None));
    assert_eq!(state.scenarios.len(), Scenario::ALL.len());
}

#[tokio::test(start_paused = true)]
async fn the_record_tells_what_the_register_got_and_no_secret() {
    let world = World::start().await;
    world.verify(Scenario::ALL.len(), Scenario::Pass).await;
    let record: Record = world.interface.get("/v1/simulator/record", PATIENCE).await.expect("the record");
    let calls: Vec<_> = record.data.iter().map(|call| (call.method.as_str(), call.status)).collect();
    assert!(calls.contains(&("POST", 202)) && calls.contains(&("GET", 200)), "{calls:?}");
    assert!(record.data.iter().all(|call| !call.path.starts_with("/v1/simulator")));
    let text = serde_json::to_string(&record).unwrap();
    assert!(text.contains("\"***") && text.contains("code_id"), "{text}");
    // In quotes: the last four digits of a code are told, and may be these.
    for secret in ["\"0142", "\"980000"] {
        assert!(!text.contains(secret), "{secret}");
    }
}
