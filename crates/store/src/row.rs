//! Reading domain values out of columns. A value that does not parse means a corrupt database and is an error.

use std::str::FromStr;

use selfsame_domain::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::{DatabaseError, Result, Row, Value};

fn unreadable(column: usize, error: impl std::error::Error) -> DatabaseError {
    DatabaseError::Unreadable { column, reason: error.to_string() }
}

fn present<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>> {
    match row.value(column)? {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        _ => Err(DatabaseError::Unreadable { column, reason: "not text".to_owned() }),
    }
}

/// A value that is kept as text.
pub(crate) fn text<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: FromStr,
    T::Err: std::error::Error,
{
    let absent = || DatabaseError::Unreadable { column, reason: "absent".to_owned() };
    optional_text(row, column)?.ok_or_else(absent)
}

/// A value that is kept as text or absent.
pub(crate) fn optional_text<T>(row: &Row<'_>, column: usize) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error,
{
    present(row, column)?.map(str::parse).transpose().map_err(|error| unreadable(column, error))
}

/// A point in time.
pub(crate) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// A point in time or none.
pub(crate) fn optional_timestamp(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// An integer of a narrower type.
pub(crate) fn integer<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: TryFrom<i64>,
    T::Error: std::error::Error,
{
    let value: i64 = row.get(column)?;
    value.try_into().map_err(|error| unreadable(column, error))
}

/// Bytes of a known length.
pub(crate) fn array<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N]> {
    row.get(column)
}

/// An unsigned counter as SQLite keeps it. Counters of ours stay far below 2^63.
pub(crate) fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A value that is kept as JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("values that are stored as JSON always serialize")
}

/// A value that is kept as JSON or absent.
pub(crate) fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    present(row, column)?.map(serde_json::from_str).transpose().map_err(|error| unreadable(column, error))
}
