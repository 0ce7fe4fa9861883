//! Points at which a development build kills itself when asked to: how tests prove that a crash loses nothing.
//!
//! `DR_FAILPOINT=name` (or `name:3` for the third time) sends SIGKILL to the process itself on reaching the point.
//! Release builds contain none of this.

use std::sync::atomic::{AtomicU64, Ordering};

static HITS: AtomicU64 = AtomicU64::new(0);

/// Kills this process with SIGKILL if the environment names `point`; does nothing in release builds.
pub fn reach(point: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Ok(wanted) = std::env::var("DR_FAILPOINT") else {
        return;
    };
    let (name, nth) = match wanted.split_once(':') {
        Some((name, nth)) => (name, nth.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1_u64),
    };
    if name == point && HITS.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        kill_self();
    }
}

fn kill_self() {
    // The signal is delivered before the call returns; the abort below is never reached in practice.
    if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
        std::process::abort();
    }
}
