//! Terminals, their activation and their device keys.

use selfsame_domain::id::{KeyId, MerchantId, StoreId, TerminalId};
use selfsame_domain::terminal::{KeyAlgorithm, Purpose, Standing};
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::{Store, row};

/// Wrong activation codes that may be tried before a new code is needed.
pub(crate) const ACTIVATION_TRIES: i64 = 5;

/// A terminal that waits for its activation.
#[derive(Clone, Debug)]
pub struct NewTerminal {
    /// The terminal.
    pub terminal: TerminalId,
    /// Where it stands.
    pub store: StoreId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// SHA-256 of its activation code.
    pub code_hash: [u8; 32],
    /// Until when the code is good.
    pub code_expires_at: Timestamp,
}

/// A terminal as others refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The terminal.
    pub terminal: TerminalId,
    /// Where it stands.
    pub store: StoreId,
    /// Whose it is.
    pub merchant: MerchantId,
    /// What it is for.
    pub purpose: Purpose,
}

/// A device key with the terminal it belongs to.
#[derive(Clone, Debug)]
pub struct DeviceKey {
    /// The terminal.
    pub terminal: Terminal,
    /// How it signs.
    pub algorithm: KeyAlgorithm,
    /// The public key.
    pub public_key: Vec<u8>,
    /// Replaced by a later key, or the terminal is retired.
    pub retired: bool,
    /// A rotation replaced it. For a short while it is not retired yet.
    pub replaced: bool,
    /// The operator locked the terminal.
    pub locked: bool,
}

/// A device key that a terminal brings.
#[derive(Clone, Debug)]
pub struct NewDeviceKey {
    /// Names it from now on.
    pub id: KeyId,
    /// How it signs.
    pub algorithm: KeyAlgorithm,
    /// The public key.
    pub public_key: Vec<u8>,
}

/// Why an activation was refused. On the wire they read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationRefusal {
    /// No such terminal, or none that waits.
    Unknown,
    /// The code was used.
    Used,
    /// The code is too old.
    Expired,
    /// Too many wrong codes were tried.
    Locked,
    /// Another code.
    WrongCode,
}

impl ActivationRefusal {
    /// The reason as recorded.
    pub fn as_str(self) -> &'static str {
        match self {
            ActivationRefusal::Unknown => "unknown_terminal",
            ActivationRefusal::Used => "activation_used",
            ActivationRefusal::Expired => "activation_expired",
            ActivationRefusal::Locked => "activation_locked",
            ActivationRefusal::WrongCode => "activation_wrong_code",
        }
    }
}

const TERMINAL: &str = "select terminals.id, terminals.store_id, stores.merchant_id, terminals.purpose
     from terminals
     join stores on stores.id = terminals.store_id
     where terminals.id = ?1 and terminals.state <> 'retired'";

fn read_terminal(found: &Row<'_>, first: usize) -> Result<Terminal> {
    Ok(Terminal {
        terminal: row::text(found, first)?,
        store: row::text(found, first + 1)?,
        merchant: row::text(found, first + 2)?,
        purpose: row::text(found, first + 3)?,
    })
}

fn check_activation(
    tx: &Transaction<'_>,
    terminal: TerminalId,
    code_hash: [u8; 32],
    now: Timestamp,
) -> Result<std::result::Result<(), ActivationRefusal>> {
    let found = tx
        .query_row(
            "select code_hash, expires_at, tries_left, used_at
             from activations
             where terminal_id = ?1",
            params![terminal.to_string()],
            |found| {
                let used = row::optional_timestamp(found, 3)?.is_some();
                Ok((row::array::<32>(found, 0)?, row::timestamp(found, 1)?, found.get::<i64>(2)?, used))
            },
        )
        .optional()?;
    let Some((hash, expires_at, tries_left, used)) = found else {
        return Ok(Err(ActivationRefusal::Unknown));
    };
    let refusal = match (used, tries_left > 0, now < expires_at, hash == code_hash) {
        (true, ..) => ActivationRefusal::Used,
        (_, false, ..) => ActivationRefusal::Locked,
        (_, _, false, _) => ActivationRefusal::Expired,
        (.., false) => ActivationRefusal::WrongCode,
        _ => return Ok(Ok(())),
    };
    if refusal == ActivationRefusal::WrongCode {
        tx.execute(
            "update activations set tries_left = tries_left - 1 where terminal_id = ?1",
            params![terminal.to_string()],
        )?;
    }
    Ok(Err(refusal))
}

