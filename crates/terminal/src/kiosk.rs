//! The payer's page: served on a loopback port of its own, to one browser, with everything that it shows as one stream of
//! events and everything that a payer may do as one route each.
//!
//! The camera's frames do not come through here. The page sends them to the verification program's own port, whose address
//! and token it is told: pictures stay in one process of this machine.

mod door;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use selfsame_api::client::ClientError;
use selfsame_api::interface::{
    Confirmation, DEADLINE_MS_MAX, HandoverMode, Outcome, RegisterKind, SessionState,
};
use selfsame_api::kiosk::{
    KioskConfirmation, KioskHandover, KioskIdentifier, KioskKey, KioskOpening, KioskPayment, KioskSession,
    KioskView, KioskWay, MORE_TIME_MS, OfSession,
};
use selfsame_api::payment::{PayerUndo, Payment};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, Query};
use selfsame_api::verification::FlashChallenge;
use selfsame_api::verifier::{CameraWish, ChangeWay, FrameAnswer, MoreTime, PadInput, PinInput};
use selfsame_domain::id::SessionId;
use selfsame_domain::time::Timestamp;
use selfsame_pages::Policy;
use serde::Deserialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::door::{Door, own_page, page_only};
use crate::interface::App;
use crate::listen::Listening;
use crate::lock;
use crate::session::Entered;
use crate::verification::Sessions;

/// Longest wait for the verification program to take what the payer did. It only notes it.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the server to take a payment back.
const UNDO_TIMEOUT: Duration = Duration::from_secs(4);

/// How much more time a payer gets who asks.
const MORE_TIME: Duration = Duration::from_millis(MORE_TIME_MS);

/// Where the payer's page is served.
pub struct KioskAccess {
    /// The loopback port.
    pub listening: Listening,
    /// The file that keeps which browser is the page.
    pub file: PathBuf,
}

/// The payer's page.
pub(crate) struct Kiosk {
    door: Arc<Door>,
    /// Where the page sends frames; what its content policy lets it connect to.
    camera: Mutex<Option<String>>,
}

/// How many pages are looking.
#[derive(Clone, Default)]
pub(crate) struct Pages(Arc<AtomicUsize>);

/// A page is looking for as long as this lives.
struct Looking(Pages);

impl Pages {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn enter(&self) -> Looking {
        self.0.fetch_add(1, Ordering::Relaxed);
        Looking(self.clone())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Kiosk {
    pub(crate) fn new(access: &KioskAccess) -> Self {
        let door = Arc::new(Door::new(&access.listening, access.file.clone()));
        Self { door, camera: Mutex::new(None) }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Selfsame payer's page",
        description = "What a terminal's own page for the payer calls, on a loopback port, by a cookie. For that page \
                       alone, and not a stable interface: it changes together with the page.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(CameraWish, FrameAnswer, FlashChallenge))
)]
struct Document;

fn for_page() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(identifier))
        .routes(routes!(way))
        .routes(routes!(pin))
        .routes(routes!(more_time))
        .routes(routes!(cancel))
        .routes(routes!(hand_over))
        .routes(routes!(confirm))
        .routes(routes!(undo))
        .routes(routes!(code))
}

fn for_browser() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(open))
}

/// The OpenAPI 3.1 document of what the payer's page calls, as pretty JSON.
pub fn kiosk_openapi_json() -> String {
    let (_, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(for_browser())
        .merge(for_page())
        .split_for_parts();
    document.to_pretty_json().expect("the document always serializes")
}

/// Everything that the port answers.
pub(crate) fn router(kiosk: &Arc<Kiosk>, app: &App) -> Router<App> {
    let door = kiosk.door.clone();
    let camera = kiosk.clone();
    let policy = move || {
        let policy = Policy::default().camera();
        lock(&camera.camera).iter().fold(policy, |policy, origin| policy.connect_to(origin))
    };
    let pages = selfsame_pages::routes(&[("/", "kiosk")], policy)
        .layer(from_fn_with_state((kiosk.clone(), app.clone()), know_camera));
    let (page, _) = for_page().split_for_parts();
    let (browser, _) = for_browser().split_for_parts();
    page.route_layer(from_fn_with_state(door.clone(), page_only))
        .merge(browser)
        .merge(pages)
        .layer(from_fn_with_state(door, own_page))
}

/// The page's content policy names the port of the verification program, which may be another one after its restart.
async fn know_camera(
    State((kiosk, app)): State<(Arc<Kiosk>, App)>,
    request: Request,
    next: Next,
) -> Response {
    let (_, camera) = app.checkup.look().await;
    *lock(&kiosk.camera) = camera.page.map(|page| page.url);
    next.run(request).await
}

/// A key with which one browser can be made this terminal's page. For programs of this site.
#[utoipa::path(post, path = "/v1/kiosk-keys", tag = "screen",
    responses((status = 200, body = KioskKey), (status = 409, body = Problem, description = "The settings name no port for the page")))]
