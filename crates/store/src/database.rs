//! One surface over both engines: statements with bind marks `?1`, `?2` ..., values of three types, rows read by column.
//!
//! What a transaction does is written once against this and runs on SQLite and on PostgreSQL. Calls block: each
//! connection belongs to one thread at a time. SQL is in the subset that both understand (ADR 0005); the few words that
//! differ are replaced by [`postgres::dialect`].

pub(crate) mod postgres;
pub(crate) mod sqlite;
mod tls;
mod value;

use std::fmt;

use rusqlite::CachedStatement;

pub(crate) use self::value::{Bind, FromValue, Value};

/// Parameters of a statement, in order of their marks.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::database::Bind),*] as &[&dyn $crate::database::Bind]
    };
}
pub(crate) use params;

/// Why a statement failed.
#[derive(Debug)]
pub enum DatabaseError {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// PostgreSQL, or the way to it, said so.
    Postgres(tokio_postgres::Error),
    /// The address of a PostgreSQL asks for what cannot be.
    Address(String),
    /// A guarded write changed another number of rows than one: somebody else wrote in between.
    Guard(usize),
    /// A row that must be there is not.
    NoRow,
    /// A column holds what nothing of ours wrote.
    Unreadable {
        /// Which column, from 0.
        column: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A commit is on the primary's disk, but its wait for the standby was ended.
    Unreplicated,
    /// What was read could not be passed on.
    Sink(std::io::Error),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::Sqlite(error) => error.fmt(f),
            // The crate's own text leaves out what the server said.
            DatabaseError::Postgres(error) => match error.as_db_error() {
                Some(said) => write!(f, "{} ({})", said.message(), said.code().code()),
                None => error.fmt(f),
            },
            DatabaseError::Address(reason) => write!(f, "the address of the database: {reason}"),
            DatabaseError::Guard(changed) => write!(f, "a guarded write changed {changed} rows"),
            DatabaseError::NoRow => f.write_str("a row that must be there is not"),
            DatabaseError::Unreplicated => f.write_str("a commit did not wait for the standby"),
            DatabaseError::Unreadable { column, reason } => write!(f, "column {column}: {reason}"),
            DatabaseError::Sink(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatabaseError::Sqlite(error) => std::error::Error::source(error),
            DatabaseError::Postgres(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => DatabaseError::NoRow,
            error => DatabaseError::Sqlite(error),
        }
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        DatabaseError::Postgres(error)
    }
}

/// Inside transactions; errors are named when they leave.
pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// Turns "no row" into `None`.
pub(crate) trait Optional<T> {
    fn optional(self) -> Result<Option<T>>;
}

impl<T> Optional<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(DatabaseError::NoRow) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A row that was found.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// The value of a column, from 0.
    pub(crate) fn value(&self, column: usize) -> Result<Value<'_>> {
        match self {
            Row::Sqlite(row) => Value::from_sqlite(row.get_ref(column)?, column),
            Row::Postgres(row) => row.try_get(column).map_err(DatabaseError::from),
        }
    }

    /// The same as a type of ours.
    pub(crate) fn get<T: FromValue>(&self, column: usize) -> Result<T> {
        T::from_value(self.value(column)?)
            .map_err(|reason| DatabaseError::Unreadable { column, reason: reason.to_owned() })
    }
}

/// A transaction that is rolled back unless it is committed.
pub(crate) struct Transaction<'c>(Engine<'c>);

enum Engine<'c> {
    Sqlite(rusqlite::Transaction<'c>),
    Postgres(postgres::Transaction<'c>),
}

impl<'c> From<rusqlite::Transaction<'c>> for Transaction<'c> {
    fn from(transaction: rusqlite::Transaction<'c>) -> Self {
        Self(Engine::Sqlite(transaction))
    }
}

impl<'c> From<postgres::Transaction<'c>> for Transaction<'c> {
    fn from(transaction: postgres::Transaction<'c>) -> Self {
        Self(Engine::Postgres(transaction))
    }
}

