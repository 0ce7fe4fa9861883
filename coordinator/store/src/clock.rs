//! Wall-clock time as an argument, so that tests own it.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::{Timestamp, TimestampRound, Unit};

/// Tells the time. Production uses [`SystemClock`]; tests set their own.
pub trait Clock: Send + Sync + Debug {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock, to the microsecond: what the store reads back is what was told.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the system's time enters"
    )]
    fn now(&self) -> Timestamp {
        to_microsecond(Timestamp::now())
    }
}

/// The moment without what is finer than a microsecond.
pub fn to_microsecond(at: Timestamp) -> Timestamp {
    let whole = TimestampRound::new()
        .smallest(Unit::Microsecond)
        .mode(jiff::RoundMode::Trunc);
    at.round(whole).unwrap_or(at)
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;
