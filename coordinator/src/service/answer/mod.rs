//! From records to answers: one file a topic. Nothing can fail here; a record was validated when it was read.

mod agent;
mod audit;
mod certificate;
mod inventory;
mod plan;
mod run;
mod status;

pub(super) use self::agent::{agent, coverage, snapshot, suspension, token};
pub(super) use self::audit::{chain, entry as audit_entry};
pub(super) use self::certificate::certificate;
pub(super) use self::inventory::{difference, imported};
pub(super) use self::plan::{applied, plan, preview};
pub(super) use self::run::{detail, event, note, report, run};
pub(super) use self::status::status;

use dr_proto::wire;

/// A moment that may not have come.
fn maybe(moment: Option<jiff::Timestamp>) -> Option<prost_types::Timestamp> {
    moment.map(wire::timestamp)
}

/// A length of time that may not be known.
fn maybe_length(length: Option<std::time::Duration>) -> Option<prost_types::Duration> {
    length.map(wire::duration)
}
