//! The biometric payment verification interface, step 1 of the method: a payment operation request comes in, and the
//! verification program is woken.
//!
//! HTTP on a Unix socket whose file mode decides who may call. Requests carry no amount. The routes:
//! `GET /v1/terminal`, `events`, `diagnostics`, `POST /v1/prepare`, `POST /v1/verifications`,
//! `GET /v1/verifications/{id}` (long poll), and below it `events`, `handover`, `confirmation`, `cancel` and
//! `screen.png`. The document is in `docs/openapi/terminal.json`.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use selfsame_api::client::Client;
use selfsame_api::diagnostics::Diagnostics;
use selfsame_api::interface::{
    Board, Cancel, Confirmation, DEADLINE_MS_MAX, DEADLINE_MS_MIN, HandoverRequest, LEASE_MS_MAX,
    LEASE_MS_MIN, NewSession, Prepare, RegisterKind, Session, TerminalState, TerminalStatus, WAIT_MS_MAX,
};
use selfsame_api::payment::REPLAYED_HEADER;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId, Query, bind_unix, with_fallbacks};
use selfsame_api::verifier::VerifierStatus;
use selfsame_domain::account::Identifier;
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{SessionId, TerminalId};
use selfsame_domain::terminal::Standing;
use serde::Deserialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::TerminalError;
use crate::channel::{Connection, ConnectionState, keep_open};
use crate::device::DeviceIdentity;
use crate::events::Streams;
use crate::journal::Journal;
use crate::verification::Sessions;
use crate::verifier::Budgets;

