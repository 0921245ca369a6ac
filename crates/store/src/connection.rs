//! Connections: threads that own a writing connection each, a few reading connections beside them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::TransactionBehavior;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::database::postgres::{self, Purpose};
use crate::database::{DatabaseError, Result, Transaction, sqlite};
use crate::error::StoreError;
use crate::fault::{Fault, Faults};
use crate::patience::wait_patiently;
use crate::slot::{self, Holding};

/// Transactions that may wait for the writer. Payments wait in the server's queue, in batches, so this is reached
/// only when the disk stands still.
const WRITER_QUEUE: usize = 1024;

/// Connections that only read: more would not help on the small machines that sites run on.
const READERS: usize = 4;

/// A connection to either engine.
pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<postgres::Connection>),
}

/// When a commit has to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Before it is answered.
    Synced,
    /// Before any commit behind it is, or within a second, when the slot's owner shows that it is alive. The loss of the
    /// machine may undo it together with everything behind it, never alone; the death of the process undoes nothing
    /// (ADR 0036).
    InOrder,
}

impl Connection {
    fn begin_to_write(&mut self, commit: Commit) -> Result<Transaction<'_>> {
        Ok(match self {
            Connection::Sqlite(connection) => {
                sqlite::set_commit(connection, commit)?;
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?.into()
            }
            Connection::Postgres(connection) => connection.transaction_to_write(commit).into(),
        })
    }

    fn begin_to_read(&mut self) -> Result<Transaction<'_>> {
        Ok(match self {
            Connection::Sqlite(connection) => connection.transaction()?.into(),
            Connection::Postgres(connection) => connection.transaction().into(),
        })
    }

    /// Whether nothing can come of it any more.
    fn is_lost(&self) -> bool {
        matches!(self, Connection::Postgres(connection) if connection.is_closed())
    }
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

/// A thread that owns a writing connection.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    halted: Arc<AtomicBool>,
    faults: Arc<Faults>,
    /// The slot that every transaction of this writer must still own, where there is one writer for everything.
    holding: Option<Arc<Holding>>,
}

impl Writer {
    /// `open` has succeeded once and made `connection`.
    pub(crate) fn start(
        name: &str,
        mut connection: Connection,
        open: Open,
        holding: Option<Arc<Holding>>,
        faults: Arc<Faults>,
    ) -> Self {
        let (jobs, mut waiting) = mpsc::channel::<Job>(WRITER_QUEUE);
        let work = move || {
            while let Some(job) = waiting.blocking_recv() {
                if connection.is_lost()
                    && let Ok(fresh) = open()
                {
                    connection = fresh;
                }
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
        Self { jobs, halted: Arc::default(), faults, holding }
    }

    /// Whether a failed sync has ended all writing until the next start.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::SeqCst)
    }

    /// The failures that are ordered.
    pub(crate) fn faults(&self) -> Arc<Faults> {
        self.faults.clone()
    }

    /// Puts everything into SQLite's one file, so that the file alone is the database. Nobody may read it meanwhile.
    pub(crate) async fn seal(&self) -> std::result::Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let sealed = match connection {
                Connection::Sqlite(connection) => sqlite::seal(connection),
                Connection::Postgres(_) => Ok(()),
            };
            let _ = reply.send(sealed);
            After::Good
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        let sealed = answer.await.map_err(|_| StoreError::Closed)?;
        sealed.map_err(|source| StoreError::RolledBack { transaction: "file_seal", source })
    }

    /// Runs a named transaction; it is committed when `work` succeeds, and on disk before the answer, and rolled back
    /// otherwise. A caller that runs out of patience is told whether it had begun; if not, it never will.
    pub(crate) async fn write<T, F>(
        &self,
        transaction: &'static str,
        work: F,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.write_as(Commit::Synced, transaction, work).await
    }

    /// The same without waiting for the disk: see [`Commit::InOrder`]. For what is of no use without a later commit that
    /// is synced, and does no harm if it is lost with everything behind it.
    pub(crate) async fn write_in_order<T, F>(
        &self,
        transaction: &'static str,
        work: F,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.write_as(Commit::InOrder, transaction, work).await
    }

