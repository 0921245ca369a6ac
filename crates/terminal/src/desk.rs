//! Capture at a staffed desk for the staff's page, which the payment server serves: the page opens an enrolment there,
//! and brings it here, where camera and reader are and where samples are sealed and signed by this desk's key.
//!
//! One loopback port, for pages of named origins only (`access.rs`). No token stands between: what could be had here
//! is samples for an enrolment whose nonce the server tells the operator alone. What belongs to one capture, above all
//! its frames, wants the capture's own key.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use selfsame_api::bytes::Bytes;
use selfsame_api::capture::{Capture, CaptureState, DeskStatus, NewCapture, OpenedCapture};
use selfsame_api::client::ClientError;
use selfsame_api::enrolment::{Enrolment, EnrolmentState, enrolment_samples};
use selfsame_api::interface::WAIT_MS_MAX;
use selfsame_api::merchant::Secret;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, Query, bind_unix, with_fallbacks};
use selfsame_domain::clock::Clock;
use selfsame_domain::sensor::Modality;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Gate, asks_first, preflight, readable_by, same_hash, shown_token_hash, token_hash};
use crate::capture::CaptureSource;
use crate::device::{DeviceIdentity, ServerLink};
use crate::enrolment::{EnrolError, TakeError, submit_enrolment, take_samples};
use crate::listen::{Listening, loopback_names, serve};
use crate::{TerminalError, lock, random};

/// Largest body but of frames, in bytes: an enrolment is half a kilobyte.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Samples of an enrolment: what `selfsame desk enrol` takes, too.
const SAMPLES: usize = 3;

/// What the capture program of a desk is told at start.
pub struct DeskConfig {
    /// Where a reader's driver posts its pictures.
    pub socket: PathBuf,
    /// The loopback port for the page.
    pub page: Listening,
    /// Origins of the page, e.g. `https://pay.example`.
    pub origins: Vec<String>,
    /// Where samples come from, one source a modality.
    pub sources: Vec<CaptureSource>,
    /// Who this machine is.
    pub identity: DeviceIdentity,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The capture that was begun last.
struct Current {
    key_hash: [u8; 32],
    progress: watch::Sender<Capture>,
    task: Option<AbortHandle>,
}

struct Desk {
    identity: DeviceIdentity,
    link: ServerLink,
    sources: Vec<CaptureSource>,
    gate: Gate,
    current: Mutex<Option<Current>>,
}

type App = Arc<Desk>;

/// Serves until `shutdown` is done.
pub async fn run_desk(
    config: DeskConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TerminalError> {
    let listener = bind_unix(&config.socket)
        .map_err(|source| TerminalError::Listen { socket: config.socket.clone(), source })?;
    let address = config.page.address();
    let desk = Arc::new(Desk {
        link: config.identity.link(config.clock),
        identity: config.identity,
        sources: config.sources,
        gate: Gate::new("http", &loopback_names(address), address.port(), &config.origins),
        current: Mutex::new(None),
    });
    let drivers = desk.sources.iter().fold(Router::new(), |router, source| router.merge(source.routes()));
    let page = page_routes(&desk);
    tokio::select! {
        served = async { axum::serve(listener, with_fallbacks(drivers)).await } => {
            served.map_err(TerminalError::Serve)
        }
        () = serve(config.page.listener, None, page) => Ok(()),
        () = shutdown => Ok(()),
    }
}

fn page_routes(desk: &App) -> Router {
    // Pictures of a reader come from its driver alone.
    let cameras = desk.sources.iter().filter(|source| source.modality() == Modality::Face);
    let frames = cameras.fold(Router::new(), |router, source| router.merge(source.routes()));
    let (all, of_capture) = (for_all().with_state(desk.clone()), for_capture().with_state(desk.clone()));
    let (all, of_capture) = (all.split_for_parts().0, of_capture.split_for_parts().0.merge(frames));
    let with_key = from_fn_with_state(desk.clone(), with_key);
    let routes = all.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).merge(of_capture.route_layer(with_key));
    with_fallbacks(routes).layer(from_fn_with_state(desk.clone(), enter))
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Selfsame desk",
    description = "Camera and reader of a desk, for the staff's page in a browser on the same machine: \
                   `selfsame desk serve`. Only pages of named origins may call. Frames are posted to `/v1/frames` as \
                   docs/readers.md says, with the capture's key.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

/// For every page that is let in.
fn for_all() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(status)).routes(routes!(create))
}

