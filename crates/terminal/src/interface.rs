//! The biometric payment verification interface, step 1 of the method: a payment operation request comes in, and the
//! verification program is woken.
//!
//! HTTP on a Unix socket whose file mode decides who may call, and on TCP for paired registers (`access.rs`). Requests
//! carry no amount. The routes: `GET /v1/terminal`, `events`, `POST /v1/prepare`, `POST /v1/verifications`,
//! `GET /v1/verifications/{id}` (long poll), and below it `events`, `handover`, `cancel` and `screen.png`; for the
//! terminal's own screen `confirmation`, `diagnostics` and the pairing. The document is in `docs/openapi/terminal.json`.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use selfsame_api::client::Client;
use selfsame_api::diagnostics::Diagnostics;
use selfsame_api::interface::{
    Board, Cancel, CancelReason, Confirmation, CurrentHandover, DEADLINE_MS_MAX, DEADLINE_MS_MIN,
    HandoverRequest, LEASE_MS_MAX, LEASE_MS_MIN, NewSession, Prepare, Session, TerminalStatus, WAIT_MS_MAX,
};
use selfsame_api::payment::REPLAYED_HEADER;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId, Query, bind_unix, with_fallbacks};
use selfsame_domain::account::Identifier;
use selfsame_domain::clock::Clock;
use selfsame_domain::id::{SessionId, TerminalId};
use serde::Deserialize;
use tokio::task::JoinSet;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::TerminalError;
use crate::access::{Caller, Entrance, Gate, enter, known_only, screen_only};
use crate::certificate::CertificateKeeper;
use crate::channel::{ConnectionState, keep_open};
use crate::configuration::Configured;
use crate::device::{DeviceIdentity, ServerLink};
use crate::events::Streams;
use crate::health::{Checkup, STATUS_TIMEOUT};
use crate::journal::Journal;
use crate::kiosk::{self, Kiosk, KioskAccess};
use crate::listen::{Listening, RegisterAccess, loopback_names, serve};
use crate::pairing::{self, Pairings};
use crate::register::Registers;
use crate::simulator::Simulator;
use crate::verification::Sessions;
use crate::verifier::Budgets;

/// Largest body, in bytes. The largest real one names a request, an identifier and a hand-over.
const BODY_BYTES_MAX: usize = 16 << 10;

/// What the terminal is told at start.
pub struct TerminalConfig {
    /// Where the verification interface listens.
    pub socket: PathBuf,
    /// Where the verification program listens.
    pub verifier_socket: PathBuf,
    /// Accepted requests and how they ended.
    pub journal: PathBuf,
    /// What the operator has set for this terminal, kept for when the server is away.
    pub configuration: PathBuf,
    /// Who this machine is.
    pub identity: DeviceIdentity,
    /// How registers reach the interface that cannot use the socket.
    pub registers: RegisterAccess,
    /// Where the payer's page is served, if it is.
    pub kiosk: Option<KioskAccess>,
    /// How long a payer may take; what the verification program holds to.
    pub budgets: Budgets,
    /// Ways to the register.
    pub handover: Registers,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) pairings: Arc<Pairings>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) checkup: Checkup,
    pub(crate) streams: Streams,
    pub(crate) verifier: Client,
    pub(crate) kiosk: Option<Arc<Kiosk>>,
    terminal: TerminalId,
    clock: Arc<dyn Clock>,
    budgets: Budgets,
}

