//! Counting what results say.

use dr_proto::model::{DrillKind, Outcome, Report, Rung, TaskOutcome, TaskState, Work};

use super::Metrics;

impl Metrics {
    /// A result was filed for the first time. `report` is the document of a drill, if it carries one that can be read.
    pub fn filed(&self, work: &Work, outcome: &TaskOutcome, report: Option<&Report>) {
        match work {
            Work::Snapshot(_) => self.snapshots.with_label_values(&[snapshot_word(outcome)]).inc(),
            Work::Drill(drill) => {
                let kind = drill.kind.to_string();
                let labels = [kind.as_str(), outcome.state.name(), cause(outcome)];
                self.drills.with_label_values(&labels).inc();
                if let Some(report) = report {
                    self.measured(&kind, report);
                }
            }
            Work::Restore(_) | Work::Check(_) | Work::Hold(_) => {}
        }
    }

    /// Series of drills that were never run.
    pub(super) fn drills_begin_at_zero(&self) {
        for kind in DRILLS {
            let kind = kind.to_string();
            for (verdict, cause) in [("passed", "none"), ("failed", "other"), ("inconclusive", "other")] {
                self.drills.with_label_values(&[kind.as_str(), verdict, cause]);
            }
            for (_, phase) in PHASES {
                self.phases.with_label_values(&[kind.as_str(), phase]);
            }
        }
        for rung in Rung::ALL {
            for outcome in ["passed", "failed", "inconclusive", "not_applicable"] {
                self.checks
                    .with_label_values(&[rung.to_string().as_str(), outcome]);
            }
        }
    }

    fn measured(&self, kind: &str, report: &Report) {
        for phase in &report.phases {
            self.phases
                .with_label_values(&[kind, phase_name(&phase.name)])
                .observe(phase.seconds.max(0.0));
        }
        for check in report.sources.iter().flat_map(|source| &source.checks) {
            let outcome = match check.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed => "failed",
                Outcome::Inconclusive(_) => "inconclusive",
                Outcome::NotApplicable => "not_applicable",
            };
            self.checks
                .with_label_values(&[check.rung.to_string().as_str(), outcome])
                .inc();
        }
    }
}

/// A snapshot that was stored and is suspect or lacks something ends `partial`.
fn snapshot_word(outcome: &TaskOutcome) -> &'static str {
    match outcome.state {
        TaskState::Passed => "committed",
        TaskState::Partial if outcome.cause == "suspect" => "suspect",
        TaskState::Partial => "incomplete",
        _ => "failed",
    }
}

/// Causes are stable words; whatever else an agent sends must not become a label, for labels are kept for ever.
fn cause(outcome: &TaskOutcome) -> &str {
    let word = outcome.cause.as_str();
    let plain =
        !word.is_empty() && word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match (outcome.state, plain) {
        (_, true) => word,
        (TaskState::Passed, false) => "none",
        (_, false) => "other",
    }
}

/// Kinds of drills that agents run.
pub(super) const DRILLS: [DrillKind; 2] = [DrillKind::Verify, DrillKind::Restore];

/// What reports call phases of drills, and the labels of those.
const PHASES: [(&str, &str); 7] = [
    ("objects", "objects"),
    ("bytes", "bytes"),
    ("tables, content, queries in place", "probe_in_place"),
    ("audit in place", "audit_in_place"),
    ("restore", "restore"),
    ("open", "open"),
    (
        "tables, content, queries, audit and write test of the restored copy",
        "probe_restored",
    ),
];

/// Names of phases come from agents too: only those that are known become labels.
fn phase_name(name: &str) -> &'static str {
    PHASES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("other", |(_, label)| label)
}