pub(crate) async fn offer(State(app): State<App>) -> Result<Json<KioskKey>, Problem> {
    let none = || {
        Problem::new(ProblemCode::InvalidState)
            .detail("there is no port for the payer's page: set `listen` in section [kiosk] of selfsame.toml")
    };
    app.kiosk.as_ref().map(|kiosk| Json(kiosk.door.offer())).ok_or_else(none)
}

/// Makes the browser that asks this terminal's page, by the key that it was opened with.
#[utoipa::path(post, path = "/v1/kiosk/open", request_body = KioskOpening,
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn open(State(app): State<App>, Json(opening): Json<KioskOpening>) -> Result<Response, Problem> {
    let kiosk = app.kiosk.as_ref().ok_or_else(|| Problem::new(ProblemCode::RouteNotFound))?;
    let cookie = kiosk.door.open(&opening.key)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// All that the page shows, now and after every change: server-sent events `terminal` whose data is a `KioskView`.
#[utoipa::path(get, path = "/v1/kiosk/events",
    responses((status = 200, body = KioskView, content_type = "text/event-stream"), (status = "4XX", body = Problem)))]
async fn events(State(app): State<App>) -> Result<Response, Problem> {
    let news = app.sessions.news();
    let looking = Arc::new(app.sessions.pages.enter());
    let streams = app.streams.clone();
    let look = move || {
        let (app, looking) = (app.clone(), looking.clone());
        async move {
            let view = view(&app).await;
            drop(looking);
            view
        }
    };
    Ok(streams.of_terminal(news, look)?.into_response())
}

async fn view(app: &App) -> KioskView {
    let (status, camera) = app.checkup.look().await;
    KioskView {
        terminal: status.terminal,
        state: status.state,
        notice: status.maintenance.and_then(|maintenance| maintenance.text),
        language: app.sessions.configured.in_force().language,
        place: lock(&app.sessions.place).clone(),
        modalities: status.modalities,
        has_own_camera: camera.is_own,
        camera: camera.page,
        session: app.sessions.before_payer().and_then(|entered| shown(&entered)),
    }
}

/// What the page shows of a session; nothing of one of an earlier run.
fn shown(entered: &Entered) -> Option<KioskSession> {
    let modality = entered.request.as_ref()?.modality;
    let (challenge, waits_until) = entered.seen();
    let session = entered.session.borrow().clone();
    let is_waiting = matches!(
        session.state,
        SessionState::AwaitingIdentifier | SessionState::Capturing | SessionState::AwaitingPin
    );
    let passed = session.outcome == Some(Outcome::Passed) && lock(&entered.pass).is_some();
    // What goes back to the caller, the caller asks for.
    let by_button =
        entered.plan.mode == HandoverMode::OnRequest && entered.plan.register != RegisterKind::Return;
    Some(KioskSession {
        id: session.id,
        modality,
        state: session.state,
        guidance: session.guidance,
        challenge,
        waits_until: waits_until.filter(|_| is_waiting),
        may_have_more_time: is_waiting && entered.may_have_more_time(),
        outcome: session.outcome,
        error: session.error.map(|error| error.code),
        payer_display: session.payer_display,
        pass_expires_at: session.pass_expires_at,
        hand_over_here: passed && by_button && session.payment.is_none(),
        handover: session.handover.map(|handover| KioskHandover {
            register: handover.register,
            state: handover.state,
            expires_at: handover.expires_at,
        }),
        payment: session.payment.map(|payment| KioskPayment {
            status: payment.status,
            merchant_name: payment.merchant_name,
            amount: payment.amount,
            expires_at: payment.expires_at,
            gesture_confirms: payment.gesture_confirms,
            returned: payment.returned_minor >= payment.amount.minor(),
            undo_until: payment.undo_until.filter(|_| payment.receipt.is_some()),
            may_ask_back: payment.may_ask_back && payment.receipt.is_some(),
            asked_back: payment.frozen_minor > 0,
        }),
        cancel: session.cancel,
    })
}

