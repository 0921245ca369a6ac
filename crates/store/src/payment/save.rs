//! Writing what was decided. Every guard sits inside the write that it protects.

use selfsame_domain::ledger::ChainedRow;
use selfsame_domain::payment::{Changes, Slot};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;

use crate::database::{DatabaseError, Transaction, params};
use crate::error::Result;
use crate::row;

/// A guarded write must change exactly one row; anything else means somebody else wrote, and the batch is undone.
pub(crate) fn exactly_one(changed: usize) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(DatabaseError::Guard(changed)) }
}

/// Moves the slot's head, if it is where it was and still ours.
pub(crate) fn advance(tx: &Transaction<'_>, before: &Slot, after: &Slot) -> Result<()> {
    let advanced = tx
        .prepare_cached(
            "update slots
             set sequence = ?4, hash = ?5
             where slot = ?1 and epoch = ?2 and sequence = ?3",
        )?
        .execute(params![
            after.slot,
            row::stored(before.epoch),
            row::stored(before.sequence),
            row::stored(after.sequence),
            after.hash,
        ])?;
    exactly_one(advanced)
}

/// Writes a row into its slot as it is now: under another epoch, or beyond the head, there is no slot to select, and a
/// row without one is refused.
///
/// One row of values and not `insert ... select`: for that SQLite copies each page it touches to a journal of the
/// statement first, more than all the rest that a payment writes (ADR 0019).
pub(crate) fn insert_row(tx: &Transaction<'_>, chained: &ChainedRow, epoch: u64) -> Result<()> {
    let row = &chained.row;
    let inserted = tx
        .prepare_cached(
            "insert into payments (slot, sequence, payment_id, leg, kind, state, part, parent_id, debit, credit,
                 amount_minor, currency, account_id, caller, actor_id, reference, code_id, verification_id, sensor_grade,
                 merchant_id, store_id, terminal_id, created_at, expires_at, hash)
             values ((select slot from slots where slot = ?1 and epoch = ?26 and sequence >= ?2), ?2, ?3, ?4, ?5, ?6,
                 ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
        )?
        .execute(params![
            row.slot,
            row::stored(row.sequence),
            row.payment.to_string(),
            row.leg,
            row.kind.as_str(),
            row.state.as_str(),
            row.part.map(|part| part.as_str()),
            row.parent.map(|id| id.to_string()),
            row.debit.to_string(),
            row.credit.to_string(),
            row.amount_minor,
            row.currency.code(),
            row.account.map(|id| id.to_string()),
            row.caller.to_string(),
            row.actor.map(|id| id.to_string()),
            row.reference.as_ref().map(Reference::as_str),
            row.code.map(|id| id.to_string()),
            row.verification.map(|id| id.to_string()),
            row.sensor_grade.map(|grade| grade.as_str()),
            row.merchant.map(|id| id.to_string()),
            row.store.map(|id| id.to_string()),
            row.terminal.map(|id| id.to_string()),
            row.created_at.as_millis(),
            row.expires_at.map(|at| at.as_millis()),
            chained.hash,
            row::stored(epoch),
        ])?;
    exactly_one(inserted)
}

/// Writes all of a batch; any guard that does not hold undoes all of it.
pub(crate) fn save(tx: &Transaction<'_>, before: &Slot, changes: &Changes) -> Result<()> {
    for (merchant, guesses) in &changes.guesses {
        tx.prepare_cached(
            "insert into code_guesses (merchant_id, hour, tries)
             values (?1, ?2, ?3)
             on conflict (merchant_id) do update
             set hour = excluded.hour,
                 tries = case when code_guesses.hour = excluded.hour then code_guesses.tries else 0 end + excluded.tries",
        )?
        .execute(params![merchant.to_string(), guesses.hour, guesses.count])?;
    }
    let Some(slot) = &changes.slot else { return Ok(()) };
    advance(tx, before, slot)?;
    for chained in &changes.rows {
        insert_row(tx, chained, before.epoch)?;
    }
    for change in &changes.wallets {
        let changed = tx
            .prepare_cached(
                "update wallets
                 set balance_minor = ?2, held_minor = ?3, spent_since = ?5, spent_minor = ?6, spent_count = ?7,
                     version = version + 1
                 where id = ?1 and version = ?4",
            )?
            .execute(params![
                change.wallet.to_string(),
                change.balance_minor,
                change.held_minor,
                row::stored(change.version_before),
                change.spending.since.map(Timestamp::as_millis),
                change.spending.minor,
                change.spending.count,
            ])?;
        exactly_one(changed)?;
    }
    save_opened(tx, changes)?;
    save_closed(tx, changes)
}

/// Notes what waits for its end from now on.
pub(crate) fn save_opened(tx: &Transaction<'_>, changes: &Changes) -> Result<()> {
    for payment in &changes.opened {
        let mut legs = changes.rows.iter().map(|chained| &chained.row).filter(|row| row.payment == *payment);
        let Some(head) = legs.next() else { return exactly_one(0) };
        let amount_minor = head.amount_minor + legs.map(|row| row.amount_minor).sum::<i64>();
        tx.prepare_cached(
            "insert into open_payments (payment_id, kind, state, merchant_id, terminal_id, amount_minor, expires_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            payment.to_string(),
            head.kind.as_str(),
            head.state.as_str(),
            head.merchant.map(|id| id.to_string()),
            head.terminal.map(|id| id.to_string()),
            amount_minor,
            head.expires_at.map(|at| at.as_millis()),
        ])?;
    }
    Ok(())
}

/// What has ended must have been waiting.
pub(crate) fn save_closed(tx: &Transaction<'_>, changes: &Changes) -> Result<()> {
    for payment in &changes.closed {
        let ended = tx
            .prepare_cached("delete from open_payments where payment_id = ?1")?
            .execute(params![payment.to_string()])?;
        exactly_one(ended)?;
    }
    Ok(())
}
