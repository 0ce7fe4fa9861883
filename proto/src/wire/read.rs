//! From what the wire may leave out to what the model holds: one function for each way to read a field.

use std::str::FromStr;

use super::Error;
use super::error::Within;
use super::limits;

/// The message in a field that must be there.
pub(crate) fn required<T>(field: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::Missing(field.to_owned()))
}

/// The message in a field that must be there, converted.
pub(crate) fn inner<W, T: TryFrom<W, Error = Error>>(field: &str, value: Option<W>) -> Result<T, Error> {
    T::try_from(required(field, value)?).within(field)
}

/// A text within bounds; it may be empty.
pub(crate) fn text(field: &str, value: String) -> Result<String, Error> {
    bounded(field, value, limits::TEXT)
}

/// A text within bounds that says something.
pub(crate) fn given(field: &str, value: String) -> Result<String, Error> {
    if value.is_empty() {
        Err(Error::Missing(field.to_owned()))
    } else {
        text(field, value)
    }
}

/// `None` for the empty text that stands for it on the wire.
pub(crate) fn optional(field: &str, value: String) -> Result<Option<String>, Error> {
    text(field, value).map(|value| (!value.is_empty()).then_some(value))
}

/// A text of at most `most` bytes.
pub(crate) fn bounded(field: &str, value: String, most: usize) -> Result<String, Error> {
    if value.len() > most {
        let reason = format!("it has {} bytes, and {most} are the most", value.len());
        return Err(Error::invalid(field, value, reason));
    }
    Ok(value)
}

/// A text that stands for something.
pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(field: &str, value: &str) -> Result<T, Error> {
    if value.is_empty() {
        return Err(Error::Missing(field.to_owned()));
    }
    value
        .parse()
        .map_err(|error: T::Err| Error::invalid(field, value, error.to_string()))
}

/// A text that stands for something, or the empty one that stands for nothing.
pub(crate) fn maybe_parsed<T: FromStr<Err: std::fmt::Display>>(
    field: &str,
    value: &str,
) -> Result<Option<T>, Error> {
    (!value.is_empty()).then(|| parsed(field, value)).transpose()
}

/// A list of at most `most` messages; an error says which is wrong.
pub(crate) fn list<W, T: TryFrom<W, Error = Error>>(
    field: &str,
    values: Vec<W>,
    most: usize,
) -> Result<Vec<T>, Error> {
    counted(field, values.len(), most)?;
    let convert = |(index, value)| T::try_from(value).within(&format!("{field}[{index}]"));
    values.into_iter().enumerate().map(convert).collect()
}

/// A list of at most `most` texts.
pub(crate) fn texts(field: &str, values: Vec<String>, most: usize) -> Result<Vec<String>, Error> {
    counted(field, values.len(), most)?;
    let convert = |(index, value)| given(&format!("{field}[{index}]"), value);
    values.into_iter().enumerate().map(convert).collect()
}

/// Refuses a list that is longer than `most`.
pub(crate) fn counted(field: &str, count: usize, most: usize) -> Result<(), Error> {
    if count > most {
        let reason = format!("{most} are the most");
        return Err(Error::invalid(field, format!("{count} entries"), reason));
    }
    Ok(())
}

/// The empty text for `None`.
pub(crate) fn or_empty(value: Option<String>) -> String {
    value.unwrap_or_default()
}
