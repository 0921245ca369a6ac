//! Confirmations: the payer agrees to merchant and exact amount at the terminal that issued the code.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::confirmation::{Confirmations, NewConfirmation};
use selfsame_api::payment::Payment;
use selfsame_api::problem::Problem;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::id::PaymentId;
use selfsame_domain::payment::{Close, Ending, Party, Proof, Request, Target};
use selfsame_domain::pin::Pin;
use selfsame_domain::timing::Timings;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Signed;
use crate::payment::post;
use crate::pin::{check, outcome_problem};
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(cancel))
}

/// Payments that wait for the payer at this terminal.
#[utoipa::path(get, path = "/v1/confirmations", operation_id = "confirmation_list", tag = "terminal",
    responses((status = 200, body = Confirmations), (status = "4XX", body = Problem)))]
async fn list(State(app): State<AppState>, request: Signed) -> Result<Json<Confirmations>, Problem> {
    let found = app.store.payments_to_confirm(request.terminal.terminal).await.or_problem()?;
    let data = found.iter().map(|payment| Payment::new(payment, Timings::default())).collect();
    Ok(Json(Confirmations { data }))
}

/// The payer agrees. The PIN is checked before the request joins the queue; a wrong one costs a try.
#[utoipa::path(post, path = "/v1/confirmations", operation_id = "confirmation_create", tag = "terminal", request_body = NewConfirmation,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn create(State(app): State<AppState>, request: Signed) -> Result<Response, Problem> {
    let new: NewConfirmation = request.json()?;
    let terminal = request.terminal.terminal;
    let target = Target::Payment(new.payment);
    let proof = match &new.pin {
        None => Proof::Gesture,
        Some(typed) => {
            let pin = Pin::parse(&typed.0).map_err(invalid)?;
            let found = app.store.payment(None, target.clone()).await.or_problem()?;
            let here = found.map(|found| found.0).filter(|payment| payment.terminal == Some(terminal));
            let account = here.and_then(|payment| payment.account).ok_or_else(not_found)?;
            outcome_problem(check(&app, &request.terminal, account, &pin).await?)?;
            Proof::Pin
        }
    };
    let close = Close {
        payment: PaymentId::new(app.now(), random()),
        by: Party::Terminal(terminal),
        target,
        ending: Ending::Confirm(proof),
    };
    post(&app, Request::Close(close)).await
}

/// The payer does not want it.
#[utoipa::path(post, path = "/v1/confirmations/{id}/cancel", operation_id = "confirmation_cancel", tag = "terminal", params(("id" = String, Path)),
    responses((status = 201, body = Payment), (status = 200, body = Payment), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn cancel(
    State(app): State<AppState>,
    PathId(payment): PathId<PaymentId>,
    request: Signed,
) -> Result<Response, Problem> {
    let close = Close {
        payment: PaymentId::new(app.now(), random()),
        by: Party::Terminal(request.terminal.terminal),
        target: Target::Payment(payment),
        ending: Ending::Cancel,
    };
    post(&app, Request::Close(close)).await
}
