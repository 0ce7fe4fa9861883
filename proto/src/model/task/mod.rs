//! Runs and tasks: what is asked of hosts, where that stands, and how it ended.

mod state;
mod work;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use state::{IllegalStep, RunState, TaskState};
pub use work::{
    CheckKind, CheckWork, DrillWork, Existing, HoldChange, HoldTerms, HoldWork, RestoreWork, SnapshotWork,
    SourceKind, Work,
};

/// A UUID of version 7 for a thing made at `at`, so that ids sort by time.
pub(super) fn new_id(at: Timestamp) -> Uuid {
    let seconds = at.as_second().max(0).unsigned_abs();
    let nanos = at.subsec_nanosecond().max(0).unsigned_abs();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// A run: one slot of a plan over the fleet, or one request of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

/// A task: one host's part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

impl RunId {
    /// A new id for a run made at `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(new_id(at))
    }
}

impl TaskId {
    /// A new id for a task made at `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(new_id(at))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = ParseTaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseTaskError::Run(text.to_owned()))
    }
}

impl FromStr for TaskId {
    type Err = ParseTaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseTaskError::Task(text.to_owned()))
    }
}

/// A text that names no run, no task, or nothing that a task can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTaskError {
    /// Not a run id.
    #[error("`{0}` is not a run id: a UUID is expected")]
    Run(String),
    /// Not a task id.
    #[error("`{0}` is not a task id: a UUID is expected")]
    Task(String),
    /// Not a state of a task or run.
    #[error("`{0}` is not a state")]
    State(String),
    /// Not a kind of check.
    #[error("`{0}` is not a kind of check: vector-db, audit-log or dr-integrity is expected")]
    Check(String),
    /// Not a kind of source.
    #[error("`{0}` is not a kind of source: lancedb or audit-log is expected")]
    Source(String),
}

/// Guards the result of a task: a result counts only under the newest fence that was handed out for its task.
///
/// Ordered: a later incarnation of the coordinator, or a later attempt, is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Incarnation of the coordinator that handed the task out; grows with each start.
    pub epoch: u64,
    /// Attempt at this task: 1 for the first.
    pub attempt: u32,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.attempt)
    }
}

/// How far a task is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, for people: `restoring`, `scanning notes.lance`.
    pub phase: String,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes in all; 0 if not known.
    pub bytes_total: u64,
    /// Items done.
    pub items_done: u64,
    /// Items in all; 0 if not known.
    pub items_total: u64,
    /// What items are, in the plural: `files`, `rows`; empty if that is not known.
    #[serde(default)]
    pub items: String,
    /// Bytes a second over the last seconds; 0 if not known.
    pub bytes_per_second: u64,
    /// What is left at that rate.
    pub eta: Option<Duration>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOutcome {
    /// A final state that an agent may report: passed, failed, inconclusive, partial, refused or cancelled.
    pub state: TaskState,
    /// The stable word for why it is not passed (`no_space`, `not_allowed`); empty if it passed.
    pub cause: String,
    /// One sentence for people; empty if it passed.
    pub message: String,
    /// When the agent began.
    pub started: Timestamp,
    /// When it was done.
    pub finished: Timestamp,
    /// What was measured: the JSON document that `dr-agent … --output json` prints, as the agent wrote it; empty if
    /// the task ended before it could measure.
    pub document: Vec<u8>,
}
