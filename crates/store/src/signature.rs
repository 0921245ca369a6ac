//! Signed requests: each nonce is good once, and the uses of a key are counted to notice copies of it.

use selfsame_domain::id::{AttemptId, KeyId, TerminalId};
use selfsame_domain::key_use::{CloneSign, KeyHistory, KeyUse, Position};
use selfsame_domain::time::Timestamp;

use crate::attempt::Attempt;
use crate::database::{DatabaseError, Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::{Store, attempt, row};

/// A clone is recorded at most once in so many milliseconds per key: two machines would fill the list otherwise.
const RECORDED_EVERY_MS: i64 = 3600 * 1000;

/// A request whose signature fits.
#[derive(Clone, Debug)]
pub struct SignedUse {
    /// The key.
    pub key: KeyId,
    /// Whose key it is.
    pub terminal: TerminalId,
    /// The whole nonce.
    pub nonce: String,
    /// Where it stands in the count of its machine; the nonce begins with it.
    pub key_use: KeyUse,
    /// Until when the nonce is remembered.
    pub expires_at: Timestamp,
    /// Whether the terminal is locked when its key seems to be used on two machines.
    pub lock_clones: bool,
    /// Names the record of such a suspicion, if there is one.
    pub attempt: AttemptId,
}

/// What came of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// It is new and in its turn.
    Fresh,
    /// The nonce was seen before: a replay.
    Replayed,
    /// It is new, but looks as if another machine had signed as well.
    Suspect {
        /// Why.
        sign: CloneSign,
        /// It was recorded now, and not already within the hour.
        recorded: bool,
    },
}

struct Remembered {
    history: KeyHistory,
    suspected_at: Option<Timestamp>,
}

fn load(tx: &Transaction<'_>, key: &str) -> Result<Option<Remembered>> {
    tx.prepare_cached(
        "select start, counter, instance, seen_at, mark_start, mark_counter, marked_at, floor_start, floor_counter,
             suspected_at
         from key_uses
         where key_id = ?1",
    )?
    .query_row(params![key], |found| {
        let position = |first| {
            Ok::<_, DatabaseError>(Position {
                start: row::integer(found, first)?,
                counter: row::integer(found, first + 1)?,
            })
        };
        let history = KeyHistory {
            highest: position(0)?,
            instance: row::text::<Instance>(found, 2)?.0,
            highest_at: row::timestamp(found, 3)?,
            mark: position(4)?,
            marked_at: row::timestamp(found, 6)?,
            floor: position(7)?,
        };
        Ok(Remembered { history, suspected_at: row::optional_timestamp(found, 9)? })
    })
    .optional()
}

/// The random name of a start, as it is kept.
struct Instance(u64);

