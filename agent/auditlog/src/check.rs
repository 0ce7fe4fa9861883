//! A quick look at a live log: what `check audit-log` asks.

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::capture::{self, Captured, Movement, Note, capture};
use crate::facts::LogFacts;
use crate::options::{LogOptions, VerifyOptions};
use crate::state::LogState;
use crate::verify;

/// How often a log that was truncated while it was read is read again.
const ATTEMPTS: u32 = 3;

/// What a quick look saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveCheck {
    /// Whether the file that the application writes was there.
    pub active: bool,
    /// What was measured. Segments that are unchanged since `previous` were not read again.
    pub facts: LogFacts,
    /// What the capture met.
    pub notes: Vec<Note>,
    /// What happened to the log while it was read.
    pub movement: Movement,
}

impl LiveCheck {
    /// Whether nothing disproves the log.
    pub fn is_sound(&self) -> bool {
        self.facts.is_sound()
    }
}

/// Why a quick look could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log could not be captured.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// The log could not be read.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The log was truncated each time it was read.
    #[error("{path} was truncated during each of {attempts} readings: try again")]
    Truncated {
        /// The log.
        path: std::path::PathBuf,
        /// How often it was read.
        attempts: u32,
    },
}

/// Captures a log and verifies it, in place and read-only. With `previous` only what changed since is read, and
/// continuity is proved. Blocking.
pub fn quick(
    log: &LogOptions,
    options: &VerifyOptions,
    previous: Option<&LogState>,
    cancel: &CancellationToken,
) -> Result<LiveCheck, Error> {
    for attempt in 1..=ATTEMPTS {
        let captured = capture(log)?;
        let read = match previous {
            Some(previous) => captured.verify_changed(options, previous, cancel),
            None => captured.verify(options, None, cancel),
        };
        let movement = captured.moved()?;
        if movement.invalidates() {
            tracing::debug!(path = %log.path.display(), attempt, "the log was truncated while it was read");
            continue;
        }
        return Ok(live(captured, read?, movement));
    }
    Err(Error::Truncated {
        path: log.path.clone(),
        attempts: ATTEMPTS,
    })
}

fn live(captured: Captured, facts: LogFacts, movement: Movement) -> LiveCheck {
    LiveCheck {
        active: captured.segments.iter().any(|segment| segment.active),
        facts,
        notes: captured.notes,
        movement,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::continuity::Standing;
    use crate::facts::FaultKind;
    use crate::fixture;
    use crate::options::ChainConfig;

    #[test]
    fn reads_only_what_changed_and_still_proves_continuity() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let lines = fixture::chained(0, 30, "");
        fs::write(path("audit.log.1"), fixture::joined(&lines[..10])).unwrap();
        fs::write(path("audit.log"), fixture::joined(&lines[10..20])).unwrap();
        let log = LogOptions::new(path("audit.log")).rotated("audit.log.*");
        let options = VerifyOptions {
            chain: Some(ChainConfig::default()),
            ..VerifyOptions::default()
        };
        let look =
            |previous: Option<&LogState>| quick(&log, &options, previous, &CancellationToken::new()).unwrap();

        let first = look(None);
        assert!(first.active && first.is_sound());
        fixture::append(&path("audit.log"), &fixture::joined(&lines[20..]));
        let second = look(Some(&first.facts.state()));
        assert!(second.is_sound(), "{:?}", second.facts.findings);
        let reused: Vec<bool> = second
            .facts
            .segments
            .iter()
            .map(|segment| segment.reused)
            .collect();
        assert_eq!(reused, [true, false]);
        assert_eq!(second.facts.continuity.standing, Standing::Continues);
        assert_eq!(
            (second.facts.records, second.facts.continuity.new_records),
            (30, 10)
        );

        fs::write(path("audit.log"), fixture::joined(&lines[11..])).unwrap();
        let third = look(Some(&second.facts.state()));
        assert_eq!(
            third.facts.findings.count(FaultKind::ChainLink),
            1,
            "the joint to a reused segment is checked"
        );
        assert!(third.facts.continuity.is_broken());
    }
}
