//! Slots: which process writes which stream of the ledger, and how another one takes over.
//!
//! An embedded database has one slot and one writer. On PostgreSQL every server leases slots of its own, one for each
//! of its writers; a server that starts takes those that nobody holds, and else makes new ones, so that it waits for no
//! one (ADR 0037). Those of an owner that is gone are freed by whoever lives.
//!
//! The lease is measured by whoever waits for it: an owner that has not moved the slot's row for a whole [`LEASE`] of
//! the other's own waiting is taken for gone. No two clocks are compared, so no clock that jumps ends a lease or
//! prolongs it. The lease only spares two living servers from fighting; what keeps a stale one from writing is the
//! epoch, which every transaction of an owner looks at and every row is selected by.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfsame_domain::ledger::CHAIN_START;
use selfsame_domain::payment::Slot;

use crate::connection::Writer;
use crate::database::{Optional, Result, Row, Transaction, params};
use crate::error::StoreError;
use crate::{Store, row};

/// Number of the first slot, and of the only one of an embedded database.
pub(crate) const SLOT: u32 = 0;

/// Slots of a site. Each costs readers of the stream a cursor; eight servers with two writers each are far beyond what
/// one PostgreSQL commits. A server that dies again and again within one lease uses some up until they are freed.
const SLOTS_MAX: u32 = 16;

/// How long an owner may be silent before another server may take over. Longer than the two seconds in which tills
/// get their answer, so that storage which merely stalls does not change owners; short, because a server that comes
/// back after a crash waits for it.
pub const LEASE: Duration = Duration::from_secs(3);

/// A slot that this process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) slot: u32,
    pub(crate) epoch: u64,
}

/// What a writer owns, if anything.
#[derive(Debug, Default)]
pub(crate) struct Holding(Mutex<Option<Held>>);

impl Holding {
    pub(crate) fn held(&self) -> Option<Held> {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn set(&self, held: Option<Held>) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = held;
    }
}

/// A writer of payments with the slot that it owns.
pub(crate) struct Ledger {
    pub(crate) writer: Writer,
    pub(crate) holding: Arc<Holding>,
}

/// What a newcomer sees of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    slot: u32,
    epoch: u64,
    sequence: u64,
    beat: u64,
    held: bool,
}

impl Sight {
    /// Whether this is what we hold.
    fn is(&self, held: Held) -> bool {
        (self.slot, self.epoch) == (held.slot, held.epoch)
    }
}

pub(crate) fn read_slot(found: &Row<'_>) -> Result<Slot> {
    Ok(Slot {
        slot: row::integer(found, 0)?,
        epoch: row::integer(found, 1)?,
        sequence: row::integer(found, 2)?,
        hash: row::array(found, 3)?,
    })
}

/// A slot as it stands.
pub(crate) fn load_slot(tx: &Transaction<'_>, slot: u32) -> Result<Slot> {
    tx.prepare_cached("select slot, epoch, sequence, hash from slots where slot = ?1")?
        .query_row(params![slot], read_slot)
}

/// All slots, in order.
pub(crate) fn load_slots(tx: &Transaction<'_>) -> Result<Vec<Slot>> {
    tx.prepare_cached("select slot, epoch, sequence, hash from slots order by slot")?
        .query_map(params![], read_slot)?
        .collect()
}

/// The epoch of whoever owns the slot now.
pub(crate) fn load_epoch(tx: &Transaction<'_>, slot: u32) -> Result<u64> {
    tx.prepare_cached("select epoch from slots where slot = ?1")?
        .query_row(params![slot], |found| row::integer(found, 0))
}

/// Makes a slot unless it is there.
pub(crate) fn insert_slot(tx: &Transaction<'_>, slot: u32) -> Result<usize> {
    tx.execute(
        "insert into slots (slot, epoch, sequence, hash)
         values (?1, 0, 0, ?2)
         on conflict (slot) do nothing",
        params![slot, CHAIN_START],
    )
}

impl Store {
    async fn sights(&self) -> std::result::Result<Vec<Sight>, StoreError> {
        self.readers
            .read("slots_read", |tx| {
                tx.prepare_cached("select slot, epoch, sequence, beat, held from slots order by slot")?
                    .query_map(params![], |found| {
                        Ok(Sight {
                            slot: row::integer(found, 0)?,
                            epoch: row::integer(found, 1)?,
                            sequence: row::integer(found, 2)?,
                            beat: row::integer(found, 3)?,
                            held: found.get(4)?,
                        })
                    })?
                    .collect()
            })
            .await
    }

