//! Points at which a development build kills itself when asked to: how tests prove that a crash loses nothing.
//!
//! `DR_FAILPOINT=name` (or `name:3` for the third time) sends SIGKILL to the process itself on reaching the point.
//! Release builds contain none of this.

use std::sync::atomic::{AtomicU64, Ordering};

static HITS: AtomicU64 = AtomicU64::new(0);

/// All of them, in the store and in the coordinator above it: a test that goes through this list misses none.
pub const POINTS: [&str; 22] = [
    "backup.sealed",
    "dispatcher.sent",
    "enrolment.signed",
    "gateway.result.filed",
    "hello.step",
    "recover.checked",
    "recover.told",
    "store.cancel",
    "store.enroll",
    "store.expire",
    "store.lose",
    "store.offer",
    "store.offered",
    "store.prune",
    "store.result",
    "store.result.committed",
    "store.result.stepped",
    "store.run.commit",
    "store.run.committed",
    "store.run.made",
    "store.settle",
    "store.task.made",
];

/// Kills this process with SIGKILL if the environment names `point`; does nothing in release builds.
///
/// # Panics
///
/// In development builds, if [`POINTS`] lacks the point: no test would go there.
pub fn reach(point: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    debug_assert!(POINTS.contains(&point), "failpoint {point} is not in POINTS");
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
