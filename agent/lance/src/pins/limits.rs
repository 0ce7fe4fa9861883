//! The process's limit of open descriptors.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Descriptors that pins leave to the rest of the process: sockets, the index cache, logs.
const RESERVE: u64 = 512;

/// Descriptors held by pins of this process.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The limit as a collection found and used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorLimit {
    /// The soft limit that is in force.
    pub soft: u64,
    /// The hard limit, up to which a process may raise the soft one.
    pub hard: u64,
    /// How many descriptors pins may hold at once.
    pub for_pins: u64,
}

impl DescriptorLimit {
    /// Raises the soft limit to the hard one, as far as that is allowed, and says what is left for pins.
    pub fn raise() -> Self {
        let before = getrlimit(Resource::Nofile);
        let wanted = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::debug!(%error, "the descriptor limit stays as it is");
        }
        let now = getrlimit(Resource::Nofile);
        let soft = now.current.unwrap_or(u64::MAX);
        let others = open_descriptors().saturating_sub(HELD.load(Ordering::Relaxed) as u64);
        // Under a low limit a fixed reserve would leave nothing: then a quarter is kept.
        let reserve = RESERVE.min(soft / 4);
        let for_pins = soft.saturating_sub(reserve).saturating_sub(others);
        Self {
            soft,
            hard: now.maximum.unwrap_or(u64::MAX),
            for_pins,
        }
    }

    /// Takes one descriptor out of the budget, if one is left.
    pub(super) fn claim(&self) -> Option<Claim> {
        let held = HELD.fetch_add(1, Ordering::Relaxed) as u64;
        let claim = Claim;
        (held < self.for_pins).then_some(claim)
    }
}

/// A descriptor's place in the budget, given back on drop.
#[derive(Debug)]
pub(super) struct Claim;

impl Drop for Claim {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(64, |entries| entries.count() as u64)
}
