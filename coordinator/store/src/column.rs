//! Reads and writes of single columns: what a row holds, as domain types.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use crate::error::{Error, Result};

/// The longest part of a bad value that an error repeats.
const SHOWN: usize = 120;

/// A column as SQLite holds it.
pub(crate) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(column).map_err(|source| Error::Query {
        what: "read a column",
        source,
    })
}

/// Text that parses as `T`.
pub(crate) fn parsed<T>(row: &SqliteRow, column: &'static str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    parse(get::<&str>(row, column)?, column)
}

/// Text that parses as `T`, or NULL.
pub(crate) fn maybe_parsed<T>(row: &SqliteRow, column: &'static str) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    get::<Option<&str>>(row, column)?
        .map(|text| parse(text, column))
        .transpose()
}

fn parse<T>(text: &str, column: &'static str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| bad(column, text, &error))
}

/// JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|error| bad(column, text, &error))
}

/// JSON, or NULL.
pub(crate) fn maybe_json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<Option<T>> {
    get::<Option<&str>>(row, column)?
        .map(|text| serde_json::from_str(text).map_err(|error| bad(column, text, &error)))
        .transpose()
}

/// A name that serde knows as a plain string (`"restored"`), or NULL.
pub(crate) fn maybe_word<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<Option<T>> {
    get::<Option<&str>>(row, column)?
        .map(|text| read_word(text, column))
        .transpose()
}

/// A name that serde knows as a plain string.
pub(crate) fn word<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T> {
    read_word(get::<&str>(row, column)?, column)
}

fn read_word<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|error| bad(column, text, &error))
}

/// A moment.
pub(crate) fn time(row: &SqliteRow, column: &'static str) -> Result<Timestamp> {
    moment(get(row, column)?, column)
}

/// A moment, or NULL.
pub(crate) fn maybe_time(row: &SqliteRow, column: &'static str) -> Result<Option<Timestamp>> {
    get::<Option<i64>>(row, column)?
        .map(|micros| moment(micros, column))
        .transpose()
}

fn moment(micros: i64, column: &'static str) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| bad(column, &micros.to_string(), &error))
}

/// A length of time.
pub(crate) fn span(row: &SqliteRow, column: &'static str) -> Result<Duration> {
    length(get(row, column)?, column)
}

/// A length of time, or NULL.
pub(crate) fn maybe_span(row: &SqliteRow, column: &'static str) -> Result<Option<Duration>> {
    get::<Option<i64>>(row, column)?
        .map(|micros| length(micros, column))
        .transpose()
}

fn length(micros: i64, column: &'static str) -> Result<Duration> {
    u64::try_from(micros)
        .map(Duration::from_micros)
        .map_err(|error| bad(column, &micros.to_string(), &error))
}

/// A count that is never negative.
pub(crate) fn count(row: &SqliteRow, column: &'static str) -> Result<u64> {
    let number: i64 = get(row, column)?;
    u64::try_from(number).map_err(|error| bad(column, &number.to_string(), &error))
}

/// A count that is never negative, or NULL.
pub(crate) fn maybe_count(row: &SqliteRow, column: &'static str) -> Result<Option<u64>> {
    let number: Option<i64> = get(row, column)?;
    number
        .map(|number| u64::try_from(number).map_err(|error| bad(column, &number.to_string(), &error)))
        .transpose()
}

/// A small count that is never negative.
pub(crate) fn small(row: &SqliteRow, column: &'static str) -> Result<u32> {
    let number: i64 = get(row, column)?;
    u32::try_from(number).map_err(|error| bad(column, &number.to_string(), &error))
}

/// A moment as a column holds it.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A length of time as a column holds it; what is longer than 292,000 years is cut there.
pub(crate) fn span_micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// A count as a column holds it; SQLite's integers end at 2^63 - 1.
pub(crate) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A value as JSON text.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T, what: &'static str) -> Result<String> {
    serde_json::to_string(value).map_err(|source| Error::Encode { what, source })
}

fn bad(column: &'static str, value: &str, reason: &dyn Display) -> Error {
    Error::Value {
        column,
        value: value.chars().take(SHOWN).collect(),
        reason: reason.to_string(),
    }
}
