//! Reading domain values out of columns. A value that does not parse means a corrupt database and is an error.

use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;
use selfsame_domain::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

fn unreadable(
    index: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(error))
}

/// A value that is kept as text.
pub(crate) fn text<T>(row: &Row<'_>, index: usize) -> Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(index)?.as_str()?;
    text.parse().map_err(|error| unreadable(index, Type::Text, error))
}

/// A value that is kept as text or absent.
pub(crate) fn optional_text<T>(row: &Row<'_>, index: usize) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let present = row.get_ref(index)?.as_str_or_null()?;
    present.map(str::parse).transpose().map_err(|error| unreadable(index, Type::Text, error))
}

/// A point in time.
pub(crate) fn timestamp(row: &Row<'_>, index: usize) -> Result<Timestamp> {
    row.get(index).map(Timestamp::from_millis)
}

/// A point in time or none.
pub(crate) fn optional_timestamp(row: &Row<'_>, index: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(Timestamp::from_millis))
}

/// An integer of a narrower type.
pub(crate) fn integer<T>(row: &Row<'_>, index: usize) -> Result<T>
where
    T: TryFrom<i64>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let value: i64 = row.get(index)?;
    value.try_into().map_err(|error| unreadable(index, Type::Integer, error))
}

/// Bytes of a known length.
pub(crate) fn array<const N: usize>(row: &Row<'_>, index: usize) -> Result<[u8; N]> {
    row.get(index)
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
pub(crate) fn optional_json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> Result<Option<T>> {
    let present = row.get_ref(index)?.as_str_or_null()?;
    present.map(serde_json::from_str).transpose().map_err(|error| unreadable(index, Type::Text, error))
}
