//! Traces of runs: one span from a run's beginning to its end, below which agents hang what they do.
//!
//! # Overview
//! A run that the scheduler started is the root of a trace, `slot`; one that an operator started is a step `run` of the
//! trace of the call. The span's ids follow from the run's own id, so that they need not be kept and are the same for
//! every incarnation. It is told when the run has ended: only then is it known whether it is worth sending.
//!
//! A run that is tried again ends again. Each retry is a span of its own, `retry`, below that of the run; what agents do
//! for it hangs below the retry. So a trace holds each span once.
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

/// The ids of the span of what a run is at: itself, or its newest retry. `None` for runs that are no part of any
/// trace.
fn ids(run: &RunRecord) -> Option<Ids> {
    ids_of(run, run.retries)
}

/// The ids of the span of a run's first round, 0, or of a retry.
fn ids_of(run: &RunRecord, retry: u32) -> Option<Ids> {
    let digest = |what: &str| *blake3::hash(format!("{what} of run {}", run.id).as_bytes()).as_bytes();
    let mut span = [0; 8];
    let what = match retry {
        0 => "span".to_owned(),
        retry => format!("retry {retry}"),
    };
    span.copy_from_slice(&digest(&what)[..8]);
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

/// Tells of a run, or of a retry of one, that has ended.
pub(super) fn ended(run: &RunRecord) {
    if let Some(past) = past_of(run) {
        past::tell(past);
    }
}

fn past_of(run: &RunRecord) -> Option<Past> {
    let (ids, finished) = (ids(run)?, run.finished?);
    let mut attributes = vec![
        ("run", run.id.to_string()),
        ("work", run.work.clone()),
        ("state", run.state.name().to_owned()),
    ];
    if let Some(slot) = &run.slot {
        attributes.push(("plan", slot.plan.clone()));
        attributes.push(("slot", slot.at.to_string()));
    }
    let name = match (run.retries, run.origin) {
        (0, Origin::Schedule) => "slot",
        (0, Origin::Operator | Origin::Agent | Origin::Recovered) => "run",
        (retry, _) => {
            attributes.push(("retry", retry.to_string()));
            "retry"
        }
    };
    let is_retry = run.retries > 0;
    Some(Past {
        name,
        ids,
        parent: if is_retry {
            ids_of(run, 0).map(|first| first.traceparent())
        } else {
            run.traceparent.clone()
        },
        // Only what did not pass is tried again.
        after_failure: is_retry,
        began: system_time(run.retried.unwrap_or(run.created)),
        ended: system_time(finished),
        failed: (run.state != RunState::Passed).then(|| run.explanation.clone()),
        attributes,
    })
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
    fn a_retry_is_a_span_of_its_own_below_the_run() {
        let first = RunRecord {
            state: RunState::Failed,
            finished: Some("2026-11-26T04:00:00Z".parse().unwrap()),
            ..run_by(Origin::Schedule)
        };
        let again = RunRecord {
            state: RunState::Passed,
            retries: 1,
            retried: Some("2026-11-26T05:00:00Z".parse().unwrap()),
            finished: Some("2026-11-26T06:00:00Z".parse().unwrap()),
            ..first.clone()
        };
        let (run, retry) = (past_of(&first).unwrap(), past_of(&again).unwrap());
        assert_eq!((run.name, retry.name), ("slot", "retry"));
        assert_eq!(run.ids.trace, retry.ids.trace);
        assert_ne!(run.ids.span, retry.ids.span, "each span is told once");
        assert_eq!(retry.parent, Some(run.ids.traceparent()));
        assert_eq!(retry.began, system_time(again.retried.unwrap()));
        assert!(retry.after_failure && retry.failed.is_none());
        assert_eq!(
            traceparent(&again),
            Some(retry.ids.traceparent()),
            "what agents do again hangs below it"
        );
        let third = RunRecord { retries: 2, ..again };
        assert_ne!(past_of(&third).unwrap().ids.span, retry.ids.span);
    }

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
