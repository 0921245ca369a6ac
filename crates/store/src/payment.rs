//! Payments: one transaction loads what a batch needs, lets `domain` decide, and writes all of it or nothing.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, Transaction, params};
use selfsame_domain::id::{AccountId, MerchantId, PaymentId};
use selfsame_domain::ledger::{Caller, ChainedRow};
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{
    Answer, Changes, Code, CodeMac, IdempotencyKey, Payment, Request, Slot, State, Wallet, decide,
};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;

use crate::account::{WALLET_COLUMNS, read_wallet};
use crate::attempt::{self, Attempt};
use crate::error::{Result, StoreError};
use crate::site::SLOT;
use crate::{Store, row};

/// What a batch came to.
#[derive(Debug)]
pub struct BatchOutcome {
    /// One answer a request, in order.
    pub answers: Vec<Answer>,
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

const PAYMENT: &str =
    "select payment_id, kind, state, amount_minor, currency, reference, account_id, merchant_id,
         terminal_id, created_at
     from payments";

/// Reads leg 0. Split payments will add up their legs here.
fn read_payment(found: &rusqlite::Row<'_>) -> Result<Payment> {
    let currency: Currency = row::text(found, 4)?;
    let amount = Amount::new(found.get(3)?, currency);
    let amount = amount.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Integer, Box::new(error))
    })?;
    Ok(Payment {
        payment: row::text(found, 0)?,
        kind: row::text(found, 1)?,
        state: row::text(found, 2)?,
        amount,
        reference: row::text::<Reference>(found, 5)?,
        account: row::optional_text(found, 6)?,
        merchant: row::optional_text(found, 7)?,
        terminal: row::optional_text(found, 8)?,
        created_at: row::timestamp(found, 9)?,
    })
}

fn find_by_key(tx: &Transaction<'_>, key: &IdempotencyKey) -> Result<Option<Payment>> {
    let sql = format!("{PAYMENT} where caller = ?1 and kind = ?2 and reference = ?3");
    tx.prepare_cached(&sql)?
        .query_row(params![key.caller.to_string(), key.kind.as_str(), key.reference.as_str()], read_payment)
        .optional()
}

fn load_code(tx: &Transaction<'_>, mac: CodeMac) -> Result<Option<Code>> {
    tx.prepare_cached(
        "select payment_codes.id, payment_codes.verification_id, verifications.sensor_grade,
             payment_codes.account_id, payment_codes.merchant_id, payment_codes.store_id, payment_codes.terminal_id,
             payment_codes.currency, payment_codes.amount_minor_max, payment_codes.expires_at,
             verifications.code_id is distinct from payment_codes.id,
             exists (select 1 from payments where payments.verification_id = payment_codes.verification_id)
         from payment_codes
         join verifications on verifications.id = payment_codes.verification_id
         where payment_codes.mac = ?1",
    )?
    .query_row(params![mac.0], |found| {
        Ok(Code {
            code: row::text(found, 0)?,
            verification: row::text(found, 1)?,
            sensor_grade: row::text(found, 2)?,
            account: row::text(found, 3)?,
            merchant: row::text(found, 4)?,
            store: row::text(found, 5)?,
            terminal: row::text(found, 6)?,
            currency: row::text(found, 7)?,
            amount_minor_max: found.get(8)?,
            expires_at: row::timestamp(found, 9)?,
            revoked: found.get(10)?,
            consumed: found.get(11)?,
        })
    })
    .optional()
}

fn load_wallet(tx: &Transaction<'_>, account: AccountId, currency: Currency) -> Result<Option<Wallet>> {
    let sql = format!(
        "select {WALLET_COLUMNS}
         from wallets
         join accounts on accounts.id = wallets.account_id
         where wallets.account_id = ?1 and wallets.currency = ?2"
    );
    tx.prepare_cached(&sql)?.query_row(params![account.to_string(), currency.code()], read_wallet).optional()
}

fn load_slot(tx: &Transaction<'_>) -> Result<Slot> {
    tx.prepare_cached("select epoch, sequence, hash from slots where slot = ?1")?.query_row(
        params![SLOT],
        |found| {
            Ok(Slot {
                slot: SLOT,
                epoch: row::integer(found, 0)?,
                sequence: row::integer(found, 1)?,
                hash: row::array(found, 2)?,
            })
        },
    )
}

/// Everything that [`decide`] needs to know for these requests.
fn load(tx: &Transaction<'_>, requests: &[Request]) -> Result<State> {
    let mut state = State {
        slot: load_slot(tx)?,
        payments: HashMap::new(),
        codes: HashMap::new(),
        wallets: HashMap::new(),
    };
    for request in requests {
        let key = request.idempotency_key();
        if let Some(payment) = find_by_key(tx, &key)? {
            state.payments.insert(key, payment);
        }
        let currency = request.amount().currency();
        let account = match request {
            Request::Charge(charge) => match load_code(tx, charge.code)? {
                Some(code) => {
                    let account = code.account;
                    state.codes.insert(charge.code, code);
                    Some(account)
                }
                None => None,
            },
            Request::TopUp(top_up) => Some(top_up.account),
        };
        let Some(account) = account.filter(|account| !state.wallets.contains_key(&(*account, currency)))
        else {
            continue;
        };
        if let Some(wallet) = load_wallet(tx, account, currency)? {
            state.wallets.insert((account, currency), wallet);
        }
    }
    Ok(state)
}

