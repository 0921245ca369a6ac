//! The routes of pairing: two for the register that asks, the others for the terminal's own screen.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use selfsame_api::pairing::{NewPairing, Paired, Pairing, PairingCode, PairingWindow, Registers};
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::id::{PairingId, RegisterId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::screen_only;
use crate::interface::App;
use crate::listen::Peer;

/// For a register that has no token yet.
pub(crate) fn for_strangers() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(complete))
}

/// For the terminal's own screen.
pub(crate) fn for_screen() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(open_window, window))
        .routes(routes!(close_window))
        .routes(routes!(registers))
        .routes(routes!(unpair))
        .route_layer(from_fn(screen_only))
}

/// A register asks to be paired. Refused unless somebody at the terminal has opened the window for it.
#[utoipa::path(post, path = "/v1/pairings", operation_id = "pairing_create", tag = "pairing", security(()),
    request_body = NewPairing,
    responses((status = 201, body = Pairing), (status = "4XX", body = Problem)))]
async fn ask(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    Json(new): Json<NewPairing>,
) -> Result<(StatusCode, Json<Pairing>), Problem> {
    let pairing = app.pairings.ask(&new.name, peer.map(|Extension(Peer(address))| address))?;
    Ok((StatusCode::CREATED, Json(pairing)))
}

/// Brings the code from the terminal's screen; answers the register's token, this once. Five wrong codes end the pairing.
#[utoipa::path(post, path = "/v1/pairings/{id}/complete", operation_id = "pairing_complete", tag = "pairing",
    security(()), params(("id" = String, Path)), request_body = PairingCode,
    responses((status = 200, body = Paired), (status = "4XX", body = Problem)))]
async fn complete(
    State(app): State<App>,
    PathId(pairing): PathId<PairingId>,
    Json(code): Json<PairingCode>,
) -> Result<Json<Paired>, Problem> {
    app.pairings.complete(pairing, &code.code).map(Json)
}

/// Opens the window in which one register can be paired, for five minutes. For the terminal's own screen.
#[utoipa::path(post, path = "/v1/pairing-window", operation_id = "pairing_window_open", tag = "screen",
    security(()), responses((status = 200, body = PairingWindow), (status = "4XX", body = Problem)))]
async fn open_window(State(app): State<App>) -> Json<PairingWindow> {
    Json(app.pairings.open_window())
}

/// What the screen shows: who asks, and the code to type there. For the terminal's own screen.
#[utoipa::path(get, path = "/v1/pairing-window", operation_id = "pairing_window", tag = "screen", security(()),
    responses((status = 200, body = PairingWindow), (status = "4XX", body = Problem)))]
async fn window(State(app): State<App>) -> Json<PairingWindow> {
    Json(app.pairings.window())
}

/// Closes the window; whoever asks is turned away. For the terminal's own screen.
#[utoipa::path(post, path = "/v1/pairing-window/close", operation_id = "pairing_window_close", tag = "screen",
    security(()), responses((status = 200, body = PairingWindow), (status = "4XX", body = Problem)))]
async fn close_window(State(app): State<App>) -> Json<PairingWindow> {
    Json(app.pairings.close_window())
}

/// The paired registers. For the terminal's own screen.
#[utoipa::path(get, path = "/v1/registers", operation_id = "register_list", tag = "screen", security(()),
    responses((status = 200, body = Registers), (status = "4XX", body = Problem)))]
async fn registers(State(app): State<App>) -> Json<Registers> {
    Json(app.pairings.registers())
}

/// Takes a register's token back, at once. For the terminal's own screen.
#[utoipa::path(post, path = "/v1/registers/{id}/unpair", operation_id = "register_unpair", tag = "screen",
    security(()), params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn unpair(State(app): State<App>, PathId(register): PathId<RegisterId>) -> Result<StatusCode, Problem> {
    app.pairings.unpair(register)?;
    Ok(StatusCode::NO_CONTENT)
}
