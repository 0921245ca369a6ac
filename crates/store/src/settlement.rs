//! Settlements: a merchant's period is closed, approved by a second person, and paid.

use selfsame_domain::id::{KeyId, MerchantId, PaymentId, SettlementId};
use selfsame_domain::ledger::{ChainedRow, Row};
use selfsame_domain::money::Currency;
use selfsame_domain::payment::Slot;
use selfsame_domain::settlement::{Period, SettlementState, Statement, Totals, close, closed_by_clock, pay};
use selfsame_domain::time::Timestamp;

use crate::database::{self, Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::ledger::rows;
use crate::payment::save::{advance, exactly_one, insert_row};
use crate::site::load_currency;
use crate::slot::{Ledger, SLOT, load_slot, load_slots};
use crate::{Store, row};

/// Most settlements that one page of a list holds.
const PAGE_MAX: u32 = 100;

/// A settlement with what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Its sums.
    pub statement: Statement,
    /// Where it stands.
    pub state: SettlementState,
    /// When it was closed.
    pub closed_at: Timestamp,
    /// By whom.
    pub closed_by: KeyId,
    /// When it was approved.
    pub approved_at: Option<Timestamp>,
    /// By whom.
    pub approved_by: Option<KeyId>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
}

/// Why a settlement is not closed, approved or paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettlementRefusal {
    /// No such merchant or settlement.
    NotFound,
    /// Nothing has happened since the last one.
    Nothing,
    /// It is not in the state for that.
    InvalidState,
    /// Whoever closed it cannot approve it, and whoever approved what the clock closed cannot pay it.
    SamePerson,
}

const COLUMNS: &str = "id, merchant_id, currency, after_sequence, upto_sequence, opening_minor, goods_minor, tips_minor,
     deposits_minor, refunds_minor, reversals_minor, undone_minor, adjustments_minor, fees_minor, payouts_minor,
     closing_minor, frozen_minor, payable_minor, state, closed_at, closed_by, approved_at, approved_by, paid_at";

fn read(found: &database::Row<'_>) -> Result<Settlement> {
    let totals = Totals {
        goods_minor: found.get(6)?,
        tips_minor: found.get(7)?,
        deposits_minor: found.get(8)?,
        refunds_minor: found.get(9)?,
        reversals_minor: found.get(10)?,
        undone_minor: found.get(11)?,
        adjustments_minor: found.get(12)?,
        fees_minor: found.get(13)?,
        payouts_minor: found.get(14)?,
    };
    let statement = Statement {
        settlement: row::text(found, 0)?,
        merchant: row::text(found, 1)?,
        currency: row::text(found, 2)?,
        after: row::integer(found, 3)?,
        upto: row::integer(found, 4)?,
        opening_minor: found.get(5)?,
        totals,
        closing_minor: found.get(15)?,
        frozen_minor: found.get(16)?,
        payable_minor: found.get(17)?,
    };
    Ok(Settlement {
        statement,
        state: row::text(found, 18)?,
        closed_at: row::timestamp(found, 19)?,
        closed_by: row::text(found, 20)?,
        approved_at: row::optional_timestamp(found, 21)?,
        approved_by: row::optional_text(found, 22)?,
        paid_at: row::optional_timestamp(found, 23)?,
    })
}

fn find(tx: &Transaction<'_>, settlement: SettlementId) -> Result<Option<Settlement>> {
    let sql = format!("select {COLUMNS} from settlements where id = ?1");
    tx.prepare_cached(&sql)?.query_row(params![settlement.to_string()], read).optional()
}

