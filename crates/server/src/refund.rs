//! Refunds: a merchant gives money back.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::payment::Payment;
use selfsame_api::problem::Problem;
use selfsame_api::refund::NewRefund;
use selfsame_api::serve::Json;
use selfsame_domain::id::PaymentId;
use selfsame_domain::payment::{Refund, Request, Target};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Merchant;
use crate::payment::post;
use crate::refusal::invalid;
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Gives part or all of a payment back, to where it came from.
#[utoipa::path(post, path = "/v1/refunds", operation_id = "refund_create", tag = "merchant", request_body = NewRefund,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn create(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    Json(new): Json<NewRefund>,
) -> Result<Response, Problem> {
    let target = match (new.payment, new.order_ref, new.receipt) {
        (Some(payment), None, None) => Target::Payment(payment),
        (None, Some(order_ref), None) => Target::Order(order_ref),
        (None, None, Some(receipt)) => Target::Receipt(receipt),
        _ => return Err(invalid("name the payment by one of `payment`, `order_ref` and `receipt`")),
    };
    let refund = Refund {
        payment: PaymentId::new(app.now(), random()),
        merchant,
        refund_ref: new.refund_ref,
        target,
        amount: new.amount,
        part: new.part,
    };
    post(&app, Request::Refund(refund)).await
}