    /// Whether somebody else writes: an owner of a slot that has shown that it is alive within `lease`, which this waits.
    pub async fn is_in_use(&self, lease: Duration) -> std::result::Result<bool, StoreError> {
        let before = self.sights().await?;
        if before.iter().all(|sight| !sight.held) {
            return Ok(false);
        }
        tokio::time::sleep(lease).await;
        Ok(self.sights().await?.iter().any(|sight| sight.held && !before.contains(sight)))
    }

    /// How many writers of payments there are, each with its slot.
    pub fn writers(&self) -> usize {
        self.ledgers.len()
    }

    /// Takes a slot for every writer that owns none: raises its epoch, so that an earlier owner that is still around
    /// writes nothing more. Slots that nobody holds come first, then new ones. Where there is no room for those, as on an
    /// embedded database, slots that were not released are watched for `lease`, and taken if they stood still. Answers
    /// the epoch of the first one, or `None` if every owner is alive; nothing was changed then, and whoever can wait asks
    /// again.
    pub async fn take_over_slot(&self, lease: Duration) -> std::result::Result<Option<u64>, StoreError> {
        let mut seen = self.sights().await?;
        let is_ours = |ledger: &&Ledger| {
            let held = ledger.holding.held();
            held.is_some_and(|held| seen.iter().any(|sight| sight.is(held)))
        };
        let without: Vec<&Ledger> = self.ledgers.iter().filter(|ledger| !is_ours(ledger)).collect();
        without.iter().for_each(|ledger| ledger.holding.set(None));
        let numbers: HashSet<u32> = seen.iter().map(|sight| sight.slot).collect();
        let free = seen.iter().filter(|sight| !sight.held).count();
        let room = if self.is_shared { (SLOTS_MAX as usize).saturating_sub(seen.len()) } else { 0 };
        if free + room >= without.len() {
            seen.retain(|sight| !sight.held);
        } else {
            seen.retain(|sight| !self.holds(sight));
            seen.sort_by_key(|sight| (sight.held, sight.slot));
            tokio::time::sleep(lease).await;
        }
        let mut candidates = seen.into_iter();
        // Not those that were there: a look whether one still is would wait for whoever is in the middle of a write to it.
        let mut fresh = (0..SLOTS_MAX).filter(|slot| !numbers.contains(slot));
        for ledger in without {
            let held = loop {
                match candidates.next() {
                    Some(sight) => {
                        if let Some(held) = take(&ledger.writer, sight).await? {
                            break Some(held);
                        }
                    }
                    None => match fresh.next() {
                        Some(slot) if self.is_shared => {
                            if let Some(held) = make(&ledger.writer, slot).await? {
                                break Some(held);
                            }
                        }
                        _ => break None,
                    },
                }
            };
            ledger.holding.set(held);
        }
        Ok(self.ledgers.iter().find_map(|ledger| ledger.holding.held()).map(|held| held.epoch))
    }

    fn holds(&self, sight: &Sight) -> bool {
        self.ledgers.iter().filter_map(|ledger| ledger.holding.held()).any(|held| sight.is(held))
    }

    /// Frees the slots of owners that do not show themselves for `lease`, which this waits, so that whoever starts next
    /// finds them free. Answers how many. Only where several servers write.
    pub async fn free_silent_slots(&self, lease: Duration) -> std::result::Result<usize, StoreError> {
        let before = self.sights().await?;
        tokio::time::sleep(lease).await;
        let mut freed = 0;
        for sight in self.sights().await? {
            if sight.held && before.contains(&sight) && !self.holds(&sight) {
                freed += free(&self.writer, sight).await?;
            }
        }
        Ok(freed)
    }

