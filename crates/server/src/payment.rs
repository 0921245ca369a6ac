//! Step 5 of the method: the register charges the code with the amount.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use selfsame_api::payment::{
    Capture, NewPayment, PayerUndo, Payment, Payments, Undo as UndoRequest, UndoDecision,
};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId, Query};
use selfsame_domain::id::{MerchantId, PaymentId};
use selfsame_domain::ledger::Kind;
use selfsame_domain::payment::{
    Answer, Charge, Close, CodeMac, DecideUndo, DeclineCode, Ending, IdempotencyKey, Parts, Party, Refusal,
    Request, Status, Target, Undo,
};
use selfsame_domain::payment_code::PaymentCode;
use selfsame_domain::reference::Reference;
use selfsame_domain::timing::Timings;
use selfsame_store::{Known, PAGE_MAX, PaymentsOf};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{KeyHolder, Merchant, Operator, Signed};
use crate::magic::Magic;
use crate::payment_code::code_mac;
use crate::pin::verified_here;
use crate::refusal::{OrProblem, invalid, no_answer, not_found};
use crate::replay::answer_as;
use crate::{App, AppState, random};

/// Shortest and longest hold, in seconds: a minute, 30 days.
const HOLD_SECONDS: std::ops::RangeInclusive<u32> = 60..=30 * 24 * 3600;

/// Payments on one page unless asked for otherwise.
const PAGE_DEFAULT: u32 = 20;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, find))
        .routes(routes!(history))
        .routes(routes!(show))
        .routes(routes!(capture))
        .routes(routes!(void))
        .routes(routes!(cancel))
        .routes(routes!(undo))
        .routes(routes!(decide_undo))
        .routes(routes!(list_undos, undo_by_payer))
}

/// Charges a code with an amount.
#[utoipa::path(post, path = "/v1/payments", operation_id = "payment_create", tag = "merchant", request_body = NewPayment,
    responses((status = 201, body = Payment), (status = 200, body = Payment, description = "Answered before"),
        (status = 202, body = Payment, description = "Held, or the payer must confirm at the terminal"),
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
    let now = app.now();
    let hold_until = match new.hold_seconds {
        Some(seconds) if HOLD_SECONDS.contains(&seconds) => Some(now + Duration::from_secs(seconds.into())),
        Some(_) => return Err(invalid(format_args!("`hold_seconds` must be within {HOLD_SECONDS:?}"))),
        None => None,
    };
    let parts = new.parts.map(|parts| Parts {
        goods_minor: parts.goods_minor,
        tip_minor: parts.tip_minor,
        deposit_minor: parts.deposit_minor,
    });
    let magic = Magic::of(app.site.mode, new.amount);
    let charge = Charge {
        payment: PaymentId::new(now, random()),
        merchant,
        order_ref: new.order_ref,
        amount: new.amount,
        parts,
        code: CodeMac(code_mac(&app.config.secrets, &code)),
        hold_until,
        ask_payer: magic == Some(Magic::AskPayer),
    };
    if let Some(problem) = magic.and_then(Magic::before) {
        return Err(problem);
    }
    let answered = post(&app, Request::Charge(charge)).await;
    match magic.and_then(Magic::after) {
        Some(problem) => Err(problem),
        None => answered,
    }
}

/// Sends a request through the queue and makes the answer of it.
pub(crate) async fn post(app: &App, request: Request) -> Result<Response, Problem> {
    let (answer, timings) = app.submit(request).await.map_err(|none| no_answer(&none))?;
    match answer {
        Answer::Done { payment, replayed } => {
            if !replayed {
                app.stages.record(&timings, app.now());
            }
            let timings = if replayed { Timings::default() } else { timings };
            let status = match (payment.status, replayed) {
                (Status::Pending | Status::RequiresAction, _) => StatusCode::ACCEPTED,
                (_, true) => StatusCode::OK,
                (_, false) => StatusCode::CREATED,
            };
            Ok(answer_as(status, Payment::new(&payment, timings), replayed))
        }
        Answer::Refused(refusal) => Err(refusal_problem(refusal)),
        Answer::Reversed { .. } => Err(Problem::new(ProblemCode::OrderReversed)),
    }
}

fn with_payment(code: ProblemCode, payment: &selfsame_domain::payment::Payment) -> Problem {
    let payment = Box::new(Payment::new(payment, Timings::default()));
    Problem { payment: Some(payment), ..Problem::new(code) }
}

