//! The simulator: a terminal without reader, camera and payer, for the makers of registers. Test sites only.
//!
//! Interface, sessions, verification program, server, codes and hand-over are the real ones. What is made up is what stands
//! around them: the payer (`payer`), the way to the payment server (`network`) and the verification program's clock. Samples
//! have the grade `simulated`, which live sites refuse, and the payers are the test site's member numbers with a fate.

mod network;
mod payer;
mod record;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use selfsame_api::client::Client;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::Json;
use selfsame_api::simulator::{
    BUSY_MS_MAX, NewScenario, PAYER_MS_MAX, REPEAT_MAX, Record, SERVER_MS_MAX, Scenario, SimulatorState,
};
use selfsame_api::verifier::Wake;
use selfsame_domain::clock::Clock;
use selfsame_domain::id::SessionId;
use selfsame_domain::sensor::Modality;
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::known_only;
use crate::capture::power::CameraPolicy;
use crate::capture::{CaptureError, CaptureSource, Sample};
use crate::interface::{TerminalConfig, run_with};
use crate::register::{CODE_CHARACTERS, HANDOVER_DEADLINE, Undelivered};
use crate::verification::Sessions;
use crate::verifier::{VerifierConfig, run_verifier};
use crate::{TerminalError, lock};

use network::Network;
use record::Recorder;

/// How far the clock is off in `clock_skew`: twice what a terminal corrects by itself.
const SKEW_MS: i64 = 2 * crate::device::SKEW_MAX_MS;

/// How often a terminal asks for a code in one hand-over.
const CODE_TRIES: u32 = 2;

/// What happens to the verification that is under way, or was last.
#[derive(Clone, Copy, Debug)]
struct Play {
    session: Option<SessionId>,
    chosen: NewScenario,
    /// Answers with codes that get lost from now on.
    codes_to_lose: u32,
    /// The next hand-over gets stuck.
    is_stuck: bool,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
struct Plan {
    chosen: NewScenario,
    /// The next session is the one of the other payer of `busy`.
    other_payer_next: bool,
}

/// A simulator. Clones are the same one.
#[derive(Clone)]
pub struct Simulator(Arc<Inner>);

struct Inner {
    plan: Mutex<Plan>,
    play: Mutex<Play>,
    /// Whether the way to the server is cut.
    cut: watch::Sender<bool>,
    clock: Arc<SkewedClock>,
    recorder: Recorder,
    verifier: Client,
    sessions: OnceLock<Weak<Sessions>>,
}

/// The verification program's clock.
struct SkewedClock {
    inner: Arc<dyn Clock>,
    skew_ms: AtomicI64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(self.inner.now().as_millis().saturating_add(skew_ms))
    }
}

