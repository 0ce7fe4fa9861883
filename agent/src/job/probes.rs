//! What every job that starts probes gives them.

use std::path::PathBuf;
use std::time::Duration;

use crate::probe::LEAST_MEMORY;
use crate::session::Session;

/// The longest that one probe may run.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// The folder of the agent's own program.
pub(crate) fn beside() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(PathBuf::from)
}

/// The most memory that a probe may use, in bytes.
pub(crate) fn memory(session: &Session) -> u64 {
    session.config.limits.memory.0.max(LEAST_MEMORY)
}