/// Serves until `shutdown` is done. Sessions that are in the middle then end as `unknown` at the next start.
pub async fn run_terminal(
    config: TerminalConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TerminalError> {
    run_with(config, None, shutdown).await
}

/// The same, with a simulator in the place of reader, camera and payer.
pub(crate) async fn run_with(
    config: TerminalConfig,
    simulator: Option<Simulator>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TerminalError> {
    let listener = bind_unix(&config.socket)
        .map_err(|source| TerminalError::Listen { socket: config.socket.clone(), source })?;
    let opened = Journal::open(&config.journal, config.clock.now());
    let (journal, remembered) =
        opened.map_err(|source| TerminalError::Journal { path: config.journal.clone(), source })?;
    let verifier = Client::unix(&config.verifier_socket, config.clock.clone());
    let link = Arc::new(config.identity.link(config.clock.clone()));
    let clock = config.clock;
    let configured = Configured::open(config.configuration);
    let mut registers = config.handover;
    let asked = registers.take_asked();
    let (our_link, our_clock) = (link.clone(), clock.clone());
    let sessions =
        Sessions::new(journal, remembered, verifier.clone(), our_link, configured, registers, our_clock);
    let sessions = sessions.simulated(simulator.clone());
    let sessions = Arc::new(sessions);
    let tills = sessions.clone().follow_tills(asked);
    if let Some(simulator) = &simulator {
        simulator.attach(&sessions);
    }
    let terminal = config.identity.terminal.terminal;
    let path = config.registers.registers.clone();
    let pairings = Pairings::open(&path, terminal, clock.clone());
    let pairings = Arc::new(pairings.map_err(|source| TerminalError::Registers { path, source })?);
    let connection = ConnectionState::new();
    let channel = keep_open(link.clone(), sessions.clone(), connection.clone());
    let checkup = Checkup {
        terminal,
        sessions: sessions.clone(),
        connection,
        verifier: verifier.clone(),
        journal: config.journal,
        started: Instant::now(),
    };
    let reporting = checkup.clone().keep_reporting();
    let kiosk = config.kiosk.as_ref().map(|access| Arc::new(Kiosk::new(access)));
    let app = App {
        kiosk: kiosk.clone(),
        pairings: pairings.clone(),
        sessions,
        checkup,
        streams: Streams::new(),
        verifier,
        terminal,
        clock: clock.clone(),
        budgets: config.budgets,
    };
    let page = serve_page(config.kiosk, kiosk, &app);
    let (router, _) = routes().split_for_parts();
    let router = with_fallbacks(router).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(app);
    let router = simulator.iter().fold(router, |router, simulator| simulator.around(router));
    let ports = serve_registers(config.registers, router.clone(), pairings, link, clock);
    let router = router.layer(Extension(Caller::Terminal));
    // No draining: a long poll would hold up the end, and whoever waits asks again after the restart.
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served.map_err(TerminalError::Serve),
        () = channel => Ok(()),
        () = tills => Ok(()),
        () = ports => Ok(()),
        () = page => Ok(()),
        () = reporting => Ok(()),
        () = shutdown => Ok(()),
    }
}

/// Serves the payer's page on its port, if there is one, for as long as the process runs.
fn serve_page(
    access: Option<KioskAccess>,
    kiosk: Option<Arc<Kiosk>>,
    app: &App,
) -> impl Future<Output = ()> + use<> {
    let serving = access.zip(kiosk).map(|(access, kiosk)| {
        let router = with_fallbacks(kiosk::router(&kiosk, app)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        serve(access.listening.listener, None, router.with_state(app.clone()))
    });
    async {
        match serving {
            Some(serving) => serving.await,
            None => std::future::pending().await,
        }
    }
}

/// Serves paired registers on the ports that there are, for as long as the process runs.
async fn serve_registers(
    access: RegisterAccess,
    router: Router,
    pairings: Arc<Pairings>,
    link: Arc<ServerLink>,
    clock: Arc<dyn Clock>,
) {
    let entered = |scheme, names: &[String], listening: &Listening| {
        let gate = Gate::new(scheme, names, listening.address().port(), &access.origins);
        let entrance = Arc::new(Entrance { gate, pairings: pairings.clone() });
        router.clone().layer(from_fn_with_state(entrance, enter))
    };
    let mut serving = JoinSet::new();
    if let Some(listening) = access.loopback {
        let router = entered("http", &loopback_names(listening.address()), &listening);
        serving.spawn(serve(listening.listener, None, router));
    }
    if let Some(lan) = access.lan {
        let keeper = CertificateKeeper::new(&lan, link, clock);
        let router = entered("https", &lan.names, &lan.listening);
        serving.spawn(serve(lan.listening.listener, Some(keeper.acceptor()), router));
        serving.spawn(keeper.keep_fresh());
    }
    // None of them ends by itself; without any there is nothing to do.
    while serving.join_next().await.is_some() {}
    std::future::pending().await
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Selfsame verification interface",
    description = "What a terminal offers to registers and merchant programs: on the same machine over a Unix socket, \
                   whose file mode decides who may call, or over a loopback port; on the LAN over TLS by the site's own \
                   certificate authority. Over TCP a register is paired and sends its token. A request has no amount; \
                   every accepted request ends in exactly one outcome. Refusals are RFC 9457 problem documents with a \
                   stable `code`.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
), modifiers(&Schemes), security((), ("register_token" = [])))]
struct Document;