/// For whoever began the capture.
fn for_capture() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(cancel))
}

/// The OpenAPI 3.1 document of the desk, as pretty JSON.
pub fn desk_openapi_json() -> String {
    let (_, document) = for_all().merge(for_capture()).split_for_parts();
    document.to_pretty_json().expect("the document always serializes")
}

/// Lets the named pages in, and them to read the answers.
async fn enter(State(desk): State<App>, request: Request, next: Next) -> Response {
    let page = match desk.gate.check(request.headers()) {
        Ok(page) => page,
        Err(problem) => return problem.into_response(),
    };
    let response = if page.is_some() && asks_first(&request) { preflight() } else { next.run(request).await };
    readable_by(page, response)
}

/// Lets in whoever began the capture that is going on.
async fn with_key(State(desk): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    desk.check_key(request.headers())?;
    Ok(next.run(request).await)
}

impl Desk {
    fn check_key(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let current = lock(&self.current);
        match (shown_token_hash(headers), current.as_ref()) {
            (Some(shown), Some(current)) if same_hash(&shown, &current.key_hash) => Ok(()),
            _ => Err(Problem::new(ProblemCode::Unauthenticated)),
        }
    }

    /// Ends what is going on; camera and reader are free afterwards.
    fn give_up(current: &mut Current) {
        if let Some(task) = current.task.take() {
            task.abort();
        }
        change(&current.progress, |capture| capture.state = CaptureState::Canceled);
    }
}

/// Changes a capture that has not ended, and tells whoever follows it.
fn change(progress: &watch::Sender<Capture>, work: impl FnOnce(&mut Capture)) {
    progress.send_if_modified(|capture| {
        if capture.state.is_final() {
            return false;
        }
        capture.guidance = None;
        work(capture);
        capture.sequence += 1;
        true
    });
}

/// Which desk this is and what it can capture.
#[utoipa::path(get, path = "/v1/desk", tag = "desk", responses((status = 200, body = DeskStatus), (status = "4XX", body = Problem)))]
async fn status(State(desk): State<App>) -> Json<DeskStatus> {
    Json(DeskStatus {
        terminal: desk.identity.terminal.terminal,
        modalities: desk.sources.iter().map(CaptureSource::modality).collect(),
        sources: desk.sources.iter().map(|source| source.name().to_owned()).collect(),
    })
}

/// Takes samples for an enrolment and sends them. A capture that is going on ends.
#[utoipa::path(post, path = "/v1/captures", tag = "desk", request_body = NewCapture,
    responses((status = 200, body = OpenedCapture), (status = "4XX", body = Problem)))]
async fn create(
    State(desk): State<App>,
    Json(new): Json<NewCapture>,
) -> Result<Json<OpenedCapture>, Problem> {
    let enrolment = new.enrolment;
    if enrolment.nonce.is_none() || enrolment.state != EnrolmentState::Capturing {
        return Err(
            Problem::new(ProblemCode::InvalidState).detail("this enrolment does not wait for samples")
        );
    }
    let source = desk.sources.iter().find(|source| source.modality() == enrolment.modality).cloned();
    let source = source.ok_or_else(|| {
        let detail = format!("this desk has nothing that captures a {}", enrolment.modality);
        Problem::new(ProblemCode::InvalidRequest).detail(detail)
    })?;
    let wanted = enrolment_samples(enrolment.modality);
    let of = SAMPLES.clamp(*wanted.start(), *wanted.end());
    let first = Capture {
        sequence: 1,
        state: CaptureState::Capturing,
        number: 1,
        of,
        guidance: None,
        enrolment: None,
        problem: None,
    };
    let key = Secret(Bytes::from(random::<32>()).encode());
    let progress = watch::Sender::new(first.clone());
    let mut current = lock(&desk.current);
    if let Some(mut earlier) = current.take() {
        Desk::give_up(&mut earlier);
    }
    tracing::info!(enrolment.id = %enrolment.id, "samples are taken for the desk's page");
    let task = tokio::spawn(capture(desk.clone(), source, enrolment, of, progress.clone()));
    *current = Some(Current { key_hash: token_hash(&key.0), progress, task: Some(task.abort_handle()) });
    Ok(Json(OpenedCapture { key, capture: first }))
}

