//! Live checks: questions to the data that the application works on, read-only and without stopping it.
//!
//! ## Overview
//! [`vector_db`] looks at every table of a database, [`audit_log`] reads a log and its chain, [`integrity`] compares
//! live files that can never change with what the repository holds of them, and looks at the ages of the last
//! snapshot and proof. Each source gets one [`Checked`]; the worst verdict is the check's.
//!
//! A check that could not be asked is inconclusive, never passed.

pub mod audit_log;
pub mod integrity;
pub mod vector_db;

use dr_proto::model::{Finding, Verdict};
use serde::Serialize;

use crate::error::in_one_line;

/// The most findings that one source carries; the rest are counted.
const MOST: usize = 100;

/// Keeps the first `most` findings and says how many more there are.
pub(crate) fn limited(findings: impl IntoIterator<Item = Finding>, most: usize) -> Vec<Finding> {
    let mut findings = findings.into_iter();
    let mut kept: Vec<Finding> = findings.by_ref().take(most).collect();
    let more = findings.count();
    if more > 0 {
        kept.push(Finding {
            subject: "and more".to_owned(),
            what: format!("{more} further findings"),
        });
    }
    kept
}

/// What was found of one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// The source, or what else was asked about.
    pub subject: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was measured, for people.
    pub figure: String,
    /// What is wrong, or could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What is not wrong but asks for attention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Finding>,
}

impl Checked {
    fn new(subject: &str, verdict: Verdict, figure: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict,
            figure: figure.into(),
            findings: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Could not be asked.
    fn unasked(subject: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut checked = Self::new(subject, Verdict::Inconclusive, "not asked");
        checked.findings.push(Finding {
            subject: subject.to_owned(),
            what: in_one_line(error),
        });
        checked
    }
}

/// The worst verdict; without a single answer nothing is proved.
pub fn verdict(checked: &[Checked]) -> Verdict {
    checked
        .iter()
        .map(|checked| checked.verdict)
        .max()
        .unwrap_or(Verdict::Inconclusive)
}
