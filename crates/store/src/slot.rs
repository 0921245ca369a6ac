//! The slot: which process writes the ledger, and how another one takes over.
//!
//! The lease is measured by whoever waits for it: an owner that has not moved the slot's row for a whole [`LEASE`] of
//! the newcomer's own waiting is taken for gone. No two clocks are compared, so no clock that jumps ends a lease or
//! prolongs it. The lease only spares two living servers from fighting; what keeps a stale one from writing is the
//! epoch, which every transaction of an owner looks at and every row is selected by.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{Transaction, params};
use selfsame_domain::payment::Slot;

use crate::error::{Result, StoreError};
use crate::{Store, row};

/// Number of the only slot of an embedded database.
pub(crate) const SLOT: u32 = 0;

/// How long an owner may be silent before another server may take over. Longer than the two seconds in which tills
/// get their answer, so that storage which merely stalls does not change owners; short, because a server that comes
/// back after a crash waits for it.
pub const LEASE: Duration = Duration::from_secs(3);

/// What a newcomer sees of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    epoch: u64,
    sequence: u64,
    beat: u64,
    held: bool,
}

pub(crate) fn load_slot(tx: &Transaction<'_>) -> Result<Slot> {
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

/// The epoch of whoever owns the slot now.
pub(crate) fn load_epoch(tx: &Transaction<'_>) -> Result<u64> {
    tx.prepare_cached("select epoch from slots where slot = ?1")?
        .query_row(params![SLOT], |found| row::integer(found, 0))
}

impl Store {
    async fn sight(&self) -> std::result::Result<Sight, StoreError> {
        self.readers
            .read("slot_read", |tx| {
                tx.query_row(
                    "select epoch, sequence, beat, held from slots where slot = ?1",
                    params![SLOT],
                    |found| {
                        Ok(Sight {
                            epoch: row::integer(found, 0)?,
                            sequence: row::integer(found, 1)?,
                            beat: row::integer(found, 2)?,
                            held: found.get(3)?,
                        })
                    },
                )
            })
            .await
    }

    /// Takes over the slot: raises its epoch, so that an earlier writer that is still around writes nothing more. A
    /// slot that was not released is watched for `lease` first. Answers the new epoch, or `None` if its owner is
    /// alive; nothing was changed then, and whoever can wait asks again.
    pub async fn take_over_slot(&self, lease: Duration) -> std::result::Result<Option<u64>, StoreError> {
        // Whatever we owned before, from here on we do not.
        self.epoch.store(0, Ordering::SeqCst);
        let seen = self.sight().await?;
        if seen.held {
            tokio::time::sleep(lease).await;
        }
        let taken = self
            .writer
            .write("slot_take_over", move |tx| {
                let taken = tx.execute(
                    "update slots
                     set epoch = epoch + 1, held = 1
                     where slot = ?1 and epoch = ?2 and sequence = ?3 and beat = ?4",
                    params![
                        SLOT,
                        row::stored(seen.epoch),
                        row::stored(seen.sequence),
                        row::stored(seen.beat)
                    ],
                )?;
                Ok(taken == 1)
            })
            .await;
        let taken = match taken {
            // Whoever is in the middle of a write is not gone, even if it hangs there: it would go on with that write.
            Err(error) if error.is_locked() => false,
            taken => taken?,
        };
        let epoch = taken.then_some(seen.epoch + 1);
        self.epoch.store(epoch.unwrap_or(0), Ordering::SeqCst);
        Ok(epoch)
    }

    /// Shows that the owner is alive; to be called a few times a lease. [`StoreError::TakenOver`] if it no longer is
    /// the owner.
    pub async fn renew_slot(&self) -> std::result::Result<(), StoreError> {
        let epoch = self.epoch();
        let renewed = self
            .writer
            .write("slot_renew", move |tx| {
                tx.execute(
                    "update slots
                     set beat = beat + 1
                     where slot = ?1 and epoch = ?2",
                    params![SLOT, row::stored(epoch)],
                )
            })
            .await?;
        if renewed == 1 { Ok(()) } else { Err(StoreError::TakenOver) }
    }

    /// Lets the next owner in without waiting, if the slot is still ours.
    pub async fn release_slot(&self) -> std::result::Result<(), StoreError> {
        let epoch = self.epoch();
        self.writer
            .write("slot_release", move |tx| {
                tx.execute(
                    "update slots
                     set held = 0
                     where slot = ?1 and epoch = ?2",
                    params![SLOT, row::stored(epoch)],
                )
            })
            .await?;
        Ok(())
    }

    /// Whether this process is the owner still.
    pub async fn owns_slot(&self) -> std::result::Result<bool, StoreError> {
        Ok(self.sight().await?.epoch == self.epoch())
    }

    /// The epoch under which this process writes the ledger; 0 before it took the slot over.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }
}