/// Takes the samples, sends them, and says how that went.
async fn capture(
    desk: App,
    source: CaptureSource,
    enrolment: Enrolment,
    of: usize,
    progress: watch::Sender<Capture>,
) {
    let tell = |number: usize, guidance: &'static str| {
        let is_news = {
            let shown = progress.borrow();
            shown.number != number || shown.guidance.as_deref() != Some(guidance)
        };
        if is_news {
            change(&progress, |capture| {
                capture.number = number;
                capture.guidance = Some(guidance.to_owned());
            });
        }
    };
    let samples = match take_samples(&source, of, tell).await {
        Ok(samples) => samples,
        Err(TakeError::TimedOut) => {
            return change(&progress, |capture| capture.state = CaptureState::TimedOut);
        }
        Err(TakeError::Capture(error)) => return fail(&progress, CaptureState::Failed, internal(&error)),
    };
    change(&progress, |capture| capture.state = CaptureState::Sending);
    let sent = submit_enrolment(&desk.identity, &desk.link, &enrolment, source.grade(), &samples).await;
    match sent {
        Ok(enrolled) => change(&progress, |capture| {
            capture.state = CaptureState::Enrolled;
            // What it was good for is over.
            capture.enrolment = Some(Enrolment { nonce: None, ..enrolled });
        }),
        Err(EnrolError::Server(ClientError::Problem(problem))) => {
            fail(&progress, CaptureState::Refused, *problem);
        }
        Err(EnrolError::Server(error)) => {
            let problem = Problem::new(ProblemCode::Unavailable).detail("the payment server does not answer");
            tracing::warn!(%error, "samples could not be sent");
            fail(&progress, CaptureState::Failed, problem);
        }
        Err(error) => fail(&progress, CaptureState::Failed, internal(&error)),
    }
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "no samples could be taken");
    Problem::new(ProblemCode::Internal).detail(error)
}

fn fail(progress: &watch::Sender<Capture>, state: CaptureState, problem: Problem) {
    change(progress, |capture| {
        capture.state = state;
        capture.problem = Some(problem);
    });
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// The capture that was begun last; with `after` and `wait_ms` as soon as it changes (long poll).
#[utoipa::path(get, path = "/v1/captures/current", tag = "desk",
    params(("after" = Option<u64>, Query), ("wait_ms" = Option<u64>, Query)),
    responses((status = 200, body = Capture), (status = "4XX", body = Problem)))]
async fn show(State(desk): State<App>, Query(after): Query<After>) -> Result<Json<Capture>, Problem> {
    let changes = lock(&desk.current).as_ref().map(|current| current.progress.subscribe());
    let mut changes = changes.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let wait = Duration::from_millis(after.wait_ms.min(WAIT_MS_MAX));
    // Without news the present state is the answer.
    let _ = tokio::time::timeout(wait, changes.wait_for(|capture| capture.sequence > after.after)).await;
    let latest = changes.borrow().clone();
    Ok(Json(latest))
}

/// Gives it up. Camera and reader are free when this is answered; can be repeated.
#[utoipa::path(post, path = "/v1/captures/current/cancel", tag = "desk",
    responses((status = 200, body = Capture), (status = "4XX", body = Problem)))]
async fn cancel(State(desk): State<App>) -> Result<Json<Capture>, Problem> {
    let mut current = lock(&desk.current);
    let current = current.as_mut().ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    Desk::give_up(current);
    Ok(Json(current.progress.borrow().clone()))
}
