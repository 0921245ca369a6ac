//! Settlements: a merchant's period is closed by the clock or a person, approved by another person, and paid.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, PathId, Query};
use selfsame_api::settlement::{NewSettlement, Settlement as Wire, Settlements};
use selfsame_domain::id::{KeyId, MerchantId, PaymentId, SettlementId};
use selfsame_domain::ledger::Row;
use selfsame_domain::limit::BusinessDay;
use selfsame_domain::settlement::{Statement, closed_by_clock, signed_minor};
use selfsame_store::{Settlement, SettlementRefusal};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::{KeyHolder, Operator};
use crate::refusal::{OrProblem, invalid, not_found};
use crate::{App, AppState, random};

/// Settlements on one page, unless asked for otherwise and at most.
const PAGE_DEFAULT: u32 = 20;
const PAGE_MAX: u32 = 99;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(close, list))
        .routes(routes!(show))
        .routes(routes!(csv))
        .routes(routes!(approve))
        .routes(routes!(pay))
        .routes(routes!(open))
}

fn wire_statement(statement: &Statement, state: &str) -> Wire {
    let totals = &statement.totals;
    Wire {
        id: statement.settlement,
        merchant: statement.merchant,
        state: state.to_owned(),
        currency: statement.currency,
        after_sequence: statement.after,
        upto_sequence: statement.upto,
        opening_minor: statement.opening_minor,
        goods_minor: totals.goods_minor,
        tips_minor: totals.tips_minor,
        deposits_minor: totals.deposits_minor,
        refunds_minor: totals.refunds_minor,
        reversals_minor: totals.reversals_minor,
        undone_minor: totals.undone_minor,
        adjustments_minor: totals.adjustments_minor,
        fees_minor: totals.fees_minor,
        payouts_minor: totals.payouts_minor,
        closing_minor: statement.closing_minor,
        frozen_minor: statement.frozen_minor,
        payable_minor: statement.payable_minor,
        closed_at: None,
        approved_at: None,
        paid_at: None,
    }
}

fn wire(settlement: &Settlement) -> Wire {
    Wire {
        closed_at: Some(settlement.closed_at),
        approved_at: settlement.approved_at,
        paid_at: settlement.paid_at,
        ..wire_statement(&settlement.statement, settlement.state.as_str())
    }
}

fn refused(refusal: SettlementRefusal) -> Problem {
    match refusal {
        SettlementRefusal::NotFound => not_found(),
        SettlementRefusal::Nothing => Problem::new(ProblemCode::NothingToSettle),
        SettlementRefusal::InvalidState => {
            Problem::new(ProblemCode::InvalidState).detail("close, approve and pay follow each other")
        }
        SettlementRefusal::SamePerson => Problem::new(ProblemCode::SamePerson),
    }
}

/// Closes the periods of all merchants that have rows from before this business day. Answers whether all are closed;
/// what is not will be tried again. Whether something is due is read from the rows, so nothing is closed twice and a
/// day that was missed is closed late: into one statement with the days after it.
pub(crate) async fn close_due(app: &App, business_day: BusinessDay) -> bool {
    let now = app.now();
    let today = business_day.start(now);
    let due = match app.store.merchants_to_settle(today).await {
        Ok(due) => due,
        Err(error) => {
            tracing::warn!(%error, "it could not be found out which settlements are due");
            return false;
        }
    };
    for merchant in due {
        let (settlement, fee) = (SettlementId::new(now, random()), PaymentId::new(now, random()));
        let closed =
            app.store.close_settlement(settlement, merchant, fee, closed_by_clock(), Some(today), now).await;
        match closed {
            Ok(Ok(_)) => {
                tracing::info!(merchant.id = %merchant, settlement.id = %settlement, "closed a settlement")
            }
            // Somebody else was faster.
            Ok(Err(_)) => {}
            Err(error) => {
                tracing::warn!(merchant.id = %merchant, %error, "a settlement was not closed");
                return false;
            }
        }
    }
    true
}

/// Closes a merchant's period before its time: fixes its sums and posts its fee. At the end of the business day the
/// server closes what is open by itself.
#[utoipa::path(post, path = "/v1/settlements", operation_id = "settlement_close", tag = "operator", request_body = NewSettlement,
    responses((status = 201, body = Wire), (status = "4XX", body = Problem)))]
async fn close(
    State(app): State<AppState>,
    operator: Operator,
    Json(new): Json<NewSettlement>,
) -> Result<(StatusCode, Json<Wire>), Problem> {
    let now = app.now();
    let (settlement, fee) = (SettlementId::new(now, random()), PaymentId::new(now, random()));
    let closed = app.store.close_settlement(settlement, new.merchant, fee, operator.key, None, now).await;
    let closed = closed.or_problem()?.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(wire(&closed))))
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
    before: Option<SettlementId>,
}

/// Settlements, newest first; a merchant sees its own.
#[utoipa::path(get, path = "/v1/settlements", operation_id = "settlement_list", tag = "merchant, operator",
    params(("limit" = Option<u32>, Query), ("before" = Option<String>, Query)),
    responses((status = 200, body = Settlements), (status = "4XX", body = Problem)))]
async fn list(
    State(app): State<AppState>,
    holder: KeyHolder,
    Query(page): Query<Page>,
) -> Result<Json<Settlements>, Problem> {
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid(format_args!("`limit` must be 1 to {PAGE_MAX}")));
    }
    let found = app.store.settlements(holder.merchant(), page.before, limit + 1).await.or_problem()?;
    let has_more = found.len() > limit as usize;
    let data: Vec<_> = found.iter().take(limit as usize).map(wire).collect();
    let next_cursor = data.last().filter(|_| has_more).map(|settlement| settlement.id);
    Ok(Json(Settlements { data, has_more, next_cursor }))
}