/// Longest wait for the verification program to say that it is there.
pub(crate) const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// What the terminal is told at start.
pub struct TerminalConfig {
    /// Where the verification interface listens.
    pub socket: PathBuf,
    /// Where the verification program listens.
    pub verifier_socket: PathBuf,
    /// Accepted requests and how they ended.
    pub journal: PathBuf,
    /// Who this machine is.
    pub identity: DeviceIdentity,
    /// How long a payer may take; what the verification program holds to.
    pub budgets: Budgets,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct App {
    sessions: Arc<Sessions>,
    connection: ConnectionState,
    streams: Streams,
    verifier: Client,
    terminal: TerminalId,
    clock: Arc<dyn Clock>,
    budgets: Budgets,
    started: Instant,
}

/// Serves until `shutdown` is done. Sessions that are in the middle then end as `unknown` at the next start.
pub async fn run_terminal(
    config: TerminalConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TerminalError> {
    let listener = bind_unix(&config.socket)
        .map_err(|source| TerminalError::Listen { socket: config.socket.clone(), source })?;
    let opened = Journal::open(&config.journal, config.clock.now());
    let (journal, remembered) =
        opened.map_err(|source| TerminalError::Journal { path: config.journal.clone(), source })?;
    let verifier = Client::unix(&config.verifier_socket, config.clock.clone());
    let link = Arc::new(config.identity.link(config.clock.clone()));
    let sessions =
        Arc::new(Sessions::new(journal, remembered, verifier.clone(), link.clone(), config.clock.clone()));
    let terminal = config.identity.terminal.terminal;
    let connection = ConnectionState::new();
    let channel = keep_open(link, sessions.clone(), connection.clone());
    let (streams, clock, started) = (Streams::new(), config.clock, Instant::now());
    let app =
        App { sessions, connection, streams, verifier, terminal, clock, budgets: config.budgets, started };
    let (router, _) = routes().split_for_parts();
    let router = with_fallbacks(router).with_state(app);
    // No draining: a long poll would hold up the end, and whoever waits asks again after the restart.
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served.map_err(TerminalError::Serve),
        () = channel => Ok(()),
        () = shutdown => Ok(()),
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Selfsame verification interface",
    description = "What a terminal offers to registers and merchant programs on the same machine, over a Unix socket. \
                   A request has no amount; every accepted request ends in exactly one outcome. Refusals are RFC 9457 \
                   problem documents with a stable `code`.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(status))
        .routes(routes!(prepare))
        .routes(routes!(board))
        .routes(routes!(diagnostics))
        .routes(routes!(create))
        .routes(routes!(show))
        .routes(routes!(events))
        .routes(routes!(hand_over))
        .routes(routes!(confirm))
        .routes(routes!(cancel))
        .routes(routes!(screen))
}

/// The OpenAPI 3.1 document of the verification interface, as pretty JSON.
pub fn openapi_json() -> String {
    let (_, document) = routes().split_for_parts();
    document.to_pretty_json().expect("the document always serializes")
}

/// Whether this terminal would take a request now.
#[utoipa::path(get, path = "/v1/terminal", tag = "terminal", responses((status = 200, body = TerminalStatus)))]
async fn status(State(app): State<App>) -> Json<TerminalStatus> {
    Json(app.status().await)
}

impl App {
    async fn status(&self) -> TerminalStatus {
        let verifier: Result<VerifierStatus, _> = self.verifier.get("/v1/verifier", STATUS_TIMEOUT).await;
        let state = match (self.connection.get(), &verifier) {
            (Connection::Open(Standing::Locked | Standing::Retired), _) => TerminalState::Locked,
            (_, Err(_)) => TerminalState::Degraded,
            (_, Ok(_)) if self.sessions.is_busy() => TerminalState::Busy,
            (Connection::Lost, Ok(_)) => TerminalState::Offline,
            (Connection::Open(Standing::Active), Ok(_)) => TerminalState::Ready,
        };
        TerminalStatus {
            terminal: self.terminal,
            state,
            to_confirm: self.sessions.to_confirm(),
            modalities: verifier.map(|status| status.modalities).unwrap_or_default(),
            registers: vec![RegisterKind::Return, RegisterKind::Screen],
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The till expects a payer soon: a camera that is off otherwise is opened and kept for 30 seconds. Nothing is taken.
#[utoipa::path(post, path = "/v1/prepare", tag = "terminal", request_body = Prepare,
    responses((status = 202), (status = 503, body = Problem, description = "The verification program does not answer"),
        (status = "4XX", body = Problem)))]
async fn prepare(State(app): State<App>, Json(Prepare {}): Json<Prepare>) -> Result<StatusCode, Problem> {
    let prepared = app.verifier.post::<()>("/v1/prepare", &Prepare {}, STATUS_TIMEOUT).await;
    prepared.map_err(|error| {
        tracing::warn!(%error, "the verification program does not answer");
        Problem::new(ProblemCode::Unavailable).detail("the verification program does not answer")
    })?;
    Ok(StatusCode::ACCEPTED)
}

/// The terminal and its latest session, now and after every change: server-sent events `terminal` whose data is a
/// `Board`. Never carries a code.
#[utoipa::path(get, path = "/v1/events", tag = "terminal",
    responses((status = 200, body = Board, content_type = "text/event-stream"), (status = "4XX", body = Problem)))]
async fn board(State(app): State<App>) -> Result<Response, Problem> {
    let news = app.sessions.news();
    let looking = app.clone();
    let look = move || {
        let app = looking.clone();
        async move { Board { terminal: app.status().await, session: app.sessions.latest() } }
    };
    Ok(app.streams.of_terminal(news, look)?.into_response())
}

/// What a terminal tells about itself to whoever looks after it.
#[utoipa::path(get, path = "/v1/diagnostics", tag = "terminal", responses((status = 200, body = Diagnostics)))]
async fn diagnostics(State(app): State<App>) -> Json<Diagnostics> {
    let App { sessions, connection, verifier, terminal, started, budgets, .. } = &app;
    Json(crate::diagnostics::look(*terminal, *started, sessions, connection, verifier, *budgets).await)
}

/// A payment operation request: verify a payer. The same `request_id` with the same content answers the same session.
#[utoipa::path(post, path = "/v1/verifications", tag = "verification", request_body = NewSession,
    responses((status = 202, body = Session), (status = 200, body = Session, description = "Accepted before"),
        (status = 409, body = Problem, description = "Busy with another payer, or the `request_id` was used before"),
        (status = "4XX", body = Problem)))]
