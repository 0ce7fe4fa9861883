//! What the operator's services answer, as a client holds it: checked once, typed, and ready to be shown.
//!
//! # Overview
//! Every message of `operator.proto` that a client reads has its type here, with the conversion beside it. They are
//! views: the coordinator's own records are richer. They serialise to JSON as they stand, and those names are what
//! `drctl --output json` promises: times as RFC 3339, lengths of time in seconds, absent where there is none.

mod audit;
mod fleet;
mod inventory;
mod plans;
mod read;
mod runs;

pub use audit::{AuditCheck, AuditEntry};
pub use fleet::{
    Agent, AgentState, Concern, HostSnapshot, Readiness, Reconciler, Replaced, Severity, SourceCoverage,
    Status, Suspended, Token,
};
pub use inventory::{Imported, InventoryDiff, MissingHost, UnexpectedHost};
pub use plans::{Applied, Change, Excluded, Plan, Preview, PreviewHost};
pub use runs::{Document, LeftOut, Note, ProgressView, Run, RunDetail, RunEvent, Task, TaskEvent};
