//! What a drill asks, what it finds and what that proves; what is asked of hosts, and where that stands.
//!
//! Agents fill these types, reports and metrics are drawn from them. Everything serialises to JSON as it stands:
//! field names here are the report's field names.

pub mod capability;
mod check;
pub mod document;
mod drill;
pub mod environment;
pub mod exit;
pub mod expected;
mod host;
mod identity;
mod labels;
mod link;
pub mod plan;
mod proof;
mod report;
pub mod schedule;
mod task;
mod token;
pub mod units;
mod verdict;

pub use check::{CheckResult, Finding, Outcome};
pub use drill::{DrillId, DrillKind, Loss, ParseDrillError};
pub use host::{Allow, HoldInfo, HostName, ParseHostError, SnapshotInfo, SourceInfo};
pub use identity::{Domain, Identity, ParseIdentityError, Role};
pub use labels::{HOST, LabelError, Labels, Requirement, Selector, SelectorError, Test};
pub use link::{
    AgentMessage, CancelTask, CoordinatorMessage, Farewell, Goodbye, GoodbyeReason, Heartbeat, Hello,
    History, Inventory, PROTOCOL, PlanText, RunEnded, Slot, StartTask, Suspension, TOLERATED_SKEW, TaskKey,
    TaskResult, TaskUpdate, Verification, Welcome, tolerates,
};
pub use plan::{Plan, PlanErrors};
pub use proof::{ProofLevel, Rung};
pub use report::{Bytes, Capture, Freshness, Phase, Report, Rpo, SnapshotRef, SourceReport};
pub use task::{
    CheckKind, CheckWork, DrillWork, Existing, Fence, HoldChange, HoldTerms, HoldWork, IllegalStep,
    ParseTaskError, Progress, RestoreWork, RunId, RunState, SnapshotWork, SourceKind, TaskId, TaskOutcome,
    TaskState, Work,
};
pub use token::{EnrolmentToken, Fingerprint, ParseTokenError, Secret, SecretHash, TokenId};
pub use verdict::{Cause, Verdict};