async fn find(
    app: &AppState,
    holder: &KeyHolder,
    id: SettlementId,
) -> Result<(Settlement, Vec<Row>), Problem> {
    let found = app.store.settlement(id).await.or_problem()?.ok_or_else(not_found)?;
    let owned = holder.merchant().is_none_or(|merchant| merchant == found.0.statement.merchant);
    if owned { Ok(found) } else { Err(not_found()) }
}

/// A settlement.
#[utoipa::path(get, path = "/v1/settlements/{id}", operation_id = "settlement_show", tag = "merchant, operator", params(("id" = String, Path)),
    responses((status = 200, body = Wire), (status = "4XX", body = Problem)))]
async fn show(
    State(app): State<AppState>,
    holder: KeyHolder,
    PathId(id): PathId<SettlementId>,
) -> Result<Json<Wire>, Problem> {
    Ok(Json(wire(&find(&app, &holder, id).await?.0)))
}

/// Lines of a statement. Opening, every signed row, closing: the first and the middle add up to the last. No field
/// can hold a comma or a quote but the reference, which is quoted.
fn csv_text(statement: &Statement, rows: &[Row]) -> String {
    let mut text =
        String::from("sequence,created_at,payment,leg,kind,part,reference,store,amount_minor,currency\r\n");
    let mut total = |label: &str, minor: i64| {
        text.push_str(&format!(",,,,{label},,,,{minor},{}\r\n", statement.currency));
    };
    total("opening", statement.opening_minor);
    for row in rows {
        let minor = signed_minor(statement.merchant, row);
        if minor == 0 {
            continue;
        }
        let reference = row.reference.as_ref().map(|reference| reference.as_str().replace('"', "\"\""));
        text.push_str(&format!(
            "{},{},{},{},{},{},\"{}\",{},{minor},{}\r\n",
            row.sequence,
            row.created_at,
            row.payment,
            row.leg,
            row.kind,
            row.part.map(|part| part.as_str()).unwrap_or_default(),
            reference.unwrap_or_default(),
            row.store.map(|store| store.to_string()).unwrap_or_default(),
            row.currency,
        ));
    }
    text.push_str(&format!(",,,,closing,,,,{},{}\r\n", statement.closing_minor, statement.currency));
    text
}

/// A settlement row by row, as CSV (RFC 4180).
#[utoipa::path(get, path = "/v1/settlements/{id}/csv", operation_id = "settlement_csv", tag = "merchant, operator", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/csv"), (status = "4XX", body = Problem)))]
async fn csv(
    State(app): State<AppState>,
    holder: KeyHolder,
    PathId(id): PathId<SettlementId>,
) -> Result<Response, Problem> {
    let (settlement, rows) = find(&app, &holder, id).await?;
    let text = csv_text(&settlement.statement, &rows);
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response())
}

/// A second person agrees.
#[utoipa::path(post, path = "/v1/settlements/{id}/approve", operation_id = "settlement_approve", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = Wire), (status = "4XX", body = Problem)))]
async fn approve(
    State(app): State<AppState>,
    operator: Operator,
    PathId(id): PathId<SettlementId>,
) -> Result<Json<Wire>, Problem> {
    let approved = app.store.approve_settlement(id, operator.key, app.now()).await.or_problem()?;
    Ok(Json(wire(&approved.map_err(refused)?)))
}

/// The money was paid out; posts the payout. Of what the clock closed, by another person than who approved it.
#[utoipa::path(post, path = "/v1/settlements/{id}/pay", operation_id = "settlement_pay", tag = "operator", params(("id" = String, Path)),
    responses((status = 200, body = Wire), (status = "4XX", body = Problem)))]
async fn pay(
    State(app): State<AppState>,
    operator: Operator,
    PathId(id): PathId<SettlementId>,
) -> Result<Json<Wire>, Problem> {
    let now = app.now();
    let payout = PaymentId::new(now, random());
    let paid = app.store.pay_settlement(id, payout, operator.key, now).await.or_problem()?;
    Ok(Json(wire(&paid.map_err(refused)?)))
}

/// What the open period would come to if it were closed now.
#[utoipa::path(get, path = "/v1/merchants/{id}/open-settlement", operation_id = "settlement_open", tag = "merchant, operator", params(("id" = String, Path)),
    responses((status = 200, body = Wire), (status = "4XX", body = Problem)))]
async fn open(
    State(app): State<AppState>,
    holder: KeyHolder,
    PathId(merchant): PathId<MerchantId>,
) -> Result<Json<Wire>, Problem> {
    if holder.merchant().is_some_and(|own| own != merchant) {
        return Err(not_found());
    }
    let now = app.now();
    let preview = SettlementId::new(now, random());
    let actor = holder.actor().unwrap_or_else(|| KeyId::new(now, random()));
    let statement = app.store.open_settlement(preview, merchant, actor, now).await.or_problem()?;
    Ok(Json(wire_statement(&statement.ok_or_else(not_found)?, "open")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_domain::settlement::Totals;
    use selfsame_domain::time::Timestamp;

    #[test]
    fn an_empty_statement_is_its_opening_and_its_closing() {
        let start = Timestamp::from_millis(0);
        let statement = Statement {
            settlement: SettlementId::new(start, [0; 10]),
            merchant: MerchantId::new(start, [0; 10]),
            currency: "EUR".parse().unwrap(),
            after: 0,
            upto: 0,
            opening_minor: 5,
            totals: Totals::default(),
            closing_minor: 5,
            frozen_minor: 0,
            payable_minor: 5,
        };
        let text = csv_text(&statement, &[]);
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [",,,,opening,,,,5,EUR", ",,,,closing,,,,5,EUR"]
        );
    }
}
