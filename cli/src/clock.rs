//! The one place that reads the system's clock.

use jiff::Timestamp;

/// The present moment.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that commands are given"
)]
pub(crate) fn system() -> Timestamp {
    Timestamp::now()
}
