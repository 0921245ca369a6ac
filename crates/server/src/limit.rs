//! Limits, and the other rules that payments are decided by. What is set here holds from the next batch on.

use axum::extract::State;
use axum::http::StatusCode;
use selfsame_api::limit::{LimitsLayer, MerchantTerms, Rules as WireRules};
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::id::{AccountId, MerchantId};
use selfsame_domain::limit::{BusinessDay, CATEGORIES_BLOCKED_MAX, Limits};
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::settlement::FEE_MAX;
use selfsame_store::{Agreement, Layer, Rules};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{App, AppState};

/// Longest undo without asking, in minutes.
const UNDO_MINUTES_MAX: u32 = 24 * 60;

/// Where on Earth days begin, in minutes east of UTC.
const UTC_OFFSETS: std::ops::RangeInclusive<i32> = -720..=840;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(site, set_site))
        .routes(routes!(grade, set_grade))
        .routes(routes!(account, set_account))
        .routes(routes!(guardian, set_guardian))
        .routes(routes!(rules, set_rules))
        .routes(routes!(terms, set_terms))
}

async fn read(app: &App, layer: Layer) -> Result<Json<Limits>, Problem> {
    app.store.limits(layer).await.or_problem().map(Json)
}

async fn write(app: &App, layer: Layer, limits: Limits) -> Result<Json<Limits>, Problem> {
    let minors = [limits.payment_minor_max, limits.day_minor_max, limits.step_up_above_minor];
    if minors.into_iter().flatten().any(|minor| minor < 0) {
        return Err(invalid("limits are 0 or more minor units"));
    }
    if limits.categories_blocked.len() > CATEGORIES_BLOCKED_MAX {
        return Err(invalid(format_args!("at most {CATEGORIES_BLOCKED_MAX} categories can be blocked")));
    }
    app.store.set_limits(layer, limits, app.now()).await.or_problem()?;
    read(app, layer).await
}

async fn existing(app: &App, account: AccountId) -> Result<(), Problem> {
    app.store.account(account).await.or_problem()?.map(|_| ()).ok_or_else(not_found)
}

/// Limits of every payment.
#[utoipa::path(get, path = "/v1/limits/site", operation_id = "limit_site", tag = "operator",
    responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn site(State(app): State<AppState>, _: Operator) -> Result<Json<Limits>, Problem> {
    read(&app, Layer::Site).await
}

/// Replaces the limits of every payment.
#[utoipa::path(put, path = "/v1/limits/site", operation_id = "limit_set_site", tag = "operator", request_body = LimitsLayer,
    responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn set_site(
    State(app): State<AppState>,
    _: Operator,
    Json(limits): Json<Limits>,
) -> Result<Json<Limits>, Problem> {
    write(&app, Layer::Site, limits).await
}

/// Limits of payments after a verification of this sensor grade.
#[utoipa::path(get, path = "/v1/limits/grades/{grade}", operation_id = "limit_grade", tag = "operator", params(("grade" = String, Path)),
    responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn grade(
    State(app): State<AppState>,
    _: Operator,
    PathId(grade): PathId<SensorGrade>,
) -> Result<Json<Limits>, Problem> {
    read(&app, Layer::Grade(grade)).await
}

/// Replaces the limits of a sensor grade.
#[utoipa::path(put, path = "/v1/limits/grades/{grade}", operation_id = "limit_set_grade", tag = "operator", params(("grade" = String, Path)),
    request_body = LimitsLayer, responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn set_grade(
    State(app): State<AppState>,
    _: Operator,
    PathId(grade): PathId<SensorGrade>,
    Json(limits): Json<Limits>,
) -> Result<Json<Limits>, Problem> {
    write(&app, Layer::Grade(grade), limits).await
}

/// Limits of one payer.
#[utoipa::path(get, path = "/v1/accounts/{id}/limits", operation_id = "limit_account", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn account(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
) -> Result<Json<Limits>, Problem> {
    existing(&app, account).await?;
    read(&app, Layer::Account(account)).await
}

/// Replaces the limits of one payer.
#[utoipa::path(put, path = "/v1/accounts/{id}/limits", operation_id = "limit_set_account", tag = "operator", params(("id" = String, Path)),
    request_body = LimitsLayer, responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn set_account(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
    Json(limits): Json<Limits>,
) -> Result<Json<Limits>, Problem> {
    existing(&app, account).await?;
    write(&app, Layer::Account(account), limits).await
}

