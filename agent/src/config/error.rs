//! What can be wrong with a configuration.

use std::path::PathBuf;

pub use dr_proto::model::document::Problem;

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