/// A prepared statement.
pub(crate) enum Statement<'t> {
    Sqlite(CachedStatement<'t>),
    Postgres(&'t postgres::Transaction<'t>, tokio_postgres::Statement),
}

impl<'c> Transaction<'c> {
    /// PostgreSQL's own side, for what is done in fewer round trips there.
    pub(crate) fn postgres(&self) -> Option<&postgres::Transaction<'c>> {
        match &self.0 {
            Engine::Sqlite(_) => None,
            Engine::Postgres(transaction) => Some(transaction),
        }
    }

    /// Prepares a statement, or finds it prepared.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        match &self.0 {
            Engine::Sqlite(transaction) => Ok(Statement::Sqlite(transaction.prepare_cached(sql)?)),
            Engine::Postgres(transaction) => {
                let statement = transaction.prepare(sql)?;
                Ok(Statement::Postgres(transaction, statement))
            }
        }
    }

    /// Answers the number of rows that were changed.
    pub(crate) fn execute(&self, sql: &str, parameters: &[&dyn Bind]) -> Result<usize> {
        self.prepare_cached(sql)?.execute(parameters)
    }

    /// The first row.
    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        parameters: &[&dyn Bind],
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(parameters, read)
    }

    /// Whether it was committed, or tried to, by what ran in it.
    pub(crate) fn has_ended(&self) -> bool {
        self.postgres().is_some_and(postgres::Transaction::has_ended)
    }

    pub(crate) fn commit(self) -> Result<()> {
        match self.0 {
            Engine::Sqlite(transaction) => Ok(transaction.commit()?),
            Engine::Postgres(transaction) => transaction.commit(),
        }
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, parameters: &[&dyn Bind]) -> Result<()> {
    for (place, parameter) in parameters.iter().enumerate() {
        statement.raw_bind_parameter(place + 1, parameter.value())?;
    }
    Ok(())
}

impl Statement<'_> {
    /// Answers the number of rows that were changed.
    pub(crate) fn execute(&mut self, parameters: &[&dyn Bind]) -> Result<usize> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, parameters)?;
                Ok(statement.raw_execute()?)
            }
            Statement::Postgres(transaction, statement) => transaction.execute(statement, parameters),
        }
    }

    /// Whether there is a row.
    pub(crate) fn exists(&mut self, parameters: &[&dyn Bind]) -> Result<bool> {
        Ok(self.query_row(parameters, |_| Ok(())).optional()?.is_some())
    }

    /// The first row.
    pub(crate) fn query_row<T>(
        &mut self,
        parameters: &[&dyn Bind],
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, parameters)?;
                let mut rows = statement.raw_query();
                let row = rows.next()?.ok_or(DatabaseError::NoRow)?;
                read(&Row::Sqlite(row))
            }
            Statement::Postgres(transaction, statement) => {
                let rows = transaction.query(statement, parameters)?;
                read(&Row::Postgres(rows.first().ok_or(DatabaseError::NoRow)?))
            }
        }
    }

    /// All rows, read into memory first; for lists that have a limit.
    pub(crate) fn query_map<T>(
        &mut self,
        parameters: &[&dyn Bind],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<std::vec::IntoIter<Result<T>>> {
        let mut found = Vec::new();
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, parameters)?;
                let mut rows = statement.raw_query();
                while let Some(row) = rows.next()? {
                    found.push(read(&Row::Sqlite(row)));
                }
            }
            Statement::Postgres(transaction, statement) => {
                let rows = transaction.query(statement, parameters)?;
                found.extend(rows.iter().map(|row| read(&Row::Postgres(row))));
            }
        }
        Ok(found.into_iter())
    }

    /// Row after row as they come; for the whole ledger. `read` must not use the transaction.
    pub(crate) fn for_each(
        &mut self,
        parameters: &[&dyn Bind],
        mut read: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, parameters)?;
                let mut rows = statement.raw_query();
                while let Some(row) = rows.next()? {
                    read(&Row::Sqlite(row))?;
                }
                Ok(())
            }
            Statement::Postgres(transaction, statement) => {
                transaction.stream(statement, parameters, |row| read(&Row::Postgres(row)))
            }
        }
    }
}
