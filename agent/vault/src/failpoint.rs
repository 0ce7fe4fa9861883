//! Points at which a development build kills itself when asked to: how tests prove that a crash loses nothing.
//!
//! `DR_FAILPOINT=name` (or `name:3` for the third time) sends SIGKILL to the process itself on reaching the point.
//! `DR_FAILPOINT_STOP=name` stops it there with SIGSTOP instead, so that a test can do something at that very moment
//! and let it go on. Release builds contain none of this.

use std::sync::atomic::{AtomicU64, Ordering};

static HITS: AtomicU64 = AtomicU64::new(0);

/// Kills this process with SIGKILL if the environment names `point`; does nothing in release builds.
pub fn reach(point: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if std::env::var("DR_FAILPOINT_STOP").is_ok_and(|wanted| wanted == point) {
        // Should it fail, the test that waits for the stop sees the process end.
        let _stopped = signal_self(rustix::process::Signal::STOP);
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
    if signal_self(rustix::process::Signal::KILL).is_err() {
        std::process::abort();
    }
}

fn signal_self(signal: rustix::process::Signal) -> rustix::io::Result<()> {
    rustix::process::kill_process(rustix::process::getpid(), signal)
}