pub(crate) fn insert_key(
    tx: &Transaction<'_>,
    terminal: &str,
    key: &NewDeviceKey,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "insert into terminal_keys (id, terminal_id, algorithm, public_key, created_at)
         values (?1, ?2, ?3, ?4, ?5)",
        params![key.id.to_string(), terminal, key.algorithm.as_str(), key.public_key, now.as_millis()],
    )?;
    Ok(())
}

impl Store {
    /// Makes a terminal. Answers `false` if there is no such store.
    pub async fn create_terminal(
        &self,
        new: NewTerminal,
        now: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("terminal_create", move |tx| {
                let added = tx.execute(
                    "insert into terminals (id, store_id, name, purpose, state, created_at, updated_by)
                     select ?1, id, ?3, ?4, 'unactivated', cast(?5 as integer), 'terminal_create'
                     from stores
                     where id = ?2",
                    params![
                        new.terminal.to_string(),
                        new.store.to_string(),
                        new.name,
                        new.purpose.as_str(),
                        now.as_millis(),
                    ],
                )?;
                if added == 0 {
                    return Ok(false);
                }
                tx.execute(
                    "insert into activations (terminal_id, code_hash, expires_at, tries_left)
                     values (?1, ?2, ?3, ?4)",
                    params![
                        new.terminal.to_string(),
                        new.code_hash,
                        new.code_expires_at.as_millis(),
                        ACTIVATION_TRIES,
                    ],
                )?;
                Ok(true)
            })
            .await
    }

