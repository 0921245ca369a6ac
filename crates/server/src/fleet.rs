//! The fleet: terminals report how they fare, and the operator looks at all of them.

use axum::extract::State;
use selfsame_api::configuration::{Configuration, ConfigurationLayer};
use selfsame_api::fleet::{
    FleetTerminal, FleetTerminals, Health, HealthReceived, REPORT_BYTES_MAX, REPORT_FRESH,
};
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId, Query};
use selfsame_api::terminal::TerminalKey;
use selfsame_domain::id::TerminalId;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{Operator, SignedThoughLocked};
use crate::configuration::{layer, site_layer};
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{App, AppState};

/// Terminals of one page, unless asked for fewer or more.
const PAGE_DEFAULT: u32 = 50;

/// Most terminals of one page.
const PAGE_MAX: u32 = selfsame_store::FLEET_PAGE_MAX - 1;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(report)).routes(routes!(list)).routes(routes!(show))
}

/// A terminal says how it fares; the report before is replaced.
#[utoipa::path(post, path = "/v1/terminal-health", operation_id = "fleet_report", tag = "terminal",
    request_body = Health,
    responses((status = 200, body = HealthReceived), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn report(
    State(app): State<AppState>,
    request: SignedThoughLocked,
) -> Result<Json<HealthReceived>, Problem> {
    let health: Health = request.0.json()?;
    let stored = serde_json::to_string(&health).expect("a report always serializes");
    if stored.len() > REPORT_BYTES_MAX {
        return Err(invalid(format_args!("a report has at most {REPORT_BYTES_MAX} bytes")));
    }
    let now = app.now();
    app.store.report_health(request.0.terminal.terminal, stored, now).await.or_problem()?;
    Ok(Json(HealthReceived { server_time: now }))
}

fn wire(app: &App, site: &ConfigurationLayer, found: selfsame_store::FleetTerminal) -> FleetTerminal {
    let configuration = Configuration::of(site.clone(), layer(found.configuration.as_deref()));
    let last_seen_at = found.report.as_ref().map(|(at, _)| *at);
    let fresh = last_seen_at.is_some_and(|at| app.now().since(at) <= REPORT_FRESH);
    // A report of a version that said other things: the next one is here within a minute.
    let health: Option<Health> = found.report.and_then(|(_, report)| serde_json::from_str(&report).ok());
    FleetTerminal {
        id: found.terminal,
        name: found.name,
        store: found.store,
        store_name: found.store_name,
        merchant: found.merchant,
        merchant_name: found.merchant_name,
        purpose: found.purpose,
        state: found.lifecycle,
        locked_at: found.locked_at,
        clone_suspected_at: found.clone_suspected_at,
        key: found.key.map(|(id, algorithm, created_at)| TerminalKey { id, algorithm, created_at }),
        online: fresh && app.channels.is_open(found.terminal),
        last_seen_at,
        configured: health.as_ref().is_some_and(|health| health.configuration == configuration),
        health,
        configuration,
    }
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
    before: Option<TerminalId>,
}

/// All terminals, newest first, also those that are retired.
#[utoipa::path(get, path = "/v1/terminals", operation_id = "fleet_list", tag = "operator",
    params(("limit" = Option<u32>, Query), ("before" = Option<String>, Query)),
    responses((status = 200, body = FleetTerminals), (status = "4XX", body = Problem)))]
async fn list(
    State(app): State<AppState>,
    _: Operator,
    Query(page): Query<Page>,
) -> Result<Json<FleetTerminals>, Problem> {
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid(format_args!("`limit` must be 1 to {PAGE_MAX}")));
    }
    let site = site_layer(&app).await.or_problem()?;
    let found = app.store.fleet(page.before, limit + 1).await.or_problem()?;
    let has_more = found.len() > limit as usize;
    let data: Vec<_> = found.into_iter().take(limit as usize).map(|found| wire(&app, &site, found)).collect();
    let next_cursor = data.last().filter(|_| has_more).map(|terminal| terminal.id);
    Ok(Json(FleetTerminals { data, has_more, next_cursor }))
}

/// One terminal.
#[utoipa::path(get, path = "/v1/terminals/{id}", operation_id = "fleet_terminal", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = FleetTerminal), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
) -> Result<Json<FleetTerminal>, Problem> {
    let site = site_layer(&app).await.or_problem()?;
    let found = app.store.fleet_terminal(terminal).await.or_problem()?.ok_or_else(not_found)?;
    Ok(Json(wire(&app, &site, found)))
}