    /// Makes what is read from here on the last word on what writer number `writer` has tried to commit. With a lost
    /// connection the commit may still be under way: on its way through the network, or waiting for the standby, and seen
    /// by nobody; or the wait was ended, and it is seen without being on the standby. Raising the epoch waits for whoever
    /// has written the slot's row, keeps out whoever comes later, and reaches the standby behind what was there before.
    pub async fn fence(&self, writer: usize) -> std::result::Result<(), StoreError> {
        if !self.is_shared {
            return Ok(());
        }
        let Ledger { writer, holding } = &self.ledgers[writer];
        let holding = holding.clone();
        let fence = move |tx: &Transaction<'_>| {
            let Some(held) = holding.held() else { return Ok(0) };
            let raised = tx.execute(
                "update slots
                 set epoch = epoch + 1
                 where slot = ?1 and epoch = ?2",
                params![held.slot, row::stored(held.epoch)],
            )?;
            if raised == 1 {
                // Should the commit fail after all, the next batch finds the slot taken over, and takes one anew.
                holding.set(Some(Held { epoch: held.epoch + 1, ..held }));
            }
            Ok(raised)
        };
        match writer.write("slot_fence", fence).await? {
            1 => Ok(()),
            _ => Err(StoreError::TakenOver),
        }
    }

    /// Shows that the owner is alive; to be called a few times a lease. [`StoreError::TakenOver`] if it no longer is
    /// the owner of one of its slots.
    pub async fn renew_slot(&self) -> std::result::Result<(), StoreError> {
        for ledger in &self.ledgers {
            let holding = ledger.holding.clone();
            let renewed = ledger
                .writer
                .write("slot_renew", move |tx| {
                    // Looked at in the writer's turn: a fence may have raised the epoch just before.
                    let Some(held) = holding.held() else { return Ok(0) };
                    tx.execute(
                        "update slots
                         set beat = beat + 1
                         where slot = ?1 and epoch = ?2",
                        params![held.slot, row::stored(held.epoch)],
                    )
                })
                .await?;
            if renewed != 1 {
                return Err(StoreError::TakenOver);
            }
        }
        Ok(())
    }

    /// Lets the next owner in without waiting, where the slots are still ours.
    pub async fn release_slot(&self) -> std::result::Result<(), StoreError> {
        for ledger in &self.ledgers {
            let Some(held) = ledger.holding.held() else { continue };
            ledger
                .writer
                .write("slot_release", move |tx| {
                    tx.execute(
                        "update slots
                         set held = 0
                         where slot = ?1 and epoch = ?2",
                        params![held.slot, row::stored(held.epoch)],
                    )
                })
                .await?;
        }
        Ok(())
    }

    /// Whether this process still owns a slot for every writer that has had one.
    pub async fn owns_slot(&self) -> std::result::Result<bool, StoreError> {
        let seen = self.sights().await?;
        let owned = |held: Held| seen.iter().any(|sight| sight.is(held));
        let mut held = self.ledgers.iter().filter_map(|ledger| ledger.holding.held()).peekable();
        Ok(held.peek().is_some() && held.all(owned))
    }
}

/// Makes a slot and takes it, unless somebody was faster.
async fn make(writer: &Writer, slot: u32) -> std::result::Result<Option<Held>, StoreError> {
    match writer.write("slot_make", move |tx| insert_slot(tx, slot)).await? {
        0 => Ok(None),
        _ => take(writer, Sight { slot, epoch: 0, sequence: 0, beat: 0, held: false }).await,
    }
}

/// Takes a slot, if it is as it was seen.
async fn take(writer: &Writer, seen: Sight) -> std::result::Result<Option<Held>, StoreError> {
    let taken = writer
        .write("slot_take_over", move |tx| {
            let taken = tx.execute(
                "update slots
                 set epoch = epoch + 1, held = 1
                 where slot = ?1 and epoch = ?2 and sequence = ?3 and beat = ?4",
                params![
                    seen.slot,
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
    Ok(taken.then_some(Held { slot: seen.slot, epoch: seen.epoch + 1 }))
}

/// Frees a slot, if it is as it was seen and nobody is in the middle of writing to it. Answers how many were freed.
async fn free(writer: &Writer, seen: Sight) -> std::result::Result<usize, StoreError> {
    let freed = writer
        .write("slot_free", move |tx| {
            // Without waiting: whoever holds the row may be frozen, and other work stands behind this.
            let is_still = tx
                .prepare_cached(
                    "select slot
                     from slots
                     where slot = ?1 and epoch = ?2 and sequence = ?3 and beat = ?4
                     for update nowait",
                )?
                .query_row(
                    params![
                        seen.slot,
                        row::stored(seen.epoch),
                        row::stored(seen.sequence),
                        row::stored(seen.beat)
                    ],
                    |found| found.get::<i64>(0),
                )
                .optional()?;
            if is_still.is_none() {
                return Ok(0);
            }
            tx.execute(
                "update slots
                 set epoch = epoch + 1, held = 0
                 where slot = ?1",
                params![seen.slot],
            )
        })
        .await;
    match freed {
        Err(error) if error.is_locked() => Ok(0),
        freed => freed,
    }
}
