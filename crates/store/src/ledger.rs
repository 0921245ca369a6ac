//! The books, recomputed from all rows: trial balance, chain, and wallets against their rows.

use std::collections::{HashMap, HashSet};

use selfsame_domain::id::WalletId;
use selfsame_domain::ledger::export::{ExportedRow, FORMAT, HexHash, Line};
use selfsame_domain::ledger::{
    ChainError, ChainVerifier, ChainedRow, LedgerAccount, Row, RowHash, TrialBalance,
};
use selfsame_domain::limit::Spending;
use selfsame_domain::time::Timestamp;

use crate::database::{self, Bind, DatabaseError, Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::{Store, row};

/// What the rows say, all of them from the first.
#[derive(Clone, Debug)]
pub struct LedgerAudit {
    /// Balance of every ledger account.
    pub trial_balance: TrialBalance,
    /// Each slot's chain.
    pub slots: Vec<SlotAudit>,
    /// Wallets whose stored balance, or what they say was spent on a day, is not the sum of their rows.
    pub wallets_that_differ: u64,
}

/// The chain of one slot.
#[derive(Clone, Debug)]
pub struct SlotAudit {
    /// Number of the slot.
    pub slot: u32,
    /// Sequence of the last row, by the slot.
    pub sequence: u64,
    /// Hash of the last row, by the slot.
    pub head: RowHash,
    /// Where the chain is broken.
    pub error: Option<ChainError>,
}

/// Columns that [`read_row`] reads, of `payments`.
pub(crate) const ROW_COLUMNS: &str =
    "slot, sequence, payment_id, leg, kind, state, part, parent_id, debit, credit,
     amount_minor, currency, account_id, caller, actor_id, reference, code_id, verification_id, sensor_grade,
     merchant_id, store_id, terminal_id, created_at, expires_at, hash";

pub(crate) fn read_row(found: &database::Row<'_>) -> Result<ChainedRow> {
    let row = Row {
        slot: row::integer(found, 0)?,
        sequence: row::integer(found, 1)?,
        payment: row::text(found, 2)?,
        leg: row::integer(found, 3)?,
        kind: row::text(found, 4)?,
        state: row::text(found, 5)?,
        part: row::optional_text(found, 6)?,
        parent: row::optional_text(found, 7)?,
        debit: row::text(found, 8)?,
        credit: row::text(found, 9)?,
        amount_minor: found.get(10)?,
        currency: row::text(found, 11)?,
        account: row::optional_text(found, 12)?,
        caller: row::text(found, 13)?,
        actor: row::optional_text(found, 14)?,
        reference: row::optional_text(found, 15)?,
        code: row::optional_text(found, 16)?,
        verification: row::optional_text(found, 17)?,
        sensor_grade: row::optional_text(found, 18)?,
        merchant: row::optional_text(found, 19)?,
        store: row::optional_text(found, 20)?,
        terminal: row::optional_text(found, 21)?,
        created_at: row::timestamp(found, 22)?,
        expires_at: row::optional_timestamp(found, 23)?,
    };
    Ok(ChainedRow { row, hash: row::array(found, 24)? })
}

/// All rows that a condition of ours selects, in order of the stream.
pub(crate) fn rows(
    tx: &Transaction<'_>,
    condition: &str,
    parameters: &[&dyn Bind],
) -> Result<Vec<ChainedRow>> {
    let sql = format!(
        "select {ROW_COLUMNS}
         from payments
         where {condition}
         order by slot, sequence"
    );
    tx.prepare_cached(&sql)?.query_map(parameters, read_row)?.collect()
}

fn audit_slot(tx: &Transaction<'_>, slot: u32, balance: &mut TrialBalance) -> Result<Option<ChainError>> {
    let sql = format!(
        "select {ROW_COLUMNS}
         from payments
         where slot = ?1
         order by sequence"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut verifier = Some(ChainVerifier::new(slot));
    let mut broken = None;
    statement.for_each(params![slot], |found| {
        let chained = read_row(found)?;
        balance.push(&chained.row);
        // After the first wrong row the rest of the chain says nothing more.
        if let Some(Err(error)) = verifier.as_mut().map(|verifier| verifier.push(&chained)) {
            broken = Some(error);
            verifier = None;
        }
        Ok(())
    })?;
    let head = tx.query_row("select sequence, hash from slots where slot = ?1", params![slot], |found| {
        Ok((row::integer::<u64>(found, 0)?, row::array::<32>(found, 1)?))
    })?;
    let end = verifier.map(|verifier| verifier.finish(head.0, &head.1));
    Ok(broken.or(end.and_then(std::result::Result::err)))
}

/// Wallets that say of a business day what their rows do not say. Rows come wallet by wallet: no more than one payer's day
/// is held at a time.
fn find_wrong_spending(tx: &Transaction<'_>) -> Result<HashSet<WalletId>> {
    let sql = format!(
        "select {ROW_COLUMNS}, wallet, spent_since, spent_minor, spent_count
         from (
             select id as wallet, account_id as owner, spent_since, spent_minor, spent_count
             from wallets
             where spent_since is not null
         ) as told
         left join payments on payments.account_id = owner and payments.created_at >= spent_since
         order by wallet"
    );
    let mut wrong = HashSet::new();
    let mut compare = |(wallet, told): (WalletId, Spending), rows: &[Row]| {
        let day = told.since.unwrap_or(Timestamp::from_millis(0));
        if Spending::of(rows, wallet, day) != told {
            wrong.insert(wallet);
        }
    };
    let mut current: Option<(WalletId, Spending)> = None;
    let mut rows: Vec<Row> = Vec::new();
    tx.prepare_cached(&sql)?.for_each(params![], |found| {
        let since = row::optional_timestamp(found, 26)?;
        let told = Spending { since, minor: found.get(27)?, count: found.get(28)? };
        let next = (row::text(found, 25)?, told);
        if let Some(before) = current.replace(next).filter(|before| *before != next) {
            compare(before, &rows);
            rows.clear();
        }
        if found.get::<Option<i64>>(0)?.is_some() {
            rows.push(read_row(found)?.row);
        }
        Ok(())
    })?;
    if let Some(last) = current {
        compare(last, &rows);
    }
    Ok(wrong)
}

fn count_differing_wallets(tx: &Transaction<'_>, balance: &TrialBalance) -> Result<u64> {
    let mut statement = tx.prepare_cached("select id, currency, balance_minor from wallets")?;
    let recomputed: HashMap<_, _> =
        balance.lines().map(|(currency, account, minor)| ((currency, account), minor)).collect();
    let mut differing = find_wrong_spending(tx)?;
    statement.for_each(params![], |found| {
        let wallet = row::text(found, 0)?;
        let key = (row::text(found, 1)?, LedgerAccount::Wallet(wallet));
        let stored: i64 = found.get(2)?;
        if recomputed.get(&key).copied().unwrap_or(0) != i128::from(stored) {
            differing.insert(wallet);
        }
        Ok(())
    })?;
    Ok(differing.len() as u64)
}

impl Store {
    /// Recomputes the books from all rows, on one snapshot.
    pub async fn audit_ledger(&self) -> std::result::Result<LedgerAudit, StoreError> {
        self.readers
            .read("ledger_audit", |tx| {
                let mut trial_balance = TrialBalance::default();
                let mut slots = Vec::new();
                for (slot, sequence, head) in heads(tx)? {
                    let error = audit_slot(tx, slot, &mut trial_balance)?;
                    slots.push(SlotAudit { slot, sequence, head, error });
                }
                let wallets_that_differ = count_differing_wallets(tx, &trial_balance)?;
                Ok(LedgerAudit { trial_balance, slots, wallets_that_differ })
            })
            .await
    }
}

/// A line of an export, written as soon as it is read.
type Sink = Box<dyn FnMut(&Line) -> std::io::Result<()> + Send>;

fn write_line(sink: &mut Sink, line: &Line) -> Result<()> {
    sink(line).map_err(DatabaseError::Sink)
}

fn export(tx: &Transaction<'_>, sink: &mut Sink, now: Timestamp) -> Result<u64> {
    write_line(sink, &Line::Header { format: FORMAT.to_owned(), exported_at: now })?;
    let sql = format!("select {ROW_COLUMNS} from payments order by slot, sequence");
    let mut count = 0;
    tx.prepare_cached(&sql)?.for_each(params![], |found| {
        write_line(sink, &Line::Row(Box::new(ExportedRow::from(&read_row(found)?))))?;
        count += 1;
        Ok(())
    })?;
    let wallets = "select id, currency, balance_minor, held_minor from wallets order by id";
    tx.prepare_cached(wallets)?.for_each(params![], |found| {
        let line = Line::Wallet {
            wallet: row::text(found, 0)?,
            currency: row::text(found, 1)?,
            balance_minor: found.get(2)?,
            held_minor: found.get(3)?,
        };
        write_line(sink, &line)
    })?;
    for (slot, sequence, hash) in heads(tx)? {
        write_line(sink, &Line::Head { slot, sequence, hash: HexHash(hash) })?;
    }
    Ok(count)
}

fn heads(tx: &Transaction<'_>) -> Result<Vec<(u32, u64, RowHash)>> {
    let mut statement = tx.prepare_cached("select slot, sequence, hash from slots order by slot")?;
    let heads = statement.query_map(params![], |found| {
        Ok((row::integer(found, 0)?, row::integer(found, 1)?, row::array::<32>(found, 2)?))
    })?;
    heads.collect()
}

/// Most rows that one reading of the stream answers.
pub const STREAM_ROWS_MAX: u32 = 500;

impl Store {
    /// Writes the whole ledger, on one snapshot, line by line; answers the number of rows. The format is that of
    /// [`selfsame_domain::ledger::export`].
    pub async fn export_ledger(
        &self,
        mut sink: impl FnMut(&Line) -> std::io::Result<()> + Send + 'static,
        now: Timestamp,
    ) -> std::result::Result<u64, StoreError> {
        self.readers
            .read("ledger_export", move |tx| {
                let mut sink: Sink = Box::new(move |line| sink(line));
                export(tx, &mut sink, now)
            })
            .await
    }

    /// Last sequence and hash of every slot.
    pub async fn ledger_heads(&self) -> std::result::Result<Vec<(u32, u64, RowHash)>, StoreError> {
        self.readers.read("ledger_heads_read", heads).await
    }

    /// Rows of a slot behind a sequence, in order. A reader that keeps the last sequence it saw misses none:
    /// sequences are given in the transaction that writes the rows.
    pub async fn stream(
        &self,
        slot: u32,
        after: u64,
        limit: u32,
    ) -> std::result::Result<Vec<ChainedRow>, StoreError> {
        let limit = limit.min(STREAM_ROWS_MAX);
        self.readers
            .read("stream_read", move |tx| {
                let sql = format!(
                    "select {ROW_COLUMNS}
                     from payments
                     where slot = ?1 and sequence > ?2
                     order by sequence
                     limit ?3"
                );
                let mut statement = tx.prepare_cached(&sql)?;
                statement.query_map(params![slot, row::stored(after), limit], read_row)?.collect()
            })
            .await
    }

    /// How far a reader of the stream has come; 0 before its first row.
    pub async fn cursor(&self, consumer: &'static str, slot: u32) -> std::result::Result<u64, StoreError> {
        self.readers
            .read("cursor_read", move |tx| {
                let found = tx
                    .prepare_cached("select sequence from cursors where consumer = ?1 and slot = ?2")?
                    .query_row(params![consumer, slot], |found| row::integer(found, 0))
                    .optional()?;
                Ok(found.unwrap_or(0))
            })
            .await
    }

    /// Moves a reader on. Never back: answers `false` if it stands there or further already.
    pub async fn advance_cursor(
        &self,
        consumer: &'static str,
        slot: u32,
        sequence: u64,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("cursor_advance", move |tx| {
                let changed = tx
                    .prepare_cached(
                        "insert into cursors (consumer, slot, sequence)
                         values (?1, ?2, ?3)
                         on conflict (consumer, slot) do update
                         set sequence = excluded.sequence
                         where cursors.sequence < excluded.sequence",
                    )?
                    .execute(params![consumer, slot, row::stored(sequence)])?;
                Ok(changed == 1)
            })
            .await
    }
}
