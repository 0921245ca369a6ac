//! The test clock: moves a test site's time ahead, so that expiry can be shown without waiting.

use std::time::Duration;

use axum::extract::State;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::Json;
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::authentication::Operator;
use crate::refusal::{OrProblem, invalid};

/// The most that one call may advance the clock: a year.
const ADVANCE_SECONDS_MAX: u64 = 366 * 24 * 3600;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(advance))
}

/// How far to move.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Advance {
    /// Seconds, 1 to a year.
    seconds: u64,
}

/// The new time.
#[derive(Serialize, ToSchema)]
struct Now {
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
}

/// Moves the clock of a test site ahead.
#[utoipa::path(post, path = "/v1/test-clock/advance", operation_id = "test_clock_advance", tag = "test",
    request_body = Advance,
    responses((status = 200, body = Now), (status = "4XX", body = Problem)))]
async fn advance(
    State(app): State<AppState>,
    _: Operator,
    Json(advance): Json<Advance>,
) -> Result<Json<Now>, Problem> {
    if app.site.mode != Mode::Test {
        return Err(
            Problem::new(ProblemCode::Forbidden).detail("only test sites have a clock that can be moved")
        );
    }
    if !(1..=ADVANCE_SECONDS_MAX).contains(&advance.seconds) {
        return Err(invalid(format_args!("seconds must be 1 to {ADVANCE_SECONDS_MAX}")));
    }
    app.clock.advance(Duration::from_secs(advance.seconds));
    // What is over by the new time ends now, not at the next round.
    crate::housekeeping::end_overdue(&app).await;
    let rules = app.store.rules().await.or_problem()?;
    crate::settlement::close_due(&app, rules.business_day).await;
    Ok(Json(Now { now: app.now() }))
}
