//! The biometric payment verification program (step 2 of the method): woken by the terminal, it takes the identifier
//! and a sample from the payer, and asks the payment server who this is.
//!
//! Identifier first: nothing is captured before the server has selected an account with a consent in force. Every run
//! ends in exactly one [`Verdict`], by its deadline at the latest. Samples live in memory for the length of one try
//! and leave this process sealed to the matcher.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use selfsame_api::account::Identifier;
use selfsame_api::client::ClientError;
use selfsame_api::failure::{FailureCode, SessionError};
use selfsame_api::interface::{Outcome, Prepare, SessionState, WAIT_MS_MAX};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::FrameContext;
use selfsame_api::serve::{Json, Query, bind_unix, with_fallbacks};
use selfsame_api::verification::{Decision, Ending, NewVerification, Samples, Verification};
use selfsame_api::verifier::{CancelWake, PadInput, Progress, Verdict, VerifierStatus, Wake};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{SessionId, VerificationId};
use selfsame_domain::sensor::Modality;
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::{Fault, State as ServerState};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::capture::power::{CameraPolicy, CameraPower};
use crate::capture::{CaptureError, CaptureSource, Sample};
use crate::device::{DeviceIdentity, ServerLink};
use crate::enrolment::seal_all;
use crate::page::PageAccess;
use crate::{TerminalError, lock};

/// Longest wait for an answer of the payment server to one call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before the second try of a call that found nobody: a process that died is back by then.
const RETRY_PAUSE: Duration = Duration::from_millis(400);

/// How often a payer may give more digits in one session, before the till has to start again.
const IDENTIFIERS_MAX: u32 = 3;

/// How long a payer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// From the question to the identifier.
    pub identifier: Duration,
    /// From the call to look or touch to a usable sample, each time.
    pub capture: Duration,
}

