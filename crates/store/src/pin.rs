//! PINs of payers: hashes and the tries that are left. A try is taken before the PIN is checked, so that many at once
//! are no more than many one after the other.

use selfsame_domain::id::{AccountId, TerminalId};
use selfsame_domain::pin::PIN_TRIES;
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, params};
use crate::error::StoreError;
use crate::verification::Lookup;
use crate::{Store, row};

/// A try that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinTry {
    /// Check against this hash.
    Check {
        /// PHC string of argon2id.
        hash: String,
        /// Tries that are left if this one is wrong.
        tries_left: u32,
    },
    /// No tries are left.
    Locked,
    /// No PIN is set.
    Missing,
}

impl Store {
    /// Sets or resets a PIN; the tries begin anew. Answers `false` without such an account.
    pub async fn set_pin(
        &self,
        account: AccountId,
        hash: String,
        transaction: &'static str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .write("pin_set", move |tx| {
                let changed = tx.execute(
                    "insert into pins (account_id, hash, tries_left, changed_at, updated_by)
                     select accounts.id, ?2, cast(?3 as integer), cast(?4 as integer), ?5
                     from accounts
                     where accounts.id = ?1
                     on conflict (account_id) do update
                     set hash = excluded.hash, tries_left = excluded.tries_left, changed_at = excluded.changed_at,
                         updated_by = excluded.updated_by",
                    params![account.to_string(), hash, PIN_TRIES, now.as_millis(), transaction],
                )?;
                Ok(changed == 1)
            })
            .await
    }

    /// Takes a try.
    pub async fn take_pin_try(&self, account: AccountId) -> Result<PinTry, StoreError> {
        self.writer
            .write("pin_try", move |tx| {
                let taken = tx
                    .prepare_cached(
                        "update pins
                         set tries_left = tries_left - 1, updated_by = 'pin_try'
                         where account_id = ?1 and tries_left > 0
                         returning hash, tries_left",
                    )?
                    .query_row(params![account.to_string()], |found| {
                        Ok(PinTry::Check { hash: found.get(0)?, tries_left: found.get(1)? })
                    })
                    .optional()?;
                if let Some(taken) = taken {
                    return Ok(taken);
                }
                let set: bool = tx.query_row(
                    "select exists (select 1 from pins where account_id = ?1)",
                    params![account.to_string()],
                    |found| found.get(0),
                )?;
                Ok(if set { PinTry::Locked } else { PinTry::Missing })
            })
            .await
    }

    /// The PIN was right: the tries begin anew, unless it was changed in the meantime.
    pub async fn give_pin_tries_back(&self, account: AccountId, hash: String) -> Result<(), StoreError> {
        self.writer
            .write("pin_right", move |tx| {
                tx.prepare_cached(
                    "update pins
                     set tries_left = ?3, updated_by = 'pin_right'
                     where account_id = ?1 and hash = ?2",
                )?
                .execute(params![account.to_string(), hash, PIN_TRIES])?;
                Ok(())
            })
            .await
    }

    /// The account that carries a whole identifier. None for identifiers that several may carry.
    pub async fn account_of_identifier(&self, lookup: Lookup) -> Result<Option<AccountId>, StoreError> {
        self.readers
            .read("identifier_read_account", move |tx| {
                tx.prepare_cached(
                    "select account_id
                     from identifiers
                     where kind = ?1 and unique_lookup = ?2",
                )?
                .query_row(params![lookup.kind.as_str(), lookup.mac], |found| row::text(found, 0))
                .optional()
            })
            .await
    }

    /// How many wrong entries of number and PIN a terminal had since `since`, of whomever.
    pub async fn pin_refusals(&self, terminal: TerminalId, since: Timestamp) -> Result<u32, StoreError> {
        self.readers
            .read("pin_refusals_read", move |tx| {
                tx.prepare_cached(
                    "select count(*)
                     from attempts
                     where at >= ?2 and operation = 'pin' and terminal_id = ?1",
                )?
                .query_row(params![terminal.to_string(), since.as_millis()], |found| row::integer(found, 0))
            })
            .await
    }

    /// Whether a PIN is set, and how many tries are left.
    pub async fn pin_tries(&self, account: AccountId) -> Result<Option<u32>, StoreError> {
        self.readers
            .read("pin_tries_read", move |tx| {
                tx.prepare_cached("select tries_left from pins where account_id = ?1")?
                    .query_row(params![account.to_string()], |found| found.get(0))
                    .optional()
            })
            .await
    }
}
