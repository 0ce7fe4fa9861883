//! Traces of runs: one span from a run's beginning to its end, below which agents hang what they do.
//!
//! # Overview
//! A run that the scheduler started is the root of a trace, `slot`; one that an operator started is a step `run` of the
//! trace of the call. The span's ids follow from the run's own id, so that they need not be kept and are the same for
//! every incarnation. It is told when the run has ended: only then is it known whether it is worth sending.
//!
//! # Crash consistency
//! A coordinator that dies between the end of a run and this leaves a trace without its top. Traces explain; they prove
//! nothing.

use std::time::{Duration, SystemTime};

use dr_proto::model::RunState;
use dr_store::runs::{Origin, RunRecord};
use dr_telemetry::past::{self, Ids, Past};
use jiff::Timestamp;

/// The trace that a run belongs to, 32 hex digits.
pub(crate) fn trace_id(run: &RunRecord) -> Option<String> {
    ids(run).map(|ids| ids.trace_id())
}

/// The ids of a run's span; `None` for runs that are no part of any trace.
fn ids(run: &RunRecord) -> Option<Ids> {
    let digest = |what: &str| *blake3::hash(format!("{what} of run {}", run.id).as_bytes()).as_bytes();
    let mut span = [0; 8];
    span.copy_from_slice(&digest("span")[..8]);
    match (run.origin, &run.traceparent) {
        (_, Some(parent)) => Ids::in_trace_of(parent, span),
        (Origin::Schedule, None) => {
            let mut trace = [0; 16];
            trace.copy_from_slice(&digest("trace")[..16]);
            Some(Ids { trace, span })
        }
        (Origin::Operator | Origin::Agent | Origin::Recovered, None) => None,
    }
}

/// What tasks of a run are given, so that agents go on with its trace.
pub(super) fn traceparent(run: &RunRecord) -> Option<String> {
    ids(run).map(|ids| ids.traceparent())
}

/// Tells of a run that has ended.
pub(super) fn ended(run: &RunRecord) {
    let (Some(ids), Some(finished)) = (ids(run), run.finished) else {
        return;
    };
    let mut attributes = vec![
        ("run", run.id.to_string()),
        ("work", run.work.clone()),
        ("state", run.state.name().to_owned()),
    ];
    if let Some(slot) = &run.slot {
        attributes.push(("plan", slot.plan.clone()));
        attributes.push(("slot", slot.at.to_string()));
    }
    past::tell(Past {
        name: match run.origin {
            Origin::Schedule => "slot",
            Origin::Operator | Origin::Agent | Origin::Recovered => "run",
        },
        ids,
        parent: run.traceparent.clone(),
        began: system_time(run.created),
        ended: system_time(finished),
        failed: (run.state != RunState::Passed).then(|| run.explanation.clone()),
        attributes,
    });
}

/// As OpenTelemetry takes it; nothing here is older than 1970.
fn system_time(at: Timestamp) -> SystemTime {
    let micros = u64::try_from(at.as_microsecond()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::tests::run_by;
    use super::*;

    const CALL: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_slot_has_a_trace_of_its_own_and_a_call_goes_on_with_its_own() {
        let slot = run_by(Origin::Schedule);
        let own = ids(&slot).unwrap();
        assert_eq!(ids(&slot), Some(own), "the same for every incarnation");
        assert_ne!(ids(&run_by(Origin::Schedule)), Some(own));
        let asked = RunRecord {
            traceparent: Some(CALL.to_owned()),
            ..run_by(Origin::Operator)
        };
        let ids_of_call = ids(&asked).unwrap();
        assert_eq!(ids_of_call.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(
            !ids_of_call.traceparent().contains("b7ad6b7169203331"),
            "a span of its own"
        );
        assert_eq!(ids(&run_by(Origin::Agent)), None);
    }
}
