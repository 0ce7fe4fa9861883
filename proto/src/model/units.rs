//! Units as types: `8 MiB`, `30s`, `10 %`, `200 MiB/s`. A bare number is refused, because nobody remembers
//! whether it meant bytes or megabytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Why a value with a unit could not be read; says what would be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct InvalidUnit {
    value: String,
    expected: &'static str,
}

const SIZE: &str = "a size such as `8 MiB` or `200 GiB` (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)";
const PERIOD: &str = "a duration such as `30s`, `15m`, `24h` or `7d` (units: ms, s, m, h, d, w, y)";
const PERCENT: &str = "a share such as `10 %` (0 to 100)";
const RATE: &str = "a rate such as `40 MiB/s`, or `unlimited`";
const FLOOR: &str = "a share such as `10 %` or a size such as `20 GiB`";

/// A number of bytes, written `8 MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

/// A length of time, written `30s`, `24h` or `1h30m`. A day is 24 hours, a year 365 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(pub Duration);

/// A share of a whole, written `10 %`.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// Bytes a second, written `40 MiB/s`; `unlimited` is no limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub Option<u64>);

/// How much space must stay free: a share of the file system or a size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Floor {
    /// A share of the file system.
    Share(Percent),
    /// A number of bytes.
    Bytes(Size),
}

impl Floor {
    /// The floor in bytes on a file system of `total` bytes.
    pub fn bytes_of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(size) => size.0,
            Self::Share(percent) => percent.of(total),
        }
    }
}

impl Percent {
    /// This share of `total`, rounded down.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share between 0 and 1 of a u64; a rounding error of a few bytes is fine"
    )]
    pub fn of(self, total: u64) -> u64 {
        (total as f64 * self.0 / 100.0) as u64
    }
}

/// Splits `"8 MiB"` into the digits and the unit.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

fn size_factor(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

fn period_millis(unit: &str) -> Option<u64> {
    const DAY: u64 = 86_400_000;
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => DAY,
        "w" => 7 * DAY,
        "y" => 365 * DAY,
        _ => return None,
    })
}

/// `number × factor` in integers where the number is one, else rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "bounded by the comparison with 2^53 before the cast"
)]
fn scale(number: &str, factor: u64) -> Option<u64> {
    let number = number.replace('_', "");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let scaled = number.parse::<f64>().ok()? * factor as f64;
    (scaled.is_finite() && (0.0..9_007_199_254_740_992.0).contains(&scaled)).then_some(scaled as u64)
}

impl FromStr for Size {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let (number, unit) = split_unit(text.trim());
        let bytes = match (number, unit) {
            ("0", "") => Some(0),
            _ => size_factor(unit).and_then(|factor| scale(number, factor)),
        };
        bytes.map(Self).ok_or_else(|| InvalidUnit {
            value: text.to_owned(),
            expected: SIZE,
        })
    }
}

impl FromStr for Period {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        parse_period(text.trim())
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| InvalidUnit {
                value: text.to_owned(),
                expected: PERIOD,
            })
    }
}

/// One or more `<number><unit>` parts, such as `1h30m`.
fn parse_period(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, tail) = split_unit(rest);
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        total = total.checked_add(scale(number, period_millis(unit)?)?)?;
        rest = next.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

impl FromStr for Percent {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let share = text
            .trim()
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok());
        share
            .filter(|share| (0.0..=100.0).contains(share))
            .map(Self)
            .ok_or_else(|| InvalidUnit {
                value: text.to_owned(),
                expected: PERCENT,
            })
    }
}

impl FromStr for Rate {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let invalid = || InvalidUnit {
            value: text.to_owned(),
            expected: RATE,
        };
        if text.trim() == "unlimited" {
            return Ok(Self(None));
        }
        let size = text.trim().strip_suffix("/s").ok_or_else(invalid)?;
        match size.parse::<Size>() {
            Ok(Size(bytes)) if bytes > 0 => Ok(Self(Some(bytes))),
            _ => Err(invalid()),
        }
    }
}

