//! Why the store did not do what was asked.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

use crate::database::{DatabaseError, postgres};

/// A failed store operation. Refusals that callers expect are values of the operations, not errors.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A database file could not be opened.
    #[error("failed to open the database `{path}`")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// PostgreSQL could not be reached, or did not let us in.
    #[error("failed to connect to PostgreSQL")]
    Connect {
        /// Why. The address is not told: it may hold a password.
        source: DatabaseError,
    },
    /// PostgreSQL is set in a way in which payments could be lost.
    #[error(
        "PostgreSQL runs with `{setting} = {found}`, by which acknowledged payments could be lost: set it to `{needed}`"
    )]
    Unsafe {
        /// The setting.
        setting: String,
        /// Its value.
        found: String,
        /// The value that it must have.
        needed: &'static str,
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
        source: DatabaseError,
    },
    /// The commit failed in a way that leaves open whether it is on disk: look it up by its reference.
    #[error("it is not known whether the transaction `{transaction}` was committed")]
    OutcomeUnknown {
        /// Name of the transaction.
        transaction: &'static str,
        /// Why.
        source: DatabaseError,
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
    /// locked or gone, the database cannot be reached, the queue is full.
    pub fn is_temporary(&self) -> bool {
        match self {
            StoreError::Overloaded
            | StoreError::TooSlow { .. }
            | StoreError::TakenOver
            | StoreError::Closed
            | StoreError::Halted
            | StoreError::Connect { .. } => true,
            StoreError::RolledBack { source, .. } | StoreError::Open { source, .. } => source.is_temporary(),
            StoreError::SchemaTooNew { .. }
            | StoreError::Unsafe { .. }
            | StoreError::OutcomeUnknown { .. }
            | StoreError::StillRunning { .. } => false,
        }
    }

    fn source_error(&self) -> Option<&DatabaseError> {
        match self {
            StoreError::RolledBack { source, .. } | StoreError::OutcomeUnknown { source, .. } => Some(source),
            _ => None,
        }
    }

    fn sqlite_code(&self) -> Option<ErrorCode> {
        self.source_error().and_then(DatabaseError::sqlite_code)
    }

    /// Somebody else holds the lock of the file, or of a row: nothing was done.
    pub(crate) fn is_locked(&self) -> bool {
        if let Some(DatabaseError::Postgres(error)) = self.source_error() {
            return error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        }
        matches!(self.sqlite_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// The disk failed while reading or writing.
    pub(crate) fn is_disk_failure(&self) -> bool {
        matches!(self.sqlite_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
    }

    /// A sync of a file or folder failed (`SQLITE_IOERR_FSYNC`, `SQLITE_IOERR_DIR_FSYNC`).
    pub(crate) fn is_failed_sync(&self) -> bool {
        match self.source_error() {
            Some(DatabaseError::Sqlite(rusqlite::Error::SqliteFailure(failure, _))) => {
                [IOERR_FSYNC, IOERR_DIR_FSYNC].contains(&failure.extended_code)
            }
            _ => false,
        }
    }

    /// Nothing was done, because another server was quicker at the same: the same again may succeed at once.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            StoreError::RolledBack { source: DatabaseError::Postgres(error), .. } => {
                postgres::is_conflict(error)
            }
            StoreError::RolledBack { source: DatabaseError::Guard(_), .. } => true,
            _ => false,
        }
    }
}

impl DatabaseError {
    fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            DatabaseError::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    fn is_temporary(&self) -> bool {
        use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly, SystemIoFailure};
        match self {
            DatabaseError::Sqlite(_) => matches!(
                self.sqlite_code(),
                Some(CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | ReadOnly | SystemIoFailure)
            ),
            DatabaseError::Postgres(error) => postgres::is_temporary(error),
            _ => false,
        }
    }

    /// Whether a commit that ended with this may be on disk all the same. A full disk or a lock fails a commit before
    /// anything counts; an input or output error, or a lost connection, may come after.
    pub(crate) fn leaves_commit_open(&self) -> bool {
        match self {
            DatabaseError::Sqlite(_) => {
                matches!(
                    self.sqlite_code(),
                    Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt) | None
                )
            }
            DatabaseError::Postgres(error) => !postgres::is_refusal(error),
            DatabaseError::Unreplicated => true,
            _ => false,
        }
    }
}

/// Extended result codes of SQLite. Source: sqlite.org/rescode.html.
pub(crate) const IOERR_FSYNC: i32 = 10 | (4 << 8);
const IOERR_DIR_FSYNC: i32 = 10 | (5 << 8);

pub(crate) use crate::database::Result;
