//! Wall-clock time as an argument, so that tests own it.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time. Production uses [`SystemClock`]; tests set their own.
pub trait Clock: Send + Sync + Debug {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the system's time enters"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;
