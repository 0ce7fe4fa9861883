//! Reports for readers that are no terminal: JUnit for build servers, Markdown for their summaries.
//!
//! # Overview
//! Whatever asked questions and got answers becomes an [`Evidence`]: a drill's [`Report`] by `From`, a live check or
//! a check of a repository by filling it. [`junit()`] and [`markdown()`] draw that one shape, so that agents and operators'
//! tools say the same of the same thing.
//!
//! What could not be asked is an error in JUnit and a question mark in Markdown, never a pass.

mod junit;
mod markdown;

use crate::model::{Cause, Finding, Freshness, Outcome, Report, SourceReport, Verdict};

pub use junit::junit;
pub use markdown::markdown;

/// Questions, answers and what else a reader must know.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What was done: `restore drill on db-7`.
    pub title: String,
    /// The verdict over everything.
    pub verdict: Verdict,
    /// Figures with their names, in order of weight.
    pub figures: Vec<(String, String)>,
    /// What was asked about, each with its questions.
    pub subjects: Vec<Subject>,
    /// What the figures leave out, and everything else to know.
    pub notes: Vec<String>,
}

/// Something that questions were asked about: a source, a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// One entry a question; never empty, or nothing was asked.
    pub answers: Vec<Answer>,
    /// What is to know of it.
    pub notes: Vec<String>,
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question in a word or two.
    pub question: String,
    /// How it ended; `None` if there was nothing to ask.
    pub verdict: Option<Verdict>,
    /// Why it could not be asked, where that is known.
    pub cause: Option<Cause>,
    /// What was measured.
    pub figure: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// How long it took in seconds, where that was measured.
    pub seconds: Option<f64>,
}

impl From<&Report> for Evidence {
    fn from(report: &Report) -> Self {
        let mut notes: Vec<String> = Vec::new();
        if let Some(why) = report.snapshot.as_ref().and_then(|s| s.suspect.as_ref()) {
            notes.push(format!("the snapshot is suspect: {why}"));
        }
        notes.extend(report.notes.iter().cloned());
        Self {
            title: format!("{} drill on {}", report.kind, report.host),
            verdict: report.verdict,
            figures: figures(report),
            subjects: report.sources.iter().map(Subject::from).collect(),
            notes,
        }
    }
}

fn figures(report: &Report) -> Vec<(String, String)> {
    let figure = |name: &str, value: String| (name.to_owned(), value);
    let seconds = |value: Option<f64>, without: &str| value.map_or_else(|| without.to_owned(), seconds);
    let snapshot = report.snapshot.as_ref();
    let freshness = match &report.freshness {
        Freshness::Fresh => "as new as the host remembers".to_owned(),
        Freshness::Unknown => "unknown".to_owned(),
        Freshness::RolledBack { expected } => format!("ROLLED BACK: snapshot {expected} is remembered"),
    };
    let repository = if report.encrypted {
        report.repository.clone()
    } else {
        format!("{} (NOT ENCRYPTED)", report.repository)
    };
    let mut figures = vec![
        figure("proof level", report.proof.to_string()),
        figure("RTO", seconds(report.time_to_usable, "nothing restored")),
        figure("time to proven", seconds(Some(report.time_to_proven), "")),
        figure(
            "RPO at the moment of loss",
            seconds(report.rpo.at_loss, "unknown"),
        ),
        figure(
            "worst gap between cuts",
            seconds(report.rpo.worst_gap, "one cut only"),
        ),
        figure(
            "snapshot",
            snapshot.map_or_else(|| "none".to_owned(), |s| format!("{} cut {}", s.id, s.cut)),
        ),
        figure("repository", repository),
        figure("freshness", freshness),
        figure("drill", report.drill.to_string()),
        figure("binding", report.binding.clone()),
        figure("started", report.started.to_string()),
        figure("agent", report.agent.clone()),
        figure("probe", report.probe.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    figures.extend(
        report
            .loss
            .map(|loss| figure("loss that was rehearsed", loss.to_string())),
    );
    figures
}

/// Seconds as a figure that sorts and compares: two digits after the point.
fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

impl From<&SourceReport> for Subject {
    fn from(source: &SourceReport) -> Self {
        let answer = |check: &crate::model::CheckResult| Answer {
            question: format!("{} {}", check.rung.number(), check.rung),
            verdict: check.outcome.verdict(),
            cause: match check.outcome {
                Outcome::Inconclusive(cause) => Some(cause),
                _ => None,
            },
            figure: check.figure.clone(),
            findings: check.findings.clone(),
            seconds: Some(check.seconds),
        };
        Self {
            name: source.name.clone(),
            answers: source.checks.iter().map(answer).collect(),
            notes: source.notes.clone(),
        }
    }
}

impl Answer {
    /// How it ended, with the cause where one is known: `inconclusive (no_probe)`.
    fn ending(&self) -> String {
        match (self.verdict, self.cause) {
            (None, _) => "n/a".to_owned(),
            (Some(verdict), None) => verdict.to_string(),
            (Some(verdict), Some(cause)) => format!("{verdict} ({cause})"),
        }
    }
}

#[cfg(test)]
mod tests;
