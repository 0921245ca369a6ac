//! Connections: one writer thread per file, a few read-only connections beside it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::error::{Result, StoreError};
use crate::fault::{Fault, Faults};
use crate::patience::wait_patiently;
use crate::slot;

/// Transactions that may wait for the writer. Payments wait in the server's queue, in batches, so this is reached
/// only when the disk stands still.
const WRITER_QUEUE: usize = 1024;

/// Read-only connections: more would not help on the small machines that sites run on.
const READERS: usize = 4;

/// How long a connection waits for a lock. Only a backup program can hold one against us.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;

fn open(path: &Path, flags: OpenFlags) -> std::result::Result<Connection, StoreError> {
    let error = |source| StoreError::Open { path: path.to_owned(), source };
    let connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn with_pragmas(path: &Path, pragmas: &str) -> std::result::Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let error = |source| StoreError::Open { path: path.to_owned(), source };
    connection.execute_batch(pragmas).map_err(error)?;
    Ok(connection)
}

/// The site's database: write-ahead log for readers beside the writer, synced at every commit.
pub(crate) fn open_site(path: &Path) -> std::result::Result<Connection, StoreError> {
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
pub(crate) fn open_keys(path: &Path) -> std::result::Result<Connection, StoreError> {
    with_pragmas(
        path,
        "pragma journal_mode = truncate; pragma synchronous = full; pragma secure_delete = on;",
    )
}

/// What a job leaves behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The connection is as good as before.
    Good,
    /// The disk failed under it: what it has in memory may not be what is there.
    Reopen,
}

type Job = Box<dyn FnOnce(&mut Connection) -> After + Send>;
type Open = Box<dyn Fn() -> std::result::Result<Connection, StoreError> + Send>;

/// A thread that owns the writing connection of one file.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    halted: Arc<AtomicBool>,
    faults: Arc<Faults>,
    epoch: Option<Arc<AtomicU64>>,
}

