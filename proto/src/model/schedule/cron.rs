//! Cron patterns on the wall clock of a time zone.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use croner::errors::CronError as Croner;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDateTime, CronDateTime, Resolution, Weekday};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A cron pattern of five fields: minute, hour, day of the month, month, day of the week.
///
/// If both days are restricted either suffices, as in cron itself. `L`, `W` and `#` work (`0 3 * * SUN#1`), and so do
/// `@daily`, `@weekly`, `@monthly`.
#[derive(Clone)]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
}

impl Cron {
    /// The first match later than `after`.
    pub(super) fn next(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        let at = Moment::new(zone, after);
        // An error is the end of the calendar: there is no later match.
        let found = self.pattern.find_next_occurrence(&at, false).ok()?;
        Some(found.instant)
    }

    /// The last match not later than `at`.
    pub(super) fn last(&self, zone: &Zone, at: Timestamp) -> Option<Timestamp> {
        let at = Moment::new(zone, at);
        let found = self.pattern.find_previous_occurrence(&at, true).ok()?;
        Some(found.instant)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let pattern = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(text)
            .map_err(|source| CronError::Pattern {
                text: text.chars().take(80).collect(),
                source,
            })?;
        let cron = Self {
            text: text.trim().to_owned(),
            pattern,
        };
        match cron.next(&Zone::utc(), Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(cron.text)),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({:?})", self.text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

/// Why a text is no cron pattern.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// It can not be read.
    #[error("`{text}` is not a cron pattern of five fields (minute hour day month weekday)")]
    Pattern {
        /// What was given.
        text: String,
        /// Why not.
        source: Croner,
    },
    /// It can be read and matches no day of any year.
    #[error("`{0}` is never due: no date matches it")]
    Never(String),
}

/// A time zone by its IANA name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// `UTC`.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// For other computations in the same zone.
    pub fn time_zone(&self) -> &TimeZone {
        &self.0
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        TimeZone::get(text).map(Self).map_err(|source| ZoneError {
            name: text.chars().take(80).collect(),
            source,
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// No time zone of this name.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is not a time zone: an IANA name such as `UTC` or `Europe/Berlin` is expected")]
pub struct ZoneError {
    name: String,
    source: jiff::Error,
}

/// An instant and the zone whose wall clock shows it: what the cron search walks over. Whole seconds.
#[derive(Clone)]
struct Moment {
    instant: Timestamp,
    zone: TimeZone,
}

impl Moment {
    fn new(zone: &Zone, at: Timestamp) -> Self {
        let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
        Self {
            instant: Timestamp::from_second(second).unwrap_or(Timestamp::MIN),
            zone: zone.0.clone(),
        }
    }

    fn at(&self, instant: Timestamp) -> Self {
        Self {
            instant,
            zone: self.zone.clone(),
        }
    }

    fn wall(&self) -> DateTime {
        self.zone.to_datetime(self.instant)
    }
}

/// Fields of a wall clock are never negative but for the year.
fn field(value: i8) -> u32 {
    u32::from(value.unsigned_abs())
}

fn civil(value: CivilDateTime) -> Result<DateTime, Croner> {
    let part = |part: u32| i8::try_from(part).map_err(|_| Croner::InvalidDate);
    DateTime::new(
        i16::try_from(value.year()).map_err(|_| Croner::InvalidDate)?,
        part(value.month())?,
        part(value.day())?,
        part(value.hour())?,
        part(value.minute())?,
        part(value.second())?,
        0,
    )
    .map_err(|_| Croner::InvalidDate)
}

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let wall = self.wall();
        CivilDateTime::from_ymd_hms(
            i32::from(wall.year()),
            field(wall.month()),
            field(wall.day()),
            field(wall.hour()),
            field(wall.minute()),
            field(wall.second()),
        )
        .expect("both calendars are the proleptic Gregorian one")
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(field(self.wall().weekday().to_sunday_zero_offset()))
    }

    fn resolve_civil(&self, wall: CivilDateTime) -> Result<Resolution<Self>, Croner> {
        let found = self.zone.to_ambiguous_timestamp(civil(wall)?);
        let end = |_| Croner::InvalidTime;
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(self.at(found.unambiguous().map_err(end)?))
            }
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(
                self.at(found.earlier().map_err(end)?),
                self.at(found.later().map_err(end)?),
            ),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let moved = self
            .instant
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .ok()?;
        Some(self.at(moved))
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.instant.cmp(&other.instant)
    }
}