/// What the verification program is told at start.
pub struct VerifierConfig {
    /// Where it listens.
    pub socket: PathBuf,
    /// Where samples come from, one source a modality.
    pub sources: Vec<CaptureSource>,
    /// When a camera is on.
    pub camera_policy: CameraPolicy,
    /// How long a payer may take.
    pub budgets: Budgets,
    /// The way in for a page, if there is one.
    pub page: Option<PageAccess>,
    /// Who this machine is.
    pub identity: DeviceIdentity,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The run of one session.
struct Run {
    session: SessionId,
    progress: watch::Sender<Progress>,
    pad: mpsc::Sender<Identifier>,
    /// The server's verification, once it is open.
    verification: Mutex<Option<VerificationId>>,
    /// Stages that the server has not been told yet.
    untold: Mutex<Timings>,
    task: Mutex<Option<AbortHandle>>,
}

struct Program {
    sources: Vec<CaptureSource>,
    identity: DeviceIdentity,
    link: ServerLink,
    power: CameraPower,
    budgets: Budgets,
    current: Mutex<Option<Arc<Run>>>,
    counters: Mutex<BTreeMap<String, u64>>,
}

type App = Arc<Program>;

/// Serves until `shutdown` is done.
pub async fn run_verifier(
    config: VerifierConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TerminalError> {
    let listener = bind_unix(&config.socket)
        .map_err(|source| TerminalError::Listen { socket: config.socket.clone(), source })?;
    let program = Program {
        link: config.identity.link(config.clock),
        sources: config.sources,
        power: CameraPower::new(config.camera_policy),
        budgets: config.budgets,
        identity: config.identity,
        current: Mutex::new(None),
        counters: Mutex::new(BTreeMap::new()),
    };
    let sources =
        program.sources.iter().fold(program.power.routes(), |router, source| router.merge(source.routes()));
    // What the payer's page shows and takes. Waking and cancelling is the terminal's.
    let payer = Router::new().route("/v1/progress", get(progress)).route("/v1/identifier", post(identifier));
    let app = Arc::new(program);
    let for_page = with_fallbacks(payer.clone().with_state(app.clone()).merge(sources.clone()));
    let router = payer
        .route("/v1/verifier", get(status))
        .route("/v1/prepare", post(prepare))
        .route("/v1/wake", post(wake))
        .route("/v1/cancel", post(cancel))
        .with_state(app)
        .merge(sources);
    let page = async {
        match config.page {
            Some(page) => page.serve(for_page).await,
            None => std::future::pending().await,
        }
    };
    // No draining: whoever waits here is told by the end of the connection, and nothing is written on this side.
    tokio::select! {
        served = async { axum::serve(listener, with_fallbacks(router)).await } => {
            served.map_err(TerminalError::Serve)
        }
        served = page => served.map_err(TerminalError::Serve),
        () = shutdown => Ok(()),
    }
}

async fn status(State(app): State<App>) -> Json<VerifierStatus> {
    Json(VerifierStatus {
        modalities: app.sources.iter().map(CaptureSource::modality).collect(),
        sources: app.sources.iter().map(|source| source.name().to_owned()).collect(),
        counters: lock(&app.counters).clone(),
    })
}

/// A payer comes soon.
async fn prepare(State(app): State<App>, Json(Prepare {}): Json<Prepare>) -> StatusCode {
    app.power.prepare();
    StatusCode::ACCEPTED
}

/// Begins to verify a payer. The payer before, if there is one, is given up.
async fn wake(State(app): State<App>, Json(wake): Json<Wake>) -> Json<Progress> {
    let first = Progress {
        session: wake.session,
        sequence: 1,
        state: if wake.identifier.is_some() {
            SessionState::Verifying
        } else {
            SessionState::AwaitingIdentifier
        },
        guidance: None,
        challenge: None,
        verdict: None,
        timings: Timings::default(),
    };
    let (pad, typed) = mpsc::channel(1);
    let run = Arc::new(Run {
        session: wake.session,
        progress: watch::Sender::new(first.clone()),
        pad,
        verification: Mutex::new(None),
        untold: Mutex::new(Timings::default()),
        task: Mutex::new(None),
    });
    let mut current = lock(&app.current);
    if let Some(earlier) = current.take() {
        give_up(&app, &earlier);
    }
    let task = tokio::spawn(verify(app.clone(), run.clone(), wake, typed));
    *lock(&run.task) = Some(task.abort_handle());
    *current = Some(run);
    Json(first)
}

/// Ends a run that has no verdict yet, or the pass that it came to.
fn give_up(app: &App, run: &Run) {
    if let Some(task) = lock(&run.task).take() {
        // Dropping the capture's future frees the reader.
        task.abort();
    }
    run.finish(Verdict::without_server(Outcome::Canceled, None));
    let opened = lock(&run.verification).take();
    if let Some(verification) = opened {
        end_at_server(app.clone(), verification);
    }
}

/// Tells the server that no code will be asked for. If that does not arrive, the verification expires by itself.
fn end_at_server(app: App, verification: VerificationId) {
    tokio::spawn(async move {
        let path = format!("/v1/verifications/{verification}/end");
        let ended = app.link.post::<Verification>(&path, &serde_json::json!({}), CALL_TIMEOUT).await;
        if let Err(error) = ended {
            tracing::warn!(verification.id = %verification, %error, "a verification was not ended at the server");
        }
    });
}

fn current(app: &Program, session: SessionId) -> Result<Arc<Run>, Problem> {
    let current = lock(&app.current).clone();
    current.filter(|run| run.session == session).ok_or_else(|| Problem::new(ProblemCode::NotFound))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    session: SessionId,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn progress(State(app): State<App>, Query(after): Query<After>) -> Result<Json<Progress>, Problem> {
    let run = current(&app, after.session)?;
    let mut changes = run.progress.subscribe();
    let wait = Duration::from_millis(after.wait_ms.min(WAIT_MS_MAX));
    let news = changes.wait_for(|progress| progress.sequence > after.after);
    // Without news the present state is the answer.
    let _ = tokio::time::timeout(wait, news).await;
    let latest = run.progress.borrow().clone();
    Ok(Json(latest))
}

async fn cancel(State(app): State<App>, Json(cancel): Json<CancelWake>) -> Result<StatusCode, Problem> {
    let run = current(&app, cancel.session)?;
    give_up(&app, &run);
    Ok(StatusCode::NO_CONTENT)
}

/// What the payer typed on the pad.
async fn identifier(State(app): State<App>, Json(input): Json<PadInput>) -> Result<StatusCode, Problem> {
    let nobody = || Problem::new(ProblemCode::InvalidState).detail("nobody was asked for an identifier");
    let run = lock(&app.current).clone().ok_or_else(nobody)?;
    if run.progress.borrow().state != SessionState::AwaitingIdentifier {
        return Err(nobody());
    }
    let given = selfsame_domain::account::Identifier::parse(input.identifier.kind, &input.identifier.value);
    given.map_err(|error| Problem::new(ProblemCode::InvalidRequest).detail(error))?;
    run.pad.try_send(input.identifier).map_err(|_| nobody())?;
    Ok(StatusCode::ACCEPTED)
}

impl Run {
    fn advance(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_if_modified(|progress| {
            if progress.state == SessionState::Done {
                return false;
            }
            change(progress);
            progress.sequence += 1;
            true
        });
    }

    fn enter(&self, state: SessionState, guidance: Option<String>) {
        self.advance(|progress| {
            (progress.state, progress.guidance) = (state, guidance);
            progress.challenge = None;
        });
    }

    /// Tells the payer what to do while a sample is taken.
    fn guide(&self, guidance: Option<&str>) {
        if self.progress.borrow().guidance.as_deref() != guidance {
            self.advance(|progress| progress.guidance = guidance.map(str::to_owned));
        }
    }

    fn time(&self, stage: Stage, since: Instant) {
        let duration = since.elapsed();
        lock(&self.untold).add(stage, duration);
        self.progress.send_modify(|progress| progress.timings.add(stage, duration));
    }

    /// Takes over the stages that only the server and the matcher know.
    fn take_over(&self, timings: &Timings) {
        self.progress.send_modify(|progress| {
            let matchers =
                [Stage::Open, Stage::Detection, Stage::AttackDetection, Stage::Extraction, Stage::Comparison];
            for stage in matchers {
                if let Some(duration) = timings.get(stage) {
                    progress.timings.set(stage, duration);
                }
            }
        });
    }

    /// The first verdict stands.
    fn finish(&self, verdict: Verdict) {
        self.advance(|progress| {
            progress.state = SessionState::Done;
            progress.guidance = None;
            progress.verdict = Some(verdict);
        });
    }
}

/// A verdict that is not the server's.
trait WithoutServer {
    fn without_server(outcome: Outcome, error: Option<SessionError>) -> Self;
}

impl WithoutServer for Verdict {
    fn without_server(outcome: Outcome, error: Option<SessionError>) -> Self {
        Verdict { outcome, error, verification: None, payer_display: None, pass_expires_at: None }
    }
}

/// Why a run ends without a decision of the server.
enum Broken {
    Server(ClientError),
    Fault(Fault),
    Capture(CaptureError),
    Seal,
    /// Nobody typed or came before the reader in time.
    Absent,
    /// The server waits for a sample but gave no nonce: an earlier submission broke off inside it.
    NonceMissing,
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Broken::Server(error)
    }
}

impl Broken {
    fn code(&self) -> FailureCode {
        use FailureCode as Code;
        match self {
            Broken::Server(ClientError::Connect { .. } | ClientError::NoAnswer { .. }) => {
                Code::ServerUnreachable
            }
            Broken::Server(ClientError::Unsigned { .. }) => Code::SignerUnavailable,
            Broken::Server(error) => match error.problem().map(|problem| problem.code) {
                Some(
                    ProblemCode::TerminalRetired
                    | ProblemCode::TerminalLocked
                    | ProblemCode::SignatureInvalid,
                ) => Code::TerminalNotActive,
                Some(ProblemCode::SignatureExpired) => Code::ClockSkew,
                Some(ProblemCode::MatcherUnavailable) => Code::MatcherUnavailable,
                Some(code) if code.status() >= 500 => Code::ServerUnavailable,
                _ => Code::RefusedByServer,
            },
            Broken::Fault(Fault::MatcherUnavailable) => Code::MatcherUnavailable,
            Broken::Fault(Fault::MatcherBusy) => Code::MatcherBusy,
            Broken::Fault(Fault::SealBroken) | Broken::Seal => Code::SealBroken,
            Broken::Fault(Fault::ImageInvalid) => Code::ImageInvalid,
            Broken::Fault(Fault::CaptureUnavailable) | Broken::Capture(_) => Code::CaptureUnavailable,
            Broken::NonceMissing => Code::ServerUnavailable,
            Broken::Absent => Code::PayerAbsent,
        }
    }

    fn log(&self, session: SessionId) {
        let cause = match self {
            Broken::Server(error) => error.to_string(),
            Broken::Fault(fault) => fault.to_string(),
            Broken::Capture(error) => error.to_string(),
            Broken::Seal => "the samples could not be sealed".to_owned(),
            Broken::Absent => "nobody came in time".to_owned(),
            Broken::NonceMissing => "the server gave no nonce for the next sample".to_owned(),
        };
        tracing::warn!(session.id = %session, cause, "a verification broke off");
    }
}

/// Verifies one payer, by the deadline at the latest.
async fn verify(app: App, run: Arc<Run>, wake: Wake, typed: mpsc::Receiver<Identifier>) {
    let deadline = Duration::from_millis(wake.deadline_ms);
    let concluded = tokio::time::timeout(deadline, converse(&app, &run, wake, typed)).await;
    let verdict = match concluded {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(broken)) => {
            broken.log(run.session);
            let outcome = if matches!(broken, Broken::Absent) { Outcome::TimedOut } else { Outcome::Failed };
            Verdict::without_server(outcome, Some(broken.code().into()))
        }
        Err(_) => Verdict::without_server(Outcome::TimedOut, None),
    };
    *lock(&app.counters).entry(verdict.outcome.to_string()).or_default() += 1;
    if verdict.outcome != Outcome::Passed {
        let opened = lock(&run.verification).take();
        if let Some(verification) = opened {
            end_at_server(app.clone(), verification);
        }
    }
    run.finish(verdict);
}

/// Identifier, then sample; again with more digits where those did not tell two people apart.
async fn converse(
    app: &App,
    run: &Run,
    wake: Wake,
    mut typed: mpsc::Receiver<Identifier>,
) -> Result<Verdict, Broken> {
    let source = app.sources.iter().find(|source| source.modality() == wake.modality);
    let source = source.ok_or(Broken::Capture(CaptureError::NoSource(wake.modality)))?;
    let _in_use = (wake.modality == Modality::Face).then(|| app.power.in_use());
    let mut given = wake.identifier;
    let mut round = 0;
    loop {
        round += 1;
        let by_register = given.is_some();
        let identifier = match given.take() {
            Some(identifier) => identifier,
            // The sender lives as long as the run, so there is always somebody to wait for.
            None => {
                let typed = tokio::time::timeout(app.budgets.identifier, typed.recv()).await;
                typed.map_err(|_| Broken::Absent)?.ok_or(Broken::Capture(CaptureError::GivenUp))?
            }
        };
        run.enter(SessionState::Verifying, None);
        let opened = open(app, run, source, identifier, round).await?;
        *lock(&run.verification) = Some(opened.id);
        let concluded = capture(app, run, source, opened).await?;
        let ambiguous = matches!(concluded.ending, Some(Ending::Decision { decision: Decision::Ambiguous }));
        // A register that took the digits itself asks for more of them itself.
        if !ambiguous || by_register || round == IDENTIFIERS_MAX {
            return Ok(verdict(concluded));
        }
        run.enter(SessionState::AwaitingIdentifier, Some("more_digits".to_owned()));
    }
}

fn verdict(concluded: Verification) -> Verdict {
    let passed = concluded.state == ServerState::Passed;
    Verdict {
        outcome: if passed { Outcome::Passed } else { Outcome::Declined },
        error: None,
        verification: Some(concluded.id),
        payer_display: concluded.payer_display,
        pass_expires_at: passed.then_some(concluded.expires_at),
    }
}

/// Opens a verification at the server. Asked twice, because the reference makes that harmless.
async fn open(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    identifier: Identifier,
    round: u32,
) -> Result<Verification, Broken> {
    let since = Instant::now();
    let request_ref = format!("{}.{round}", run.session);
    let new = NewVerification {
        request_ref: request_ref.parse().expect("a session id and a digit are a reference"),
        modality: source.modality(),
        sensor_grade: source.grade(),
        identifier,
    };
    let mut opened = app.link.post("/v1/verifications", &new, CALL_TIMEOUT).await;
    if opened.as_ref().is_err_and(|error| error.problem().is_none()) {
        tokio::time::sleep(RETRY_PAUSE).await;
        opened = app.link.post("/v1/verifications", &new, CALL_TIMEOUT).await;
    }
    run.time(Stage::Candidates, since);
    Ok(opened?)
}

/// Captures and submits until the server has decided.
async fn capture(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    mut verification: Verification,
) -> Result<Verification, Broken> {
    let mut guidance = None;
    while verification.state == ServerState::Capturing {
        run.enter(SessionState::Capturing, guidance.take());
        let challenge = verification.challenge.clone();
        if challenge.is_some() {
            run.advance(|progress| progress.challenge = challenge.clone());
        }
        let since = Instant::now();
        let captured = source.capture(challenge.as_ref(), |guidance| run.guide(guidance));
        let captured = tokio::time::timeout(app.budgets.capture, captured).await;
        let sample = captured.map_err(|_| Broken::Absent)?.map_err(Broken::Capture)?;
        run.time(Stage::Capture, since);
        *lock(&app.counters).entry("samples".to_owned()).or_default() += 1;
        run.enter(SessionState::Verifying, None);
        verification = submit_twice(app, run, source, verification, &sample).await?;
        guidance = match &verification.ending {
            Some(Ending::Retry { reason }) => Some(reason.clone()),
            Some(Ending::Fault { fault }) => return Err(Broken::Fault(*fault)),
            Some(Ending::Decision { .. }) | None => Some("not_recognised".to_owned()),
        };
    }
    Ok(verification)
}

/// Submits a sample; once more after a moment if the matcher was away or busy, which passes within that moment.
async fn submit_twice(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    verification: Verification,
    sample: &Sample,
) -> Result<Verification, Broken> {
    let answered = submit(app, run, source, verification, sample).await?;
    let passing = [Fault::MatcherUnavailable, Fault::MatcherBusy];
    let passing = matches!(answered.ending, Some(Ending::Fault { fault }) if passing.contains(&fault));
    if !passing || answered.state != ServerState::Capturing {
        return Ok(answered);
    }
    tokio::time::sleep(RETRY_PAUSE).await;
    submit(app, run, source, answered, sample).await
}

/// Seals, signs and sends one sample. If the answer is lost, the server is asked what came of it.
async fn submit(
    app: &App,
    run: &Run,
    source: &CaptureSource,
    verification: Verification,
    sample: &Sample,
) -> Result<Verification, Broken> {
    let nonce = verification.nonce.clone().ok_or(Broken::NonceMissing)?;
    // The server's grade: it is above the source's own where a challenge was set.
    let (modality, sensor_grade) = (source.modality(), verification.sensor_grade);
    let since = Instant::now();
    let context = FrameContext {
        terminal: app.identity.terminal.terminal,
        session: verification.id.to_string(),
        nonce: nonce.clone(),
        modality,
        sensor_grade,
    };
    let frames = seal_all(&app.identity.terminal.matcher_key, &context, sample).map_err(|_| Broken::Seal)?;
    run.time(Stage::Seal, since);
    let timings = std::mem::take(&mut *lock(&run.untold));
    let samples = Samples { nonce, modality, sensor_grade, frames, timings };
    let since = Instant::now();
    let answered = send(&app.link, verification.id, &samples).await;
    run.time(Stage::Verdict, since);
    let answered = answered?;
    run.take_over(&answered.timings);
    Ok(answered)
}

/// Sends samples. An answer that was lost is looked up, and the samples are sent again only if they never arrived.
async fn send(
    link: &ServerLink,
    verification: VerificationId,
    samples: &Samples,
) -> Result<Verification, ClientError> {
    let path = format!("/v1/verifications/{verification}");
    let samples_path = format!("{path}/samples");
    let lost = match link.post(&samples_path, samples, CALL_TIMEOUT).await {
        Err(error @ (ClientError::Connect { .. } | ClientError::NoAnswer { .. })) => error,
        other => return other,
    };
    tokio::time::sleep(RETRY_PAUSE).await;
    let found: Verification = link.get(&path, CALL_TIMEOUT).await?;
    if found.state != ServerState::Capturing {
        return Ok(found);
    }
    if found.nonce.as_ref() == Some(&samples.nonce) {
        return link.post(&samples_path, samples, CALL_TIMEOUT).await;
    }
    Err(lost)
}