impl std::str::FromStr for Instance {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

fn save(tx: &Transaction<'_>, key: &str, remembered: &Remembered) -> Result<()> {
    let history = &remembered.history;
    tx.prepare_cached(
        "insert into key_uses (key_id, start, counter, instance, seen_at, mark_start, mark_counter, marked_at,
             floor_start, floor_counter, suspected_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         on conflict (key_id) do update
         set start = excluded.start, counter = excluded.counter, instance = excluded.instance,
             seen_at = excluded.seen_at, mark_start = excluded.mark_start, mark_counter = excluded.mark_counter,
             marked_at = excluded.marked_at, floor_start = excluded.floor_start,
             floor_counter = excluded.floor_counter, suspected_at = excluded.suspected_at",
    )?
    .execute(params![
        key,
        row::stored(history.highest.start),
        row::stored(history.highest.counter),
        format!("{:016x}", history.instance),
        history.highest_at.as_millis(),
        row::stored(history.mark.start),
        row::stored(history.mark.counter),
        history.marked_at.as_millis(),
        row::stored(history.floor.start),
        row::stored(history.floor.counter),
        remembered.suspected_at.map(Timestamp::as_millis),
    ])?;
    Ok(())
}

/// Whether another request had the same place in the count. Only nonces that are still remembered are looked through.
fn is_counter_reused(tx: &Transaction<'_>, key: &str, used: &SignedUse) -> Result<bool> {
    tx.prepare_cached(
        "select nonce
         from signature_nonces
         where key_id = ?1 and nonce > ?2 and nonce < ?3 and nonce <> ?4
         limit 1",
    )?
    // The character after the full stop, behind which the random part begins, is the slash.
    .exists(params![key, format!("{}.", used.key_use), format!("{}/", used.key_use), used.nonce])
}

/// What the note of a use comes to.
enum Noted {
    Fresh,
    Replayed,
    Suspect(CloneSign),
}

fn note(tx: &Transaction<'_>, used: &SignedUse, now: Timestamp) -> Result<Noted> {
    let key = used.key.to_string();
    tx.prepare_cached("delete from signature_nonces where expires_at <= ?1")?
        .execute(params![now.as_millis()])?;
    let added = tx
        .prepare_cached(
            "insert into signature_nonces (key_id, nonce, expires_at)
             values (?1, ?2, ?3)
             on conflict (key_id, nonce) do nothing",
        )?
        .execute(params![key, used.nonce, used.expires_at.as_millis()])?;
    if added == 0 {
        return Ok(Noted::Replayed);
    }
    let Some(mut remembered) = load(tx, &key)? else {
        let history = KeyHistory::first(used.key_use, now);
        save(tx, &key, &Remembered { history, suspected_at: None })?;
        return Ok(Noted::Fresh);
    };
    let mut sign = remembered.history.take(used.key_use, now);
    if sign.is_none() && is_counter_reused(tx, &key, used)? {
        sign = Some(CloneSign::CounterReused);
    }
    save(tx, &key, &remembered)?;
    Ok(sign.map_or(Noted::Fresh, Noted::Suspect))
}

/// Records a suspicion, unless there is one of the last hour, and answers whether it was; locks the terminal if it is to
/// be locked.
fn warn(tx: &Transaction<'_>, used: &SignedUse, sign: CloneSign, now: Timestamp) -> Result<bool> {
    let terminal = used.terminal.to_string();
    let key = used.key.to_string();
    let suspected_at = load(tx, &key)?.and_then(|remembered| remembered.suspected_at);
    let record = suspected_at.is_none_or(|at| now.as_millis() - at.as_millis() >= RECORDED_EVERY_MS);
    if record {
        tx.execute("update key_uses set suspected_at = ?2 where key_id = ?1", params![key, now.as_millis()])?;
        let suspicion = Attempt {
            id: used.attempt,
            at: now,
            operation: "signature",
            reason: sign.as_str().to_owned(),
            terminal: Some(used.terminal),
            merchant: None,
            account: None,
        };
        attempt::insert(tx, &suspicion)?;
        tx.execute(
            "update terminals set clone_suspected_at = ?2, updated_by = 'key_use' where id = ?1",
            params![terminal, now.as_millis()],
        )?;
    }
    if used.lock_clones {
        tx.execute(
            "update terminals set locked_at = coalesce(locked_at, ?2), updated_by = 'key_use' where id = ?1",
            params![terminal, now.as_millis()],
        )?;
    }
    Ok(record)
}

impl Store {
    /// Remembers a signed request, so that it is taken once, and where it stands in the count of its machine. Both are
    /// kept in the store by one transaction, so that a restart forgets neither. It is committed in order: whatever the
    /// request brings about stands behind it in the log, so that nothing of it can last while its nonce is forgotten. A
    /// suspicion is on disk before it is told.
    pub async fn use_key(&self, used: SignedUse, now: Timestamp) -> std::result::Result<Used, StoreError> {
        let noting = used.clone();
        let noted = self.writer.write_in_order("key_use", move |tx| note(tx, &noting, now)).await?;
        let sign = match noted {
            Noted::Fresh => return Ok(Used::Fresh),
            Noted::Replayed => return Ok(Used::Replayed),
            Noted::Suspect(sign) => sign,
        };
        let recorded = self.writer.write("key_use_suspect", move |tx| warn(tx, &used, sign, now)).await?;
        Ok(Used::Suspect { sign, recorded })
    }
}
