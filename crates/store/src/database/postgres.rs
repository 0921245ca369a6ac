//! PostgreSQL's side: a connection that blocks the thread it is used on, transactions that begin with their first
//! statement, and several statements in one round trip.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, NoTls, Row, Statement};

use super::{Bind, DatabaseError, Result, Value, tls};
use crate::connection::Commit;
use crate::error::StoreError;
use crate::migration;

/// How long a connection may take to come about, unless the address says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long what was sent may stay unacknowledged by the other machine before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Payments: short statements whose plans must not change with what the tables' statistics say.
    Payments,
    /// Everything else that writes.
    Writes,
    /// Lists, audits and exports; these may take long.
    Reads,
}

impl Purpose {
    fn settings(self) -> &'static str {
        match self {
            // A statement that was prepared on empty tables keeps reading whole tables until somebody analyzes them
            // (measured: 4.5 times slower), so that way is closed. A lock is held by another batch for some
            // milliseconds; nobody at a till waits for longer than two seconds, and a server that is frozen with locks is
            // undone after as long. No `statement_timeout`: it would also end a commit's wait for the standby, which then
            // counts as done.
            Purpose::Payments => {
                "set lock_timeout = '1s'; set idle_in_transaction_session_timeout = '2s'; \
                 set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; \
                 set enable_bitmapscan = off; set jit = off; set plan_cache_mode = force_generic_plan"
            }
            Purpose::Writes => {
                "set lock_timeout = '2s'; set idle_in_transaction_session_timeout = '10s'; \
                 set jit = off"
            }
            Purpose::Reads => "set jit = off; set idle_in_transaction_session_timeout = '10min'",
        }
    }

    fn begin(self) -> &'static str {
        match self {
            Purpose::Payments => "begin",
            // One at a time over all servers of the site, as on SQLite: these read before they write, and none of them
            // is frequent. Payments do not wait for it.
            Purpose::Writes => "begin; select id from site where id = 1 for update",
            Purpose::Reads => "begin isolation level repeatable read read only",
        }
    }
}

/// A connection.
pub(crate) struct Connection {
    /// Drives the connection, on whatever thread uses it. Absent only while this is dropped.
    runtime: Option<Runtime>,
    client: Client,
    prepared: RefCell<HashMap<String, Statement>>,
    begin: &'static str,
    /// The same for commits that only keep their order.
    begin_in_order: String,
    /// Set when a commit is on this server's disk but somebody ended its wait for the standby.
    unreplicated: Arc<AtomicBool>,
}

/// Lets a connection work until it ends; every later call on its client says why it did.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, unreplicated: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message {
            tracing::debug!(code = notice.code().code(), "PostgreSQL: {}", notice.message());
            // The server calls such a commit done (ledger of PostgreSQL, `SyncRepWaitForLSN`); after a failover it
            // would be gone. The text is looked at, because the code is that of any warning.
            if notice.code() == &SqlState::WARNING && notice.message().contains("synchronous replication") {
                unreplicated.store(true, Ordering::SeqCst);
            }
        }
    }
}

