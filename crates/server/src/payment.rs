//! Step 5 of the method: the register charges the code with the amount.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use selfsame_api::payment::{NewPayment, Payment};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId, Query};
use selfsame_domain::id::PaymentId;
use selfsame_domain::ledger::{Caller, Kind};
use selfsame_domain::payment::{Answer, Charge, CodeMac, DeclineCode, IdempotencyKey, Refusal, Request};
use selfsame_domain::payment_code::PaymentCode;
use selfsame_domain::reference::Reference;
use selfsame_domain::timing::{Stage, Timings};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::Merchant;
use crate::payment_code::code_mac;
use crate::refusal::{OrProblem, not_found, store_problem};
use crate::replay::answer;
use crate::{App, AppState, random};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create, find)).routes(routes!(show))
}

/// Charges a code with an amount.
#[utoipa::path(post, path = "/v1/payments", operation_id = "payment_create", tag = "merchant",
    request_body = NewPayment,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = 402, body = Problem, description = "Declined; the code stays good"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn create(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    Json(new): Json<NewPayment>,
) -> Result<Response, Problem> {
    // Misread digits are refused before the store is touched.
    let code = PaymentCode::parse(&new.code, app.prefix);
    let code = code.map_err(|error| Problem::new(ProblemCode::CodeMalformed).detail(error))?;
    let charge = Charge {
        payment: PaymentId::new(app.now(), random()),
        merchant,
        order_ref: new.order_ref,
        amount: new.amount,
        code: CodeMac(code_mac(&app.config.secrets, &code)),
    };
    post(&app, Request::Charge(charge)).await
}

/// Sends a request through the queue and makes the answer of it.
pub(crate) async fn post(app: &App, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let (decided, mut timings) = app.queue.submit(request).await.map_err(|error| store_problem(&error))?;
    match decided {
        Answer::Done { payment, replayed } => {
            timings.add(Stage::Charge, started.elapsed());
            let timings = if replayed { Timings::default() } else { timings };
            Ok(answer(Payment::new(&payment, timings), replayed))
        }
        Answer::Refused(refusal) => Err(refusal_problem(refusal)),
    }
}

fn refusal_problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::ReferenceConflict(earlier) => {
            let detail = format!("used at {} for {}", earlier.created_at, earlier.amount);
            let payment = Box::new(Payment::new(&earlier, Timings::default()));
            Problem { payment: Some(payment), ..Problem::new(ProblemCode::ReferenceConflict).detail(detail) }
        }
        Refusal::AccountNotFound => not_found(),
        Refusal::CodeNotFound => Problem::new(ProblemCode::CodeNotFound),
        Refusal::CodeAlreadyUsed => Problem::new(ProblemCode::CodeAlreadyUsed),
        Refusal::CodeRevoked => Problem::new(ProblemCode::CodeRevoked),
        Refusal::CodeExpired => Problem::new(ProblemCode::CodeExpired),
        Refusal::CurrencyMismatch => Problem::new(ProblemCode::CurrencyMismatch),
        Refusal::Declined(decline) => Problem {
            decline_code: Some(decline.as_str().to_owned()),
            ..Problem::new(ProblemCode::PaymentDeclined).detail(decline_detail(decline))
        },
    }
}

/// What the cashier can do about it; nothing about the payer's balance.
fn decline_detail(decline: DeclineCode) -> &'static str {
    match decline {
        DeclineCode::InsufficientFunds => "top up and charge the same code again, or take other payment",
        DeclineCode::LimitExceededSingle => "above the limit of one payment: take other payment",
        DeclineCode::AccountFrozen => "take other payment",
    }
}

/// Which payment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByOrder {
    order_ref: Reference,
}

/// The payment of an order: what to ask when an answer was lost. 404 means that nothing was paid under it so far.
#[utoipa::path(get, path = "/v1/payments", operation_id = "payment_find", tag = "merchant",
    params(("order_ref" = String, Query)),
    responses((status = 200, body = Payment), (status = "4XX", body = Problem)))]
async fn find(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    Query(query): Query<ByOrder>,
) -> Result<Json<Payment>, Problem> {
    let caller = Caller::Merchant(merchant);
    let key = IdempotencyKey { caller, kind: Kind::Charge, reference: query.order_ref };
    let found = app.store.payment_by_reference(key).await.or_problem()?.ok_or_else(not_found)?;
    Ok(Json(Payment::new(&found, Timings::default())))
}

/// A payment with its stages.
#[utoipa::path(get, path = "/v1/payments/{id}", operation_id = "payment_show", tag = "merchant",
    params(("id" = String, Path)),
    responses((status = 200, body = Payment), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    PathId(payment): PathId<PaymentId>,
) -> Result<Json<Payment>, Problem> {
    let (payment, timings) =
        app.store.payment(merchant, payment).await.or_problem()?.ok_or_else(not_found)?;
    Ok(Json(Payment::new(&payment, timings)))
}
