//! Refused attempts: what the operator's story is read from. Outside the ledger chain.

use selfsame_domain::id::{AccountId, AttemptId, MerchantId, StoreId, TerminalId};
use selfsame_domain::time::Timestamp;

use crate::database::{Transaction, params};
use crate::error::{Result, StoreError};
use crate::{Store, row};

/// How long attempts are kept, in milliseconds: 90 days.
pub(crate) const KEPT_MS: i64 = 90 * 24 * 3600 * 1000;

/// Old attempts that one insert clears away, so that clearing never takes long.
pub(crate) const CLEARED_MAX: i64 = 100;

/// Clears some of those before a time.
pub(crate) const CLEAR_ATTEMPTS: &str =
    "delete from attempts where id in (select id from attempts where at < ?1 order by at limit ?2)";

/// A refused attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The attempt.
    pub id: AttemptId,
    /// When.
    pub at: Timestamp,
    /// `verification`, `enrolment`, `payment_code`, `payment`, `activation`, `pin` or `signature`.
    pub operation: &'static str,
    /// Why it was refused.
    pub reason: String,
    /// At which terminal.
    pub terminal: Option<TerminalId>,
    /// By which merchant.
    pub merchant: Option<MerchantId>,
    /// On whose account, where that was known.
    pub account: Option<AccountId>,
}

/// An attempt as it is read back: with the store of its terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedAttempt {
    /// The attempt; where only its terminal was recorded, with the merchant of that.
    pub attempt: Attempt,
    /// In which store.
    pub store: Option<StoreId>,
}

pub(crate) fn insert(tx: &Transaction<'_>, attempt: &Attempt) -> Result<()> {
    tx.prepare_cached(
        "insert into attempts (id, at, operation, reason, terminal_id, merchant_id, account_id)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        attempt.id.to_string(),
        attempt.at.as_millis(),
        attempt.operation,
        attempt.reason,
        attempt.terminal.map(|id| id.to_string()),
        attempt.merchant.map(|id| id.to_string()),
        attempt.account.map(|id| id.to_string()),
    ])?;
    tx.prepare_cached(CLEAR_ATTEMPTS)?.execute(params![attempt.at.as_millis() - KEPT_MS, CLEARED_MAX])?;
    Ok(())
}

impl Store {
    /// Records a refused attempt.
    pub async fn record_attempt(&self, attempt: Attempt) -> std::result::Result<(), StoreError> {
        self.writer.write("attempt_record", move |tx| insert(tx, &attempt)).await
    }

    /// The latest attempts, newest first.
    pub async fn attempts(&self, limit: u32) -> std::result::Result<Vec<RecordedAttempt>, StoreError> {
        self.readers
            .read("attempts_read", move |tx| {
                let mut statement = tx.prepare_cached(
                    "select attempts.id, attempts.at, attempts.operation, attempts.reason, attempts.terminal_id,
                         coalesce(attempts.merchant_id, stores.merchant_id), attempts.account_id, terminals.store_id
                     from attempts
                     left join terminals on terminals.id = attempts.terminal_id
                     left join stores on stores.id = terminals.store_id
                     order by attempts.at desc, attempts.id desc
                     limit ?1",
                )?;
                let attempts = statement.query_map(params![limit], |found| {
                    let operation: String = found.get(2)?;
                    let known = [
                        "verification",
                        "enrolment",
                        "payment_code",
                        "payment",
                        "activation",
                        "pin",
                        "signature",
                    ];
                    let attempt = Attempt {
                        id: row::text(found, 0)?,
                        at: row::timestamp(found, 1)?,
                        operation: known.into_iter().find(|name| *name == operation).unwrap_or("unknown"),
                        reason: found.get(3)?,
                        terminal: row::optional_text(found, 4)?,
                        merchant: row::optional_text(found, 5)?,
                        account: row::optional_text(found, 6)?,
                    };
                    Ok(RecordedAttempt { attempt, store: row::optional_text(found, 7)? })
                })?;
                attempts.collect()
            })
            .await
    }
}