    /// Activates a terminal with the key that it made; an earlier key is retired in the same transaction.
    pub async fn activate_terminal(
        &self,
        terminal: TerminalId,
        code_hash: [u8; 32],
        key: NewDeviceKey,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Terminal, ActivationRefusal>, StoreError> {
        self.writer
            .write("terminal_activate", move |tx| {
                if let Err(refusal) = check_activation(tx, terminal, code_hash, now)? {
                    return Ok(Err(refusal));
                }
                let found =
                    tx.query_row(TERMINAL, params![terminal.to_string()], |found| read_terminal(found, 0));
                let Some(found) = found.optional()? else {
                    return Ok(Err(ActivationRefusal::Unknown));
                };
                let id = terminal.to_string();
                tx.execute(
                    "update activations set used_at = ?2 where terminal_id = ?1",
                    params![id, now.as_millis()],
                )?;
                // Also the key whose last requests may still be on their way after a rotation.
                tx.execute(
                    "update terminal_keys set retired_at = ?2
                     where terminal_id = ?1 and (retired_at is null or retired_at > ?2)",
                    params![id, now.as_millis()],
                )?;
                insert_key(tx, &id, &key, now)?;
                tx.execute(
                    "update terminals set state = 'active', clone_suspected_at = null, updated_by = 'terminal_activate'
                     where id = ?1",
                    params![id],
                )?;
                Ok(Ok(found))
            })
            .await
    }

    /// A device key by its name, as it stands at `now`.
    pub async fn device_key(
        &self,
        key: KeyId,
        now: Timestamp,
    ) -> std::result::Result<Option<DeviceKey>, StoreError> {
        self.readers
            .read("device_key_read", move |tx| {
                tx.prepare_cached(
                    "select terminals.id, terminals.store_id, stores.merchant_id, terminals.purpose,
                         terminal_keys.public_key, terminal_keys.retired_at, terminals.state, terminals.locked_at,
                         terminal_keys.algorithm, terminal_keys.replaced_by
                     from terminal_keys
                     join terminals on terminals.id = terminal_keys.terminal_id
                     join stores on stores.id = terminals.store_id
                     where terminal_keys.id = ?1",
                )?
                .query_row(params![key.to_string()], |found| {
                    let state: String = found.get(6)?;
                    let ended = row::optional_timestamp(found, 5)?.is_some_and(|at| at <= now);
                    Ok(DeviceKey {
                        terminal: read_terminal(found, 0)?,
                        algorithm: row::text(found, 8)?,
                        public_key: found.get(4)?,
                        retired: ended || state != "active",
                        replaced: state == "active" && found.get::<Option<String>>(9)?.is_some(),
                        locked: row::optional_timestamp(found, 7)?.is_some(),
                    })
                })
                .optional()
            })
            .await
    }

    /// A terminal that is not retired.
    pub async fn terminal(&self, terminal: TerminalId) -> std::result::Result<Option<Terminal>, StoreError> {
        self.readers
            .read("terminal_read", move |tx| {
                tx.query_row(TERMINAL, params![terminal.to_string()], |found| read_terminal(found, 0))
                    .optional()
            })
            .await
    }

    /// Whether a terminal may work. One that does not exist, or was never activated, reads as retired.
    pub async fn terminal_standing(&self, terminal: TerminalId) -> std::result::Result<Standing, StoreError> {
        self.readers
            .read("terminal_read_standing", move |tx| {
                let found = tx
                    .prepare_cached("select state, locked_at from terminals where id = ?1")?
                    .query_row(params![terminal.to_string()], |found| {
                        Ok((found.get::<String>(0)?, row::optional_timestamp(found, 1)?))
                    })
                    .optional()?;
                Ok(match found {
                    Some((state, None)) if state == "active" => Standing::Active,
                    Some((state, Some(_))) if state == "active" => Standing::Locked,
                    _ => Standing::Retired,
                })
            })
            .await
    }

    /// Names of the merchant and the store where a terminal stands.
    pub async fn terminal_place(
        &self,
        terminal: TerminalId,
    ) -> std::result::Result<Option<(String, String)>, StoreError> {
        self.readers
            .read("terminal_read_place", move |tx| {
                tx.prepare_cached(
                    "select merchants.name, stores.name
                     from terminals
                     join stores on stores.id = terminals.store_id
                     join merchants on merchants.id = stores.merchant_id
                     where terminals.id = ?1",
                )?
                .query_row(params![terminal.to_string()], |found| Ok((found.get(0)?, found.get(1)?)))
                .optional()
            })
            .await
    }

    /// Locks a terminal, or unlocks it. Answers `false` if there is no such terminal that may work otherwise.
    pub async fn lock_terminal(
        &self,
        terminal: TerminalId,
        locked: bool,
        now: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("terminal_lock", move |tx| {
                let changed = tx.execute(
                    "update terminals
                     set locked_at = case when ?2 then coalesce(locked_at, ?3) end, updated_by = 'terminal_lock'
                     where id = ?1 and state = 'active'",
                    params![terminal.to_string(), locked, now.as_millis()],
                )?;
                Ok(changed == 1)
            })
            .await
    }

    /// Retires a terminal and its key for good. Answers `false` if there is no such terminal.
    pub async fn retire_terminal(
        &self,
        terminal: TerminalId,
        now: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("terminal_retire", move |tx| {
                let id = terminal.to_string();
                tx.execute(
                    "update terminal_keys set retired_at = ?2 where terminal_id = ?1 and retired_at is null",
                    params![id, now.as_millis()],
                )?;
                let changed = tx.execute(
                    "update terminals set state = 'retired', updated_by = 'terminal_retire' where id = ?1",
                    params![id],
                )?;
                Ok(changed == 1)
            })
            .await
    }
}
