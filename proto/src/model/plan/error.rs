//! What is wrong with a plan.

use std::fmt;

use crate::model::document::Problem;

/// All that is wrong with a plan; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors(Vec<Problem>);

impl PlanErrors {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line.unwrap_or(0));
        Self(problems)
    }

    /// One by one, in the order of lines.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

/// One line each, with what to do in brackets.
impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
            if let Some(hint) = &problem.hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for PlanErrors {}
