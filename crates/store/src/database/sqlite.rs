//! SQLite's side: how its files are opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::connection::Commit;
use crate::database::DatabaseError;
use crate::error::StoreError;

/// How long a connection waits for a lock. Only a backup program can hold one against us.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let error = |source: rusqlite::Error| StoreError::Open { path: path.to_owned(), source: source.into() };
    let connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn with_pragmas(path: &Path, pragmas: &str) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let error = |source: rusqlite::Error| StoreError::Open { path: path.to_owned(), source: source.into() };
    connection.execute_batch(pragmas).map_err(error)?;
    Ok(connection)
}

/// The site's database: write-ahead log for readers beside the writer, synced at every commit.
pub(crate) fn open_site(path: &Path) -> Result<Connection, StoreError> {
    // Cache in KiB: what a busy hour touches. Checkpoint in pages of 4 KiB: a page that many payments change is then
    // written back once, not each time; the log stays below 32 MiB or so.
    with_pragmas(
        path,
        "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma cache_size = -32768;
         pragma wal_autocheckpoint = 8192;",
    )
}

/// The subject keys: no write-ahead log and deleted content overwritten, so that a destroyed key is gone from the
/// file as soon as the transaction is.
pub(crate) fn open_keys(path: &Path) -> Result<Connection, StoreError> {
    with_pragmas(
        path,
        "pragma journal_mode = truncate; pragma synchronous = full; pragma secure_delete = on;",
    )
}

/// Says of the next transaction whether its commit syncs the log. One that does syncs what others have left in it before:
/// the log is one file, and read after a crash up to its first gap.
pub(crate) fn set_commit(connection: &Connection, commit: Commit) -> Result<(), rusqlite::Error> {
    // Not kept as prepared statements: SQLite obeys this one while it prepares it.
    connection.execute_batch(match commit {
        Commit::Synced => "pragma synchronous = full",
        Commit::InOrder => "pragma synchronous = normal",
    })
}

/// Writes the log beside the file into it and goes on without one. A process that ends is not enough for that: it may stop
/// in the middle of it, and then the log is needed to read the file.
pub(crate) fn seal(connection: &Connection) -> Result<(), DatabaseError> {
    let mode: String = connection.query_row("pragma journal_mode = delete", [], |row| row.get(0))?;
    // Where somebody else has the file open, SQLite leaves the mode as it is and says so.
    if mode == "delete" {
        Ok(())
    } else {
        Err(DatabaseError::Sink(std::io::Error::other("the file is in use")))
    }
}

/// For reading only.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}
