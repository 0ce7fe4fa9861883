//! How times, lengths and absent values look in tables.

use std::fmt::Display;
use std::time::Duration;

use dr_proto::model::units::Period;
use jiff::Timestamp;

/// A dash where there is nothing.
pub(crate) fn dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// To the second, in UTC: what a log elsewhere can be compared with.
pub(crate) fn short_time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A length of time with two figures of meaning: `0.42s`, `12.3s`, `4m10s`, `3h5m`, `12d4h`.
pub(crate) fn length(length: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = length.as_secs();
    let to_the = |unit: u64| Period(Duration::from_secs(seconds / unit * unit)).to_string();
    match seconds {
        0..10 => format!("{:.2}s", length.as_secs_f64()),
        10..120 => format!("{:.1}s", length.as_secs_f64()),
        120..HOUR => to_the(1),
        HOUR..DAY => to_the(MINUTE),
        _ => to_the(HOUR),
    }
}

/// How long ago that was at `now`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let since = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    format!("{} ago", length(Duration::from_secs(since.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_keep_two_figures() {
        for (millis, shown) in [
            (420, "0.42s"),
            (12_340, "12.3s"),
            (250_000, "4m10s"),
            (11_101_000, "3h5m"),
            (1_051_000_000, "12d3h"),
        ] {
            assert_eq!(length(Duration::from_millis(millis)), shown);
        }
    }
}
