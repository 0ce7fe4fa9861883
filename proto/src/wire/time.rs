//! Moments and lengths of time.

use std::time::Duration;

use jiff::Timestamp;

use super::Error;
use super::read::required;

/// A moment for the wire.
pub fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    // jiff counts the part before 1970 in negative nanoseconds, the wire in positive ones.
    let nanos = moment.subsec_nanosecond();
    let borrow = i64::from(nanos < 0);
    prost_types::Timestamp {
        seconds: moment.as_second() - borrow,
        nanos: if nanos < 0 { nanos + 1_000_000_000 } else { nanos },
    }
}

/// A length of time for the wire; what the wire can not express becomes the longest that it can.
pub fn duration(length: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(length.subsec_nanos()).unwrap_or(999_999_999),
    }
}

/// A moment from the wire that must be there.
pub(crate) fn moment(field: &str, value: Option<prost_types::Timestamp>) -> Result<Timestamp, Error> {
    at(field, &required(field, value)?)
}

/// A moment from the wire, if it is there.
pub(crate) fn maybe_moment(
    field: &str,
    value: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    value.map(|value| at(field, &value)).transpose()
}

fn at(field: &str, value: &prost_types::Timestamp) -> Result<Timestamp, Error> {
    let shown = || format!("{}.{:09}", value.seconds, value.nanos);
    if !(0..1_000_000_000).contains(&value.nanos) {
        return Err(Error::invalid(field, shown(), "nanoseconds are 0 to 999,999,999"));
    }
    Timestamp::new(value.seconds, value.nanos)
        .map_err(|_| Error::invalid(field, shown(), "the moment is outside of the calendar"))
}

/// A length of time from the wire that must be there and cannot be negative.
pub(crate) fn length(field: &str, value: Option<prost_types::Duration>) -> Result<Duration, Error> {
    span(field, &required(field, value)?)
}

/// A length of time from the wire, if it is there.
pub(crate) fn maybe_length(
    field: &str,
    value: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    value.map(|value| span(field, &value)).transpose()
}

fn span(field: &str, value: &prost_types::Duration) -> Result<Duration, Error> {
    let refuse = |reason: &str| {
        let shown = format!("{}.{:09}s", value.seconds, value.nanos);
        Error::invalid(field, shown, reason)
    };
    let seconds = u64::try_from(value.seconds).map_err(|_| refuse("it is negative"))?;
    let nanos = u32::try_from(value.nanos).map_err(|_| refuse("it is negative"))?;
    if nanos >= 1_000_000_000 {
        return Err(refuse("nanoseconds are 0 to 999,999,999"));
    }
    Ok(Duration::new(seconds, nanos))
}
