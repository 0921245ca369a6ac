//! Why the store did not do what was asked.

use std::path::PathBuf;

/// A failed store operation. Refusals that callers expect are values of the operations, not errors.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A database file could not be opened.
    #[error("failed to open the database `{path}`")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a newer version.
    #[error("the database has schema {found}, this program knows up to {known}: use the newer program")]
    SchemaTooNew {
        /// Version in the file.
        found: i64,
        /// Latest version known.
        known: i64,
    },
    /// The writer's queue is full: nothing was done, try again.
    #[error("the store is overloaded")]
    Overloaded,
    /// Nothing was written; trying again may help (disk full, locked, gone).
    #[error("the transaction `{transaction}` was rolled back")]
    RolledBack {
        /// Name of the transaction.
        transaction: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// The commit failed in a way that leaves open whether it is on disk: look it up by its reference.
    #[error("it is not known whether the transaction `{transaction}` was committed")]
    OutcomeUnknown {
        /// Name of the transaction.
        transaction: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// The storage did not answer in the time that the request had, before anything was done; nothing will be.
    #[error("the storage did not answer in time for the transaction `{transaction}`")]
    TooSlow {
        /// Name of the transaction.
        transaction: &'static str,
    },
    /// The same, but the transaction had begun and may still be committed.
    #[error("the transaction `{transaction}` has begun and was not finished in time")]
    StillRunning {
        /// Name of the transaction.
        transaction: &'static str,
    },
    /// A sync failed: nothing is written any more until the process has started anew.
    #[error("a disk sync failed: the process must be restarted before it writes again")]
    Halted,
    /// Another writer has taken the ledger's slot over: nothing was done, ask that one.
    #[error("another server has taken over the ledger")]
    TakenOver,
    /// The writer thread is gone: the process is shutting down or has failed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same request may succeed later without anybody changing the program: the disk is full, the file is
    /// locked or gone, the queue is full.
    pub fn is_temporary(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly, SystemIoFailure,
        };
        match self {
            StoreError::Overloaded
            | StoreError::TooSlow { .. }
            | StoreError::TakenOver
            | StoreError::Closed
            | StoreError::Halted => true,
            StoreError::RolledBack { source, .. } | StoreError::Open { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | ReadOnly | SystemIoFailure)
            ),
            StoreError::SchemaTooNew { .. }
            | StoreError::OutcomeUnknown { .. }
            | StoreError::StillRunning { .. } => false,
        }
    }

    /// Somebody else holds the file's lock: nothing was done.
    pub(crate) fn is_locked(&self) -> bool {
        let code = self.source_error().and_then(rusqlite::Error::sqlite_error_code);
        matches!(code, Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked))
    }

    fn source_error(&self) -> Option<&rusqlite::Error> {
        match self {
            StoreError::RolledBack { source, .. } | StoreError::OutcomeUnknown { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The disk failed while reading or writing.
    pub(crate) fn is_disk_failure(&self) -> bool {
        let code = self.source_error().and_then(rusqlite::Error::sqlite_error_code);
        matches!(code, Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::CannotOpen))
    }

    /// A sync of a file or folder failed (`SQLITE_IOERR_FSYNC`, `SQLITE_IOERR_DIR_FSYNC`).
    pub(crate) fn is_failed_sync(&self) -> bool {
        match self.source_error() {
            Some(rusqlite::Error::SqliteFailure(failure, _)) => {
                [IOERR_FSYNC, IOERR_DIR_FSYNC].contains(&failure.extended_code)
            }
            _ => false,
        }
    }
}

/// Extended result codes of SQLite. Source: sqlite.org/rescode.html.
pub(crate) const IOERR_FSYNC: i32 = 10 | (4 << 8);
const IOERR_DIR_FSYNC: i32 = 10 | (5 << 8);

/// Inside transactions everything is an SQLite error; they are named when they leave.
pub(crate) type Result<T> = std::result::Result<T, rusqlite::Error>;