/// How callers say who they are.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A paired register's token, over TCP. Callers of the Unix socket need none."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("register_token", SecurityScheme::Http(token));
    }
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(for_registers())
        .merge(for_screen())
        .merge(pairing::routes::for_screen())
        .merge(pairing::routes::for_strangers())
}

/// For paired registers, each with its own sessions, and the terminal itself.
fn for_registers() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(prepare))
        .routes(routes!(board))
        .routes(routes!(create))
        .routes(routes!(show))
        .routes(routes!(events))
        .routes(routes!(hand_over))
        .routes(routes!(cancel))
        .routes(routes!(screen))
        .route_layer(from_fn(known_only))
}

/// For the terminal's own screen, on which the payer acts.
fn for_screen() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(hand_over_current))
        .routes(routes!(confirm))
        .routes(routes!(diagnostics))
        .routes(routes!(kiosk::offer))
        .route_layer(from_fn(screen_only))
}

/// The OpenAPI 3.1 document of the verification interface, as pretty JSON.
pub fn openapi_json() -> String {
    let (_, mut document) = routes().split_for_parts();
    let (_, of_simulator) = crate::simulator::routes().split_for_parts();
    document.merge(of_simulator);
    document.to_pretty_json().expect("the document always serializes")
}

/// Whether this terminal would take a request now.
#[utoipa::path(get, path = "/v1/terminal", tag = "terminal", responses((status = 200, body = TerminalStatus)))]
async fn status(State(app): State<App>, Extension(caller): Extension<Caller>) -> Json<TerminalStatus> {
    Json(app.status(caller).await)
}

impl App {
    async fn status(&self, caller: Caller) -> TerminalStatus {
        let status = self.checkup.status().await;
        let to_confirm = status.to_confirm.filter(|session| self.may_see(caller, *session));
        TerminalStatus { to_confirm, ..status }
    }
}

/// The till expects a payer soon: a camera that is off otherwise is opened and kept for 30 seconds. Nothing is taken.
#[utoipa::path(post, path = "/v1/prepare", tag = "terminal", request_body = Prepare,
    responses((status = 202), (status = 503, body = Problem, description = "The verification program does not answer, or maintenance"),
        (status = "4XX", body = Problem)))]
async fn prepare(State(app): State<App>, Json(Prepare {}): Json<Prepare>) -> Result<StatusCode, Problem> {
    app.checkup.admit()?;
    let prepared = app.verifier.post::<()>("/v1/prepare", &Prepare {}, STATUS_TIMEOUT).await;
    prepared.map_err(|error| {
        tracing::warn!(%error, "the verification program does not answer");
        Problem::new(ProblemCode::Unavailable).detail("the verification program does not answer")
    })?;
    Ok(StatusCode::ACCEPTED)
}

/// The terminal and the latest session that the caller may see, now and after every change: server-sent events `terminal` whose data is a
/// `Board`. Never carries a code.
#[utoipa::path(get, path = "/v1/events", tag = "terminal",
    responses((status = 200, body = Board, content_type = "text/event-stream"), (status = "4XX", body = Problem)))]
async fn board(State(app): State<App>, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let news = app.sessions.news();
    let looking = app.clone();
    let look = move || {
        let app = looking.clone();
        async move { Board { terminal: app.status(caller).await, session: app.sessions.latest(caller) } }
    };
    Ok(app.streams.of_terminal(news, look)?.into_response())
}

/// What a terminal tells about itself to whoever looks after it. Not for registers: it tells of all of them.
#[utoipa::path(get, path = "/v1/diagnostics", tag = "terminal", responses((status = 200, body = Diagnostics)))]
async fn diagnostics(State(app): State<App>) -> Json<Diagnostics> {
    let App { sessions, checkup: Checkup { connection, started, .. }, verifier, terminal, budgets, .. } =
        &app;
    Json(crate::diagnostics::look(*terminal, *started, sessions, connection, verifier, *budgets).await)
}

