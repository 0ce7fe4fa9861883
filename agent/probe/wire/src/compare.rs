//! Judges what was measured of a copy by the facts recorded at its cut.
//!
//! # Overview
//! Pure functions, so that the agent links no Lance. Each gives [`Finding`]s: one question, its outcome, a figure
//! for the report and a sentence that names what differs.
//!
//! # What counts as equal
//! * Content: row count and sum; when they differ, the columns whose own sums differ are named. What the measurement
//!   at the cut contradicted already (a compaction that changed rows) is no good content, however well it comes back.
//! * Exact top-k: the same rows in the same order, except that rows whose distances differ by no more than
//!   [`Rules::distance_tolerance`] may change places, and those at the end may be replaced by one another. Floating
//!   point sums depend on the instructions of the CPU, so "the same distance" has to be taken so.
//! * The index's own answers: the same for the same probe on the same kind of CPU; otherwise recall against the
//!   exact top-k must not be below recall at the cut by more than [`Rules::recall_tolerance`].
//! * Full text: the same scores and rows, with the same freedom among equal scores; the most a drill can ask of
//!   another probe version is that the rows above the last score come back as far as recall tolerance demands.
//! * Filters: the same counts, with and without the index.
//!
//! A question that could not be asked is [`Outcome::Unknown`], never a pass.

mod queries;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::queries::{Order, queries, recall, same_ranking};
use crate::facts::Facts;
use crate::fault::{Fault, FaultKind, Step};
use crate::measure::TableMeasure;

/// Tolerances.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// By how much recall may be below recall at the cut.
    pub recall_tolerance: f64,
    /// The relative difference up to which two distances or scores are the same.
    pub distance_tolerance: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            recall_tolerance: 0.02,
            distance_tolerance: 1e-4,
        }
    }
}

/// Which question a finding answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Opened, version, rows, `validate()`.
    Tables,
    /// The digest of the full scan.
    Content,
    /// Golden queries and index prewarm.
    Queries,
    /// Append, optimise, cleanup.
    WriteTest,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The data is as recorded.
    Proved,
    /// There was nothing to ask.
    NotApplicable,
    /// It could not be asked, or there is nothing to compare with.
    Unknown,
    /// The data is not as recorded.
    Disproved,
}

/// One judged question about one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The question.
    pub question: Question,
    /// The table's folder.
    pub table: String,
    /// The index, column or query concerned, when it is not the whole table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The file concerned, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The answer.
    pub outcome: Outcome,
    /// Why it is not a pass, as a kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultKind>,
    /// A sentence with the figures.
    pub message: String,
}

impl Finding {
    fn new(question: Question, table: &str, outcome: Outcome, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            question,
            table: table.to_owned(),
            subject: None,
            file: None,
            outcome,
            fault: None,
            message,
        }
    }

    fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    fn of_fault(question: Question, table: &str, fault: &Fault) -> Self {
        let outcome = if fault.kind.disproves() {
            Outcome::Disproved
        } else {
            Outcome::Unknown
        };
        let mut finding = Self::new(question, table, outcome, fault.to_string());
        finding.subject = fault.subject.clone();
        finding.file = fault.file.clone();
        finding.fault = Some(fault.kind);
        finding
    }
}

/// The worst outcome of some findings; `None` when there are none.
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<Outcome> {
    findings.into_iter().map(|finding| finding.outcome).max()
}

/// What a snapshot's manifest promises of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// Its folder.
    pub path: String,
    /// Its version.
    pub version: u64,
    /// Its rows; unset when the agent could not decode that.
    pub rows: Option<u64>,
}

/// Whether every table that the manifest names was opened, with the version and rows it promises, and `validate()`
/// had no objection.
pub fn tables(stamped: &[Stamped], measured: &[TableMeasure]) -> Vec<Finding> {
    let of = |path: &str| measured.iter().find(|table| table.path == path);
    stamped
        .iter()
        .flat_map(|stamp| table(stamp, of(&stamp.path)))
        .collect()
}

fn table(stamp: &Stamped, measured: Option<&TableMeasure>) -> Vec<Finding> {
    let finding = |outcome, message: String| Finding::new(Question::Tables, &stamp.path, outcome, message);
    let Some(measured) = measured else {
        return vec![finding(
            Outcome::Unknown,
            "the probe told nothing of this table".to_owned(),
        )];
    };
    let mut findings: Vec<Finding> = faults(measured, Question::Tables).collect();
    let (Some(version), Some(rows)) = (measured.version, measured.rows) else {
        if findings.is_empty() {
            findings.push(finding(Outcome::Unknown, "it was not opened".to_owned()));
        }
        return findings;
    };
    if version != stamp.version {
        let message = format!(
            "version {version} was opened where the snapshot holds {}",
            stamp.version
        );
        findings.push(finding(Outcome::Disproved, message));
    }
    if let Some(wanted) = stamp.rows.filter(|wanted| *wanted != rows) {
        findings.push(finding(
            Outcome::Disproved,
            format!("{rows} rows where the snapshot holds {wanted}"),
        ));
    }
    if findings.is_empty() {
        let validated = if measured.validated {
            ", validate() has no objection"
        } else {
            ""
        };
        findings.push(finding(
            Outcome::Proved,
            format!("version {version}, {rows} rows{validated}"),
        ));
    }
    findings
}

