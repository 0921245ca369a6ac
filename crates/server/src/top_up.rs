//! Top-ups: the operator pays money into a wallet.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::payment::Payment;
use selfsame_api::problem::Problem;
use selfsame_api::serve::Json;
use selfsame_api::top_up::NewTopUp;
use selfsame_domain::id::PaymentId;
use selfsame_domain::payment::{Request, TopUp};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::payment::post;
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Pays money into a wallet. The same `top_up_ref` with the same amount answers the same movement.
#[utoipa::path(post, path = "/v1/top-ups", operation_id = "top_up_create", tag = "operator",
    request_body = NewTopUp,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    _: Operator,
    Json(new): Json<NewTopUp>,
) -> Result<Response, Problem> {
    let top_up = TopUp {
        payment: PaymentId::new(app.now(), random()),
        account: new.account,
        top_up_ref: new.top_up_ref,
        amount: new.amount,
    };
    post(&app, Request::TopUp(top_up)).await
}
