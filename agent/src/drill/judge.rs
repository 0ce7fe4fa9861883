//! Turns what was found of tables into the checks of a report.

use std::collections::BTreeMap;

use dr_probe_wire::compare::{self, Finding as Found};
use dr_probe_wire::fault::FaultKind;
use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};

/// The most findings that one check carries; the rest are counted.
const MOST: usize = 50;

/// One check out of all findings on its question.
///
/// `seconds` is what it took, `figure` says what was measured when everything was right.
pub(super) fn check(rung: Rung, found: &[Found], figure: String, seconds: f64) -> CheckResult {
    let outcome = found
        .iter()
        .map(outcome)
        .fold(Outcome::NotApplicable, Outcome::worse);
    let bad = |f: &&Found| matches!(f.outcome, compare::Outcome::Disproved | compare::Outcome::Unknown);
    let findings = limited(found.iter().filter(bad).map(finding).collect());
    mark(outcome);
    CheckResult {
        rung,
        outcome,
        figure,
        findings,
        seconds,
    }
}

/// Marks the step that asks as failed in its trace, if the answer disproves data.
pub(super) fn mark(outcome: Outcome) {
    if outcome == Outcome::Failed {
        dr_vault::step::failed();
    }
}

/// A check that could not be asked at all.
pub(super) fn unasked(rung: Rung, cause: Cause, subject: &str, why: impl Into<String>) -> CheckResult {
    CheckResult {
        rung,
        outcome: Outcome::Inconclusive(cause),
        figure: "not asked".to_owned(),
        findings: vec![Finding {
            subject: subject.to_owned(),
            what: why.into(),
        }],
        seconds: 0.0,
    }
}

/// Keeps the first findings and says how many more there are.
pub(super) fn limited(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MOST);
    if more > 0 {
        findings.truncate(MOST);
        findings.push(Finding {
            subject: "and more".to_owned(),
            what: format!("{more} further findings"),
        });
    }
    findings
}

/// What a fault means where the question could not be asked.
pub(super) fn cause(kind: Option<FaultKind>) -> Cause {
    match kind {
        Some(FaultKind::TooNew) => Cause::FormatTooNew,
        Some(FaultKind::Limit) => Cause::MemoryLimit,
        Some(FaultKind::Unavailable) => Cause::StoreUnavailable,
        Some(FaultKind::Damaged | FaultKind::Missing | FaultKind::Undecodable | FaultKind::Contradiction) => {
            Cause::Internal
        }
        None => Cause::NoFacts,
    }
}

fn outcome(found: &Found) -> Outcome {
    match found.outcome {
        compare::Outcome::Proved => Outcome::Passed,
        compare::Outcome::NotApplicable => Outcome::NotApplicable,
        compare::Outcome::Unknown => Outcome::Inconclusive(cause(found.fault)),
        compare::Outcome::Disproved => Outcome::Failed,
    }
}

fn finding(found: &Found) -> Finding {
    let mut subject = found.table.clone();
    for part in [&found.subject, &found.file].into_iter().flatten() {
        subject.push_str(": ");
        subject.push_str(part);
    }
    Finding {
        subject,
        what: found.message.clone(),
    }
}

/// `3 tables, 15204 rows` and the like: how many of each outcome, by table.
pub(super) fn tally(found: &[Found]) -> String {
    let mut tables: BTreeMap<&str, compare::Outcome> = BTreeMap::new();
    for f in found {
        let worst = tables.entry(&f.table).or_insert(f.outcome);
        *worst = f.outcome.max(*worst);
    }
    let good = tables
        .values()
        .filter(|o| **o <= compare::Outcome::NotApplicable)
        .count();
    format!("{good} of {} tables", tables.len())
}
