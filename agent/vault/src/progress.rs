//! Live figures of a running operation, for whoever wants to show them.
//!
//! ## Overview
//! The engine adds to a handful of atomics; a user interface polls [`Progress::figures`] at its own pace. Nothing is
//! pushed, so that a slow terminal or a lost connection can never hold up a backup. Bytes are those of the *source
//! data*, before deduplication and compression: the only figure whose total is known beforehand, and the one an
//! estimate of the remaining time can rest on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an operation is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Phase {
    /// Nothing has begun.
    #[default]
    Waiting = 0,
    /// Opening the repository, bringing the index up to date, planning.
    Preparing,
    /// Reading source files and storing what is new.
    Storing,
    /// Fetching chunks and writing files.
    Restoring,
    /// Reading and verifying what is stored.
    Verifying,
    /// Making the result durable and visible.
    Committing,
    /// Done, in whatever way.
    Finished,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Preparing,
        Self::Storing,
        Self::Restoring,
        Self::Verifying,
        Self::Committing,
        Self::Finished,
    ];

    fn from_u8(value: u8) -> Self {
        Self::ALL.get(usize::from(value)).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Counters {
    phase: AtomicU8,
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    files_total: AtomicU64,
    files_done: AtomicU64,
    bytes_stored: AtomicU64,
}

/// Shared counters of one operation; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

/// One reading of a [`Progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// What the operation is at.
    pub phase: Phase,
    /// Source bytes to work through, as far as known.
    pub bytes_total: u64,
    /// Source bytes worked through.
    pub bytes_done: u64,
    /// Files to work through, as far as known.
    pub files_total: u64,
    /// Files worked through.
    pub files_done: u64,
    /// Bytes sent to (backup) or fetched from (restore, check) the store.
    pub bytes_stored: u64,
}

impl Progress {
    /// All figures at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// States what the operation is at now.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Adds to what there is to do.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.0.files_total.fetch_add(files, Ordering::Relaxed);
        self.0.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts source bytes as worked through.
    pub fn advance(&self, bytes: u64) {
        self.0.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one file as worked through.
    pub fn file_done(&self) {
        self.0.files_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that went over to the store or came from it.
    pub fn transferred(&self, bytes: u64) {
        self.0.bytes_stored.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The figures now.
    pub fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            phase: Phase::from_u8(self.0.phase.load(Ordering::Relaxed)),
            bytes_total: read(&self.0.bytes_total),
            bytes_done: read(&self.0.bytes_done),
            files_total: read(&self.0.files_total),
            files_done: read(&self.0.files_done),
            bytes_stored: read(&self.0.bytes_stored),
        }
    }
}

/// Rate and remaining time over a sliding window, fed with readings by whoever polls.
#[derive(Debug, Clone)]
pub struct Rate {
    window: Duration,
    readings: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// A rate over the last `window`.
    pub fn over(window: Duration) -> Self {
        Self {
            window,
            readings: VecDeque::new(),
        }
    }

    /// Takes a reading: time since the operation began and bytes done by then.
    pub fn observe(&mut self, elapsed: Duration, bytes_done: u64) {
        self.readings.push_back((elapsed, bytes_done));
        while self.readings.len() > 2 {
            match self.readings.get(1) {
                Some((second, _)) if elapsed.saturating_sub(*second) >= self.window => {
                    self.readings.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Bytes per second over the window; `None` before two readings.
    pub fn bytes_per_second(&self) -> Option<f64> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        (seconds > 0.0).then(|| last.1.saturating_sub(first.1) as f64 / seconds)
    }

    /// Time until `bytes_total` at the present rate; `None` while it can not be told.
    pub fn remaining(&self, bytes_total: u64) -> Option<Duration> {
        let rate = self.bytes_per_second().filter(|rate| *rate > 0.0)?;
        let done = self.readings.back().map(|(_, bytes)| *bytes)?;
        Duration::try_from_secs_f64(bytes_total.saturating_sub(done) as f64 / rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together() {
        let progress = Progress::new();
        let other = progress.clone();
        other.expect(2, 100);
        progress.advance(40);
        progress.file_done();
        other.enter(Phase::Storing);
        let figures = progress.figures();
        assert_eq!(
            (figures.bytes_total, figures.bytes_done, figures.files_done),
            (100, 40, 1)
        );
        assert_eq!(figures.phase, Phase::Storing);
    }

    #[test]
    fn every_phase_survives_the_atomic() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_u8(phase as u8), phase);
        }
    }

    #[test]
    fn the_rate_forgets_what_is_older_than_its_window() {
        let mut rate = Rate::over(Duration::from_secs(10));
        assert_eq!(rate.bytes_per_second(), None);
        rate.observe(Duration::from_secs(0), 0);
        rate.observe(Duration::from_secs(10), 1_000_000);
        rate.observe(Duration::from_secs(20), 1_000_100);
        assert_eq!(rate.bytes_per_second(), Some(10.0));
        assert_eq!(rate.remaining(1_000_200), Some(Duration::from_secs(10)));
    }
}
