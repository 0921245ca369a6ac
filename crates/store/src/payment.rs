//! Payments: one transaction loads what a batch needs, lets `domain` decide, and writes all of it or nothing.

mod at_once;
pub(crate) mod load;
pub(crate) mod save;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selfsame_domain::id::{MerchantId, PaymentId, TerminalId, VerificationId};
use selfsame_domain::ledger::{Caller, Kind};
use selfsame_domain::payment::{Answer, IdempotencyKey, Origin, Payment, Request, Status, Target, decide};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;

use crate::attempt::{self, Attempt};
use crate::connection::Commit;
use crate::database::{Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::payment::load::{IS_LOOKALIKE, find_by_key, find_by_receipt, find_history, load};
use crate::payment::save::save;
use crate::slot::{Ledger, load_slots};
use crate::{Store, row};

/// The transaction of a batch of payments.
pub(crate) const PAYMENTS: &str = "payments_post";

/// What a batch came to.
#[derive(Debug)]
pub struct BatchOutcome {
    /// One answer a request, in order.
    pub answers: Vec<Answer>,
    /// Where each request came from, in the same order.
    pub origins: Vec<Origin>,
    /// How long it took.
    pub times: BatchTimes,
}

/// How long the stages of a batch took.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchTimes {
    /// Reading.
    pub load: Duration,
    /// Deciding.
    pub decide: Duration,
    /// Writing and syncing.
    pub commit: Duration,
}

/// What is known of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its payment.
    Payment(Box<Payment>),
    /// It was reversed before it was seen: nothing was paid, and nothing will be.
    Reversed,
}

/// Most payments that one page of a list holds.
pub const PAGE_MAX: u32 = 100;

/// Most overdue payments that are ended in one go.
const EXPIRED_MAX: i64 = 500;

fn known(tx: &Transaction<'_>, payment: PaymentId) -> Result<Option<Known>> {
    let Some(history) = find_history(tx, payment)? else { return Ok(None) };
    Ok(Some(history.payment().map_or(Known::Reversed, |payment| Known::Payment(Box::new(payment)))))
}

fn timings_of(tx: &Transaction<'_>, payment: PaymentId) -> Result<Timings> {
    let found = tx
        .prepare_cached("select timings from payment_timings where payment_id = ?1")?
        .query_row(params![payment.to_string()], |found| row::optional_json(found, 0))
        .optional()?;
    Ok(found.flatten().unwrap_or_default())
}

fn save_timings(tx: &Transaction<'_>, timings: &[(PaymentId, Timings)]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "insert into payment_timings (payment_id, timings)
         values (?1, ?2)
         on conflict (payment_id) do nothing",
    )?;
    for (payment, timings) in timings {
        statement.execute(params![payment.to_string(), row::json(timings)])?;
    }
    Ok(())
}

fn save_aftermath(
    tx: &Transaction<'_>,
    attempts: &[Attempt],
    timings: &[(PaymentId, Timings)],
) -> Result<()> {
    attempts.iter().try_for_each(|attempt| attempt::insert(tx, attempt))?;
    save_timings(tx, timings)
}

/// What one transaction decides and writes.
struct Batch {
    requests: Vec<Request>,
    attempts: Vec<Attempt>,
    timings: Vec<(PaymentId, Timings)>,
    now: Timestamp,
}

/// How often a batch is decided anew because another server was quicker. Every time somebody has got on, so more in a
/// row than this means that something else is wrong.
const CONFLICTS_MAX: u32 = 8;

/// Where leg 0 of a payment is.
struct Place {
    payment: PaymentId,
    slot: u32,
    sequence: i64,
    created_at: Timestamp,
}

fn read_place(found: &Row<'_>) -> Result<Place> {
    Ok(Place {
        payment: row::text(found, 0)?,
        slot: row::integer(found, 1)?,
        sequence: found.get(2)?,
        created_at: row::timestamp(found, 3)?,
    })
}

fn find_place(tx: &Transaction<'_>, payment: PaymentId) -> Result<Option<Place>> {
    tx.prepare_cached(
        "select payment_id, slot, sequence, created_at
         from payments
         where payment_id = ?1 and leg = 0",
    )?
    .query_row(params![payment.to_string()], read_place)
    .optional()
}