fn insert_row(tx: &Transaction<'_>, chained: &ChainedRow) -> Result<()> {
    let row = &chained.row;
    tx.prepare_cached(
        "insert into payments (slot, sequence, payment_id, leg, kind, state, parent_id, debit, credit, amount_minor,
             currency, account_id, caller, reference, code_id, verification_id, sensor_grade, merchant_id, store_id,
             terminal_id, created_at, hash)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
    )?
    .execute(params![
        row.slot,
        row::stored(row.sequence),
        row.payment.to_string(),
        row.leg,
        row.kind.as_str(),
        row.state.as_str(),
        row.parent.map(|id| id.to_string()),
        row.debit.to_string(),
        row.credit.to_string(),
        row.amount_minor,
        row.currency.code(),
        row.account.map(|id| id.to_string()),
        row.caller.to_string(),
        row.reference.as_ref().map(Reference::as_str),
        row.code.map(|id| id.to_string()),
        row.verification.map(|id| id.to_string()),
        row.sensor_grade.map(|grade| grade.as_str()),
        row.merchant.map(|id| id.to_string()),
        row.store.map(|id| id.to_string()),
        row.terminal.map(|id| id.to_string()),
        row.created_at.as_millis(),
        chained.hash,
    ])?;
    Ok(())
}

/// A guarded write must change exactly one row; anything else means somebody else wrote, and the batch is undone.
fn exactly_one(changed: usize) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

fn save(tx: &Transaction<'_>, before: &Slot, changes: &Changes) -> Result<()> {
    let Some(slot) = &changes.slot else { return Ok(()) };
    let advanced = tx
        .prepare_cached(
            "update slots
             set sequence = ?4, hash = ?5
             where slot = ?1 and epoch = ?2 and sequence = ?3",
        )?
        .execute(params![
            slot.slot,
            row::stored(before.epoch),
            row::stored(before.sequence),
            row::stored(slot.sequence),
            slot.hash,
        ])?;
    exactly_one(advanced)?;
    for chained in &changes.rows {
        insert_row(tx, chained)?;
    }
    for change in &changes.wallets {
        let changed = tx
            .prepare_cached(
                "update wallets
                 set balance_minor = ?2, held_minor = ?3, version = version + 1
                 where id = ?1 and version = ?4",
            )?
            .execute(params![
                change.wallet.to_string(),
                change.balance_minor,
                change.held_minor,
                row::stored(change.version_before),
            ])?;
        exactly_one(changed)?;
    }
    Ok(())
}

fn save_timings(tx: &Transaction<'_>, timings: &[(PaymentId, Timings)]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "insert into payment_timings (payment_id, stage, duration_us)
         values (?1, ?2, ?3)
         on conflict (payment_id, stage) do nothing",
    )?;
    for (payment, timings) in timings {
        for (stage, duration) in timings.iter() {
            let duration_us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
            statement.execute(params![payment.to_string(), stage.as_str(), duration_us])?;
        }
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
        let epoch = self.epoch.load(Ordering::SeqCst);
        let work = move |tx: &Transaction<'_>| {
            let started = Instant::now();
            let state = load(tx, &requests)?;
            if state.slot.epoch != epoch {
                return Ok(None);
            }
            let loaded = Instant::now();
            let before = state.slot;
            let (answers, changes) = decide(state, &requests, now);
            let decided = Instant::now();
            save(tx, &before, &changes)?;
            for attempt in &attempts {
                attempt::insert(tx, attempt)?;
            }
            save_timings(tx, &timings)?;
            Ok(Some((answers, loaded - started, decided - loaded, decided)))
        };
        let posted = self.writer.write("payments_post", work).await?;
        let (answers, load, decide, decided) = posted.ok_or(StoreError::TakenOver)?;
        Ok(BatchOutcome { answers, times: BatchTimes { load, decide, commit: decided.elapsed() } })
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

    /// The payment that carries a reference.
    pub async fn payment_by_reference(
        &self,
        key: IdempotencyKey,
    ) -> std::result::Result<Option<Payment>, StoreError> {
        self.readers.read("payment_read_by_reference", move |tx| find_by_key(tx, &key)).await
    }

    /// A payment of a merchant.
    pub async fn payment(
        &self,
        merchant: MerchantId,
        payment: PaymentId,
    ) -> std::result::Result<Option<(Payment, Timings)>, StoreError> {
        self.readers
            .read("payment_read", move |tx| {
                let sql = format!("{PAYMENT} where payment_id = ?1 and leg = 0 and caller = ?2");
                let caller = Caller::Merchant(merchant).to_string();
                let found = tx
                    .prepare_cached(&sql)?
                    .query_row(params![payment.to_string(), caller], read_payment)
                    .optional()?;
                let Some(found) = found else { return Ok(None) };
                let mut timings = Timings::default();
                let mut statement = tx
                    .prepare_cached("select stage, duration_us from payment_timings where payment_id = ?1")?;
                let mut stages = statement.query(params![payment.to_string()])?;
                while let Some(stage) = stages.next()? {
                    timings.add(row::text(stage, 0)?, Duration::from_micros(row::integer(stage, 1)?));
                }
                Ok(Some((found, timings)))
            })
            .await
    }
}
