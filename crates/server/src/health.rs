//! Whether the server is alive and ready.

use axum::extract::State;
use selfsame_api::problem::Problem;
use selfsame_api::serve::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::refusal::OrProblem;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready))
}

/// What is ready.
#[derive(Serialize, ToSchema)]
struct Readiness {
    /// `live` or `test`.
    #[schema(value_type = String)]
    mode: selfsame_domain::site::Mode,
    /// The database answers and takes writes. `false` after a failed disk sync, and after another server has taken
    /// over, until the next start.
    store: bool,
    /// The matcher answers. Without it payments go on, verifications do not.
    matcher: bool,
    /// What an answered payment survives: `local_sync` means it is synced to the disk of this machine or of its database
    /// server, `standby_sync` that a standby has synced it as well.
    durability: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/livez", operation_id = "health_live", tag = "health",
    responses((status = 204, description = "Alive")))]
async fn live() -> axum::http::StatusCode {
    axum::http::StatusCode::NO_CONTENT
}

/// Store and matcher answer.
#[utoipa::path(get, path = "/readyz", operation_id = "health_ready", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Problem)))]
async fn ready(State(app): State<AppState>) -> Result<Json<Readiness>, Problem> {
    let store = app.store.owns_slot().await.or_problem()? && !app.store.is_halted();
    let matcher = app.matcher.describe().await.is_ok();
    let durability = app.store.durability().await.or_problem()?.as_str();
    Ok(Json(Readiness { mode: app.site.mode, store, matcher, durability }))
}
