//! The books, recomputed from all rows: trial balance, chain, and wallets against their rows.

use rusqlite::{Transaction, params};
use selfsame_domain::ledger::{
    ChainError, ChainVerifier, ChainedRow, LedgerAccount, Row, RowHash, TrialBalance,
};

use crate::error::{Result, StoreError};
use crate::{Store, row};

/// What the rows say, all of them from the first.
#[derive(Clone, Debug)]
pub struct LedgerAudit {
    /// Balance of every ledger account.
    pub trial_balance: TrialBalance,
    /// Each slot's chain.
    pub slots: Vec<SlotAudit>,
    /// Wallets whose stored balance is not the sum of their rows.
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

fn read_row(found: &rusqlite::Row<'_>) -> Result<ChainedRow> {
    let row = Row {
        slot: row::integer(found, 0)?,
        sequence: row::integer(found, 1)?,
        payment: row::text(found, 2)?,
        leg: row::integer(found, 3)?,
        kind: row::text(found, 4)?,
        state: row::text(found, 5)?,
        parent: row::optional_text(found, 6)?,
        debit: row::text(found, 7)?,
        credit: row::text(found, 8)?,
        amount_minor: found.get(9)?,
        currency: row::text(found, 10)?,
        account: row::optional_text(found, 11)?,
        caller: row::text(found, 12)?,
        reference: row::optional_text(found, 13)?,
        code: row::optional_text(found, 14)?,
        verification: row::optional_text(found, 15)?,
        sensor_grade: row::optional_text(found, 16)?,
        merchant: row::optional_text(found, 17)?,
        store: row::optional_text(found, 18)?,
        terminal: row::optional_text(found, 19)?,
        created_at: row::timestamp(found, 20)?,
    };
    Ok(ChainedRow { row, hash: row::array(found, 21)? })
}

fn audit_slot(tx: &Transaction<'_>, slot: u32, balance: &mut TrialBalance) -> Result<Option<ChainError>> {
    let mut statement = tx.prepare_cached(
        "select slot, sequence, payment_id, leg, kind, state, parent_id, debit, credit, amount_minor, currency,
             account_id, caller, reference, code_id, verification_id, sensor_grade, merchant_id, store_id, terminal_id,
             created_at, hash
         from payments
         where slot = ?1
         order by sequence",
    )?;
    let mut verifier = Some(ChainVerifier::new(slot));
    let mut broken = None;
    let mut rows = statement.query(params![slot])?;
    while let Some(found) = rows.next()? {
        let chained = read_row(found)?;
        balance.push(&chained.row);
        // After the first wrong row the rest of the chain says nothing more.
        if let Some(Err(error)) = verifier.as_mut().map(|verifier| verifier.push(&chained)) {
            broken = Some(error);
            verifier = None;
        }
    }
    let head = tx.query_row("select sequence, hash from slots where slot = ?1", params![slot], |found| {
        Ok((row::integer::<u64>(found, 0)?, row::array::<32>(found, 1)?))
    })?;
    let end = verifier.map(|verifier| verifier.finish(head.0, &head.1));
    Ok(broken.or(end.and_then(std::result::Result::err)))
}

fn count_differing_wallets(tx: &Transaction<'_>, balance: &TrialBalance) -> Result<u64> {
    let mut statement = tx.prepare_cached("select id, currency, balance_minor from wallets")?;
    let mut wallets = statement.query([])?;
    let recomputed: std::collections::HashMap<_, _> =
        balance.lines().map(|(currency, account, minor)| ((currency, account), minor)).collect();
    let mut differing = 0;
    while let Some(found) = wallets.next()? {
        let key = (row::text(found, 1)?, LedgerAccount::Wallet(row::text(found, 0)?));
        let stored: i64 = found.get(2)?;
        differing += u64::from(recomputed.get(&key).copied().unwrap_or(0) != i128::from(stored));
    }
    Ok(differing)
}

impl Store {
    /// Recomputes the books from all rows, on one snapshot.
    pub async fn audit_ledger(&self) -> std::result::Result<LedgerAudit, StoreError> {
        self.readers
            .read("ledger_audit", |tx| {
                let mut statement =
                    tx.prepare_cached("select slot, sequence, hash from slots order by slot")?;
                let heads = statement.query_map([], |found| {
                    Ok((row::integer(found, 0)?, row::integer(found, 1)?, row::array::<32>(found, 2)?))
                })?;
                let mut trial_balance = TrialBalance::default();
                let mut slots = Vec::new();
                for found in heads {
                    let (slot, sequence, head) = found?;
                    let error = audit_slot(tx, slot, &mut trial_balance)?;
                    slots.push(SlotAudit { slot, sequence, head, error });
                }
                let wallets_that_differ = count_differing_wallets(tx, &trial_balance)?;
                Ok(LedgerAudit { trial_balance, slots, wallets_that_differ })
            })
            .await
    }
}
