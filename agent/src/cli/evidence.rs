//! What a build server wants beside the exit code: a JUnit file, and a page for its summary.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use dr_proto::model::{Cause, Finding, Verdict};
use dr_proto::render::{self, Answer, Evidence, Subject};

use crate::check::Checked;
use crate::error::{Doing, Failure};
use crate::session::Session;
use crate::stop::Reason;

/// The variable in which GitHub names the file that its summary is drawn from.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Where evidence goes beside the terminal.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Also write the answers as a JUnit file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Writes what was asked for: the JUnit file, and with `--ci` the step summary.
pub(super) fn publish(session: &Session, options: &Options, evidence: &Evidence) -> Result<(), Failure> {
    if let Some(path) = &options.junit {
        whole(path, &render::junit(evidence)).doing(|| format!("write the JUnit file {}", path.display()))?;
    }
    let Some(path) = summary_file(session.ui.is_ci()) else {
        return Ok(());
    };
    append(&path, &render::markdown(evidence)).doing(|| format!("write the step summary {}", path.display()))
}

/// A command that came to no verdict at all says why in the step summary.
pub(super) fn publish_failure(ci: bool, failure: &Failure) -> std::io::Result<()> {
    let Some(path) = summary_file(ci) else {
        return Ok(());
    };
    let evidence = Evidence {
        title: "dr-agent".to_owned(),
        verdict: Verdict::Inconclusive,
        figures: Vec::new(),
        subjects: Vec::new(),
        notes: std::iter::once(failure.to_string())
            .chain(failure.hints().iter().cloned())
            .collect(),
    };
    append(&path, &render::markdown(&evidence))
}

fn summary_file(ci: bool) -> Option<PathBuf> {
    let path = std::env::var_os(STEP_SUMMARY).filter(|path| !path.is_empty());
    path.filter(|_| ci).map(PathBuf::from)
}

/// Whole or not at all: a build server must not read half a file as a small green one.
fn whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.partial", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        // It may never have been made.
        let _absent = std::fs::remove_file(&unfinished);
    }
    written
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")
}

/// What a live check found.
pub(super) fn of_check(session: &Session, check: &str, verdict: Verdict, checked: &[Checked]) -> Evidence {
    let subject = |checked: &Checked| Subject {
        name: checked.subject.clone(),
        answers: vec![Answer {
            question: check.to_owned(),
            verdict: Some(checked.verdict),
            cause: cause(session, checked.verdict),
            figure: checked.figure.clone(),
            findings: checked.findings.clone(),
            seconds: None,
        }],
        notes: checked.warnings.iter().map(sentence).collect(),
    };
    Evidence {
        title: format!("check {check} on {}", session.config.agent.host),
        verdict,
        figures: Vec::new(),
        subjects: checked.iter().map(subject).collect(),
        notes: Vec::new(),
    }
}

/// Why a question was left open, as far as the process knows.
pub(super) fn cause(session: &Session, verdict: Verdict) -> Option<Cause> {
    match (verdict, session.stop.reason()) {
        (Verdict::Inconclusive, Some(Reason::HostBusy)) => Some(Cause::HostBusy),
        (Verdict::Inconclusive, Some(_)) => Some(Cause::Cancelled),
        _ => None,
    }
}

fn sentence(finding: &Finding) -> String {
    format!("{}: {}", finding.subject, finding.what)
}
