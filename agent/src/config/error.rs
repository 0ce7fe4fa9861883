//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, where a file is to blame.
    pub line: Option<usize>,
    /// The key, such as `source[0].path`; empty for a syntax error.
    pub key: String,
    /// What is wrong, with the value.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot hold.
    #[error("{}: {}", path.display(), list(problems))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong; at least one.
        problems: Vec<Problem>,
    },
    /// A variable says something that cannot hold.
    #[error("environment variable {variable}: {reason}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong, with the value.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Flags and variables alone say something that cannot hold.
    #[error("{}", list(problems))]
    Flags {
        /// What is wrong; at least one.
        problems: Vec<Problem>,
    },
}

impl Error {
    /// What to do about it.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { .. } => {
                vec!["`dr-agent discover DIR` writes one, or name another with --config".to_owned()]
            }
            Self::Variable { hint, .. } => hint.clone().into_iter().collect(),
            Self::File { problems, .. } | Self::Flags { problems } => problems
                .iter()
                .filter_map(|problem| problem.hint.clone())
                .collect(),
        }
    }
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n  ")
}
