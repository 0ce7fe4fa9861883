//! A ceiling in age and a floor of free space for pins.
//!
//! Pins cost nothing until the application deletes what they hold; then they keep its space occupied. The watch
//! is asked from time to time while pins are held, and says when they must be dropped.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The floor of free space.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FreeSpace {
    /// Bytes.
    Bytes(u64),
    /// Share of the file system, in percent.
    Percent(f64),
}

/// Limits for one set of pins.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    since: Timestamp,
    max_age: Duration,
    min_free: FreeSpace,
}

/// Why pins must be dropped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Breach {
    /// They are held for too long.
    #[error("pins are held for {} s, the limit is {} s: raise limits.pins.max_age or upload faster", age.as_secs(), limit.as_secs())]
    TooOld {
        /// Their age.
        age: Duration,
        /// The limit.
        limit: Duration,
    },
    /// The file system runs out of space while they are held.
    #[error(
        "{free} bytes are free where {floor} are to stay free (limits.pins.min_free), and pins hold {held} bytes of deleted files"
    )]
    NoSpace {
        /// Free bytes.
        free: u64,
        /// The floor.
        floor: u64,
        /// Bytes that dropping the pins gives back, as far as known.
        held: u64,
    },
}

/// What the watch saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Age of the pins.
    pub age: Duration,
    /// Free bytes on the database's file system.
    pub free: u64,
    /// Bytes of deleted files that the pins keep.
    pub held: u64,
    /// Why the pins must be dropped, if so.
    pub breach: Option<Breach>,
}

impl Watch {
    /// Starts watching pins that were taken at `since`.
    pub fn new(since: Timestamp, max_age: Duration, min_free: FreeSpace) -> Self {
        Self {
            since,
            max_age,
            min_free,
        }
    }

    /// Looks once. `held` are the bytes that the pins keep, see [`Collected::held_bytes`](crate::Collected::held_bytes).
    ///
    /// # Errors
    /// When the file system of `database` cannot be asked for its free space.
    pub fn observe(&self, now: Timestamp, database: &Path, held: u64) -> std::io::Result<Observation> {
        let age = Duration::try_from(now.duration_since(self.since)).unwrap_or_default();
        let space = rustix::fs::statvfs(database)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let total = space.f_blocks.saturating_mul(space.f_frsize);
        let floor = match self.min_free {
            FreeSpace::Bytes(bytes) => bytes,
            FreeSpace::Percent(percent) => (total as f64 * percent / 100.0) as u64,
        };
        let breach = if age > self.max_age {
            Some(Breach::TooOld {
                age,
                limit: self.max_age,
            })
        } else if presses(free, floor, held) {
            Some(Breach::NoSpace { free, floor, held })
        } else {
            None
        };
        Ok(Observation {
            age,
            free,
            held,
            breach,
        })
    }
}

/// Whether pins have to go for the sake of space: they are what takes it below the floor, or they hold more than is
/// left. A disk that is fuller than the floor anyway gains nothing from a cut that is given up: it would never have a
/// snapshot.
fn presses(free: u64, floor: u64, held: u64) -> bool {
    held > 0 && free < floor && (free.saturating_add(held) >= floor || held >= free)
}

#[cfg(test)]
mod tests {
    use super::presses;

    #[test]
    fn a_full_disk_stops_a_cut_only_if_letting_go_would_help() {
        assert!(!presses(50, 100, 0), "nothing is held");
        assert!(!presses(50, 100, 10), "it was too full before");
        assert!(presses(95, 100, 10), "the pins are what makes it too full");
        assert!(presses(10, 100, 20), "they hold more than is left");
        assert!(!presses(100, 100, 500), "there is room");
    }
}