async fn create(State(app): State<App>, Json(request): Json<NewSession>) -> Result<Response, Problem> {
    let deadlines = DEADLINE_MS_MIN..=DEADLINE_MS_MAX;
    if !deadlines.contains(&request.deadline_ms) {
        let detail = format!("`deadline_ms` must be {DEADLINE_MS_MIN} to {DEADLINE_MS_MAX}");
        return Err(Problem::new(ProblemCode::InvalidRequest).detail(detail));
    }
    let leases = LEASE_MS_MIN..=LEASE_MS_MAX;
    if request.lease_ms.is_some_and(|lease_ms| !leases.contains(&lease_ms)) {
        let detail = format!("`lease_ms` must be {LEASE_MS_MIN} to {LEASE_MS_MAX}");
        return Err(Problem::new(ProblemCode::InvalidRequest).detail(detail));
    }
    if let Some(identifier) = &request.identifier {
        let parsed = Identifier::parse(identifier.kind, &identifier.value);
        parsed.map_err(|error| Problem::new(ProblemCode::InvalidRequest).detail(error))?;
    }
    match app.connection.get() {
        Connection::Open(Standing::Locked) => return Err(Problem::new(ProblemCode::TerminalLocked)),
        Connection::Open(Standing::Retired) => return Err(Problem::new(ProblemCode::TerminalRetired)),
        // Without the channel the server may still be there: the verification itself finds out.
        Connection::Open(Standing::Active) | Connection::Lost => {}
    }
    let accepted = app.sessions.accept(request)?;
    let status = if accepted.replayed { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(accepted.session)).into_response();
    if accepted.replayed {
        let name = HeaderName::from_static(REPLAYED_HEADER);
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Long poll.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// A session: at once, or as soon as its `sequence` is above `after`, or after `wait_ms` (25,000 at most).
#[utoipa::path(get, path = "/v1/verifications/{id}", tag = "verification",
    params(("id" = String, Path), ("after" = Option<u64>, Query), ("wait_ms" = Option<u64>, Query)),
    responses((status = 200, body = Session), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<App>,
    PathId(session): PathId<SessionId>,
    Query(wait): Query<Wait>,
) -> Result<Json<Session>, Problem> {
    let longest = Duration::from_millis(wait.wait_ms.min(WAIT_MS_MAX));
    app.sessions.follow(session, wait.after, longest).await.map(Json)
}

/// A session, now and after every change, until nothing can change any more: server-sent events `session` whose id is the
/// session's `sequence`. With `Last-Event-ID` only what is newer.
#[utoipa::path(get, path = "/v1/verifications/{id}/events", tag = "verification", params(("id" = String, Path)),
    responses((status = 200, body = Session, content_type = "text/event-stream"), (status = "4XX", body = Problem)))]
async fn events(
    State(app): State<App>,
    PathId(session): PathId<SessionId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|id| id.parse().ok()));
    let wrong =
        || Problem::new(ProblemCode::InvalidRequest).detail("`Last-Event-ID` is a session's sequence");
    let after = after.map_or(Ok(0), |after| after.ok_or_else(wrong))?;
    let entered = app.sessions.find(session)?;
    Ok(app.streams.of_session(entered, after, app.clock.clone())?.into_response())
}

/// Asks for the code now and hands it over. Again: a new code, and the earlier one is revoked.
#[utoipa::path(post, path = "/v1/verifications/{id}/handover", tag = "verification", params(("id" = String, Path)),
    request_body = HandoverRequest,
    responses((status = 200, body = Session), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn hand_over(
    State(app): State<App>,
    PathId(session): PathId<SessionId>,
    Json(request): Json<HandoverRequest>,
) -> Result<Json<Session>, Problem> {
    app.sessions.hand_over(session, request).await.map(Json)
}

/// The payer agrees to merchant and exact amount of the session's `payment`, by PIN or, where that is enough, by a
/// gesture. For the terminal's own screen: a cash register never sees a PIN. A wrong PIN costs a try.
#[utoipa::path(post, path = "/v1/verifications/{id}/confirmation", tag = "verification", params(("id" = String, Path)),
    request_body = Confirmation,
    responses((status = 200, body = Session), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn confirm(
    State(app): State<App>,
    PathId(session): PathId<SessionId>,
    Json(confirmation): Json<Confirmation>,
) -> Result<Json<Session>, Problem> {
    app.sessions.confirm(session, confirmation).await.map(Json)
}

/// Cancels, also a payment that waits for the payer. The reader is free and a code that was handed over is revoked when this is answered. Can be repeated.
#[utoipa::path(post, path = "/v1/verifications/{id}/cancel", tag = "verification", params(("id" = String, Path)),
    request_body = Cancel,
    responses((status = 200, body = Session), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn cancel(
    State(app): State<App>,
    PathId(session): PathId<SessionId>,
    Json(cancel): Json<Cancel>,
) -> Result<Json<Session>, Problem> {
    tracing::info!(session.id = %session, reason = ?cancel.reason, "a verification is cancelled");
    app.sessions.cancel(session).await.map(Json)
}

/// The picture on the terminal's screen while a code is shown there: Code 128 and QR, as PNG.
#[utoipa::path(get, path = "/v1/verifications/{id}/screen.png", tag = "verification", params(("id" = String, Path)),
    responses((status = 200, description = "PNG", content_type = "image/png"), (status = "4XX", body = Problem)))]
async fn screen(State(app): State<App>, PathId(session): PathId<SessionId>) -> Result<Response, Problem> {
    let png = app.sessions.screen_png(session)?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response())
}
