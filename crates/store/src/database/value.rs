//! Values as both engines keep them: 64-bit integers, text, bytes. Truth is 0 or 1.

use std::error::Error;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use super::{DatabaseError, Result};

/// A value of a parameter or a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'v> {
    Null,
    Integer(i64),
    Text(&'v str),
    Bytes(&'v [u8]),
    /// Parameters of PostgreSQL's set-based statements only.
    Integers(&'v [Option<i64>]),
    /// The same.
    Texts(&'v [Option<String>]),
    /// The same.
    ByteStrings(&'v [Option<Vec<u8>>]),
}

impl<'v> Value<'v> {
    pub(super) fn from_sqlite(value: ValueRef<'v>, column: usize) -> Result<Self> {
        let unreadable = |reason: &str| DatabaseError::Unreadable { column, reason: reason.to_owned() };
        Ok(match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Text(text) => {
                Value::Text(std::str::from_utf8(text).map_err(|_| unreadable("not UTF-8"))?)
            }
            ValueRef::Blob(bytes) => Value::Bytes(bytes),
            ValueRef::Real(_) => return Err(unreadable("a floating-point number")),
        })
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::Integers(_) | Value::Texts(_) | Value::ByteStrings(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("SQLite has no arrays".into()));
            }
        }))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(value) => match *kind {
                Type::INT8 => value.to_sql(kind, out),
                Type::INT4 => i32::try_from(value)?.to_sql(kind, out),
                Type::BOOL => (value != 0).to_sql(kind, out),
                _ => Err(format!("an integer was given for a parameter of type {kind}").into()),
            },
            Value::Text(text) => text.to_sql(kind, out),
            Value::Bytes(bytes) => bytes.to_sql(kind, out),
            Value::Integers(values) => values.to_sql(kind, out),
            Value::Texts(values) => values.to_sql(kind, out),
            Value::ByteStrings(values) => values.to_sql(kind, out),
        }
    }

    // Which of them fits is known only with the value.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'v> FromSql<'v> for Value<'v> {
    fn from_sql(kind: &Type, raw: &'v [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Value::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Integer(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA => Value::Bytes(<&[u8]>::from_sql(kind, raw)?),
            _ => Value::Text(<&str>::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    accepts!(INT8, INT4, BOOL, BYTEA, TEXT, VARCHAR, NAME, UNKNOWN);
}

/// What can be given as a parameter.
pub(crate) trait Bind {
    fn value(&self) -> Value<'_>;
}

impl Bind for Value<'_> {
    fn value(&self) -> Value<'_> {
        *self
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::value)
    }
}

impl Bind for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Bind for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Bind for Vec<u8> {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<const N: usize> Bind for [u8; N] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl Bind for Vec<Option<i64>> {
    fn value(&self) -> Value<'_> {
        Value::Integers(self)
    }
}

impl Bind for Vec<Option<String>> {
    fn value(&self) -> Value<'_> {
        Value::Texts(self)
    }
}

impl Bind for Vec<Option<Vec<u8>>> {
    fn value(&self) -> Value<'_> {
        Value::ByteStrings(self)
    }
}

macro_rules! bind_integers {
    ($($integer:ty),*) => {
        $(impl Bind for $integer {
            fn value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        })*
    };
}
bind_integers!(i64, i32, u32, u16, u8, bool);

impl Bind for usize {
    fn value(&self) -> Value<'_> {
        // Limits of lists; none comes near.
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

/// What can be read from a column. The error says what is wrong with the value.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            Value::Integer(value) => Ok(value),
            _ => Err("not an integer"),
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {
        $(impl FromValue for $integer {
            fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
                i64::from_value(value)?.try_into().map_err(|_| "an integer out of range")
            }
        })*
    };
}
from_integers!(u8, u16, u32, u64);

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
        i64::from_value(value).map(|value| value != 0)
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            Value::Text(text) => Ok(text.to_owned()),
            _ => Err("not text"),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            Value::Bytes(bytes) => Ok(bytes.to_owned()),
            _ => Err("not bytes"),
        }
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: Value<'_>) -> std::result::Result<Self, &'static str> {
        match value {
            Value::Bytes(bytes) => bytes.try_into().map_err(|_| "bytes of another length"),
            _ => Err("not bytes"),
        }
    }
}