/// How a refusal reads on the wire.
pub(crate) fn refusal_problem(refusal: Refusal) -> Problem {
    use ProblemCode as Code;
    match refusal {
        Refusal::ReferenceConflict(earlier) => {
            let detail = format!("used at {} for {}", earlier.created_at, earlier.amount);
            with_payment(Code::ReferenceConflict, &earlier).detail(detail)
        }
        Refusal::OrderReversed => Problem::new(Code::OrderReversed),
        Refusal::OrderClosed(payment) => with_payment(Code::OrderClosed, &payment),
        Refusal::PartsDoNotAddUp => Problem::new(Code::PartsDoNotAddUp),
        Refusal::HoldTooShort => invalid("the hold would end in the past"),
        Refusal::TooManyGuesses => {
            Problem::new(Code::TooManyAttempts).detail("too many unknown codes in this hour")
        }
        Refusal::AccountNotFound | Refusal::PaymentNotFound => not_found(),
        Refusal::CodeNotFound => Problem::new(Code::CodeNotFound),
        Refusal::CodeAlreadyUsed => Problem::new(Code::CodeAlreadyUsed),
        Refusal::CodeRevoked => Problem::new(Code::CodeRevoked),
        Refusal::CodeExpired => Problem::new(Code::CodeExpired),
        Refusal::CurrencyMismatch => Problem::new(Code::CurrencyMismatch),
        Refusal::NotRefundable => Problem::new(Code::NotRefundable),
        Refusal::InvalidState(payment) => {
            let detail = format!("the payment is {}", payment.status);
            with_payment(Code::InvalidState, &payment).detail(detail)
        }
        Refusal::PaymentExpired => Problem::new(Code::PaymentExpired),
        Refusal::ReversalTooLate => Problem::new(Code::ReversalTooLate),
        Refusal::CaptureAboveHold(minor) => {
            Problem::new(Code::CaptureAboveHold).detail(format_args!("{minor} minor units are held"))
        }
        Refusal::RefundAbovePaid(minor) => {
            Problem::new(Code::RefundAbovePaid).detail(format_args!("{minor} minor units are left"))
        }
        Refusal::PinRequired => Problem::new(Code::PinRequired),
        Refusal::SamePerson => Problem::new(Code::SamePerson),
        Refusal::BalanceOutOfRange => Problem::new(Code::BalanceOutOfRange),
        Refusal::Declined(decline) => Problem {
            decline_code: Some(decline.as_str().to_owned()),
            ..Problem::new(Code::PaymentDeclined).detail(decline_detail(decline))
        },
    }
}

/// What the cashier can do about it; nothing about the payer's balance.
fn decline_detail(decline: DeclineCode) -> &'static str {
    match decline {
        DeclineCode::InsufficientFunds => "top up and charge the same code again, or take other payment",
        DeclineCode::LimitExceededSingle => "above the limit of one payment: take other payment",
        DeclineCode::LimitExceededDay | DeclineCode::LimitExceededCount => {
            "the limit of the day is reached: take other payment"
        }
        DeclineCode::ConfirmationUnavailable => {
            "the payer would have to confirm and cannot: take other payment"
        }
        DeclineCode::AccountFrozen | DeclineCode::CategoryBlocked | DeclineCode::OutsideHours => {
            "take other payment"
        }
    }
}

/// Which payment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByOrder {
    order_ref: Reference,
}

/// The payment of an order: what to ask when an answer was lost. 404 means that nothing was paid under it so far.
#[utoipa::path(get, path = "/v1/payments", operation_id = "payment_find", tag = "merchant", params(("order_ref" = String, Query)),
    responses((status = 200, body = Payment), (status = "4XX", body = Problem)))]
async fn find(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    Query(query): Query<ByOrder>,
) -> Result<Json<Payment>, Problem> {
    let key = IdempotencyKey::order(merchant, query.order_ref);
    match app.store.payment_by_reference(key).await.or_problem()? {
        Some(Known::Payment(payment)) => Ok(Json(Payment::new(&payment, Timings::default()))),
        Some(Known::Reversed) => Err(Problem::new(ProblemCode::OrderReversed)),
        None => Err(not_found()),
    }
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
    before: Option<PaymentId>,
}

/// The merchant's payments and refunds, newest first.
#[utoipa::path(get, path = "/v1/payments/history", operation_id = "payment_history", tag = "merchant",
    params(("limit" = Option<u32>, Query), ("before" = Option<String>, Query)),
    responses((status = 200, body = Payments), (status = "4XX", body = Problem)))]
async fn history(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    Query(page): Query<Page>,
) -> Result<Json<Payments>, Problem> {
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid(format_args!("`limit` must be 1 to {PAGE_MAX}")));
    }
    // One more than asked for tells whether there are older ones.
    let found =
        app.store.payments(PaymentsOf::Merchant(merchant), page.before, limit + 1).await.or_problem()?;
    let has_more = found.len() > limit as usize;
    let shown = found.iter().take(limit as usize);
    let data: Vec<_> = shown.map(|payment| Payment::new(payment, Timings::default())).collect();
    let next_cursor = data.last().filter(|_| has_more).map(|payment| payment.id);
    Ok(Json(Payments { data, has_more, next_cursor }))
}

/// A payment with its stages.
#[utoipa::path(get, path = "/v1/payments/{id}", operation_id = "payment_show", tag = "merchant, operator", params(("id" = String, Path)),
    responses((status = 200, body = Payment), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    holder: KeyHolder,
    PathId(payment): PathId<PaymentId>,
) -> Result<Json<Payment>, Problem> {
    let target = Target::Payment(payment);
    let found = app.store.payment(holder.merchant(), target).await.or_problem()?;
    let (payment, timings) = found.ok_or_else(not_found)?;
    Ok(Json(Payment::new(&payment, timings)))
}

