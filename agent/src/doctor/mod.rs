//! Everything that snapshots and drills need, asked one by one: what is fine, what is not, and the fix.
//!
//! ## Overview
//! Each question answers with [`Finding`]s and none stops the others: a person repairs a host once, not once per
//! message. Nothing is changed but one small object in the store, which is removed again where that is allowed.

mod host;
mod probe;
mod sources;
mod store;

use serde::Serialize;

use crate::exit::Code;
use crate::session::Session;

/// How an answer is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Fine,
    /// Works, but somebody should look.
    Warning,
    /// Snapshots or drills will not work.
    Broken,
}

/// One answer.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was asked, in a word or two.
    pub subject: String,
    /// How it is to be taken.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do, unless it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What a command that needs this would end with.
    #[serde(skip)]
    pub code: Code,
}

impl Finding {
    fn fine(subject: impl Into<String>, found: impl Into<String>) -> Self {
        let (subject, found) = (subject.into(), found.into());
        Self {
            subject,
            grade: Grade::Fine,
            found,
            fix: None,
            code: Code::Done,
        }
    }

    fn warning(subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        let (subject, found) = (subject.into(), found.into());
        Self {
            subject,
            grade: Grade::Warning,
            found,
            fix: Some(fix.into()),
            code: Code::Done,
        }
    }

    fn broken(
        subject: impl Into<String>,
        found: impl Into<String>,
        fix: impl Into<String>,
        code: Code,
    ) -> Self {
        let (subject, found) = (subject.into(), found.into());
        Self {
            subject,
            grade: Grade::Broken,
            found,
            fix: Some(fix.into()),
            code,
        }
    }
}

/// Asks everything.
pub async fn examine(session: &Session) -> Vec<Finding> {
    let mut findings = host::examine(session).await;
    findings.extend(probe::examine(&session.config).await);
    findings.extend(sources::examine(session).await);
    findings.extend(store::examine(session).await);
    findings
}

/// How `doctor` ends: as the first command would that meets what is broken.
pub fn code(findings: &[Finding]) -> Code {
    findings
        .iter()
        .find(|finding| finding.grade == Grade::Broken)
        .map_or(Code::Done, |finding| finding.code)
}