impl Writer {
    /// `epoch` is the one under which this process owns the file's slot, 0 while it does not; a file without slots
    /// has none.
    pub(crate) fn start(
        name: &str,
        mut connection: Connection,
        open: Open,
        epoch: Option<Arc<AtomicU64>>,
    ) -> Self {
        let (jobs, mut waiting) = mpsc::channel::<Job>(WRITER_QUEUE);
        let work = move || {
            while let Some(job) = waiting.blocking_recv() {
                if job(&mut connection) == After::Reopen {
                    // The old one stays if the disk is still away; its next job fails and tries again.
                    if let Ok(fresh) = open() {
                        connection = fresh;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("store-{name}"));
        thread.spawn(work).expect("the operating system starts a thread at process start");
        Self { jobs, halted: Arc::default(), faults: Arc::default(), epoch }
    }

    /// Whether a failed sync has ended all writing until the next start.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::SeqCst)
    }

    /// The failures that are ordered for this file.
    pub(crate) fn faults(&self) -> Arc<Faults> {
        self.faults.clone()
    }

    /// Runs a named transaction; it is committed when `work` succeeds and rolled back otherwise. A caller that runs out
    /// of patience is told whether it had begun; if not, it never will.
    pub(crate) async fn write<T, F>(
        &self,
        transaction: &'static str,
        work: F,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (halted, faults, epoch) = (self.halted.clone(), self.faults.clone(), self.epoch.clone());
        // Set by whoever comes first: the writer that begins it, or the caller that gives up.
        let taken = Arc::new(AtomicBool::new(false));
        let begun = taken.clone();
        let job: Job = Box::new(move |connection| {
            if begun.swap(true, Ordering::SeqCst) {
                return After::Good;
            }
            if halted.load(Ordering::SeqCst) {
                let _ = reply.send(Err(StoreError::Halted));
                return After::Good;
            }
            let epoch = epoch.map_or(0, |epoch| epoch.load(Ordering::SeqCst));
            let done = run(connection, transaction, epoch, &faults, work);
            let after = match &done {
                Err(error) if error.is_failed_sync() => {
                    // Whether the pages are on disk cannot be told any more, and a second sync that succeeds proves
                    // nothing. Only a new start, which reads what is really there, helps.
                    halted.store(true, Ordering::SeqCst);
                    After::Good
                }
                Err(error) if error.is_disk_failure() => After::Reopen,
                _ => After::Good,
            };
            faults.pass(transaction, "before the store answers");
            // A caller that went away does not stop the transaction: it was asked for.
            let _ = reply.send(done);
            faults.pass(transaction, "after the store has answered");
            after
        });
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        match wait_patiently(answer).await {
            Some(done) => done.map_err(|_| StoreError::Closed)?,
            None if taken.swap(true, Ordering::SeqCst) => Err(StoreError::StillRunning { transaction }),
            None => Err(StoreError::TooSlow { transaction }),
        }
    }
}

fn run<T>(
    connection: &mut Connection,
    transaction: &'static str,
    epoch: u64,
    faults: &Faults,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> std::result::Result<T, StoreError> {
    let rolled_back = |source| StoreError::RolledBack { transaction, source };
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(rolled_back)?;
    faults.pass(transaction, "before anything is read");
    // Inside the transaction, so that nobody takes over between the look and the commit.
    if epoch != 0 && slot::load_epoch(&begun).map_err(rolled_back)? != epoch {
        return Err(StoreError::TakenOver);
    }
    // Dropping an unfinished transaction rolls it back.
    let value = work(&begun).map_err(rolled_back)?;
    let fault = faults.take(transaction);
    if let Some(source) = fault.as_ref().and_then(Fault::before_commit) {
        return Err(commit_error(transaction, source));
    }
    faults.pass(transaction, "before the commit");
    begun.commit().map_err(|source| commit_error(transaction, source))?;
    faults.pass(transaction, "after the commit");
    match fault.as_ref().and_then(Fault::after_commit) {
        Some(source) => Err(commit_error(transaction, source)),
        None => Ok(value),
    }
}

/// A full disk or a lock fails a commit before anything counts; an input or output error may come after.
fn commit_error(transaction: &'static str, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt) | None => {
            StoreError::OutcomeUnknown { transaction, source }
        }
        Some(_) => StoreError::RolledBack { transaction, source },
    }
}

/// Read-only connections.
pub(crate) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    pub(crate) faults: Arc<Faults>,
}

impl Readers {
    pub(crate) fn open(path: &Path, faults: Arc<Faults>) -> std::result::Result<Self, StoreError> {
        // One connection now, so that a database that cannot be read is found at start.
        let first = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self {
            path: path.to_owned(),
            idle: Arc::new(Mutex::new(vec![first])),
            permits: Arc::new(Semaphore::new(READERS)),
            faults,
        })
    }

    /// Runs reads on one snapshot of the database. A caller that runs out of patience leaves a read that hangs to its
    /// thread, which keeps its place among the few readers until it ends.
    pub(crate) async fn read<T, F>(
        &self,
        transaction: &'static str,
        work: F,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let reading = self.read_in_turn(transaction, work);
        wait_patiently(reading).await.unwrap_or(Err(StoreError::TooSlow { transaction }))
    }

    async fn read_in_turn<T, F>(
        &self,
        transaction: &'static str,
        work: F,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (idle, path, faults) = (self.idle.clone(), self.path.clone(), self.faults.clone());
        let task = move || {
            let kept = idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            };
            let failed = |source| StoreError::RolledBack { transaction, source };
            if let Some(source) = faults.take(transaction).as_ref().and_then(Fault::before_commit) {
                return Err(failed(source));
            }
            let value = {
                let snapshot = connection.transaction().map_err(failed)?;
                work(&snapshot).map_err(failed)?
            };
            idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(connection);
            drop(permit);
            Ok(value)
        };
        tokio::task::spawn_blocking(task).await.map_err(|_| StoreError::Closed)?
    }
}