/// Limits that a guardian set for a payer.
#[utoipa::path(get, path = "/v1/accounts/{id}/guardian-limits", operation_id = "limit_guardian", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn guardian(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
) -> Result<Json<Limits>, Problem> {
    existing(&app, account).await?;
    read(&app, Layer::Guardian(account)).await
}

/// Replaces a guardian's limits, at the desk.
#[utoipa::path(put, path = "/v1/accounts/{id}/guardian-limits", operation_id = "limit_set_guardian", tag = "operator", params(("id" = String, Path)),
    request_body = LimitsLayer, responses((status = 200, body = LimitsLayer), (status = "4XX", body = Problem)))]
async fn set_guardian(
    State(app): State<AppState>,
    _: Operator,
    PathId(account): PathId<AccountId>,
    Json(limits): Json<Limits>,
) -> Result<Json<Limits>, Problem> {
    existing(&app, account).await?;
    write(&app, Layer::Guardian(account), limits).await
}

/// Rules of the whole site.
#[utoipa::path(get, path = "/v1/rules", operation_id = "limit_rules", tag = "operator",
    responses((status = 200, body = WireRules), (status = "4XX", body = Problem)))]
async fn rules(State(app): State<AppState>, _: Operator) -> Result<Json<WireRules>, Problem> {
    let rules = app.store.rules().await.or_problem()?;
    let utc_offset_minutes = rules.business_day.utc_offset_minutes;
    Ok(Json(WireRules { utc_offset_minutes, gesture_confirms: rules.gesture_confirms }))
}

/// Replaces the rules of the whole site.
#[utoipa::path(put, path = "/v1/rules", operation_id = "limit_set_rules", tag = "operator", request_body = WireRules,
    responses((status = 200, body = WireRules), (status = "4XX", body = Problem)))]
async fn set_rules(
    State(app): State<AppState>,
    _: Operator,
    Json(new): Json<WireRules>,
) -> Result<Json<WireRules>, Problem> {
    if !UTC_OFFSETS.contains(&new.utc_offset_minutes) {
        return Err(invalid(format_args!("`utc_offset_minutes` must be within {UTC_OFFSETS:?}")));
    }
    let business_day = BusinessDay { utc_offset_minutes: new.utc_offset_minutes };
    let rules = Rules { business_day, gesture_confirms: new.gesture_confirms };
    app.store.set_rules(rules).await.or_problem()?;
    Ok(Json(new))
}

/// What was agreed with a merchant.
#[utoipa::path(get, path = "/v1/merchants/{id}/terms", operation_id = "limit_terms", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = MerchantTerms), (status = "4XX", body = Problem)))]
async fn terms(
    State(app): State<AppState>,
    _: Operator,
    PathId(merchant): PathId<MerchantId>,
) -> Result<Json<MerchantTerms>, Problem> {
    let found = app.store.agreement(merchant).await.or_problem()?.ok_or_else(not_found)?;
    let Agreement { category, undo_minutes, fee } = found;
    Ok(Json(MerchantTerms { category, undo_minutes, fee }))
}

/// Replaces what was agreed with a merchant.
#[utoipa::path(put, path = "/v1/merchants/{id}/terms", operation_id = "limit_set_terms", tag = "operator", params(("id" = String, Path)),
    request_body = MerchantTerms, responses((status = 204), (status = "4XX", body = Problem)))]
async fn set_terms(
    State(app): State<AppState>,
    _: Operator,
    PathId(merchant): PathId<MerchantId>,
    Json(new): Json<MerchantTerms>,
) -> Result<StatusCode, Problem> {
    if new.undo_minutes > UNDO_MINUTES_MAX || new.fee > FEE_MAX {
        return Err(invalid(format_args!(
            "`undo_minutes` is at most {UNDO_MINUTES_MAX}, `fee` at most {FEE_MAX}"
        )));
    }
    let MerchantTerms { category, undo_minutes, fee } = new;
    let agreement = Agreement { category, undo_minutes, fee };
    if !app.store.set_agreement(merchant, agreement).await.or_problem()? {
        return Err(not_found());
    }
    Ok(StatusCode::NO_CONTENT)
}
