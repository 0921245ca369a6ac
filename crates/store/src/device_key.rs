//! What becomes of a terminal's key after its activation: a further activation code, rotation, warnings.

use selfsame_domain::id::{KeyId, TerminalId};
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::terminal::{ACTIVATION_TRIES, NewDeviceKey, insert_key};
use crate::{Store, row};

/// A rotation that is done, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Names the new key.
    pub key: KeyId,
    /// Until when the key before is taken.
    pub previous_until: Timestamp,
}

/// The rotation of a key that was replaced already, if it was this one.
fn rotated_before(tx: &Transaction<'_>, previous: &str, next: &NewDeviceKey) -> Result<Option<Rotated>> {
    tx.query_row(
        "select next_keys.id, previous_keys.retired_at
         from terminal_keys as previous_keys
         join terminal_keys as next_keys on next_keys.id = previous_keys.replaced_by
         where previous_keys.id = ?1 and next_keys.retired_at is null and next_keys.algorithm = ?2
             and next_keys.public_key = ?3",
        params![previous, next.algorithm.as_str(), next.public_key],
        |found| Ok(Rotated { key: row::text(found, 0)?, previous_until: row::timestamp(found, 1)? }),
    )
    .optional()
}

impl Store {
    /// Puts a terminal's key in the place of its present one, which is taken until `previous_until` for what is on its
    /// way. The same again answers the same. `None` if `previous` has ended or was replaced by another key.
    pub async fn rotate_key(
        &self,
        previous: KeyId,
        next: NewDeviceKey,
        previous_until: Timestamp,
        now: Timestamp,
    ) -> std::result::Result<Option<Rotated>, StoreError> {
        self.writer
            .write("key_rotate", move |tx| {
                let previous = previous.to_string();
                if let Some(rotated) = rotated_before(tx, &previous, &next)? {
                    return Ok(Some(rotated));
                }
                let terminal: Option<String> = tx
                    .query_row(
                        "select terminals.id
                         from terminal_keys
                         join terminals on terminals.id = terminal_keys.terminal_id
                         where terminal_keys.id = ?1 and terminal_keys.retired_at is null
                             and terminals.state = 'active'",
                        params![previous],
                        |found| found.get(0),
                    )
                    .optional()?;
                let Some(terminal) = terminal else { return Ok(None) };
                insert_key(tx, &terminal, &next, now)?;
                tx.execute(
                    "update terminal_keys set retired_at = ?2, replaced_by = ?3 where id = ?1",
                    params![previous, previous_until.as_millis(), next.id.to_string()],
                )?;
                Ok(Some(Rotated { key: next.id, previous_until }))
            })
            .await
    }

    /// Gives a terminal a further activation code; an earlier one is dead. The key in use is not touched. Answers `false`
    /// if there is no such terminal, or it is retired.
    pub async fn renew_activation(
        &self,
        terminal: TerminalId,
        code_hash: [u8; 32],
        expires_at: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("activation_renew", move |tx| {
                let changed = tx.execute(
                    "insert into activations (terminal_id, code_hash, expires_at, tries_left)
                     select id, cast(?2 as blob), cast(?3 as integer), cast(?4 as integer)
                     from terminals
                     where id = ?1 and state <> 'retired'
                     on conflict (terminal_id) do update
                     set code_hash = excluded.code_hash, expires_at = excluded.expires_at,
                         tries_left = excluded.tries_left, used_at = null",
                    params![terminal.to_string(), code_hash, expires_at.as_millis(), ACTIVATION_TRIES],
                )?;
                Ok(changed == 1)
            })
            .await
    }

    /// Takes a warning of a clone back. Answers `false` if there is no such terminal.
    pub async fn dismiss_clone_warning(&self, terminal: TerminalId) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("clone_warning_dismiss", move |tx| {
                let id = terminal.to_string();
                // The next sign is news again.
                tx.execute(
                    "update key_uses set suspected_at = null
                     where key_id in (select id from terminal_keys where terminal_id = ?1)",
                    params![id],
                )?;
                let changed = tx.execute(
                    "update terminals set clone_suspected_at = null, updated_by = 'clone_warning_dismiss'
                     where id = ?1",
                    params![id],
                )?;
                Ok(changed == 1)
            })
            .await
    }
}
