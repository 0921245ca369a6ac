//! Payments: one transaction loads what a batch needs, lets `domain` decide, and writes all of it or nothing.

pub(crate) mod load;
pub(crate) mod save;

use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, Transaction, params};
use selfsame_domain::id::{MerchantId, PaymentId, TerminalId, VerificationId};
use selfsame_domain::ledger::{Caller, Kind};
use selfsame_domain::payment::{Answer, IdempotencyKey, Origin, Payment, Request, Status, Target, decide};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;

use crate::attempt::{self, Attempt};
use crate::error::{Result, StoreError};
use crate::payment::load::{IS_LOOKALIKE, find_by_key, find_by_receipt, find_history, load};
use crate::payment::save::save;
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

impl Store {
    /// Decides and writes a batch: load, [`decide`], commit, in one transaction. What earlier batches left to be
    /// recorded (refusals and timings, which are outside the chain) is written along. Writes nothing once another
    /// writer has taken the slot over.
    pub async fn post_batch(
        &self,
        requests: Vec<Request>,
        attempts: Vec<Attempt>,
        timings: Vec<(PaymentId, Timings)>,
        now: Timestamp,
    ) -> std::result::Result<BatchOutcome, StoreError> {
        let (epoch, faults) = (self.epoch(), self.writer.faults());
        let pass = move |point| faults.pass(PAYMENTS, point);
        let work = move |tx: &Transaction<'_>| {
            let started = Instant::now();
            let state = load(tx, &requests, now)?;
            if state.slot.epoch != epoch {
                return Ok(None);
            }
            let loaded = Instant::now();
            let before = state.slot;
            pass("before the decision");
            let origins = requests.iter().map(|request| state.origin(request)).collect();
            let (answers, changes) = decide(state, &requests, now);
            let decided = Instant::now();
            pass("before anything is written");
            save(tx, &before, &changes)?;
            pass("between the ledger and what is recorded beside it");
            for attempt in &attempts {
                attempt::insert(tx, attempt)?;
            }
            save_timings(tx, &timings)?;
            Ok(Some((answers, origins, loaded - started, decided - loaded, decided)))
        };
        let posted = self.writer.write(PAYMENTS, work).await?;
        let (answers, origins, load, decide, decided) = posted.ok_or(StoreError::TakenOver)?;
        Ok(BatchOutcome { answers, origins, times: BatchTimes { load, decide, commit: decided.elapsed() } })
    }

    /// Records refusals and timings of payments when no further batch comes along to carry them.
    pub async fn record_aftermath(
        &self,
        attempts: Vec<Attempt>,
        timings: Vec<(PaymentId, Timings)>,
    ) -> std::result::Result<(), StoreError> {
        self.writer
            .write("payments_aftermath", move |tx| {
                for attempt in &attempts {
                    attempt::insert(tx, attempt)?;
                }
                save_timings(tx, &timings)
            })
            .await
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
                // Ids sort by time; the cursor's own place in the stream is the exact one.
                let place: i64 = match before {
                    None => i64::MAX,
                    Some(before) => tx
                        .prepare_cached("select sequence from payments where payment_id = ?1 and leg = 0")?
                        .query_row(params![before.to_string()], |found| found.get(0))
                        .optional()?
                        .unwrap_or(0),
                };
                let sql = format!(
                    "select payment_id
                     from payments
                     where {column} = ?1 and leg = 0 and sequence < ?2 and amount_minor > 0
                         and kind in ('charge', 'refund', 'top_up', 'withdrawal')
                     order by sequence desc
                     limit ?3"
                );
                let mut statement = tx.prepare_cached(&sql)?;
                let ids = statement.query_map(params![subject, place, limit], |found| row::text(found, 0))?;
                let mut payments = Vec::new();
                for id in ids {
                    let history = find_history(tx, id?)?;
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
                     where kind = ?1 and (?2 is null or merchant_id = ?2)
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