impl Connection {
    /// Connects. `schema` is where unqualified names are looked up.
    pub(crate) fn open(url: &str, purpose: Purpose, schema: &str) -> Result<Self> {
        let (mut config, tls) = tls::parse(url)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if config.get_application_name().is_none() {
            config.application_name("selfsame");
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the operating system gives a few file handles");
        let unreplicated = Arc::<AtomicBool>::default();
        let client = runtime.block_on(async {
            let client = match tls {
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    tokio::spawn(drive(connection, unreplicated.clone()));
                    client
                }
                Some(tls) => {
                    let (client, connection) = config.connect(tls).await?;
                    tokio::spawn(drive(connection, unreplicated.clone()));
                    client
                }
            };
            let settings = format!("{}; set search_path = {schema}", purpose.settings());
            client.batch_execute(&settings).await?;
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        let begin =
            if schema == KEYS_SCHEMA && purpose == Purpose::Writes { "begin" } else { purpose.begin() };
        // All servers of a cluster write one log: whoever commits behind this and waits has waited for it as well.
        let begin_in_order = format!("{begin}; set local synchronous_commit = off");
        let (runtime, prepared) = (Some(runtime), RefCell::default());
        Ok(Self { runtime, client, prepared, begin, begin_in_order, unreplicated })
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is there until the connection is dropped").block_on(work)
    }

    /// Whether the other side has gone. While nobody used it, nobody has looked.
    pub(crate) fn is_closed(&self) -> bool {
        self.block_on(async {
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
        });
        self.client.is_closed()
    }

    /// Begins with the first statement.
    pub(crate) fn transaction(&self) -> Transaction<'_> {
        self.transaction_to_write(Commit::Synced)
    }

    /// The same, committed as `commit` says.
    pub(crate) fn transaction_to_write(&self, commit: Commit) -> Transaction<'_> {
        let begin = match commit {
            Commit::Synced => self.begin,
            Commit::InOrder => &self.begin_in_order,
        };
        Transaction { connection: self, begin, stage: Cell::new(Stage::Waiting) }
    }

    /// Statements of ours without parameters, outside of a transaction.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.block_on(self.client.batch_execute(sql))?)
    }

    /// Rows of a statement without parameters, as text.
    pub(crate) fn texts(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let rows = self.block_on(self.client.query(sql, &[]))?;
        let texts = |row: &Row| {
            (0..row.len())
                .map(|column| row.try_get::<_, Option<String>>(column).map(Option::unwrap_or_default))
                .collect()
        };
        Ok(rows.iter().map(texts).collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Not in its own way: that waits, and waiting is forbidden where stores are dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Works at the server of an address. On a thread of its own: connections block, which is forbidden where async code
/// runs.
fn administer<T: Send>(
    url: &str,
    transaction: &'static str,
    work: impl FnOnce(&Connection) -> Result<T> + Send,
) -> std::result::Result<T, StoreError> {
    let administer = || {
        let connection = Connection::open(url, Purpose::Reads, "public")
            .map_err(|source| StoreError::Connect { source })?;
        work(&connection).map_err(|source| StoreError::RolledBack { transaction, source })
    };
    let done = std::thread::scope(|scope| scope.spawn(administer).join());
    done.unwrap_or(Err(StoreError::Closed))
}

/// Makes a database at the server of an address, ordered by bytes, and answers its address. For tests and benchmarks.
pub fn create_database(url: &str, name: &str) -> std::result::Result<String, StoreError> {
    let sql = format!("create database {name} template template0 lc_collate 'C' lc_ctype 'C'");
    administer(url, "database_create", |connection| connection.batch(&sql))?;
    let (address, options) = url
        .split_once('?')
        .map_or((url, String::new()), |(address, options)| (address, format!("?{options}")));
    let authority = address.find("://").map_or(0, |place| place + 3);
    let end = address[authority..].find('/').map_or(address.len(), |place| authority + place);
    Ok(format!("{}/{name}{options}", &address[..end]))
}

/// Ends our connections to a database, drops it, and answers how many deadlocks it has seen. For benchmarks.
pub fn drop_database(url: &str, name: &str) -> std::result::Result<u64, StoreError> {
    administer(url, "database_drop", |connection| {
        // What was interrupted may still be connecting again.
        connection.batch(&format!("alter database {name} allow_connections false"))?;
        // Ends and waits for it, 5 s at most for each: what a connection counted is told by its end at the latest. Those
        // of this user only, because PostgreSQL's own workers may not be ended by everybody, and leave by themselves.
        connection.texts(&format!(
            "select cast(pg_terminate_backend(pid, 5000) as text)
             from pg_stat_activity
             where datname = '{name}' and usename = current_user"
        ))?;
        let deadlocks = connection.texts(&format!(
            "select cast(deadlocks as text)
             from pg_stat_database
             where datname = '{name}'"
        ))?;
        connection.batch(&format!("drop database if exists {name}"))?;
        deadlocks.concat().concat().parse().map_err(|_| DatabaseError::NoRow)
    })
}

/// Settings without which an acknowledged payment could be gone after a crash.
const DURABLE: [(&str, &str); 3] =
    [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];

/// Refuses a server that may forget what it has acknowledged, and brings both schemas up to date.
pub(crate) fn prepare(url: &str) -> std::result::Result<(), StoreError> {
    let failed = |source| StoreError::Connect { source };
    let site = Connection::open(url, Purpose::Reads, SITE_SCHEMA).map_err(failed)?;
    for (setting, needed) in DURABLE {
        let found =
            site.texts(&format!("select current_setting('{setting}')")).map_err(failed)?.concat().concat();
        // These wait for a standby as well.
        let stricter =
            setting == "synchronous_commit" && ["remote_write", "remote_apply"].contains(&found.as_str());
        if found != needed && !stricter {
            return Err(StoreError::Unsafe { setting: setting.to_owned(), found, needed });
        }
    }
    migration::migrate_schema(&site, SITE_SCHEMA, migration::SITE)?;
    let keys = Connection::open(url, Purpose::Reads, KEYS_SCHEMA).map_err(failed)?;
    migration::migrate_schema(&keys, KEYS_SCHEMA, migration::KEYS)
}

/// Where the subject keys are: apart from everything else, so that they can be left out of the site's backups.
pub(crate) const KEYS_SCHEMA: &str = "selfsame_keys";

/// Where everything else is.
pub(crate) const SITE_SCHEMA: &str = "selfsame";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Begun,
    Ended,
}

/// A transaction. It is rolled back unless it is committed.
pub(crate) struct Transaction<'c> {
    connection: &'c Connection,
    begin: &'c str,
    stage: Cell<Stage>,
}