/// Serves a simulated terminal until `shutdown` is done: the interface, and the verification program in the same process.
/// `first` is what happens before something else is chosen. A terminal of a live site is refused.
pub async fn run_simulated_terminal(
    mut config: TerminalConfig,
    first: NewScenario,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TerminalError> {
    if config.identity.terminal.mode != Mode::Test {
        return Err(TerminalError::LiveSite);
    }
    let clock = Arc::new(SkewedClock { inner: config.clock.clone(), skew_ms: AtomicI64::new(0) });
    let simulator =
        Simulator::new(first, clock.clone(), Client::unix(&config.verifier_socket, clock.clone()));
    let network = Network::open(simulator.clone(), &config.identity.server).await;
    let network = network.map_err(TerminalError::Serve)?;
    // From here on terminal and verification program reach the server over a way that can be cut.
    config.identity.server = network.url();
    let program = VerifierConfig {
        socket: config.verifier_socket.clone(),
        sources: vec![CaptureSource::Scripted(simulator.clone())],
        camera_policy: CameraPolicy::Cold,
        budgets: config.budgets,
        page: None,
        identity: config.identity.clone(),
        clock,
    };
    tokio::select! {
        served = run_verifier(program, std::future::pending()) => served,
        served = network.serve() => served.map_err(TerminalError::Serve),
        served = run_with(config, Some(simulator), shutdown) => served,
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(ProblemCode::InvalidRequest).detail(detail)
}

fn check(new: &NewScenario) -> Result<(), Problem> {
    let delays = [
        ("payer_ms", new.delays.payer_ms, PAYER_MS_MAX),
        ("server_ms", new.delays.server_ms, SERVER_MS_MAX),
        ("busy_ms", new.delays.busy_ms, BUSY_MS_MAX),
    ];
    for (name, value, most) in delays {
        if value > most {
            return Err(invalid(format!("`{name}` must be 0 to {most}")));
        }
    }
    if new.repeat.is_some_and(|repeat| !(1..=REPEAT_MAX).contains(&repeat)) {
        return Err(invalid(format!("`repeat` must be 1 to {REPEAT_MAX}")));
    }
    Ok(())
}

impl Simulator {
    fn new(first: NewScenario, clock: Arc<SkewedClock>, verifier: Client) -> Self {
        Self(Arc::new(Inner {
            plan: Mutex::new(Plan { chosen: first, other_payer_next: false }),
            play: Mutex::new(Play { session: None, chosen: first, codes_to_lose: 0, is_stuck: false }),
            cut: watch::Sender::new(false),
            recorder: Recorder::new(clock.inner.clone()),
            clock,
            verifier,
            sessions: OnceLock::new(),
        }))
    }

    fn sessions(&self) -> Option<Arc<Sessions>> {
        self.0.sessions.get().and_then(Weak::upgrade)
    }

    /// The terminal's sessions are these. What was chosen at start happens from now on.
    pub(crate) fn attach(&self, sessions: &Arc<Sessions>) {
        let _ = self.0.sessions.set(Arc::downgrade(sessions));
        let first = lock(&self.0.plan).chosen;
        if first.scenario == Scenario::Busy
            && let Err(problem) = self.send_other_payer()
        {
            tracing::warn!(%problem, "the other payer cannot come");
        }
    }

    /// Chooses what happens next.
    fn choose(&self, chosen: NewScenario) -> Result<(), Problem> {
        check(&chosen)?;
        lock(&self.0.plan).chosen = chosen;
        tracing::info!(scenario = %chosen.scenario, "chose what happens next");
        if chosen.scenario == Scenario::Busy { self.send_other_payer() } else { Ok(()) }
    }

    fn state(&self) -> SimulatorState {
        let scenarios = Scenario::ALL.iter().map(|scenario| scenario.describe()).collect();
        SimulatorState { next: lock(&self.0.plan).chosen, scenarios }
    }

    /// A verification begins: takes what was chosen for it, and sets the stage. Called before the verification program is
    /// woken.
    pub(crate) fn meet(&self, wake: &mut Wake) {
        let chosen = {
            let mut plan = lock(&self.0.plan);
            if std::mem::take(&mut plan.other_payer_next) {
                NewScenario { scenario: Scenario::PayerWalksAway, repeat: None, ..plan.chosen }
            } else {
                let chosen = plan.chosen;
                plan.chosen = match chosen.repeat {
                    Some(1) => NewScenario { scenario: Scenario::Pass, repeat: None, ..chosen },
                    left => NewScenario { repeat: left.map(|left| left - 1), ..chosen },
                };
                chosen
            }
        };
        // The payers of a test site are enrolled by finger; a register sees no difference.
        wake.modality = Modality::Finger;
        let typed_at_register = wake.identifier.take();
        wake.identifier = typed_at_register.and_then(|_| payer::given_at_register(chosen.scenario));
        let codes_to_lose = if chosen.scenario == Scenario::AnswerLostAfterIssue { CODE_TRIES } else { 0 };
        let is_stuck = chosen.scenario == Scenario::HandoverStuck;
        *lock(&self.0.play) = Play { session: Some(wake.session), chosen, codes_to_lose, is_stuck };
        self.set_stage(chosen.scenario);
    }

    fn set_stage(&self, scenario: Scenario) {
        self.0.cut.send_replace(scenario == Scenario::ServerDown);
        let skew_ms = if scenario == Scenario::ClockSkew { SKEW_MS } else { 0 };
        self.0.clock.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// The verification program was woken: the payer acts.
    pub(crate) fn play(&self, session: SessionId) {
        let play = *lock(&self.0.play);
        if play.session == Some(session) {
            tokio::spawn(payer::act(self.clone(), session, play.chosen));
        }
    }

    /// A session is over: server and clock are right again. What concerns its code goes on.
    fn end(&self, session: SessionId) {
        let play = lock(&self.0.play);
        if play.session != Some(session) {
            return;
        }
        self.set_stage(Scenario::Pass);
        let chosen = play.chosen.scenario;
        drop(play);
        if chosen == Scenario::Busy
            && lock(&self.0.plan).chosen.scenario == Scenario::Busy
            && let Err(problem) = self.send_other_payer()
        {
            tracing::info!(%problem, "the other payer comes too late");
        }
    }

    /// What the reader brings to the verification that is under way.
    pub(crate) async fn capture(&self) -> Result<Sample, CaptureError> {
        let chosen = lock(&self.0.play).chosen;
        tokio::time::sleep(Duration::from_millis(chosen.delays.payer_ms)).await;
        match chosen.scenario {
            Scenario::CameraUnplugged => Err(CaptureError::Unplugged),
            Scenario::PayerWalksAway | Scenario::PayerCancels => std::future::pending().await,
            _ => Ok(payer::sample()),
        }
    }

    /// Whether this hand-over is stuck; then it is answered when the terminal gives up.
    pub(crate) async fn hand_over(&self) -> Result<(), Undelivered> {
        if !std::mem::take(&mut lock(&self.0.play).is_stuck) {
            return Ok(());
        }
        tokio::time::sleep(HANDOVER_DEADLINE).await;
        Err(Undelivered::Uncertain {
            way: "the simulated register".to_owned(),
            sent: CODE_CHARACTERS / 2,
            whole: CODE_CHARACTERS,
            source: std::io::ErrorKind::TimedOut.into(),
        })
    }

    /// Routes beside those of the interface, and the record of everything that a register calls.
    pub(crate) fn around(&self, interface: Router) -> Router {
        let (routes, _) = routes().split_for_parts();
        interface
            .layer(from_fn_with_state(self.clone(), record::record))
            .merge(routes.with_state(self.clone()))
    }
}

/// The routes, with their part of the document. For paired registers and the terminal itself, as those of the interface.
pub(crate) fn routes() -> OpenApiRouter<Simulator> {
    let routes = OpenApiRouter::new().routes(routes!(show, choose)).routes(routes!(recorded));
    routes.route_layer(from_fn(known_only))
}

/// What can happen at a simulated terminal, and what happens next. Simulated terminals only.
#[utoipa::path(get, path = "/v1/simulator", tag = "simulator",
    responses((status = 200, body = SimulatorState), (status = "4XX", body = Problem)))]
async fn show(State(simulator): State<Simulator>) -> Json<SimulatorState> {
    Json(simulator.state())
}

/// Chooses what happens to the verifications that begin from now on. Simulated terminals only.
#[utoipa::path(post, path = "/v1/simulator", tag = "simulator", request_body = NewScenario,
    responses((status = 200, body = SimulatorState),
        (status = 409, body = Problem, description = "`busy` was chosen while a payer is being verified"),
        (status = "4XX", body = Problem)))]
async fn choose(
    State(simulator): State<Simulator>,
    Json(new): Json<NewScenario>,
) -> Result<Json<SimulatorState>, Problem> {
    simulator.choose(new)?;
    Ok(Json(simulator.state()))
}

/// What the register asked and what it got, without secrets: the latest 500 calls. Simulated terminals only.
#[utoipa::path(get, path = "/v1/simulator/record", tag = "simulator",
    responses((status = 200, body = Record), (status = "4XX", body = Problem)))]
async fn recorded(State(simulator): State<Simulator>) -> Json<Record> {
    Json(simulator.0.recorder.all())
}
