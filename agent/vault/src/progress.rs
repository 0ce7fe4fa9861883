//! Live figures of a running operation, for whoever wants to show them.
//!
//! ## Overview
//! The engine adds to a handful of atomics; a user interface polls [`Progress::figures`] at its own pace. Nothing is
//! pushed, so that a slow terminal or a lost connection can never hold up a backup. Bytes are those of the *source
//! data*, before deduplication and compression: the only figure whose total is known beforehand, and the one an
//! estimate of the remaining time can rest on.
//!
//! Work that moves no source bytes (a drill that asks its questions, a lock that is waited for) is a [`Step`]: it has
//! a name, and a count of its own if there is one, and while it lasts bytes say nothing about what is left.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What an operation is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Storing => "storing",
            Self::Restoring => "restoring",
            Self::Verifying => "verifying",
            Self::Committing => "committing",
            Self::Finished => "finished",
        })
    }
}

/// Work that source bytes do not measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done, for people: `scanning notes.lance`.
    pub what: String,
    /// How much of it, if that is counted.
    pub count: Option<Count>,
}

/// How far a [`Step`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many are done.
    pub done: u64,
    /// How many there are; 0 if not known.
    pub total: u64,
    /// What they are, in the plural: `rows`.
    pub unit: &'static str,
}

#[derive(Debug, Default)]
struct Counters {
    phase: AtomicU8,
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    files_total: AtomicU64,
    files_done: AtomicU64,
    bytes_stored: AtomicU64,
    step: Mutex<Option<Step>>,
}

impl Counters {
    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shared counters of one operation; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

/// One reading of a [`Progress`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// What the operation is at, in bytes.
    pub phase: Phase,
    /// What it is at instead, where bytes do not measure it.
    pub step: Option<Step>,
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

impl Figures {
    /// Whether bytes are what there is to wait for: there are some left, as far as known, and nothing else is at work.
    pub fn bytes_move(&self) -> bool {
        self.step.is_none() && (self.bytes_total == 0 || self.bytes_done < self.bytes_total)
    }

    /// What is at work, for people.
    pub fn doing(&self) -> String {
        match &self.step {
            Some(step) => step.what.clone(),
            None => self.phase.to_string(),
        }
    }
}

impl Progress {
    /// All figures at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// States what the operation is at now; ends a step.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed);
        *self.0.step() = None;
    }

    /// States what is at work that bytes do not measure, until the next step or phase.
    pub fn step(&self, what: impl Into<String>) {
        let (what, count) = (what.into(), None);
        *self.0.step() = Some(Step { what, count });
    }

    /// States how far a step is.
    pub fn count(&self, what: impl Into<String>, count: Count) {
        let (what, count) = (what.into(), Some(count));
        *self.0.step() = Some(Step { what, count });
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
            step: self.0.step().clone(),
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

    /// Takes the reading of `figures` at `elapsed`; forgets all others while bytes are not what is at work, so that
    /// the time of another step slows no rate.
    pub fn follow(&mut self, elapsed: Duration, figures: &Figures) {
        if !figures.bytes_move() {
            self.readings.clear();
        }
        self.observe(elapsed, figures.bytes_done);
    }

    /// Bytes per second over the window; `None` before two readings.
    pub fn bytes_per_second(&self) -> Option<f64> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        (seconds > 0.0).then(|| last.1.saturating_sub(first.1) as f64 / seconds)
    }

    /// Time until `bytes_total` at the present rate; `None` while it can not be told, and once nothing is left: what
    /// then goes on is no matter of bytes.
    pub fn remaining(&self, bytes_total: u64) -> Option<Duration> {
        let rate = self.bytes_per_second().filter(|rate| *rate > 0.0)?;
        let done = self.readings.back().map(|(_, bytes)| *bytes)?;
        let left = bytes_total.checked_sub(done).filter(|left| *left > 0)?;
        Duration::try_from_secs_f64(left as f64 / rate).ok()
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
        assert_eq!(
            rate.remaining(1_000_100),
            None,
            "nothing is left: nobody knows how long"
        );
    }

    #[test]
    fn a_step_lasts_until_the_next_phase_and_slows_no_rate() {
        let progress = Progress::new();
        let mut rate = Rate::over(Duration::from_secs(100));
        progress.enter(Phase::Restoring);
        progress.expect(2, 400);
        rate.follow(Duration::ZERO, &progress.figures());
        progress.advance(100);
        rate.follow(Duration::from_secs(1), &progress.figures());
        assert_eq!(rate.bytes_per_second(), Some(100.0));
        let count = Count {
            done: 3,
            total: 9,
            unit: "rows",
        };
        progress.count("scanning notes.lance", count);
        let figures = progress.figures();
        assert_eq!(figures.doing(), "scanning notes.lance");
        assert_eq!(figures.step.as_ref().and_then(|step| step.count), Some(count));
        assert!(!figures.bytes_move());
        rate.follow(Duration::from_secs(50), &figures);
        assert_eq!(rate.bytes_per_second(), None);
        progress.enter(Phase::Verifying);
        progress.advance(100);
        let figures = progress.figures();
        assert_eq!(
            (figures.step.clone(), figures.doing()),
            (None, "verifying".to_owned())
        );
        rate.follow(Duration::from_secs(51), &figures);
        assert_eq!(
            rate.bytes_per_second(),
            Some(100.0),
            "the scan took no time of it"
        );
    }
}
