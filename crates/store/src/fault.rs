//! Failures that tests order in advance for named transactions, mostly the commits of payments, and points at which they
//! let the process die. Without the feature `faults` nothing can be ordered, and what is left is a look at an empty list.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use rusqlite::ffi;

use crate::database::DatabaseError;
use crate::error::IOERR_FSYNC;
use crate::payment::PAYMENTS;

/// `SQLITE_FULL` and `SQLITE_IOERR_WRITE`. Source: sqlite.org/rescode.html.
const FULL: i32 = 13;
const IOERR_WRITE: i32 = 10 | (3 << 8);

/// How a transaction fails.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "ordered by tests only"))]
pub enum Fault {
    /// It does not happen: the disk is full.
    DiskFull,
    /// It does not happen, but the error leaves that open.
    LostBefore,
    /// It happens, and an error says that this is not known.
    LostAfter,
    /// The sync fails.
    FailedSync,
    /// It waits until the gate opens, as if the storage were gone for that time.
    Stall(Gate),
}

impl Fault {
    fn failure(extended_code: i32) -> Option<DatabaseError> {
        let reason = Some("ordered by a test".to_owned());
        Some(rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), reason).into())
    }

    pub(crate) fn before_commit(&self) -> Option<DatabaseError> {
        match self {
            Fault::DiskFull => Self::failure(FULL),
            Fault::LostBefore => Self::failure(IOERR_WRITE),
            Fault::FailedSync => Self::failure(IOERR_FSYNC),
            Fault::LostAfter => None,
            Fault::Stall(gate) => {
                gate.wait();
                None
            }
        }
    }

    pub(crate) fn after_commit(&self) -> Option<DatabaseError> {
        matches!(self, Fault::LostAfter).then(|| Self::failure(IOERR_WRITE)).flatten()
    }
}

/// Something to wait behind.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Gate {
    /// Lets everybody through, from now on.
    #[cfg(feature = "faults")]
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let open = lock(&self.0.0);
        drop(self.0.1.wait_while(open, |open| !*open));
    }
}

/// The list of what will fail, first come first, and the point at which the process dies.
#[derive(Debug, Default)]
pub struct Faults {
    ordered: Mutex<VecDeque<(&'static str, Fault)>>,
    #[cfg(feature = "faults")]
    points: Mutex<Points>,
}

/// Points on the way of a payment.
#[cfg(feature = "faults")]
#[derive(Debug, Default)]
struct Points {
    passed: u64,
    crash_at: Option<u64>,
}

impl Faults {
    /// Lets the next commit of payments that is free fail in this way.
    #[cfg(feature = "faults")]
    pub fn order(&self, fault: Fault) {
        self.order_for(PAYMENTS, fault);
    }

    /// The same for the next transaction of this name. Reads fail before they read.
    #[cfg(feature = "faults")]
    pub fn order_for(&self, transaction: &'static str, fault: Fault) {
        lock(&self.ordered).push_back((transaction, fault));
    }

    /// Counts the points that payments pass from 0 on again, and lets the process die at the one of this number, as
    /// kill -9 would let it.
    #[cfg(feature = "faults")]
    pub fn crash_at(&self, number: u64) {
        *lock(&self.points) = Points { passed: 0, crash_at: Some(number) };
    }

    /// Points that payments have passed.
    #[cfg(feature = "faults")]
    pub fn points_passed(&self) -> u64 {
        lock(&self.points).passed
    }

    /// A point on the way of a payment; its name is told when the process dies there.
    #[cfg(feature = "faults")]
    pub(crate) fn pass(&self, transaction: &'static str, point: &'static str) {
        if transaction != PAYMENTS {
            return;
        }
        let mut points = lock(&self.points);
        if points.crash_at == Some(points.passed) {
            eprintln!("crash {point}");
            std::process::abort();
        }
        points.passed += 1;
    }

    #[cfg(not(feature = "faults"))]
    pub(crate) fn pass(&self, _transaction: &'static str, _point: &'static str) {}

    pub(crate) fn take(&self, transaction: &'static str) -> Option<Fault> {
        let mut ordered = lock(&self.ordered);
        let place = ordered.iter().position(|(name, _)| *name == transaction)?;
        ordered.remove(place).map(|(_, fault)| fault)
    }
}

impl crate::Store {
    /// A point on the way of a payment outside the store, at which tests let the process die.
    #[doc(hidden)]
    pub fn pass(&self, point: &'static str) {
        self.writer.faults().pass(PAYMENTS, point);
    }
}