    /// Runs a named transaction that is committed as `commit` says.
    pub(crate) async fn write_as<T, F>(
        &self,
        commit: Commit,
        transaction: &'static str,
        work: F,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (halted, faults, holding) = (self.halted.clone(), self.faults.clone(), self.holding.clone());
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
            let done = run(connection, commit, transaction, holding.as_deref(), &faults, work);
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
    commit: Commit,
    transaction: &'static str,
    holding: Option<&Holding>,
    faults: &Faults,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> std::result::Result<T, StoreError> {
    let rolled_back = |source| StoreError::RolledBack { transaction, source };
    let begun = connection.begin_to_write(commit).map_err(rolled_back)?;
    faults.pass(transaction, "before anything is read");
    // Inside the transaction, so that nobody takes over between the look and the commit.
    if let Some(held) = holding.and_then(Holding::held)
        && slot::load_epoch(&begun, held.slot).map_err(rolled_back)? != held.epoch
    {
        return Err(StoreError::TakenOver);
    }
    // Dropping an unfinished transaction rolls it back. One that has tried to commit by itself does not know.
    let value = work(&begun).map_err(|source| match begun.has_ended() {
        true => commit_error(transaction, source),
        false => rolled_back(source),
    })?;
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

fn commit_error(transaction: &'static str, source: DatabaseError) -> StoreError {
    if source.leaves_commit_open() {
        StoreError::OutcomeUnknown { transaction, source }
    } else {
        StoreError::RolledBack { transaction, source }
    }
}

/// Where the readers read.
#[derive(Clone)]
pub(crate) enum ReadFrom {
    File(PathBuf),
    Postgres(Arc<str>),
}

impl ReadFrom {
    fn open(&self) -> std::result::Result<Connection, StoreError> {
        match self {
            ReadFrom::File(path) => sqlite::open_to_read(path).map(Connection::Sqlite),
            ReadFrom::Postgres(url) => open_postgres(url, Purpose::Reads, postgres::SITE_SCHEMA),
        }
    }
}

/// A connection to PostgreSQL.
pub(crate) fn open_postgres(
    url: &str,
    purpose: Purpose,
    schema: &str,
) -> std::result::Result<Connection, StoreError> {
    let connection = postgres::Connection::open(url, purpose, schema);
    connection.map(Box::new).map(Connection::Postgres).map_err(|source| StoreError::Connect { source })
}

/// Connections that only read.
pub(crate) struct Readers {
    from: ReadFrom,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    pub(crate) faults: Arc<Faults>,
}

impl Readers {
    pub(crate) fn open(from: ReadFrom, faults: Arc<Faults>) -> std::result::Result<Self, StoreError> {
        // One connection now, so that a database that cannot be read is found at start.
        let first = from.open()?;
        Ok(Self {
            from,
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
        let (idle, from, faults) = (self.idle.clone(), self.from.clone(), self.faults.clone());
        let task = move || {
            let kept = || idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
            let mut connection = match std::iter::from_fn(kept).find(|kept| !kept.is_lost()) {
                Some(connection) => connection,
                None => from.open()?,
            };
            let failed = |source| StoreError::RolledBack { transaction, source };
            if let Some(source) = faults.take(transaction).as_ref().and_then(Fault::before_commit) {
                return Err(failed(source));
            }
            let value = {
                let snapshot = connection.begin_to_read().map_err(failed)?;
                work(&snapshot).map_err(failed)?
            };
            idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(connection);
            drop(permit);
            Ok(value)
        };
        tokio::task::spawn_blocking(task).await.map_err(|_| StoreError::Closed)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::params;

    #[tokio::test]
    async fn each_commit_says_for_itself_whether_it_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.db");
        let open = move || sqlite::open_site(&path).map(Connection::Sqlite);
        let connection = open().unwrap();
        let writer = Writer::start("test", connection, Box::new(open), None, Arc::default());
        let mode =
            |tx: &Transaction<'_>| tx.query_row("pragma synchronous", params![], |found| found.get::<i64>(0));
        // As SQLite numbers them: 1 is normal, without a sync at the commit, and 2 is full.
        for (commit, expected) in
            [(Commit::InOrder, 1), (Commit::Synced, 2), (Commit::InOrder, 1), (Commit::Synced, 2)]
        {
            assert_eq!(writer.write_as(commit, "mode_read", mode).await.unwrap(), expected, "{commit:?}");
        }
    }
}