/// The newest payments of a merchant or an account in one slot, behind the cursor. In the cursor's own slot its place
/// in the stream is exact; in others its time is, and there the newer rows of that slot are passed over one by one.
fn newest(
    tx: &Transaction<'_>,
    (column, subject): (&str, &str),
    slot: u32,
    cursor: Option<&Place>,
    limit: u32,
) -> Result<VecDeque<Place>> {
    let sequence = cursor.filter(|cursor| cursor.slot == slot).map_or(i64::MAX, |cursor| cursor.sequence);
    let (time, owner) = match cursor.filter(|cursor| cursor.slot != slot) {
        Some(cursor) => (cursor.created_at.as_millis(), i64::from(cursor.slot)),
        None => (i64::MAX, i64::MAX),
    };
    let sql = format!(
        "select payment_id, slot, sequence, created_at
         from payments
         where {column} = ?1 and slot = ?2 and leg = 0 and sequence < ?3 and amount_minor > 0
             and (created_at < ?4 or (created_at = ?4 and slot < ?5))
             and kind in ('charge', 'refund', 'top_up', 'withdrawal')
         order by sequence desc
         limit ?6"
    );
    let parameters = params![subject, slot, sequence, time, owner, limit];
    tx.prepare_cached(&sql)?.query_map(parameters, read_place)?.collect()
}

impl Store {
    /// Decides and writes a batch: load, [`decide`], commit, in one transaction of writer number `writer`, below
    /// [`Store::writers`]. What earlier batches left to be recorded (refusals and timings, which are outside the chain)
    /// is written along. Writes nothing once another server has taken the slot over.
    pub async fn post_batch(
        &self,
        writer: usize,
        requests: Vec<Request>,
        attempts: Vec<Attempt>,
        timings: Vec<(PaymentId, Timings)>,
        now: Timestamp,
    ) -> std::result::Result<BatchOutcome, StoreError> {
        let batch = Arc::new(Batch { requests, attempts, timings, now });
        let mut tries = CONFLICTS_MAX;
        loop {
            match self.post_once(writer, batch.clone()).await {
                // Somebody else was quicker with a wallet, a reference or a code. Decided anew on what there is now;
                // nothing was written, and the decision asks nothing but its arguments.
                Err(error) if error.is_conflict() && tries > 0 => {
                    tracing::debug!(%error, "a batch is decided anew");
                    tries -= 1;
                }
                posted => return posted,
            }
        }
    }

