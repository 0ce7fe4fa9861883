//! Turns what was found of tables into the checks of a report.

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

/// Keeps as many findings as one check carries.
pub(super) fn limited(findings: Vec<Finding>) -> Vec<Finding> {
    crate::check::limited(findings, MOST)
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

/// `3 of 4 tables`: of these tables those with an answer, and none that is bad. Findings on anything else (a file that
/// belongs to no table, the probe itself) are told, and are no tables.
pub(super) fn tally<'a>(found: &[Found], tables: impl IntoIterator<Item = &'a str>) -> String {
    let is_good = |table: &&str| {
        let mut outcomes = found.iter().filter(|f| f.table == **table).map(|f| f.outcome);
        let first = outcomes.next();
        first.is_some_and(|first| outcomes.fold(first, Ord::max) <= compare::Outcome::NotApplicable)
    };
    let tables: Vec<&str> = tables.into_iter().collect();
    let good = tables.iter().filter(|table| is_good(table)).count();
    format!("{good} of {} tables", tables.len())
}

#[cfg(test)]
mod tests {
    use dr_probe_wire::compare::Question;

    use super::*;

    fn found(table: &str, file: Option<&str>, outcome: compare::Outcome) -> Found {
        Found {
            question: Question::Tables,
            table: table.to_owned(),
            subject: None,
            file: file.map(str::to_owned),
            outcome,
            fault: None,
            message: "as it is".to_owned(),
        }
    }

    #[test]
    fn a_tally_counts_tables_and_nothing_else() {
        use compare::Outcome::{Disproved, NotApplicable, Proved, Unknown};
        let tables = ["a.lance", "b.lance", "c.lance"];
        let mut all: Vec<Found> = tables.iter().map(|table| found(table, None, Proved)).collect();
        assert_eq!(tally(&all, tables), "3 of 3 tables");
        all.push(found("b.lance", Some("data/x.lance"), Disproved));
        all.push(found("probe", None, Unknown));
        all.push(found("stray/file", None, Disproved));
        assert_eq!(tally(&all, tables), "2 of 3 tables");
        all.push(found("c.lance", None, NotApplicable));
        assert_eq!(tally(&all, tables), "2 of 3 tables");
        assert_eq!(tally(&[], tables), "0 of 3 tables", "no answer is no good answer");
    }
}
