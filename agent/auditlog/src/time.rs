//! What a record says of its time: a figure, never a verdict, for clocks step.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Fields that hold a record's time in most logs.
pub(crate) const FIELDS: [&str; 8] = [
    "ts",
    "time",
    "timestamp",
    "@timestamp",
    "created_at",
    "datetime",
    "date",
    "at",
];

/// Reads the value of a time field: a string (RFC 3339, or without a zone taken as UTC) or a number since 1970 in
/// seconds, milli-, micro- or nanoseconds, told apart by magnitude.
pub(crate) fn parse(value: &[u8]) -> Option<Timestamp> {
    match value {
        [b'"', text @ .., b'"'] => parse_text(std::str::from_utf8(text).ok()?),
        _ => parse_number(std::str::from_utf8(value).ok()?),
    }
}

fn parse_text(text: &str) -> Option<Timestamp> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let civil = text.parse::<DateTime>().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

fn parse_number(text: &str) -> Option<Timestamp> {
    let number = text.parse::<f64>().ok()?;
    let nanos_per_unit = match number.abs() {
        ..1e11 => 1e9,
        ..1e14 => 1e6,
        ..1e17 => 1e3,
        ..1e20 => 1.0,
        _ => return None,
    };
    // A float holds today's nanoseconds to within 256: enough for a figure.
    Timestamp::from_nanosecond((number * nanos_per_unit) as i128).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_logs_write() {
        let expected: Timestamp = "2026-03-01T15:16:40Z".parse().unwrap();
        for text in [
            r#""2026-03-01T15:16:40Z""#,
            r#""2026-03-01T16:16:40+01:00""#,
            r#""2026-03-01T15:16:40.000""#,
            r#""2026-03-01 15:16:40,000""#,
            "1772378200",
            "1772378200.0",
            "1772378200000",
            "1772378200000000",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["null", "true", r#""yesterday""#, "1e300", "{}"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
