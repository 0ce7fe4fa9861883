//! Verdicts: what a drill concludes, and why it sometimes can not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a drill concludes.
///
/// Ordered by how much it needs somebody: the verdict of a whole is the greatest of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every question that was asked got the right answer, and at least one of them proves data.
    Passed,
    /// A question could not be asked: this proves nothing in either direction.
    Inconclusive,
    /// Data is damaged, missing or different.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
        })
    }
}

/// Why a question could not be asked. Stable words: metrics and alerts are keyed by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The store did not answer, or refused.
    StoreUnavailable,
    /// Somebody cancelled, or a signal ended the work.
    Cancelled,
    /// No space for scratch, staging or pins.
    NoSpace,
    /// The probe passed its memory limit.
    MemoryLimit,
    /// The probe or the drill passed its time limit.
    TimeLimit,
    /// Files were written in a format newer than this probe reads.
    FormatTooNew,
    /// No probe binary is installed.
    NoProbe,
    /// Nothing was recorded at the cut to compare with.
    NoFacts,
    /// The repository looks older than what this host remembers.
    RolledBack,
    /// The host is busy: its own hook says so.
    HostBusy,
    /// The budget of this drill did not reach to the end.
    Budget,
    /// Something of ours failed.
    Internal,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StoreUnavailable => "store_unavailable",
            Self::Cancelled => "cancelled",
            Self::NoSpace => "no_space",
            Self::MemoryLimit => "memory_limit",
            Self::TimeLimit => "time_limit",
            Self::FormatTooNew => "format_too_new",
            Self::NoProbe => "no_probe",
            Self::NoFacts => "no_facts",
            Self::RolledBack => "rolled_back",
            Self::HostBusy => "host_busy",
            Self::Budget => "budget",
            Self::Internal => "internal",
        })
    }
}
