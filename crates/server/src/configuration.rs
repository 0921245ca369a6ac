//! What the operator sets for terminals: for all of the site, and for one. Those that are connected hear of it at once.

use axum::extract::State;
use selfsame_api::configuration::{Configuration, ConfigurationLayer};
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::id::TerminalId;
use selfsame_store::{ConfigurationScope, StoreError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{App, AppState};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(site, set_site)).routes(routes!(own, set_own))
}

/// Reads a layer as it is stored. What cannot be read was written by a newer server and counts as not set: terminals must
/// go on working.
pub(crate) fn layer(stored: Option<&str>) -> ConfigurationLayer {
    let Some(stored) = stored else { return ConfigurationLayer::default() };
    serde_json::from_str(stored).unwrap_or_else(|error| {
        tracing::error!(%error, "a configuration of terminals cannot be read");
        ConfigurationLayer::default()
    })
}

/// What is set for all of the site.
pub(crate) async fn site_layer(app: &App) -> Result<ConfigurationLayer, StoreError> {
    let stored = app.store.configuration(ConfigurationScope::Site).await?;
    Ok(layer(stored.as_deref()))
}

/// What is in force for a terminal.
pub(crate) async fn in_force(app: &App, terminal: TerminalId) -> Result<Configuration, StoreError> {
    let own = app.store.configuration(ConfigurationScope::Terminal(terminal)).await?;
    Ok(Configuration::of(site_layer(app).await?, layer(own.as_deref())))
}

async fn set(app: &App, scope: ConfigurationScope, layer: &ConfigurationLayer) -> Result<(), Problem> {
    layer.check().map_err(invalid)?;
    let stored = serde_json::to_string(layer).expect("a configuration always serializes");
    if app.store.set_configuration(scope, stored, app.now()).await.or_problem()? {
        Ok(())
    } else {
        Err(not_found())
    }
}

/// What is set for all terminals.
#[utoipa::path(get, path = "/v1/terminal-configuration", operation_id = "configuration_site", tag = "operator",
    responses((status = 200, body = ConfigurationLayer), (status = "4XX", body = Problem)))]
async fn site(State(app): State<AppState>, _: Operator) -> Result<Json<ConfigurationLayer>, Problem> {
    site_layer(&app).await.or_problem().map(Json)
}

/// Replaces what is set for all terminals.
#[utoipa::path(put, path = "/v1/terminal-configuration", operation_id = "configuration_set_site", tag = "operator",
    request_body = ConfigurationLayer,
    responses((status = 200, body = ConfigurationLayer), (status = "4XX", body = Problem)))]
async fn set_site(
    State(app): State<AppState>,
    _: Operator,
    Json(layer): Json<ConfigurationLayer>,
) -> Result<Json<ConfigurationLayer>, Problem> {
    set(&app, ConfigurationScope::Site, &layer).await?;
    app.channels.wake_all();
    Ok(Json(layer))
}

/// What is set for one terminal.
#[utoipa::path(get, path = "/v1/terminals/{id}/configuration", operation_id = "configuration_terminal", tag = "operator",
    params(("id" = String, Path)),
    responses((status = 200, body = ConfigurationLayer), (status = "4XX", body = Problem)))]
async fn own(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
) -> Result<Json<ConfigurationLayer>, Problem> {
    let found = app.store.fleet_terminal(terminal).await.or_problem()?.ok_or_else(not_found)?;
    Ok(Json(layer(found.configuration.as_deref())))
}

/// Replaces what is set for one terminal.
#[utoipa::path(put, path = "/v1/terminals/{id}/configuration", operation_id = "configuration_set_terminal",
    tag = "operator", params(("id" = String, Path)), request_body = ConfigurationLayer,
    responses((status = 200, body = ConfigurationLayer), (status = "4XX", body = Problem)))]
async fn set_own(
    State(app): State<AppState>,
    _: Operator,
    PathId(terminal): PathId<TerminalId>,
    Json(layer): Json<ConfigurationLayer>,
) -> Result<Json<ConfigurationLayer>, Problem> {
    set(&app, ConfigurationScope::Terminal(terminal), &layer).await?;
    app.channels.wake(terminal);
    Ok(Json(layer))
}
