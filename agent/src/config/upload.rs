//! Upload rates by weekday and hour: `{ default = "200 MiB/s", "Mon-Fri 08:00-18:00" = "40 MiB/s" }`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Time, Weekday};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use dr_proto::model::units::Rate;

/// Upload rates: one that always holds, and windows in local time in which a lower one does.
#[derive(Debug, Clone)]
pub struct UploadLimits {
    default: Rate,
    windows: Vec<(Window, Rate)>,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            default: Rate(None),
            windows: Vec::new(),
        }
    }
}

impl UploadLimits {
    /// Whether no hour of the week has a limit.
    pub fn is_unlimited(&self) -> bool {
        self.default.0.is_none() && self.windows.iter().all(|(_, rate)| rate.0.is_none())
    }

    /// The rate at a moment of local time: the lowest of the windows that hold then, else the default.
    pub fn at(&self, local: DateTime) -> Rate {
        let rates = self
            .windows
            .iter()
            .filter(|(window, _)| window.holds(local))
            .map(|(_, rate)| *rate);
        rates
            .min_by_key(|rate| rate.0.unwrap_or(u64::MAX))
            .unwrap_or(self.default)
    }
}

impl<'de> Deserialize<'de> for UploadLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut limits = Self::default();
        for (key, rate) in BTreeMap::<String, Rate>::deserialize(deserializer)? {
            if key == "default" {
                limits.default = rate;
            } else {
                limits
                    .windows
                    .push((key.parse().map_err(D::Error::custom)?, rate));
            }
        }
        Ok(limits)
    }
}

/// Days of the week and a part of the day: `Mon-Fri 08:00-18:00`. A window that ends before it starts runs over
/// midnight and belongs to the day on which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: [bool; 7],
    from: Time,
    to: Time,
}

/// Why a window could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time window; write `default` or, for example, `Mon-Fri 08:00-18:00` or `Sat,Sun 00:00-24:00`"
)]
pub struct InvalidWindow(String);

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        Self::parse(text).ok_or_else(|| InvalidWindow(text.to_owned()))
    }
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        let (days, hours) = text.trim().split_once(char::is_whitespace)?;
        let (from, to) = hours.trim().split_once('-')?;
        Some(Self {
            days: parse_days(days)?,
            from: parse_time(from)?,
            to: parse_time(to)?,
        })
    }

    fn holds(&self, local: DateTime) -> bool {
        let on = |day: Weekday| {
            usize::try_from(day.to_monday_zero_offset()).is_ok_and(|day| self.days.get(day) == Some(&true))
        };
        let (today, time) = (local.weekday(), local.time());
        if self.from < self.to {
            return on(today) && self.from <= time && time < self.to;
        }
        (on(today) && time >= self.from) || (on(today.wrapping_sub(1)) && time < self.to)
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| name.trim().eq_ignore_ascii_case(day));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let length = (last + 7 - first) % 7;
        for offset in 0..=length {
            days[(first + offset) % 7] = true;
        }
    }
    Some(days)
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    if (hour, minute) == (24, 0) {
        return Some(Time::MAX);
    }
    Time::new(hour, minute, 0, 0).ok()
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = DAYS
            .iter()
            .zip(self.days)
            .filter(|(_, holds)| *holds)
            .map(|(name, _)| *name)
            .collect();
        write!(f, "{} {}-{}", days.join(","), self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime {
        text.parse().expect("a date and time")
    }

    #[test]
    fn windows_hold_by_weekday_and_hour() {
        let limits: UploadLimits = toml::from_str(
            "default = \"200 MiB/s\"\n\"Mon-Fri 08:00-18:00\" = \"40 MiB/s\"\n\"Fri 22:00-02:00\" = \"1 MiB/s\"",
        )
        .expect("limits");
        let mib = |rate: Rate| rate.0.map(|bytes| bytes >> 20);
        assert_eq!(mib(limits.at(at("2026-11-23T08:00:00"))), Some(40), "a Monday");
        assert_eq!(
            mib(limits.at(at("2026-11-23T18:00:00"))),
            Some(200),
            "the end is outside"
        );
        assert_eq!(
            mib(limits.at(at("2026-11-28T01:00:00"))),
            Some(1),
            "Saturday night belongs to Friday"
        );
        assert_eq!(mib(limits.at(at("2026-11-29T12:00:00"))), Some(200), "a Sunday");
        assert_eq!(mib(UploadLimits::default().at(at("2026-11-29T12:00:00"))), None);
    }

    #[test]
    fn days_wrap_and_nonsense_is_refused() {
        assert_eq!(
            parse_days("Sat-Mon"),
            Some([true, false, false, false, false, true, true])
        );
        for bad in [
            "Mon",
            "08:00-18:00",
            "Mon-Foo 08:00-18:00",
            "Mon 25:00-26:00",
            "Mon 8-18",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }
}
