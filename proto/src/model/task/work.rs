//! What a task asks of an agent.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ParseTaskError;
use crate::model::{DrillKind, HostName, Loss};

/// What a task asks of an agent. No command line and no URL travels in it: hooks are names in the agent's own file,
/// and a repository is named by its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Take a snapshot.
    Snapshot(SnapshotWork),
    /// Rehearse the recovery of one.
    Drill(DrillWork),
    /// Restore one.
    Restore(RestoreWork),
    /// Look at the live sources.
    Check(CheckWork),
    /// Hold a snapshot against retention, or release it.
    Hold(HoldWork),
}

/// Take a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotWork {
    /// Names of sources; an entry's name stands for all matches of its glob. Empty: all.
    pub sources: Vec<String>,
    /// Read files again that can not have changed.
    pub reread: bool,
    /// Why, for whoever reads the list.
    pub reason: Option<String>,
    /// Hold it once it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldTerms>,
    /// The cut is right although it may look suspect: somebody looked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept: bool,
}

/// Why and how long retention must leave a snapshot alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldTerms {
    /// For whoever reads the list.
    pub reason: String,
    /// From the moment that the agent sets it; `None`: until it is released.
    pub lasts_seconds: Option<u64>,
}

/// Hold a snapshot that there is, or release it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldWork {
    /// `latest`, or (the start of) a snapshot's id.
    pub snapshot: String,
    /// What becomes of its holds.
    pub change: HoldChange,
}

/// What becomes of a snapshot's holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldChange {
    /// One more is set.
    Set(HoldTerms),
    /// All of them end.
    Release {
        /// Why.
        reason: String,
    },
}

/// Rehearse the recovery of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillWork {
    /// Its kind.
    pub kind: DrillKind,
    /// `latest`, or (the start of) a snapshot's id.
    pub snapshot: String,
    /// The host whose repository is rehearsed; `None`: the agent's own.
    pub from_host: Option<HostName>,
    /// The most bytes that the rung `bytes` reads beyond what other rungs read; `None`: everything.
    pub bytes_budget: Option<u64>,
    /// Names of hooks in the agent's own file.
    pub hooks: Vec<String>,
    /// How far recall may fall below recall at the cut; `None`: the agent's default.
    pub recall_tolerance: Option<f64>,
    /// Only sources of this kind; `None`: all.
    pub only: Option<SourceKind>,
    /// How the data was lost that a `restore` drill brings back; `None`: nothing stands where it is restored to.
    #[serde(default)]
    pub loss: Option<Loss>,
    /// Bytes that were verified within this time need not be read again for the rung `bytes` to pass; `None`: all.
    #[serde(default)]
    pub bytes_cycle: Option<Duration>,
    /// Tables whose digest was proved in place within this time are not scanned again; `None`: all are.
    #[serde(default)]
    pub content_cycle: Option<Duration>,
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A LanceDB database folder.
    Lancedb,
    /// An append-only log and its rotated segments.
    AuditLog,
}

impl SourceKind {
    /// As configurations, manifests and reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lancedb => "lancedb",
            Self::AuditLog => "audit-log",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SourceKind {
    type Err = ParseTaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "lancedb" => Ok(Self::Lancedb),
            "audit-log" => Ok(Self::AuditLog),
            _ => Err(ParseTaskError::Source(text.to_owned())),
        }
    }
}

/// Restore a snapshot, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreWork {
    /// The host whose repository is restored from; `None`: the agent's own.
    pub from_host: Option<HostName>,
    /// `latest`, or (the start of) a snapshot's id.
    pub snapshot: String,
    /// Names of sources. Empty: all.
    pub sources: Vec<String>,
    /// One table of a database, by its path in the database.
    pub table: Option<String>,
    /// Globs of paths within sources (`*`, `?`, `**`). Empty: all.
    pub paths: Vec<String>,
    /// The folder below which each source gets a folder of its name; absolute, and allowed by the agent's own file.
    pub to: PathBuf,
    /// What may happen to what stands at the target.
    pub existing: Existing,
    /// Fetch every byte, also of files that stand at the target and have the right hash.
    pub fetch_all: bool,
    /// Answer with the plan and do nothing.
    pub plan_only: bool,
}

/// What may happen to what stands at a restore's target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Nothing: the target must be absent or empty.
    #[default]
    Refuse,
    /// The folder is exchanged as a whole; the old one stays beside it.
    Exchange,
    /// What is restored is exchanged entry by entry; everything else in the folder stays.
    Entries,
}

/// Look at the live sources, read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckWork {
    /// What to look at.
    pub kind: CheckKind,
    /// Names of sources. Empty: all of the kind.
    pub sources: Vec<String>,
}

/// What a live check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// Databases: heads readable, closures complete, branches safe.
    VectorDb,
    /// Audit logs: framing, chain, continuity.
    AuditLog,
    /// Protection: ages of the last snapshot and proof, bit rot of files that can not change.
    DrIntegrity,
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VectorDb => "vector-db",
            Self::AuditLog => "audit-log",
            Self::DrIntegrity => "dr-integrity",
        })
    }
}

impl FromStr for CheckKind {
    type Err = ParseTaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "vector-db" => Ok(Self::VectorDb),
            "audit-log" => Ok(Self::AuditLog),
            "dr-integrity" => Ok(Self::DrIntegrity),
            _ => Err(ParseTaskError::Check(text.to_owned())),
        }
    }
}

impl Work {
    /// The word for the task in metrics and state files: `snapshot`, `drill`, `restore`, `check` or `hold`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Drill(_) => "drill",
            Self::Restore(_) => "restore",
            Self::Check(_) => "check",
            Self::Hold(_) => "hold",
        }
    }

    /// The host whose repository the work reads, if it is not the agent's own.
    pub fn from_host(&self) -> Option<&HostName> {
        match self {
            Self::Drill(drill) => drill.from_host.as_ref(),
            Self::Restore(restore) => restore.from_host.as_ref(),
            Self::Snapshot(_) | Self::Check(_) | Self::Hold(_) => None,
        }
    }
}

/// What lists show: `snapshot`, `drill verify`, `restore`, `check vector-db`, `snapshot hold`.
impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(_) => f.write_str("snapshot"),
            Self::Drill(drill) => write!(f, "drill {}", drill.kind),
            Self::Restore(restore) if restore.plan_only => f.write_str("restore plan"),
            Self::Restore(_) => f.write_str("restore"),
            Self::Check(check) => write!(f, "check {}", check.kind),
            Self::Hold(hold) => f.write_str(match hold.change {
                HoldChange::Set(_) => "snapshot hold",
                HoldChange::Release { .. } => "snapshot release",
            }),
        }
    }
}