/// A statement with its parameters.
pub(crate) type Step<'s> = (&'s str, Vec<Value<'s>>);

fn references<'a>(values: &'a [Value<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn values<'a>(parameters: &'a [&dyn Bind]) -> Vec<Value<'a>> {
    parameters.iter().map(|parameter| parameter.value()).collect()
}

impl Transaction<'_> {
    fn client(&self) -> &Client {
        &self.connection.client
    }

    /// Runs `work`; in the same round trip before it, the transaction is begun if it was not.
    fn run<T>(&self, work: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
        if self.stage.replace(Stage::Begun) == Stage::Begun {
            return Ok(self.connection.block_on(work)?);
        }
        self.connection.block_on(async {
            // Both are sent before either is waited for, in this order.
            let (begun, done) = tokio::join!(self.client().batch_execute(self.begin), work);
            begun?;
            Ok(done?)
        })
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<Statement> {
        if let Some(prepared) = self.connection.prepared.borrow().get(sql) {
            return Ok(prepared.clone());
        }
        let text = dialect(sql);
        let prepared = self.connection.block_on(self.client().prepare(&text))?;
        self.connection.prepared.borrow_mut().insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    pub(super) fn execute(&self, statement: &Statement, parameters: &[&dyn Bind]) -> Result<usize> {
        let values = values(parameters);
        let changed = self.run(self.client().execute(statement, &references(&values)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, statement: &Statement, parameters: &[&dyn Bind]) -> Result<Vec<Row>> {
        let values = values(parameters);
        self.run(self.client().query(statement, &references(&values)))
    }

    pub(super) fn stream(
        &self,
        statement: &Statement,
        parameters: &[&dyn Bind],
        mut read: impl FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let values = values(parameters);
        let rows = self.run(self.client().query_raw(statement, references(&values)))?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = self.connection.block_on(rows.try_next())? {
            read(&row)?;
        }
        Ok(())
    }

    /// Several statements in one round trip; answers the rows of each. They run in this order, each on the newest
    /// state; the first that fails ends the transaction.
    pub(crate) fn pipeline<const N: usize>(&self, steps: [Step<'_>; N]) -> Result<[Vec<Row>; N]> {
        let (statements, parameters) = self.prepare_all(&steps)?;
        let queries = statements
            .iter()
            .zip(&parameters)
            .map(|(statement, parameters)| self.client().query(statement, parameters));
        let answers = self.run(async { Ok(join_all(queries).await) })?;
        let answers = answers.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(answers.try_into().expect("one answer for each statement"))
    }

    /// The same, and the commit along with it. Every guard must be inside its statement: one that does not hold fails
    /// it, and a commit after a failed statement is a rollback.
    pub(crate) fn pipeline_and_commit(&self, steps: &[Step<'_>]) -> Result<()> {
        let (statements, parameters) = self.prepare_all(steps)?;
        let queries = statements
            .iter()
            .zip(&parameters)
            .map(|(statement, parameters)| self.client().execute(statement, parameters));
        let (answers, committed) =
            self.run(async { Ok(tokio::join!(join_all(queries), self.client().batch_execute("commit"))) })?;
        self.stage.set(Stage::Ended);
        answers.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        committed?;
        self.check_replicated()
    }

    fn check_replicated(&self) -> Result<()> {
        if self.connection.unreplicated.swap(false, Ordering::SeqCst) {
            return Err(DatabaseError::Unreplicated);
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "two lists that belong together for the length of one call")]
    fn prepare_all<'s>(
        &self,
        steps: &'s [Step<'s>],
    ) -> Result<(Vec<Statement>, Vec<Vec<&'s (dyn ToSql + Sync)>>)> {
        let statements = steps.iter().map(|(sql, _)| self.prepare(sql)).collect::<Result<_>>()?;
        Ok((statements, steps.iter().map(|(_, values)| references(values)).collect()))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage.get() == Stage::Ended
    }

    pub(super) fn commit(&self) -> Result<()> {
        match self.stage.replace(Stage::Ended) {
            Stage::Begun => {
                self.connection.batch("commit")?;
                self.check_replicated()
            }
            Stage::Waiting | Stage::Ended => Ok(()),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.stage.get() == Stage::Begun {
            // If it cannot be said, the connection is lost, and the transaction with it.
            let _ = self.connection.batch("rollback");
        }
    }
}

/// Whether an error says for certain that nothing was committed: the server answered, and its answer was no.
pub(crate) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        // The server is going down, or cannot tell; class 08 is about connections.
        ![SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::TRANSACTION_RESOLUTION_UNKNOWN]
            .contains(code)
            && !code.code().starts_with("08")
    })
}

/// Whether somebody else was quicker: the same again may succeed at once.
pub(crate) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let conflicts = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // Two servers, one reference or code: the second finds the first one's row when it looks again.
        SqlState::UNIQUE_VIOLATION,
        // A guard inside a statement: a slot or wallet that is not as it was.
        SqlState::NOT_NULL_VIOLATION,
        // Whoever holds the lock for so long is behind, and this one has waited for nothing.
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    error.code().is_some_and(|code| conflicts.contains(code))
}

