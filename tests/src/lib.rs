//! What system tests and benches are made of: hosts, fixtures, an oracle that is not ours, test servers.
//!
//! # Overview
//!
//! A case in `tests/cases` sets up a [`host::Host`], a folder with a configuration, a repository and a state of its
//! own, runs the real `dr-agent` on it and compares what comes back with something that the product does not share:
//! the ledger of a Python writer, stock LanceDB, a hash, a clock. Nothing sleeps: cases wait for a process to end or
//! for a line to appear, with a deadline.
//!
//! # Skips
//!
//! What a case needs and can not have (no Python, no probe, no fixtures) it says with [`skip`]; in CI that fails.

pub mod application;
pub mod binaries;
pub mod chunks;
pub mod files;
pub mod fixtures;
pub mod fleet;
pub mod host;
pub mod moto;
pub mod mount;
pub mod network;
pub mod oracle;
pub mod otlp;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod s3_server;
pub mod volume;
pub mod wait;

use std::io::Write;
use std::path::PathBuf;

/// Says that a case can not run here and why. The caller returns afterwards.
///
/// # Panics
///
/// In CI, where nothing may be skipped.
pub fn skip(case: &str, reason: &str) {
    assert!(
        !in_ci(),
        "{case} can not run, and in CI nothing may be skipped: {reason}"
    );
    if let Some(path) = std::env::var_os("DR_SKIPS") {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| writeln!(file, "{case}: {reason}"));
        assert!(written.is_ok(), "write down that {case} was skipped: {written:?}");
    }
}

/// Whether this run must not skip anything.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// The checkout's root.
pub fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
