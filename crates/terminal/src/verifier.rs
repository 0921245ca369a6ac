//! The biometric payment verification program (step 2 of the method): woken by the terminal, it takes the identifier
//! and a sample from the payer, and asks the payment server who this is.
//!
//! Identifier first: nothing is captured before the server has selected an account with a consent in force. Every run
//! ends in exactly one [`Verdict`], by its deadline at the latest. Samples live in memory for the length of one try
//! and leave this process sealed to the matcher.

mod conversation;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use selfsame_api::interface::{Outcome, Prepare, SessionState, WAIT_MS_MAX};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, Query, bind_unix, with_fallbacks};
use selfsame_api::verification::Verification;
use selfsame_api::verifier::{
    CancelWake, ChangeWay, MoreTime, PadInput, PageAddress, PinInput, Progress, Verdict, VerifierStatus,
    Wake, Way,
};
use selfsame_domain::account::{Identifier, IdentifierKind};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{SessionId, VerificationId};
use selfsame_domain::pin::Pin;
use selfsame_domain::timing::Timings;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::conversation::verify;
use self::run::{Run, Typed, WithoutServer};
use crate::capture::CaptureSource;
use crate::capture::power::{CameraPolicy, CameraPower};
use crate::device::{DeviceIdentity, ServerLink};
use crate::page::PageAccess;
use crate::{TerminalError, lock};

/// Longest wait for an answer of the payment server to one call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

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

struct Program {
    /// Where a page reaches this program.
    page: Option<PageAddress>,
    clock: Arc<dyn Clock>,
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
        page: config.page.as_ref().map(PageAccess::address),
        link: config.identity.link(config.clock.clone()),
        clock: config.clock,
        sources: config.sources,
        power: CameraPower::new(config.camera_policy),
        budgets: config.budgets,
        identity: config.identity,
        current: Mutex::new(None),
        counters: Mutex::new(BTreeMap::new()),
    };
    // A page beside a camera of ours has none to switch on: it would only find it busy.
    let is_ours = program.sources.iter().any(|source| source.camera_status().is_some());
    let power = if is_ours { CameraPower::new(CameraPolicy::Cold) } else { program.power.clone() };
    let sources = program.sources.iter().fold(power.routes(), |router, source| router.merge(source.routes()));
    // What a page shows and takes. Waking and cancelling is the terminal's, and a PIN is not for a camera's page.
    let payer = Router::new().route("/v1/progress", get(progress)).route("/v1/identifier", post(identifier));
    let app = Arc::new(program);
    let for_page = with_fallbacks(payer.clone().with_state(app.clone()).merge(sources.clone()));
    let router = payer
        .route("/v1/verifier", get(status))
        .route("/v1/prepare", post(prepare))
        .route("/v1/wake", post(wake))
        .route("/v1/cancel", post(cancel))
        .route("/v1/way", post(change_way))
        .route("/v1/pin", post(pin))
        .route("/v1/more-time", post(more_time))
        .with_state(app.clone())
        .merge(sources);
    let page = async {
        match config.page {
            Some(page) => page.serve(for_page).await,
            None => std::future::pending().await,
        }
    };
    let camera = switch_cameras(app.clone());
    // No draining: whoever waits here is told by the end of the connection, and nothing is written on this side.
    tokio::select! {
        served = async { axum::serve(listener, with_fallbacks(router)).await } => {
            served.map_err(TerminalError::Serve)
        }
        served = page => served.map_err(TerminalError::Serve),
        () = camera => Ok(()),
        () = shutdown => Ok(()),
    }
}

/// How often is looked whether a payer is being verified, while the program waits to be started anew.
const IDLE_LOOK: Duration = Duration::from_millis(200);

/// Opens and closes cameras that are this program's own. Ends, between two payers, when one was plugged in again that only a
/// new program may open: the sandbox holds the device files that were there when it was made.
async fn switch_cameras(app: App) {
    if app.sources.is_empty() {
        return std::future::pending().await;
    }
    let switched = app.sources.iter().map(|source| Box::pin(source.switch(app.power.wish())));
    futures_util::future::select_all(switched).await;
    tracing::warn!(
        "the camera was plugged in again: this program ends and is started anew, to be allowed to open it"
    );
    let is_busy = || {
        let current = lock(&app.current);
        current.as_ref().is_some_and(|run| run.progress.borrow().state != SessionState::Done)
    };
    while is_busy() {
        tokio::time::sleep(IDLE_LOOK).await;
    }
}

