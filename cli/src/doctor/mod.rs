//! Everything that stands between this host and a fleet that is ready, asked one by one: what is fine, what is not,
//! and the fix.
//!
//! ## Overview
//! Each question answers with [`Finding`]s. What cannot be asked because something before it is broken is left out:
//! one fault, one message. Nothing is changed.

mod fleet;
mod here;

use dr_proto::model::exit::Code;
use dr_terminal::Classify;
use serde::Serialize;

use crate::coordinator::Coordinator;
use crate::error::Failure;
use crate::session::Session;

/// How an answer is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grade {
    /// As it should be.
    Fine,
    /// Works, but somebody should look.
    Warning,
    /// Commands, snapshots or drills will not work.
    Broken,
}

/// One answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// What was asked, in a word or two.
    pub(crate) subject: String,
    /// How it is to be taken.
    pub(crate) grade: Grade,
    /// What was found.
    pub(crate) found: String,
    /// What to do, unless it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
    /// What a command that needs this would end with.
    #[serde(skip)]
    code: Code,
}

impl Finding {
    fn fine(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            grade: Grade::Fine,
            found: found.into(),
            fix: None,
            code: Code::Done,
        }
    }

    fn warning(subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            grade: Grade::Warning,
            fix: Some(fix.into()),
            ..Self::fine(subject, found)
        }
    }

    fn broken(subject: &str, found: impl Into<String>, fix: impl Into<String>, code: Code) -> Self {
        Self {
            grade: Grade::Broken,
            fix: Some(fix.into()),
            code,
            ..Self::fine(subject, found)
        }
    }

    /// A failure that a command would have met.
    fn of(subject: &str, failure: &Failure, otherwise: &str) -> Self {
        let hints = failure.hints();
        let fix = if hints.is_empty() {
            otherwise.to_owned()
        } else {
            hints.join("; ")
        };
        Self::broken(subject, failure.to_string(), fix, failure.class().code())
    }
}

/// Asks everything.
pub(crate) async fn examine(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(resolved) = here::examine(session, &mut findings) else {
        return findings;
    };
    match Coordinator::connect(&resolved, session.timeout).await {
        Ok(coordinator) => {
            findings.push(Finding::fine(
                "reachability",
                format!("{} answers", coordinator.address()),
            ));
            fleet::examine(session, &coordinator, &mut findings).await;
        }
        Err(failure) => findings.push(Finding::of(
            "reachability",
            &failure,
            "is the coordinator running, and is the endpoint right?",
        )),
    }
    findings
}

/// How `doctor` ends: as the first command would that meets what is broken.
pub(crate) fn code(findings: &[Finding]) -> Code {
    findings
        .iter()
        .find(|finding| finding.grade == Grade::Broken)
        .map_or(Code::Done, |finding| finding.code)
}
