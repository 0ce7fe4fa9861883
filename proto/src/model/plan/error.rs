//! What is wrong with a plan.

use std::fmt;

use crate::model::document::Problem;

/// All that is wrong with a plan; at least one thing.
///
/// Bounded, because it travels in the trailers of an answer: the first [`PlanErrors::MOST`], and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors {
    problems: Vec<Problem>,
    more: usize,
}

/// The most characters of a key and of a reason.
const LONGEST: usize = 240;

impl PlanErrors {
    /// The most problems that are named.
    pub const MOST: usize = 20;

    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line.unwrap_or(0));
        let more = problems.len().saturating_sub(Self::MOST);
        problems.truncate(Self::MOST);
        for problem in &mut problems {
            shorten(&mut problem.key);
            shorten(&mut problem.reason);
        }
        Self { problems, more }
    }

    /// One by one, in the order of lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many more there are.
    pub fn more(&self) -> usize {
        self.more
    }
}

/// One line each, with what to do in brackets.
impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
            if let Some(hint) = &problem.hint {
                write!(f, " ({hint})")?;
            }
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
}

impl std::error::Error for PlanErrors {}