async fn close(app: &App, merchant: MerchantId, id: PaymentId, ending: Ending) -> Result<Response, Problem> {
    let payment = PaymentId::new(app.now(), random());
    let (by, target) = (Party::Merchant(merchant), Target::Payment(id));
    post(app, Request::Close(Close { payment, by, target, ending })).await
}

/// Takes held money, all of it or a part; the rest is released.
#[utoipa::path(post, path = "/v1/payments/{id}/capture", operation_id = "payment_capture", tag = "merchant", params(("id" = String, Path)),
    request_body = Capture, responses((status = 201, body = Payment), (status = 200, body = Payment),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn capture(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    PathId(id): PathId<PaymentId>,
    Json(capture): Json<Capture>,
) -> Result<Response, Problem> {
    close(&app, merchant, id, Ending::Capture(capture.amount)).await
}

/// Releases held money.
#[utoipa::path(post, path = "/v1/payments/{id}/void", operation_id = "payment_void", tag = "merchant", params(("id" = String, Path)),
    responses((status = 201, body = Payment), (status = 200, body = Payment), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn void(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    PathId(id): PathId<PaymentId>,
) -> Result<Response, Problem> {
    close(&app, merchant, id, Ending::Void).await
}

/// Gives up a payment that waits for the payer.
#[utoipa::path(post, path = "/v1/payments/{id}/cancel", operation_id = "payment_cancel", tag = "merchant", params(("id" = String, Path)),
    responses((status = 201, body = Payment), (status = 200, body = Payment), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn cancel(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    PathId(id): PathId<PaymentId>,
) -> Result<Response, Problem> {
    close(&app, merchant, id, Ending::Cancel).await
}

/// Takes a payment back for the payer, where the merchant lets payers; otherwise freezes the amount in settlement.
#[utoipa::path(post, path = "/v1/payments/{id}/undo", operation_id = "payment_undo", tag = "operator", params(("id" = String, Path)),
    request_body = UndoRequest, responses((status = 201, body = Payment), (status = 200, body = Payment),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn undo(
    State(app): State<AppState>,
    _: Operator,
    PathId(target): PathId<PaymentId>,
    Json(new): Json<UndoRequest>,
) -> Result<Response, Problem> {
    let payment = PaymentId::new(app.now(), random());
    post(&app, Request::Undo(Undo { payment, account: new.account, target })).await
}

/// The payer takes a payment back at a terminal, by the number on the receipt, where the merchant lets payers; otherwise
/// the amount is frozen in settlement. Anybody else's receipt reads as none.
#[utoipa::path(post, path = "/v1/undos", operation_id = "payment_undo_by_payer", tag = "terminal", request_body = PayerUndo,
    responses((status = 201, body = Payment), (status = 200, body = Payment), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn undo_by_payer(State(app): State<AppState>, request: Signed) -> Result<Response, Problem> {
    let new: PayerUndo = request.json()?;
    let account = verified_here(&app, &request.terminal, new.verification).await?;
    let found = app.store.payment(None, Target::Receipt(new.receipt)).await.or_problem()?;
    let target = found.ok_or_else(not_found)?.0.payment;
    let payment = PaymentId::new(app.now(), random());
    post(&app, Request::Undo(Undo { payment, account, target })).await
}

/// Decides about a frozen undo.
#[utoipa::path(post, path = "/v1/payments/{id}/undo-decision", operation_id = "payment_decide_undo", tag = "merchant, operator", params(("id" = String, Path)),
    request_body = UndoDecision, responses((status = 201, body = Payment), (status = 200, body = Payment),
        (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn decide_undo(
    State(app): State<AppState>,
    holder: KeyHolder,
    PathId(target): PathId<PaymentId>,
    Json(decision): Json<UndoDecision>,
) -> Result<Response, Problem> {
    let decision = DecideUndo {
        payment: PaymentId::new(app.now(), random()),
        target,
        merchant: holder.merchant(),
        actor: holder.actor(),
        granted: decision.granted,
    };
    post(&app, Request::DecideUndo(decision)).await
}

/// Payments that payers asked back and nobody has decided about, oldest first; at most a page.
#[utoipa::path(get, path = "/v1/undos", operation_id = "payment_list_undos", tag = "merchant, operator",
    responses((status = 200, body = Payments), (status = "4XX", body = Problem)))]
async fn list_undos(State(app): State<AppState>, holder: KeyHolder) -> Result<Json<Payments>, Problem> {
    let found = app.store.payments_to_decide(Kind::Undo, holder.merchant()).await.or_problem()?;
    let data = found.iter().map(|payment| Payment::new(payment, Timings::default())).collect();
    Ok(Json(Payments { data, has_more: false, next_cursor: None }))
}
