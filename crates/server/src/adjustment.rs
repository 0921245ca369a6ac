//! Adjustments: the operator's corrections, with a second person.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::adjustment::{Decision, Direction, NewAdjustment};
use selfsame_api::payment::{Payment, Payments};
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::id::PaymentId;
use selfsame_domain::ledger::Kind;
use selfsame_domain::payment::{Adjust, Adjusted, DecideAdjustment, Request};
use selfsame_domain::timing::Timings;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::payment::post;
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(decide))
}

/// Proposes a correction. Nothing moves until another key approves.
#[utoipa::path(post, path = "/v1/adjustments", operation_id = "adjustment_create", tag = "operator", request_body = NewAdjustment,
    responses((status = 202, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn create(
    State(app): State<AppState>,
    operator: Operator,
    Json(new): Json<NewAdjustment>,
) -> Result<Response, Problem> {
    let adjusted = match (new.account, new.merchant) {
        (Some(account), None) => Adjusted::Account(account),
        (None, Some(merchant)) => {
            app.store.agreement(merchant).await.or_problem()?.ok_or_else(not_found)?;
            Adjusted::Merchant(merchant)
        }
        _ => return Err(invalid("name one of `account` and `merchant`")),
    };
    let adjust = Adjust {
        payment: PaymentId::new(app.now(), random()),
        adjustment_ref: new.adjustment_ref,
        adjusted,
        raise: new.direction == Direction::Raise,
        amount: new.amount,
        actor: operator.key,
    };
    post(&app, Request::Adjust(adjust)).await
}

/// Corrections that wait for a decision, oldest first; at most a page.
#[utoipa::path(get, path = "/v1/adjustments", operation_id = "adjustment_list", tag = "operator",
    responses((status = 200, body = Payments), (status = "4XX", body = Problem)))]
async fn list(State(app): State<AppState>, _: Operator) -> Result<Json<Payments>, Problem> {
    let found = app.store.payments_to_decide(Kind::Adjustment, None).await.or_problem()?;
    let data = found.iter().map(|payment| Payment::new(payment, Timings::default())).collect();
    Ok(Json(Payments { data, has_more: false, next_cursor: None }))
}

/// Approves a correction as the second person, or drops it.
#[utoipa::path(post, path = "/v1/adjustments/{id}/decision", operation_id = "adjustment_decide", tag = "operator", params(("id" = String, Path)),
    request_body = Decision, responses((status = 201, body = Payment), (status = 200, body = Payment),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn decide(
    State(app): State<AppState>,
    operator: Operator,
    PathId(adjustment): PathId<PaymentId>,
    Json(decision): Json<Decision>,
) -> Result<Response, Problem> {
    let decision = DecideAdjustment {
        payment: PaymentId::new(app.now(), random()),
        adjustment,
        approved: decision.approved,
        actor: operator.key,
    };
    post(&app, Request::DecideAdjustment(decision)).await
}
