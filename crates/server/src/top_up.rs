//! Top-ups and withdrawals: the operator pays money into a wallet, and out of it.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::payment::Payment;
use selfsame_api::problem::Problem;
use selfsame_api::serve::Json;
use selfsame_api::top_up::{NewTopUp, NewWithdrawal};
use selfsame_domain::id::{PaymentId, WalletId};
use selfsame_domain::payment::{Purpose, Request, TopUp, Withdraw};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Operator;
use crate::payment::post;
use crate::refusal::OrProblem;
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(withdraw))
}

/// Pays money into a wallet. The same `top_up_ref` with the same amount answers the same movement.
#[utoipa::path(post, path = "/v1/top-ups", operation_id = "top_up_create", tag = "operator",
    request_body = NewTopUp,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    operator: Operator,
    Json(new): Json<NewTopUp>,
) -> Result<Response, Problem> {
    let now = app.now();
    let purpose = new.purpose.unwrap_or(Purpose::Own);
    if purpose == Purpose::Subsidy {
        let wallet = WalletId::new(now, random());
        app.store.ensure_subsidy_wallet(new.account, wallet, app.site.currency).await.or_problem()?;
    }
    let top_up = TopUp {
        payment: PaymentId::new(now, random()),
        account: new.account,
        purpose,
        top_up_ref: new.top_up_ref,
        amount: new.amount,
        actor: Some(operator.key),
    };
    post(&app, Request::TopUp(top_up)).await
}

/// Pays money out of a payer's own wallet.
#[utoipa::path(post, path = "/v1/withdrawals", operation_id = "top_up_withdraw", tag = "operator", request_body = NewWithdrawal,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = 402, body = Problem), (status = "4XX", body = Problem)))]
async fn withdraw(
    State(app): State<AppState>,
    operator: Operator,
    Json(new): Json<NewWithdrawal>,
) -> Result<Response, Problem> {
    let withdraw = Withdraw {
        payment: PaymentId::new(app.now(), random()),
        account: new.account,
        withdrawal_ref: new.withdrawal_ref,
        amount: new.amount,
        actor: Some(operator.key),
    };
    post(&app, Request::Withdraw(withdraw)).await
}