    async fn post_once(
        &self,
        writer: usize,
        batch: Arc<Batch>,
    ) -> std::result::Result<BatchOutcome, StoreError> {
        let Ledger { writer, holding } = &self.ledgers[writer];
        let held = holding.held().ok_or(StoreError::TakenOver)?;
        let faults = writer.faults();
        let work = move |tx: &Transaction<'_>| {
            let Batch { requests, attempts, timings, now } = &*batch;
            let started = Instant::now();
            let state = load(tx, held, requests, *now)?;
            if state.slot.epoch != held.epoch {
                return Ok(None);
            }
            let loaded = Instant::now();
            let before = state.slot;
            faults.pass(PAYMENTS, "before the decision");
            let origins = requests.iter().map(|request| state.origin(request)).collect();
            let (answers, changes) = decide(state, requests, *now);
            let decided = Instant::now();
            faults.pass(PAYMENTS, "before anything is written");
            match tx.postgres() {
                Some(postgres) => at_once::save(postgres, tx, &before, &changes, attempts, timings)?,
                None => {
                    save(tx, &before, &changes)?;
                    faults.pass(PAYMENTS, "between the ledger and what is recorded beside it");
                    save_aftermath(tx, attempts, timings)?;
                }
            }
            Ok(Some((answers, origins, loaded - started, decided - loaded, decided)))
        };
        let posted = writer.write(PAYMENTS, work).await?;
        let (answers, origins, load, decide, decided) = posted.ok_or(StoreError::TakenOver)?;
        Ok(BatchOutcome { answers, origins, times: BatchTimes { load, decide, commit: decided.elapsed() } })
    }

    /// Records refusals and timings of payments when no further batch comes along to carry them. Timings alone are not
    /// worth a sync.
    pub async fn record_aftermath(
        &self,
        attempts: Vec<Attempt>,
        timings: Vec<(PaymentId, Timings)>,
    ) -> std::result::Result<(), StoreError> {
        let commit = if attempts.is_empty() { Commit::InOrder } else { Commit::Synced };
        let work = move |tx: &Transaction<'_>| save_aftermath(tx, &attempts, &timings);
        self.ledger().writer.write_as(commit, "payments_aftermath", work).await
    }

    /// What became of a reference.
    pub async fn payment_by_reference(
        &self,
        key: IdempotencyKey,
    ) -> std::result::Result<Option<Known>, StoreError> {
        self.readers
            .read("payment_read_by_reference", move |tx| match find_by_key(tx, &key)? {
                Some(payment) => known(tx, payment),
                None => Ok(None),
            })
            .await
    }

    /// A payment with its stages; of one merchant, or of anybody for the operator.
    pub async fn payment(
        &self,
        merchant: Option<MerchantId>,
        target: Target,
    ) -> std::result::Result<Option<(Payment, Timings)>, StoreError> {
        self.readers
            .read("payment_read", move |tx| {
                let payment = match (target, merchant) {
                    (Target::Payment(payment), _) => Some(payment),
                    (Target::Receipt(receipt), _) => find_by_receipt(tx, receipt)?,
                    (Target::Order(order_ref), Some(merchant)) => {
                        find_by_key(tx, &IdempotencyKey::order(merchant, order_ref))?
                    }
                    (Target::Order(_), None) => None,
                };
                let Some(payment) = payment else { return Ok(None) };
                let Some(history) = find_history(tx, payment)? else { return Ok(None) };
                let owned =
                    merchant.is_none_or(|merchant| history.head().caller == Caller::Merchant(merchant));
                let Some(payment) = history.payment().filter(|_| owned) else { return Ok(None) };
                let timings = timings_of(tx, payment.payment)?;
                Ok(Some((payment, timings)))
            })
            .await
    }

    /// Payments of a merchant or an account, newest first, behind `before`.
    pub async fn payments(
        &self,
        of: PaymentsOf,
        before: Option<PaymentId>,
        limit: u32,
    ) -> std::result::Result<Vec<Payment>, StoreError> {
        self.readers
            .read("payments_read", move |tx| {
                let (column, subject) = match of {
                    PaymentsOf::Merchant(merchant) => ("merchant_id", merchant.to_string()),
                    PaymentsOf::Account(account) => ("account_id", account.to_string()),
                };
                let cursor = match before {
                    None => None,
                    Some(before) => match find_place(tx, before)? {
                        Some(place) => Some(place),
                        None => return Ok(Vec::new()),
                    },
                };
                let mut slots = Vec::new();
                for slot in load_slots(tx)? {
                    slots.push(newest(tx, (column, &subject), slot.slot, cursor.as_ref(), limit)?);
                }
                let mut payments = Vec::new();
                while payments.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
                    // Newest first. Within a slot the stream's own order counts, which no clock that was set back
                    // changes; between slots there is none but that of the clocks.
                    let next = slots
                        .iter_mut()
                        .max_by_key(|slot| slot.front().map(|place| (place.created_at, place.slot)));
                    let Some(place) = next.and_then(VecDeque::pop_front) else { break };
                    let history = find_history(tx, place.payment)?;
                    payments.extend(history.and_then(|history| history.payment()));
                }
                Ok(payments)
            })
            .await
    }

    /// Payments that should have ended by now.
    pub async fn overdue_payments(&self, now: Timestamp) -> std::result::Result<Vec<PaymentId>, StoreError> {
        self.readers
            .read("overdue_payments_read", move |tx| {
                let mut statement = tx.prepare_cached(
                    "select payment_id
                     from open_payments
                     where expires_at <= ?1
                     order by expires_at
                     limit ?2",
                )?;
                let ids = statement
                    .query_map(params![now.as_millis(), EXPIRED_MAX], |found| row::text(found, 0))?;
                ids.collect()
            })
            .await
    }

    /// Payments that wait for the payer at a terminal, oldest first.
    pub async fn payments_to_confirm(
        &self,
        terminal: TerminalId,
    ) -> std::result::Result<Vec<Payment>, StoreError> {
        self.readers
            .read("payments_to_confirm_read", move |tx| {
                let mut statement = tx.prepare_cached(
                    "select payment_id
                     from open_payments
                     where terminal_id = ?1 and state = 'action_required'
                     order by expires_at
                     limit ?2",
                )?;
                let ids = statement
                    .query_map(params![terminal.to_string(), PAGE_MAX], |found| row::text(found, 0))?;
                let mut payments = Vec::new();
                for id in ids {
                    let history = find_history(tx, id?)?;
                    payments.extend(history.and_then(|history| history.payment()));
                }
                Ok(payments)
            })
            .await
    }

    /// What was paid with the codes of a terminal's latest `limit` verifications, oldest first.
    pub async fn terminal_payments(
        &self,
        terminal: TerminalId,
        limit: u32,
    ) -> std::result::Result<Vec<TerminalPayment>, StoreError> {
        self.readers
            .read("terminal_payments_read", move |tx| {
                let sql = format!(
                    "select payments.payment_id, verifications.id, merchants.name, {IS_LOOKALIKE}
                     from (
                         select id, account_id, modality, sensor_grade, created_at
                         from verifications
                         where terminal_id = ?1
                         order by created_at desc
                         limit ?2
                     ) verifications
                     join payments on payments.verification_id = verifications.id
                     join merchants on merchants.id = payments.merchant_id
                     order by verifications.created_at"
                );
                let mut statement = tx.prepare_cached(&sql)?;
                let found = statement.query_map(params![terminal.to_string(), limit], |found| {
                    Ok((row::text(found, 0)?, row::text(found, 1)?, found.get(2)?, found.get(3)?))
                })?;
                let mut payments = Vec::new();
                for line in found {
                    let (payment, verification, merchant_name, is_lookalike) = line?;
                    let payment = find_history(tx, payment)?.and_then(|history| history.payment());
                    payments.extend(payment.map(|payment| TerminalPayment {
                        payment,
                        verification,
                        merchant_name,
                        is_lookalike,
                    }));
                }
                Ok(payments)
            })
            .await
    }

    /// Undos and adjustments that wait for a decision, oldest first; of one merchant or of all.
    pub async fn payments_to_decide(
        &self,
        kind: Kind,
        merchant: Option<MerchantId>,
    ) -> std::result::Result<Vec<Payment>, StoreError> {
        self.readers
            .read("payments_to_decide_read", move |tx| {
                let mut statement = tx.prepare_cached(
                    "select payment_id
                     from open_payments
                     where kind = ?1 and (cast(?2 as text) is null or merchant_id = ?2)
                     order by payment_id
                     limit ?3",
                )?;
                let merchant = merchant.map(|merchant| merchant.to_string());
                let ids = statement
                    .query_map(params![kind.as_str(), merchant, PAGE_MAX], |found| row::text(found, 0))?;
                let mut payments = Vec::new();
                for id in ids {
                    let found: Option<Payment> = find_history(tx, id?)?.and_then(|history| history.payment());
                    // An undo is shown as the payment that was asked back.
                    let parent = found.as_ref().filter(|_| kind == Kind::Undo).and_then(|undo| undo.parent);
                    let shown = match parent {
                        Some(parent) => find_history(tx, parent)?.and_then(|history| history.payment()),
                        None => found,
                    };
                    payments.extend(shown.filter(|shown| shown.status != Status::Reversed));
                }
                Ok(payments)
            })
            .await
    }
}

/// A charge of one of a terminal's codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalPayment {
    /// The payment.
    pub payment: Payment,
    /// The verification behind its code.
    pub verification: VerificationId,
    /// Who charged.
    pub merchant_name: String,
    /// The payer looks much like somebody else, so only the PIN confirms.
    pub is_lookalike: bool,
}

/// Whose payments are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentsOf {
    /// What a merchant asked for.
    Merchant(MerchantId),
    /// What a payer's wallets did.
    Account(selfsame_domain::id::AccountId),
}