/// What the verification program says to something that the payer did.
fn forwarded(answer: Result<(), ClientError>) -> Result<StatusCode, Problem> {
    match answer {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(ClientError::Problem(problem)) => Err(*problem),
        Err(error) => {
            tracing::warn!(%error, "the verification program did not hear of what the payer did");
            Err(Problem::new(ProblemCode::Unavailable).detail("the verification program does not answer"))
        }
    }
}

/// What the payer typed.
#[utoipa::path(post, path = "/v1/kiosk/identifier", request_body = KioskIdentifier,
    responses((status = 202), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn identifier(
    State(app): State<App>,
    Json(KioskIdentifier { session, identifier }): Json<KioskIdentifier>,
) -> Result<StatusCode, Problem> {
    let current = app.sessions.before_payer().filter(|entered| entered.id() == session);
    current.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    forwarded(app.verifier.post("/v1/identifier", &PadInput { identifier }, FORWARD_TIMEOUT).await)
}

/// The payer would rather be verified by number and PIN, or in the first way after all.
#[utoipa::path(post, path = "/v1/kiosk/way", request_body = KioskWay,
    responses((status = 202), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn way(
    State(app): State<App>,
    Json(KioskWay { session, way }): Json<KioskWay>,
) -> Result<StatusCode, Problem> {
    forwarded(app.verifier.post("/v1/way", &ChangeWay { session, way }, FORWARD_TIMEOUT).await)
}

/// Number and PIN.
#[utoipa::path(post, path = "/v1/kiosk/pin", request_body = PinInput,
    responses((status = 202), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn pin(State(app): State<App>, Json(input): Json<PinInput>) -> Result<StatusCode, Problem> {
    forwarded(app.verifier.post("/v1/pin", &input, FORWARD_TIMEOUT).await)
}

/// The payer wants more time.
#[utoipa::path(post, path = "/v1/kiosk/more-time", request_body = OfSession,
    responses((status = 202), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn more_time(
    State(app): State<App>,
    Json(OfSession { session }): Json<OfSession>,
) -> Result<StatusCode, Problem> {
    let granted_ms = app.sessions.grant_more_time(session)?;
    forwarded(app.verifier.post("/v1/more-time", &MoreTime { session, granted_ms }, FORWARD_TIMEOUT).await)
}

/// The payer does not want to pay, or not to agree.
#[utoipa::path(post, path = "/v1/kiosk/cancel", request_body = OfSession,
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn cancel(
    State(app): State<App>,
    Json(OfSession { session }): Json<OfSession>,
) -> Result<StatusCode, Problem> {
    tracing::info!(session.id = %session, "the payer cancels");
    app.sessions.cancel(session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The button: hands the code over, or sends it again while it lives.
#[utoipa::path(post, path = "/v1/kiosk/handover", request_body = OfSession,
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn hand_over(
    State(app): State<App>,
    Json(OfSession { session }): Json<OfSession>,
) -> Result<StatusCode, Problem> {
    let current = app.sessions.before_payer().filter(|entered| entered.id() == session);
    current.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    app.sessions.hand_over_current(None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The payer agrees to merchant and exact amount, by PIN or, where that is enough, by a gesture.
#[utoipa::path(post, path = "/v1/kiosk/confirmation", request_body = KioskConfirmation,
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn confirm(
    State(app): State<App>,
    Json(KioskConfirmation { session, pin }): Json<KioskConfirmation>,
) -> Result<StatusCode, Problem> {
    app.sessions.confirm(session, Confirmation { pin }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The payer takes back what was paid just now, where the merchant lets payers; elsewhere asks for it back.
#[utoipa::path(post, path = "/v1/kiosk/undo", request_body = OfSession,
    responses((status = 204), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn undo(
    State(app): State<App>,
    Json(OfSession { session }): Json<OfSession>,
) -> Result<StatusCode, Problem> {
    app.sessions.undo(session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which code's picture. `until` makes the next code's another address, so that no browser shows the one before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownCode {
    session: SessionId,
    #[serde(default, rename = "until")]
    _until: Option<Timestamp>,
}

/// The picture of a code that was handed over to the screen: Code 128 and QR, as PNG.
#[utoipa::path(get, path = "/v1/kiosk/code.png", params(("session" = String, Query), ("until" = Option<String>, Query)),
    responses((status = 200, description = "PNG", content_type = "image/png"), (status = "4XX", body = Problem)))]
async fn code(State(app): State<App>, Query(shown): Query<ShownCode>) -> Result<Response, Problem> {
    let png = app.sessions.screen_png(shown.session)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, png).into_response())
}

impl Sessions {
    /// The session whose payer is there: the one that goes on, else the one whose payment waits, else the last one.
    fn before_payer(&self) -> Option<Arc<Entered>> {
        let goes_on = |entered: &Arc<Entered>| entered.session.borrow().state != SessionState::Done;
        let entered = self.all();
        let waits = self.to_confirm();
        let by_rank = |entered: &Arc<Entered>| (goes_on(entered), Some(entered.id()) == waits, entered.id());
        entered.into_iter().max_by_key(by_rank)
    }

    /// Moves the deadline of a payer who asks for more time; answers how much was granted so far, in milliseconds.
    fn grant_more_time(&self, session: SessionId) -> Result<u64, Problem> {
        let entered = self.find(session)?;
        let goes_on = entered.session.borrow().state != SessionState::Done;
        if !goes_on || !entered.may_have_more_time() {
            return Err(Problem::new(ProblemCode::InvalidState).detail("there is no more time to have"));
        }
        let mut granted = Duration::ZERO;
        entered.granted.send_modify(|so_far| {
            *so_far += MORE_TIME;
            granted = *so_far;
        });
        entered.change(|session| session.deadline_at = session.deadline_at + MORE_TIME);
        Ok(u64::try_from(granted.as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes back the payment that came of a session, or asks for it: which of the two, the server knows.
    async fn undo(&self, session: SessionId) -> Result<(), Problem> {
        let entered = self.find(session)?;
        let nothing = || Problem::new(ProblemCode::InvalidState).detail("there is nothing to take back here");
        let payment = entered.session.borrow().payment.clone().ok_or_else(nothing)?;
        let receipt = payment.receipt.filter(|_| payment.undo_until.is_some() || payment.may_ask_back);
        let receipt = receipt.ok_or_else(nothing)?;
        let undo = PayerUndo { verification: payment.verification, receipt };
        let answered = self.link.post::<Payment>("/v1/undos", &undo, UNDO_TIMEOUT).await;
        let answered = answered.map_err(|error| match error {
            ClientError::Problem(problem) => *problem,
            error => {
                tracing::warn!(%error, "an undo did not reach the payment server");
                // Asking again is harmless: the server knows what it has done.
                Problem::new(ProblemCode::Unavailable).detail("the payment server does not answer: try again")
            }
        })?;
        tracing::info!(session.id = %session, payment.id = %payment.payment, "the payer took a payment back or asked for it");
        entered.change(|session| {
            if let Some(payment) = &mut session.payment {
                (payment.status, payment.undo_until, payment.may_ask_back) = (answered.status, None, false);
                (payment.returned_minor, payment.frozen_minor) =
                    (answered.returned_minor, answered.frozen_minor);
            }
        });
        Ok(())
    }
}

impl Entered {
    fn may_have_more_time(&self) -> bool {
        let longest = self.plan.deadline + *self.granted.borrow() + MORE_TIME;
        longest <= Duration::from_millis(DEADLINE_MS_MAX)
    }
}

const _: () = assert!(MORE_TIME_MS < DEADLINE_MS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_for_as_long_as_they_look() {
        let pages = Pages::default();
        let (one, other) = (pages.enter(), pages.enter());
        drop(one);
        assert!(pages.any());
        drop(other);
        assert!(!pages.any());
    }
}
