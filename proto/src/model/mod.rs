//! What a drill asks, what it finds and what that proves.
//!
//! Agents fill these types, reports and metrics are drawn from them. Everything serialises to JSON as it stands:
//! field names here are the report's field names.

mod check;
mod drill;
mod proof;
mod report;
mod verdict;

pub use check::{CheckResult, Finding, Outcome};
pub use drill::{DrillId, DrillKind, ParseDrillError};
pub use proof::{ProofLevel, Rung};
pub use report::{Bytes, Capture, Freshness, Phase, Report, Rpo, SnapshotRef, SourceReport};
pub use verdict::{Cause, Verdict};