fn faults(measured: &TableMeasure, question: Question) -> impl Iterator<Item = Finding> {
    let of = |step| match step {
        Step::Connect | Step::Open | Step::Validate => Question::Tables,
        Step::Scan => Question::Content,
        Step::Prewarm | Step::Query => Question::Queries,
        Step::WriteTest => Question::WriteTest,
    };
    let asked = measured
        .faults
        .iter()
        .filter(move |fault| of(fault.step) == question);
    asked.map(move |fault| Finding::of_fault(question, &measured.path, fault))
}

/// Whether the full scan of every recorded table gives the recorded digest.
pub fn content(recorded: &Facts, measured: &[TableMeasure]) -> Vec<Finding> {
    let of = |path: &str| measured.iter().find(|table| table.path == path);
    recorded
        .tables
        .iter()
        .flat_map(|table| table_content(table, of(&table.path)))
        .collect()
}

fn table_content(recorded: &TableMeasure, measured: Option<&TableMeasure>) -> Vec<Finding> {
    let finding = |outcome, message: &str| Finding::new(Question::Content, &recorded.path, outcome, message);
    let Some(measured) = measured else {
        return vec![finding(Outcome::Unknown, "the probe told nothing of this table")];
    };
    let found: Vec<Finding> = faults(measured, Question::Content).collect();
    if !found.is_empty() {
        return found;
    }
    let wrong_then: Vec<Finding> = faults(recorded, Question::Content)
        .filter(|fault| fault.outcome == Outcome::Disproved)
        .map(|fault| Finding {
            message: format!("at the cut already: {}", fault.message),
            ..fault
        })
        .collect();
    if !wrong_then.is_empty() {
        return wrong_then;
    }
    match (&recorded.content, &measured.content) {
        (Some(recorded), Some(measured)) => vec![digests(recorded, measured, finding)],
        (None, _) => vec![finding(Outcome::Unknown, "no digest was recorded at the cut")],
        (_, None) if measured.version.is_none() => {
            vec![finding(
                Outcome::Unknown,
                "the table could not be opened, so it was not scanned",
            )]
        }
        (_, None) => vec![finding(Outcome::Unknown, "it was not scanned")],
    }
}

fn digests(
    recorded: &crate::measure::Content,
    measured: &crate::measure::Content,
    finding: impl Fn(Outcome, &str) -> Finding,
) -> Finding {
    let (want, have) = (&recorded.digest, &measured.digest);
    if want == have {
        let message = format!(
            "{} rows, digest {} as recorded",
            have.rows,
            short(&have.sum.to_string())
        );
        return finding(Outcome::Proved, &message);
    }
    let names: std::collections::BTreeSet<&String> = want.columns.keys().chain(have.columns.keys()).collect();
    let differing = |name: &&&String| want.columns.get(**name) != have.columns.get(**name);
    let columns: Vec<&str> = names.iter().filter(differing).map(|name| name.as_str()).collect();
    let message = if want.rows == have.rows {
        format!("the digest of {} rows differs, in {}", have.rows, list(&columns))
    } else {
        format!("{} rows scanned where {} were recorded", have.rows, want.rows)
    };
    let mut finding = finding(Outcome::Disproved, &message);
    if want.rows == have.rows {
        finding.subject = Some(columns.join(", "));
    }
    finding.fault = Some(FaultKind::Contradiction);
    finding
}

fn short(sum: &str) -> &str {
    sum.get(..12).unwrap_or(sum)
}

fn list(columns: &[&str]) -> String {
    match columns {
        [] => "the way columns are joined to rows".to_owned(),
        [one] => format!("column {one}"),
        many => format!("columns {}", many.join(", ")),
    }
}

/// Whether the write test of every table was done and kept the row count.
pub fn write_tests(measured: &[TableMeasure]) -> Vec<Finding> {
    measured.iter().flat_map(write_test).collect()
}

fn write_test(measured: &TableMeasure) -> Vec<Finding> {
    let finding =
        |outcome, message: String| Finding::new(Question::WriteTest, &measured.path, outcome, message);
    let found: Vec<Finding> = faults(measured, Question::WriteTest).collect();
    if !found.is_empty() {
        return found;
    }
    let Some(test) = &measured.write_test else {
        let note = measured.notes.iter().find(|note| note.starts_with("write test"));
        return vec![match note {
            Some(note) => finding(Outcome::NotApplicable, note.clone()),
            None => finding(Outcome::Unknown, "it was not written to".to_owned()),
        }];
    };
    let (before, after) = test.rows;
    if after == before + test.appended && test.rows_after_cleanup == after {
        let message = format!(
            "{} rows appended, optimised, cleaned up; {after} rows stay",
            test.appended
        );
        return vec![finding(Outcome::Proved, message)];
    }
    let message = format!(
        "{before} rows, {} appended, {after} afterwards, {} after optimise and cleanup",
        test.appended, test.rows_after_cleanup
    );
    vec![finding(Outcome::Disproved, message)]
}