/// Whether the same request may succeed later without anybody changing the program.
pub(crate) fn is_temporary(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    // Connections, conflicts, resources, operator's intervention; locks; a standby that was asked to write.
    ["08", "40", "53", "57"].contains(&&code.code()[..2])
        || [SqlState::LOCK_NOT_AVAILABLE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code)
        || is_conflict(error)
}

/// Our SQL in PostgreSQL's words: its bind marks, and its names of the types in casts.
pub(crate) fn dialect(sql: &str) -> String {
    sql.replace('?', "$").replace(" as integer)", " as bigint)").replace(" as blob)", " as bytea)")
}

/// The same for a migration: 64-bit integers, bytes, and text that is ordered by its bytes as in SQLite.
pub(crate) fn schema_dialect(migration: &str) -> String {
    let mut sql = String::with_capacity(migration.len() * 2);
    for line in migration.lines() {
        let line = line.split("--").next().unwrap_or_default();
        let mut word = String::new();
        for character in line.chars().chain(['\n']) {
            if character.is_alphanumeric() || character == '_' || character == '\'' {
                word.push(character);
                continue;
            }
            let translated = match word.as_str() {
                "integer" => "bigint",
                "blob" => "bytea",
                "text" => "text collate \"C\"",
                "strict" => "",
                other => other,
            };
            let _ = write!(sql, "{translated}{character}");
            word.clear();
        }
    }
    sql
}
