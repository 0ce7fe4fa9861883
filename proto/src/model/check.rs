//! One question, its answer, and what was found on the way.

use serde::{Deserialize, Serialize};

use super::{Cause, Rung, Verdict};

/// How one question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "cause")]
pub enum Outcome {
    /// The right answer.
    Passed,
    /// A wrong answer: data is damaged, missing or different.
    Failed,
    /// It could not be asked.
    Inconclusive(Cause),
    /// There was nothing to ask: no index, no log, no hook.
    NotApplicable,
}

impl Outcome {
    /// What this outcome does to the verdict; nothing, if there was nothing to ask.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Passed => Some(Verdict::Passed),
            Self::Failed => Some(Verdict::Failed),
            Self::Inconclusive(_) => Some(Verdict::Inconclusive),
            Self::NotApplicable => None,
        }
    }

    /// The worse of two outcomes: failed, then inconclusive, then passed, then not applicable.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.verdict() > self.verdict() {
            other
        } else {
            self
        }
    }
}

/// Something that a check found and somebody should read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The table, file, object, chunk or log line that it is about.
    pub subject: String,
    /// What is wrong with it, in a sentence.
    pub what: String,
}

/// One question's answer for one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The rung that asked.
    pub rung: Rung,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was measured, for people: `3 tables, 15,204 rows`.
    pub figure: String,
    /// What was found; never empty where the outcome is failed or inconclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How long it took, in seconds.
    pub seconds: f64,
}
