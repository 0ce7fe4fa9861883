//! What a plan asks of each host.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Coverage, Plan};
use crate::model::{
    CheckKind, CheckWork, DrillKind, DrillWork, HostName, Loss, Selector, SelectorError, SnapshotWork, Work,
};

/// What a plan asks of each host.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Take a snapshot.
    Snapshot {
        /// Read files again that can not have changed.
        reread: bool,
    },
    /// Rehearse the recovery of one.
    Drill(Drill),
    /// Look at the live data.
    Check(CheckKind),
}

/// A rehearsal.
#[derive(Debug, Clone, PartialEq)]
pub struct Drill {
    /// Its kind.
    pub kind: DrillKind,
    /// `latest`, or the start of a snapshot's id.
    pub snapshot: String,
    /// Who does the work.
    pub on: On,
    /// The most bytes that the rung `bytes` reads beyond what other rungs read.
    pub bytes_budget: Option<u64>,
    /// How far recall may fall below recall at the cut.
    pub recall_tolerance: Option<f64>,
    /// Names of hooks in the agent's own file.
    pub hooks: Vec<String>,
    /// How the data was lost that a `restore` drill brings back.
    pub loss: Option<Loss>,
    /// Within this time all bytes are verified once.
    pub bytes_cycle: Option<Duration>,
    /// Within this time every table is scanned once in place.
    pub content_cycle: Option<Duration>,
}

/// Who does the work for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum On {
    /// The host itself.
    #[default]
    Itself,
    /// One of these hosts; its key must open the other's repository.
    Hosts(Selector),
}

impl Action {
    /// Who does the work.
    pub fn on(&self) -> &On {
        match self {
            Self::Drill(drill) => &drill.on,
            Self::Snapshot { .. } | Self::Check(_) => &On::Itself,
        }
    }

    /// Whether an agent goes on with it when no coordinator answers: it reads its own data and repository only, and
    /// asks nothing of anybody else.
    pub fn goes_on_offline(&self) -> bool {
        match self {
            Self::Snapshot { .. } => true,
            Self::Drill(drill) => drill.kind == DrillKind::Verify && drill.on == On::Itself,
            Self::Check(_) => false,
        }
    }

    /// The kind of source that it is about; `None`: both.
    pub(super) fn source_kind(&self) -> Option<&'static str> {
        match self {
            Self::Check(CheckKind::VectorDb) => Some("lancedb"),
            Self::Check(CheckKind::AuditLog) => Some("audit-log"),
            Self::Snapshot { .. } | Self::Drill(_) | Self::Check(CheckKind::DrIntegrity) => None,
        }
    }
}

/// As a plan's `drill.kind` writes it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot { .. } => f.write_str("snapshot"),
            Self::Drill(drill) => drill.kind.fmt(f),
            Self::Check(kind) => write!(f, "check-{kind}"),
        }
    }
}

impl FromStr for On {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "self" => Ok(Self::Itself),
            selector => selector.parse().map(Self::Hosts),
        }
    }
}

impl Plan {
    /// What is asked for `host`, whose coverage is the given one, of the agent on `runner`.
    pub fn work_for(&self, host: &HostName, coverage: &Coverage, runner: &HostName) -> Work {
        match &self.action {
            Action::Snapshot { reread } => Work::Snapshot(SnapshotWork {
                sources: coverage.named_sources(),
                reread: *reread,
                reason: Some(format!("plan {}", self.name)),
                hold: None,
                accept: false,
            }),
            Action::Check(kind) => Work::Check(CheckWork {
                kind: *kind,
                sources: coverage.named_sources(),
            }),
            Action::Drill(drill) => Work::Drill(DrillWork {
                only: None,
                kind: drill.kind,
                snapshot: drill.snapshot.clone(),
                from_host: (runner != host).then(|| host.clone()),
                bytes_budget: drill.bytes_budget,
                hooks: drill.hooks.clone(),
                recall_tolerance: drill.recall_tolerance,
                loss: drill.loss,
                bytes_cycle: drill.bytes_cycle,
                content_cycle: drill.content_cycle,
            }),
        }
    }
}