async fn status(State(app): State<App>) -> Json<VerifierStatus> {
    Json(VerifierStatus {
        modalities: app.sources.iter().map(CaptureSource::modality).collect(),
        sources: app.sources.iter().map(|source| source.name().to_owned()).collect(),
        counters: lock(&app.counters).clone(),
        page: app.page.clone(),
        camera: app.sources.iter().find_map(CaptureSource::camera_status),
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
        waits_until: None,
        verdict: None,
        timings: Timings::default(),
    };
    let (pad, identifiers) = mpsc::channel(1);
    let (pins, typed_pins) = mpsc::channel(1);
    let typed = Typed { identifiers, pins: typed_pins };
    let run = Arc::new(Run {
        session: wake.session,
        progress: watch::Sender::new(first.clone()),
        pad,
        pins,
        way: watch::Sender::new(Way::Sample),
        granted: watch::Sender::new(Duration::ZERO),
        verification: Mutex::new(None),
        untold: Mutex::new(Timings::default()),
        task: Mutex::new(None),
    });
    let mut current = lock(&app.current);
    if let Some(earlier) = current.take() {
        give_up(&app, &earlier);
    }
    let task = tokio::spawn(verify(app.clone(), run.clone(), wake, typed));
    *lock(&run.task) = Some(task);
    *current = Some(run);
    Json(first)
}

/// Ends a run that has no verdict yet, or the pass that it came to. Answers its task, which is about to end.
fn give_up(app: &App, run: &Run) -> Option<JoinHandle<()>> {
    let task = lock(&run.task).take();
    if let Some(task) = &task {
        // Dropping the capture's future frees the reader.
        task.abort();
    }
    run.finish(Verdict::without_server(Outcome::Canceled, None));
    let opened = lock(&run.verification).take();
    if let Some(verification) = opened {
        end_at_server(app.clone(), verification);
    }
    task
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
    if let Some(task) = give_up(&app, &run) {
        // It was aborted, or has ended already.
        let _ = task.await;
    }
    if !app.power.wish().borrow().on {
        for source in &app.sources {
            source.closed().await;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What the payer typed on the pad.
async fn identifier(State(app): State<App>, Json(input): Json<PadInput>) -> Result<StatusCode, Problem> {
    let nobody = || Problem::new(ProblemCode::InvalidState).detail("nobody was asked for an identifier");
    let run = lock(&app.current).clone().ok_or_else(nobody)?;
    if run.progress.borrow().state != SessionState::AwaitingIdentifier {
        return Err(nobody());
    }
    let given = Identifier::parse(input.identifier.kind, &input.identifier.value);
    given.map_err(|error| Problem::new(ProblemCode::InvalidRequest).detail(error))?;
    run.pad.try_send(input.identifier).map_err(|_| nobody())?;
    Ok(StatusCode::ACCEPTED)
}

/// How the payer wants to go on. The capture that was going on ends, and the reader or camera is free.
async fn change_way(State(app): State<App>, Json(change): Json<ChangeWay>) -> Result<StatusCode, Problem> {
    let run = current(&app, change.session)?;
    let state = run.progress.borrow().state;
    let waits = matches!(
        state,
        SessionState::AwaitingIdentifier | SessionState::Capturing | SessionState::AwaitingPin
    );
    if !waits {
        return Err(Problem::new(ProblemCode::InvalidState).detail("the payer is not asked for anything now"));
    }
    run.way.send_if_modified(|way| std::mem::replace(way, change.way) != change.way);
    Ok(StatusCode::ACCEPTED)
}

/// The whole identifier and the PIN that the payer typed.
async fn pin(State(app): State<App>, Json(input): Json<PinInput>) -> Result<StatusCode, Problem> {
    let run = current(&app, input.session)?;
    let nobody = || Problem::new(ProblemCode::InvalidState).detail("nobody was asked for number and PIN");
    if run.progress.borrow().state != SessionState::AwaitingPin {
        return Err(nobody());
    }
    // Here and not at the server: what cannot be right costs no try.
    let invalid = |error: &dyn std::fmt::Display| Problem::new(ProblemCode::InvalidRequest).detail(error);
    let given =
        Identifier::parse(input.identifier.kind, &input.identifier.value).map_err(|error| invalid(&error))?;
    if given.kind() == IdentifierKind::PhoneLast4 {
        return Err(invalid(&"with a PIN the identifier is a whole `phone` or `member_number`"));
    }
    Pin::parse(&input.pin.0).map_err(|error| invalid(&error))?;
    run.pins.try_send(input).map_err(|_| nobody())?;
    Ok(StatusCode::ACCEPTED)
}

/// The payer wants more time: what is waited for begins anew, and the deadline moves.
async fn more_time(State(app): State<App>, Json(more): Json<MoreTime>) -> Result<StatusCode, Problem> {
    let run = current(&app, more.session)?;
    run.granted.send_replace(Duration::from_millis(more.granted_ms));
    Ok(StatusCode::ACCEPTED)
}