impl FromStr for Floor {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        if let Ok(share) = text.parse() {
            return Ok(Self::Share(share));
        }
        text.parse().map(Self::Bytes).map_err(|_| InvalidUnit {
            value: text.to_owned(),
            expected: FLOOR,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        for (factor, unit) in UNITS {
            if self.0 >= factor {
                let tenths = u128::from(self.0) * 10 / u128::from(factor);
                return if tenths % 10 == 0 {
                    write!(f, "{} {unit}", tenths / 10)
                } else {
                    write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds == 0 {
            return match self.0.subsec_millis() {
                0 => f.write_str("0s"),
                millis => write!(f, "{millis}ms"),
            };
        }
        const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let mut rest = seconds;
        for (factor, unit) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{}/s", Size(bytes)),
            None => f.write_str("unlimited"),
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Bytes(size) => size.fmt(f),
        }
    }
}

/// Text for people that is also what the configuration takes back.
macro_rules! written_as_text {
    ($($unit:ty: $expected:expr),+ $(,)?) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(text::Visitor::new($expected))
            }
        }
    )+};
}

written_as_text!(Size: SIZE, Period: PERIOD, Percent: PERCENT, Rate: RATE, Floor: FLOOR);

macro_rules! debug_as_text {
    ($($unit:ty),+) => {$(
        impl fmt::Debug for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}

debug_as_text!(Size, Period, Percent, Rate);

mod text {
    //! One visitor for all units: takes text, and answers a bare number with the unit that is missing.

    use std::fmt;
    use std::marker::PhantomData;
    use std::str::FromStr;

    use serde::de::{self, Error};

    pub(super) struct Visitor<T> {
        expected: &'static str,
        unit: PhantomData<T>,
    }

    impl<T> Visitor<T> {
        pub(super) fn new(expected: &'static str) -> Self {
            Self {
                expected,
                unit: PhantomData,
            }
        }
    }

    impl<T: FromStr> de::Visitor<'_> for Visitor<T>
    where
        T::Err: fmt::Display,
    {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            Err(E::custom(format_args!(
                "`{number}` has no unit; write {}",
                self.expected
            )))
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            Err(E::custom(format_args!(
                "`{number}` has no unit; write {}",
                self.expected
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("8 MiB", 8 << 20, "8 MiB"),
            ("8MiB", 8 << 20, "8 MiB"),
            ("1.5 GiB", 3 << 29, "1.5 GiB"),
            ("200 GB", 200_000_000_000, "186.2 GiB"),
            ("0", 0, "0 B"),
            ("512 B", 512, "512 B"),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), printed, "{text}");
        }
        for bad in [
            "8",
            "8 MiBs",
            "-1 MiB",
            "",
            "MiB",
            "1e9 GiB",
            "99999999999 TiB",
            "1.2.3 MiB",
        ] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn periods_are_read_and_printed() {
        for (text, seconds, printed) in [
            ("30s", 30, "30s"),
            ("90m", 5_400, "1h30m"),
            ("1h30m", 5_400, "1h30m"),
            ("7d", 604_800, "7d"),
            ("1y", 31_536_000, "365d"),
            ("0", 0, "0s"),
        ] {
            assert_eq!(text.parse(), Ok(Period(Duration::from_secs(seconds))), "{text}");
            assert_eq!(
                Period(Duration::from_secs(seconds)).to_string(),
                printed,
                "{text}"
            );
        }
        for bad in ["30", "", "s", "5 fortnights", "-1s", "1h 30"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_rates_and_floors_are_read() {
        assert_eq!("10 %".parse(), Ok(Percent(10.0)));
        assert!("110 %".parse::<Percent>().is_err());
        assert_eq!("40 MiB/s".parse(), Ok(Rate(Some(40 << 20))));
        assert_eq!("unlimited".parse(), Ok(Rate(None)));
        assert!("40 MiB".parse::<Rate>().is_err());
        assert!("0 B/s".parse::<Rate>().is_err());
        assert_eq!("10 %".parse(), Ok(Floor::Share(Percent(10.0))));
        assert_eq!("20 GiB".parse(), Ok(Floor::Bytes(Size(20 << 30))));
        assert_eq!(Floor::Share(Percent(10.0)).bytes_of(1000), 100);
    }
}
