//! Reversals: a merchant makes sure that an order is not paid.

use axum::extract::State;
use axum::response::Response;
use selfsame_api::payment::Payment;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::reversal::{NewReversal, Reversal};
use selfsame_api::serve::Json;
use selfsame_domain::id::PaymentId;
use selfsame_domain::payment::{Answer, Request, Reverse};
use selfsame_domain::timing::Timings;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Merchant;
use crate::payment::refusal_problem;
use crate::refusal::no_answer;
use crate::replay::answer;
use crate::{AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Makes sure that an order is not paid, also one that never arrived. Ask again until it answers.
#[utoipa::path(post, path = "/v1/reversals", operation_id = "reversal_create", tag = "merchant", request_body = NewReversal,
    responses((status = 201, body = Reversal), (status = 200, body = Reversal, description = "Answered before"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn create(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    Json(new): Json<NewReversal>,
) -> Result<Response, Problem> {
    let reverse =
        Reverse { payment: PaymentId::new(app.now(), random()), merchant, order_ref: new.order_ref.clone() };
    let submitted = app.submit(Request::Reverse(reverse)).await;
    match submitted.map_err(|none| no_answer(&none))?.0 {
        Answer::Reversed { payment, returned_minor, replayed } => {
            let payment = payment.map(|payment| Payment::new(&payment, Timings::default()));
            let reversal = Reversal { order_ref: new.order_ref, returned_minor, payment };
            Ok(answer(reversal, replayed))
        }
        Answer::Refused(refusal) => Err(refusal_problem(refusal)),
        Answer::Done { .. } => Err(Problem::new(ProblemCode::Internal)),
    }
}
