//! Receipts: what a till prints for the payer.

use axum::extract::State;
use selfsame_api::payment::Payment;
use selfsame_api::problem::Problem;
use selfsame_api::receipt::Receipt;
use selfsame_api::serve::{Json, PathId};
use selfsame_domain::money::display_minor;
use selfsame_domain::payment::{ReceiptNumber, Target};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::authentication::Merchant;
use crate::refusal::{OrProblem, not_found};

/// Columns of a small receipt printer.
const COLUMNS: usize = 32;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show))
}

fn line(left: &str, right: &str) -> String {
    let width = COLUMNS.saturating_sub(right.chars().count());
    let left: String = left.chars().take(width.saturating_sub(1)).collect();
    format!("{left:<width$}{right}")
}

fn text(merchant_name: &str, payment: &selfsame_domain::payment::Payment) -> Vec<String> {
    let currency = payment.amount.currency();
    let money = |minor| display_minor(minor, currency);
    let mut lines = vec![merchant_name.chars().take(COLUMNS).collect()];
    lines.push(payment.created_at.to_string());
    for leg in payment.legs.iter().filter(|_| payment.legs.len() > 1) {
        lines.push(line(leg.part.as_str(), &money(leg.amount_minor)));
    }
    lines.push(line(payment.kind.as_str(), &payment.amount.to_string()));
    if payment.paid_minor != payment.amount.minor() {
        lines.push(line("paid", &money(payment.paid_minor)));
    }
    if payment.returned_minor > 0 {
        lines.push(line("returned", &money(payment.returned_minor)));
    }
    lines.push(line("status", payment.status.as_str()));
    lines.push(line("receipt", &payment.receipt.to_string()));
    lines
}

/// The receipt of a payment or refund of this merchant.
#[utoipa::path(get, path = "/v1/receipts/{number}", operation_id = "receipt_show", tag = "merchant", params(("number" = String, Path)),
    responses((status = 200, body = Receipt), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    Merchant(merchant): Merchant,
    PathId(number): PathId<ReceiptNumber>,
) -> Result<Json<Receipt>, Problem> {
    let found = app.store.payment(Some(merchant), Target::Receipt(number)).await.or_problem()?;
    let (payment, timings) = found.ok_or_else(not_found)?;
    let merchant_name = app.store.merchant_name(merchant).await.or_problem()?.unwrap_or_default();
    let text = text(&merchant_name, &payment);
    Ok(Json(Receipt { number, merchant_name, payment: Payment::new(&payment, timings), text }))
}
