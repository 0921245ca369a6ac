//! The operator's view of the books.

use axum::extract::State;
use selfsame_api::ledger::{Attempt, Attempts, Chain, ChainSlot, LedgerRows, TrialBalance, TrialBalanceLine};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Json, Query};
use selfsame_domain::ledger::export::ExportedRow;
use selfsame_store::{RecordedAttempt, STREAM_ROWS_MAX};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::authentication::Operator;
use crate::refusal::{OrProblem, invalid};

/// Most rows of the ledger in one answer.
const ROWS_MAX: u32 = STREAM_ROWS_MAX - 1;

/// Most attempts in one answer.
const ATTEMPTS_MAX: u32 = 100;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(trial_balance))
        .routes(routes!(chain))
        .routes(routes!(attempts))
        .routes(routes!(rows))
}

fn minor(value: i128) -> Result<i64, Problem> {
    let too_large = |_| {
        tracing::error!("a ledger balance is beyond 64 bits");
        Problem::new(ProblemCode::Internal)
    };
    i64::try_from(value).map_err(too_large)
}

/// Every ledger account, recomputed from all rows.
#[utoipa::path(get, path = "/v1/ledger/trial-balance", operation_id = "ledger_trial_balance", tag = "operator",
    responses((status = 200, body = TrialBalance), (status = "4XX", body = Problem)))]
async fn trial_balance(State(app): State<AppState>, _: Operator) -> Result<Json<TrialBalance>, Problem> {
    let audit = app.store.audit_ledger().await.or_problem()?;
    let currency = app.site.currency;
    let lines = audit.trial_balance.lines().filter(|line| line.0 == currency);
    let line = |(_, account, balance)| Ok(TrialBalanceLine { account, balance_minor: minor(balance)? });
    Ok(Json(TrialBalance {
        currency,
        lines: lines.map(line).collect::<Result<_, Problem>>()?,
        sum_minor: minor(audit.trial_balance.sum_minor(currency))?,
        wallets_that_differ: audit.wallets_that_differ,
    }))
}

/// The hash chain, recomputed from the first row.
#[utoipa::path(get, path = "/v1/ledger/chain", operation_id = "ledger_chain", tag = "operator",
    responses((status = 200, body = Chain), (status = "4XX", body = Problem)))]
async fn chain(State(app): State<AppState>, _: Operator) -> Result<Json<Chain>, Problem> {
    let audit = app.store.audit_ledger().await.or_problem()?;
    let slot = |slot: &selfsame_store::SlotAudit| ChainSlot {
        slot: slot.slot,
        rows: slot.sequence,
        head: slot.head.iter().map(|byte| format!("{byte:02x}")).collect(),
        error: slot.error.as_ref().map(ToString::to_string),
    };
    Ok(Json(Chain { slots: audit.slots.iter().map(slot).collect() }))
}

/// How many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default = "page_default")]
    limit: u32,
}

fn page_default() -> u32 {
    20
}

/// What was refused and why, newest first.
#[utoipa::path(get, path = "/v1/attempts", operation_id = "attempt_list", tag = "operator",
    params(("limit" = Option<u32>, Query)),
    responses((status = 200, body = Attempts), (status = "4XX", body = Problem)))]
async fn attempts(
    State(app): State<AppState>,
    _: Operator,
    Query(page): Query<Page>,
) -> Result<Json<Attempts>, Problem> {
    if !(1..=ATTEMPTS_MAX).contains(&page.limit) {
        return Err(invalid(format_args!("`limit` must be 1 to {ATTEMPTS_MAX}")));
    }
    let attempts = app.store.attempts(page.limit).await.or_problem()?;
    let wire = |RecordedAttempt { attempt, store }: RecordedAttempt| Attempt {
        id: attempt.id,
        at: attempt.at,
        operation: attempt.operation.to_owned(),
        reason: attempt.reason,
        terminal: attempt.terminal,
        merchant: attempt.merchant,
        store,
    };
    Ok(Json(Attempts { data: attempts.into_iter().map(wire).collect() }))
}

/// A page of the stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamPage {
    #[serde(default)]
    slot: u32,
    #[serde(default)]
    after: u64,
    #[serde(default = "page_default")]
    limit: u32,
}

/// Rows of a slot behind a sequence, in order: a reader that keeps the last sequence it saw misses none.
#[utoipa::path(get, path = "/v1/ledger/rows", operation_id = "ledger_rows", tag = "operator",
    params(("slot" = Option<u32>, Query), ("after" = Option<u64>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = LedgerRows), (status = "4XX", body = Problem)))]
async fn rows(
    State(app): State<AppState>,
    _: Operator,
    Query(page): Query<StreamPage>,
) -> Result<Json<LedgerRows>, Problem> {
    if !(1..=ROWS_MAX).contains(&page.limit) {
        return Err(invalid(format_args!("`limit` must be 1 to {ROWS_MAX}")));
    }
    let found = app.store.stream(page.slot, page.after, page.limit + 1).await.or_problem()?;
    let has_more = found.len() > page.limit as usize;
    let data: Vec<_> = found.iter().take(page.limit as usize).map(ExportedRow::from).collect();
    let next_cursor = data.last().map(|row| row.sequence);
    Ok(Json(LedgerRows { data, has_more, next_cursor }))
}