/// Where the last statement of a merchant ended: rows of all slots, and balance.
fn last_end(tx: &Transaction<'_>, merchant: MerchantId) -> Result<(u64, i64)> {
    let found = tx
        .prepare_cached(
            "select upto_sequence, closing_minor
             from settlements
             where merchant_id = ?1
             order by upto_sequence desc
             limit 1",
        )?
        .query_row(params![merchant.to_string()], |found| Ok((row::integer(found, 0)?, found.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// What a statement covers of one slot: the rows behind a sequence, up to another.
struct Range {
    slot: u32,
    after: u64,
    upto: u64,
}

/// What no statement of a merchant covers yet, up to the present head of each slot. A slot's head moves in the
/// transaction that writes its rows, so what is below it is all there.
fn open_ranges(tx: &Transaction<'_>, merchant: MerchantId) -> Result<Vec<Range>> {
    let heads = load_slots(tx)?;
    let mut ended = tx.prepare_cached(
        "select coalesce(max(upto_sequence), 0)
         from settlement_ranges
         where merchant_id = ?1 and slot = ?2",
    )?;
    let range = |head: Slot| {
        let after =
            ended.query_row(params![merchant.to_string(), head.slot], |found| row::integer(found, 0))?;
        Ok(Range { slot: head.slot, after, upto: head.sequence })
    };
    heads.into_iter().map(range).collect()
}

fn ranges_of(tx: &Transaction<'_>, settlement: SettlementId) -> Result<Vec<Range>> {
    tx.prepare_cached(
        "select slot, after_sequence, upto_sequence
         from settlement_ranges
         where settlement_id = ?1
         order by slot",
    )?
    .query_map(params![settlement.to_string()], |found| {
        Ok(Range {
            slot: row::integer(found, 0)?,
            after: row::integer(found, 1)?,
            upto: row::integer(found, 2)?,
        })
    })?
    .collect()
}

fn insert_ranges(tx: &Transaction<'_>, statement: &Statement, ranges: &[Range]) -> Result<()> {
    let mut insert = tx.prepare_cached(
        "insert into settlement_ranges (settlement_id, merchant_id, slot, after_sequence, upto_sequence)
         values (?1, ?2, ?3, ?4, ?5)",
    )?;
    for range in ranges {
        insert.execute(params![
            statement.settlement.to_string(),
            statement.merchant.to_string(),
            range.slot,
            row::stored(range.after),
            row::stored(range.upto),
        ])?;
    }
    Ok(())
}

fn merchant_rows(tx: &Transaction<'_>, merchant: MerchantId, ranges: &[Range]) -> Result<Vec<Row>> {
    let mut covered = Vec::new();
    for range in ranges {
        let found = rows(
            tx,
            "merchant_id = ?1 and slot = ?2 and sequence > ?3 and sequence <= ?4",
            params![merchant.to_string(), range.slot, row::stored(range.after), row::stored(range.upto)],
        )?;
        covered.extend(found.into_iter().map(|chained| chained.row));
    }
    Ok(covered)
}

/// Whether the first of a merchant's rows that no statement covers is older than this.
fn is_due(tx: &Transaction<'_>, merchant: MerchantId, ranges: &[Range], before: Timestamp) -> Result<bool> {
    let mut first = tx.prepare_cached(
        "select created_at
         from payments
         where merchant_id = ?1 and slot = ?2 and sequence > ?3
         order by sequence
         limit 1",
    )?;
    for range in ranges {
        let parameters = params![merchant.to_string(), range.slot, row::stored(range.after)];
        let first = first.query_row(parameters, |found| row::timestamp(found, 0)).optional()?;
        if first.is_some_and(|first| first < before) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn post(tx: &Transaction<'_>, before: &Slot, after: &Slot, rows: &[ChainedRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    advance(tx, before, after)?;
    rows.iter().try_for_each(|chained| insert_row(tx, chained, before.epoch))
}

fn insert(tx: &Transaction<'_>, statement: &Statement, actor: KeyId, now: Timestamp) -> Result<()> {
    let totals = &statement.totals;
    tx.prepare_cached(
        "insert into settlements (id, merchant_id, currency, state, after_sequence, upto_sequence, opening_minor,
             goods_minor, tips_minor, deposits_minor, refunds_minor, reversals_minor, undone_minor, adjustments_minor,
             fees_minor, payouts_minor, closing_minor, frozen_minor, payable_minor, closed_at, closed_by, updated_by)
         values (?1, ?2, ?3, 'closed', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
             'settlement_close')",
    )?
    .execute(params![
        statement.settlement.to_string(),
        statement.merchant.to_string(),
        statement.currency.code(),
        row::stored(statement.after),
        row::stored(statement.upto),
        statement.opening_minor,
        totals.goods_minor,
        totals.tips_minor,
        totals.deposits_minor,
        totals.refunds_minor,
        totals.reversals_minor,
        totals.undone_minor,
        totals.adjustments_minor,
        totals.fees_minor,
        totals.payouts_minor,
        statement.closing_minor,
        statement.frozen_minor,
        statement.payable_minor,
        now.as_millis(),
        actor.to_string(),
    ])?;
    Ok(())
}

/// Rows of all slots but one, up to where the ranges end.
fn elsewhere(ranges: &[Range], slot: u32) -> u64 {
    ranges.iter().filter(|range| range.slot != slot).map(|range| range.upto).sum()
}

/// What payers asked back from a merchant and nobody has decided about.
fn frozen_minor(tx: &Transaction<'_>, merchant: MerchantId) -> Result<i64> {
    tx.prepare_cached(
        "select cast(coalesce(sum(amount_minor), 0) as integer) from open_payments where merchant_id = ?1 and kind = 'undo'",
    )?
    .query_row(params![merchant.to_string()], |found| found.get(0))
}

fn period(
    tx: &Transaction<'_>,
    settlement: SettlementId,
    merchant: MerchantId,
    currency: Currency,
) -> Result<Option<Period>> {
    let fee = tx
        .prepare_cached(
            "select coalesce(merchant_terms.fee, 0)
             from merchants
             left join merchant_terms on merchant_terms.merchant_id = merchants.id
             where merchants.id = ?1",
        )?
        .query_row(params![merchant.to_string()], |found| row::integer(found, 0))
        .optional()?;
    let Some(fee) = fee else { return Ok(None) };
    let (after, opening_minor) = last_end(tx, merchant)?;
    let frozen_minor = frozen_minor(tx, merchant)?;
    Ok(Some(Period { settlement, merchant, currency, after, elsewhere: 0, opening_minor, frozen_minor, fee }))
}

impl Store {
    /// What a settlement would come to now; writes nothing.
    pub async fn open_settlement(
        &self,
        settlement: SettlementId,
        merchant: MerchantId,
        actor: KeyId,
        now: Timestamp,
    ) -> std::result::Result<Option<Statement>, StoreError> {
        self.readers
            .read("settlement_preview", move |tx| {
                let currency = load_currency(tx)?;
                let Some(period) = period(tx, settlement, merchant, currency)? else { return Ok(None) };
                let ranges = open_ranges(tx, merchant)?;
                let rows = merchant_rows(tx, merchant, &ranges)?;
                let mut slot = load_slot(tx, SLOT)?;
                let period = Period { elsewhere: elsewhere(&ranges, slot.slot), ..period };
                let fee_payment = PaymentId::new(now, [0; 10]);
                Ok(Some(close(&mut slot, &period, &rows, fee_payment, actor, now).1))
            })
            .await
    }

    /// Merchants with rows from before this that no statement covers.
    pub async fn merchants_to_settle(
        &self,
        before: Timestamp,
    ) -> std::result::Result<Vec<MerchantId>, StoreError> {
        self.readers
            .read("merchants_to_settle_read", move |tx| {
                let mut statement = tx.prepare_cached("select id from merchants order by id")?;
                let merchants = statement.query_map(params![], |found| row::text(found, 0))?;
                let mut due = Vec::new();
                for merchant in merchants {
                    let merchant: MerchantId = merchant?;
                    if is_due(tx, merchant, &open_ranges(tx, merchant)?, before)? {
                        due.push(merchant);
                    }
                }
                Ok(due)
            })
            .await
    }

    /// Closes a merchant's period: fixes its sums and writes its fee. With `due_before` only if the period has a row
    /// from before that, so that a day is closed once, however many servers try, and however often.
    pub async fn close_settlement(
        &self,
        settlement: SettlementId,
        merchant: MerchantId,
        fee_payment: PaymentId,
        actor: KeyId,
        due_before: Option<Timestamp>,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Settlement, SettlementRefusal>, StoreError> {
        let Ledger { writer, holding } = self.ledger();
        let held = holding.held().ok_or(StoreError::TakenOver)?;
        let closed = writer
            .write("settlement_close", move |tx| {
                let currency = load_currency(tx)?;
                let Some(period) = period(tx, settlement, merchant, currency)? else {
                    return Ok(Some(Err(SettlementRefusal::NotFound)));
                };
                let before = load_slot(tx, held.slot)?;
                if before.epoch != held.epoch {
                    return Ok(None);
                }
                let mut ranges = open_ranges(tx, merchant)?;
                if let Some(due_before) = due_before
                    && !is_due(tx, merchant, &ranges, due_before)?
                {
                    return Ok(Some(Err(SettlementRefusal::Nothing)));
                }
                let rows = merchant_rows(tx, merchant, &ranges)?;
                if rows.is_empty() {
                    return Ok(Some(Err(SettlementRefusal::Nothing)));
                }
                let mut slot = before;
                let period = Period { elsewhere: elsewhere(&ranges, slot.slot), ..period };
                let (fees, statement) = close(&mut slot, &period, &rows, fee_payment, actor, now);
                post(tx, &before, &slot, &fees)?;
                insert(tx, &statement, actor, now)?;
                for range in &mut ranges {
                    // The fee's rows are its own.
                    if range.slot == slot.slot {
                        range.upto = slot.sequence;
                    }
                }
                insert_ranges(tx, &statement, &ranges)?;
                let closed = find(tx, settlement)?;
                Ok(Some(closed.ok_or(SettlementRefusal::NotFound)))
            })
            .await?;
        closed.ok_or(StoreError::TakenOver)
    }

    /// A second person agrees.
    pub async fn approve_settlement(
        &self,
        settlement: SettlementId,
        actor: KeyId,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Settlement, SettlementRefusal>, StoreError> {
        self.writer
            .write("settlement_approve", move |tx| {
                let Some(found) = find(tx, settlement)? else { return Ok(Err(SettlementRefusal::NotFound)) };
                if found.approved_by == Some(actor) {
                    return Ok(Ok(found));
                }
                if found.state != SettlementState::Closed {
                    return Ok(Err(SettlementRefusal::InvalidState));
                }
                if found.closed_by == actor {
                    return Ok(Err(SettlementRefusal::SamePerson));
                }
                let changed = tx.execute(
                    "update settlements
                     set state = 'approved', approved_at = ?3, approved_by = ?2, updated_by = 'settlement_approve'
                     where id = ?1 and state = 'closed' and closed_by <> ?2",
                    params![settlement.to_string(), actor.to_string(), now.as_millis()],
                )?;
                exactly_one(changed)?;
                Ok(find(tx, settlement)?.ok_or(SettlementRefusal::NotFound))
            })
            .await
    }

    /// The money was paid out: writes the row that says so, once.
    pub async fn pay_settlement(
        &self,
        settlement: SettlementId,
        payout: PaymentId,
        actor: KeyId,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Settlement, SettlementRefusal>, StoreError> {
        let Ledger { writer, holding } = self.ledger();
        let held = holding.held().ok_or(StoreError::TakenOver)?;
        let paid = writer
            .write("settlement_pay", move |tx| {
                let Some(found) = find(tx, settlement)? else {
                    return Ok(Some(Err(SettlementRefusal::NotFound)));
                };
                match found.state {
                    SettlementState::Paid => return Ok(Some(Ok(found))),
                    SettlementState::Closed => return Ok(Some(Err(SettlementRefusal::InvalidState))),
                    SettlementState::Approved => {}
                }
                // Two people agree to every payout: where a person closed, approval was by another one already.
                if found.closed_by == closed_by_clock() && found.approved_by == Some(actor) {
                    return Ok(Some(Err(SettlementRefusal::SamePerson)));
                }
                let before = load_slot(tx, held.slot)?;
                if before.epoch != held.epoch {
                    return Ok(None);
                }
                let mut slot = before;
                let rows = pay(&mut slot, &found.statement, payout, actor, now);
                post(tx, &before, &slot, &rows)?;
                let changed = tx.execute(
                    "update settlements
                     set state = 'paid', paid_at = ?3, paid_by = ?2, updated_by = 'settlement_pay'
                     where id = ?1 and state = 'approved'",
                    params![settlement.to_string(), actor.to_string(), now.as_millis()],
                )?;
                exactly_one(changed)?;
                Ok(Some(find(tx, settlement)?.ok_or(SettlementRefusal::NotFound)))
            })
            .await?;
        paid.ok_or(StoreError::TakenOver)
    }

    /// A settlement with its rows, in order of the stream.
    pub async fn settlement(
        &self,
        settlement: SettlementId,
    ) -> std::result::Result<Option<(Settlement, Vec<Row>)>, StoreError> {
        self.readers
            .read("settlement_read", move |tx| {
                let Some(found) = find(tx, settlement)? else { return Ok(None) };
                let statement = &found.statement;
                let rows = merchant_rows(tx, statement.merchant, &ranges_of(tx, settlement)?)?;
                Ok(Some((found, rows)))
            })
            .await
    }

    /// Settlements, newest first, behind `before`; of one merchant or of all.
    pub async fn settlements(
        &self,
        merchant: Option<MerchantId>,
        before: Option<SettlementId>,
        limit: u32,
    ) -> std::result::Result<Vec<Settlement>, StoreError> {
        self.readers
            .read("settlements_read", move |tx| {
                let sql = format!(
                    "select {COLUMNS}
                     from settlements
                     where (cast(?1 as text) is null or merchant_id = ?1) and (cast(?2 as text) is null or id < ?2)
                     order by id desc
                     limit ?3"
                );
                let merchant = merchant.map(|merchant| merchant.to_string());
                let before = before.map(|before| before.to_string());
                tx.prepare_cached(&sql)?
                    .query_map(params![merchant, before, limit.min(PAGE_MAX)], read)?
                    .collect()
            })
            .await
    }
}
