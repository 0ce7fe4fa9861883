//! When a plan is due.
//!
//! # Overview
//! A schedule gives *slots*: moments at which a plan is due. They are computed, never stored ahead, and depend on
//! nothing but the text of the plan, so that a restarted coordinator and an agent without one find the same.
//!
//! # Consistency
//! Cron is read on the wall clock of the plan's time zone. Where clocks are set forward, a fixed time of day that does
//! not exist falls on the first moment that does; where they are set back, a fixed time of day counts once, at its
//! first occurrence. Patterns of intervals (`*/15 * * * *`) follow elapsed time: what does not exist is left out, what
//! occurs twice counts twice.
//!
//! A host's share of the jitter is drawn from plan, slot and host alone: the same on every computer, spread evenly.

mod cron;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

pub use cron::{Cron, CronError, Zone, ZoneError};

use super::HostName;

/// When a plan is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The clock's part. `None`: due only after another plan, or when somebody asks.
    pub cron: Option<Cron>,
    /// The time zone that the cron pattern is read in.
    pub timezone: Zone,
    /// The plan that goes before. With a cron pattern: a slot waits until the run of that plan which was due before it
    /// has ended. Without: every run of that plan is followed by one of this, in the same slot.
    pub after: Option<String>,
    /// Hosts begin spread over this time.
    pub jitter: Duration,
    /// How long after its slot work may still begin. `None`: until the next slot.
    pub window: Option<Duration>,
    /// What becomes of slots whose window passed while nobody could start them.
    pub missed: Missed,
}

/// What becomes of slots that nobody started in their window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Missed {
    /// The newest of them is run once, as soon as possible.
    #[default]
    RunOnce,
    /// They are noted and not run.
    Skip,
}

/// What is to be done about the slots since the last one that was dealt with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// The slot to start now.
    pub start: Option<Timestamp>,
    /// Whether its window has passed: it is started because the plan says `missed = "run-once"`.
    pub late: bool,
    /// The newest slot that was dealt with by this answer, started or not: ask again from here.
    pub until: Option<Timestamp>,
    /// How many slots are passed over; counted up to [`Due::MOST_COUNTED`].
    pub skipped: u32,
}

impl Due {
    /// Slots that are passed over are counted up to this number.
    pub const MOST_COUNTED: u32 = 1_000;
}

impl Schedule {
    /// Never by the clock.
    pub fn on_demand() -> Self {
        Self {
            cron: None,
            timezone: Zone::utc(),
            after: None,
            jitter: Duration::ZERO,
            window: None,
            missed: Missed::RunOnce,
        }
    }

    /// The first slot later than `after`. `None`: there is none by the clock.
    pub fn next_slot(&self, after: Timestamp) -> Option<Timestamp> {
        self.cron.as_ref()?.next(&self.timezone, after)
    }

    /// The last slot not later than `at`.
    pub fn last_slot(&self, at: Timestamp) -> Option<Timestamp> {
        self.cron.as_ref()?.last(&self.timezone, at)
    }

    /// The slots later than `after` and not later than `until`, oldest first.
    pub fn slots_between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_slot(after), |slot| self.next_slot(*slot))
            .take_while(move |slot| *slot <= until)
    }

    /// When the window of a slot closes: after that only `missed` lets it begin.
    pub fn closes(&self, slot: Timestamp) -> Option<Timestamp> {
        match self.window {
            Some(window) => slot.checked_add(window).ok(),
            None => self.next_slot(slot),
        }
    }

    /// What is due at `now`, if all slots up to `dealt_with` have been dealt with. At most one slot starts: of several
    /// that nobody started, the newest.
    pub fn due(&self, dealt_with: Timestamp, now: Timestamp) -> Due {
        let Some(newest) = self.last_slot(now).filter(|slot| *slot > dealt_with) else {
            return Due::default();
        };
        let older = self
            .slots_between(dealt_with, newest)
            .take_while(|slot| *slot < newest)
            .take(Due::MOST_COUNTED as usize)
            .count();
        let late = self.closes(newest).is_some_and(|closes| now >= closes);
        let start = !late || self.missed == Missed::RunOnce;
        Due {
            start: start.then_some(newest),
            late,
            until: Some(newest),
            skipped: u32::try_from(older).unwrap_or(Due::MOST_COUNTED) + u32::from(!start),
        }
    }

    /// How long after the slot this host begins: a share of the jitter that is always the same.
    pub fn share(&self, plan: &str, slot: Timestamp, host: &HostName) -> Duration {
        share(plan, slot, host, self.jitter)
    }

    /// When this host begins at the earliest.
    pub fn not_before(&self, plan: &str, slot: Timestamp, host: &HostName) -> Timestamp {
        slot.checked_add(self.share(plan, slot, host)).unwrap_or(slot)
    }
}

/// A part of `jitter`, less than the whole, in milliseconds.
fn share(plan: &str, slot: Timestamp, host: &HostName, jitter: Duration) -> Duration {
    let at = slot.as_second().to_be_bytes();
    let drawn = draw(
        "drctl plan jitter 1",
        &[plan.as_bytes(), &at, host.as_str().as_bytes()],
    );
    let wide = u128::from(drawn) * jitter.as_millis();
    Duration::from_millis(u64::try_from(wide >> 64).unwrap_or(u64::MAX))
}

/// A number that looks drawn by chance and is the same wherever it is drawn.
pub(super) fn draw(context: &'static str, parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut drawn = [0; 8];
    hasher.finalize_xof().fill(&mut drawn);
    u64::from_be_bytes(drawn)
}

impl Missed {
    /// As a plan writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RunOnce => "run-once",
            Self::Skip => "skip",
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Missed {
    type Err = MissedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "run-once" => Ok(Self::RunOnce),
            "skip" => Ok(Self::Skip),
            _ => Err(MissedError(text.chars().take(80).collect())),
        }
    }
}

/// No way to treat missed slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way to treat missed slots: run-once or skip is expected")]
pub struct MissedError(String);

#[cfg(test)]
mod tests;