/// A payment operation request: verify a payer. The same `request_id` with the same content answers the same session.
#[utoipa::path(post, path = "/v1/verifications", tag = "verification", request_body = NewSession,
    responses((status = 202, body = Session), (status = 200, body = Session, description = "Accepted before"),
        (status = 409, body = Problem, description = "Busy with another payer, or the `request_id` was used before"),
        (status = 503, body = Problem, description = "Maintenance"),
        (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<NewSession>,
) -> Result<Response, Problem> {
    let deadlines = DEADLINE_MS_MIN..=DEADLINE_MS_MAX;
    if request.deadline_ms.is_some_and(|deadline_ms| !deadlines.contains(&deadline_ms)) {
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
    let accepted = app.sessions.accept(caller.register(), request, app.checkup.admit())?;
    let status = if accepted.replayed { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(accepted.session)).into_response();
    if accepted.replayed {
        let name = HeaderName::from_static(REPLAYED_HEADER);
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

impl App {
    fn may_see(&self, caller: Caller, session: SessionId) -> bool {
        self.sessions.find(session).is_ok_and(|found| caller.may_see(found.register))
    }
}

/// A session that the caller may know of. Another register's answers like one that does not exist.
struct OwnSession(SessionId);

impl FromRequestParts<App> for OwnSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let PathId(session) = PathId::<SessionId>::from_request_parts(parts, app).await?;
        let caller = parts.extensions.get().copied().unwrap_or(Caller::Stranger);
        if app.may_see(caller, session) {
            Ok(Self(session))
        } else {
            Err(Problem::new(ProblemCode::NotFound))
        }
    }
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
    OwnSession(session): OwnSession,
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
    OwnSession(session): OwnSession,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|id| id.parse().ok()));
    let wrong =
        || Problem::new(ProblemCode::InvalidRequest).detail("`Last-Event-ID` is a session's sequence");
    let after = after.map_or(Ok(0), |after| after.ok_or_else(wrong))?;
    let entered = app.sessions.find(session)?;
    Ok(app.streams.of_session(entered, after, app.clock.clone())?.into_response())
}

/// Asks for the code now and hands it over. Again: a new code, and the earlier one is revoked; with `resend` the same code
/// once more, while it lives. Answered when it is known how it went: see `handover.state` of the session.
#[utoipa::path(post, path = "/v1/verifications/{id}/handover", tag = "verification", params(("id" = String, Path)),
    request_body = HandoverRequest,
    responses((status = 200, body = Session), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn hand_over(
    State(app): State<App>,
    OwnSession(session): OwnSession,
    Json(request): Json<HandoverRequest>,
) -> Result<Json<Session>, Problem> {
    app.sessions.hand_over(session, request).await.map(Json)
}

/// The terminal's button: hands over the code of the payer who has passed, or sends the same code again while it lives.
/// While a code is being sent it does nothing.
#[utoipa::path(post, path = "/v1/handover", tag = "terminal", request_body = CurrentHandover,
    responses((status = 200, body = Session), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn hand_over_current(
    State(app): State<App>,
    Json(CurrentHandover { register }): Json<CurrentHandover>,
) -> Result<Json<Session>, Problem> {
    app.sessions.hand_over_current(register).await.map(Json)
}

/// The payer agrees to merchant and exact amount of the session's `payment`, by PIN or, where that is enough, by a
/// gesture. For the terminal's own screen: a cash register never sees a PIN. A wrong PIN costs a try.
#[utoipa::path(post, path = "/v1/verifications/{id}/confirmation", tag = "verification", params(("id" = String, Path)),
    request_body = Confirmation,
    responses((status = 200, body = Session), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn confirm(
    State(app): State<App>,
    OwnSession(session): OwnSession,
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
    OwnSession(session): OwnSession,
    Extension(caller): Extension<Caller>,
    Json(cancel): Json<Cancel>,
) -> Result<Json<Session>, Problem> {
    if cancel.reason == CancelReason::Payer && caller != Caller::Terminal {
        let detail = "a register does not act for the payer: `reason` is `cashier`";
        return Err(Problem::new(ProblemCode::Forbidden).detail(detail));
    }
    tracing::info!(session.id = %session, reason = ?cancel.reason, "a verification is cancelled");
    app.sessions.cancel(session).await.map(Json)
}

/// The picture on the terminal's screen while a code is shown there: Code 128 and QR, as PNG.
#[utoipa::path(get, path = "/v1/verifications/{id}/screen.png", tag = "verification", params(("id" = String, Path)),
    responses((status = 200, description = "PNG", content_type = "image/png"), (status = "4XX", body = Problem)))]
async fn screen(State(app): State<App>, OwnSession(session): OwnSession) -> Result<Response, Problem> {
    let png = app.sessions.screen_png(session)?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response())
}
