//! Why a backup stopped.

use std::io;

use super::input::CaptureError;
use crate::tree::{Malformed, TreePath};

/// Why a backup stopped; nothing is committed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository could not be brought up to date, written or committed.
    #[error("{step}")]
    Repository {
        /// What was tried, as a verb phrase.
        step: &'static str,
        /// What happened.
        #[source]
        source: crate::Error,
    },
    /// A chunk of a file could not be stored.
    #[error("store {path} of source {origin}")]
    Store {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// What happened.
        #[source]
        source: crate::Error,
    },
    /// A source could not be walked.
    #[error("capture source {origin}")]
    Capture {
        /// The source.
        origin: String,
        /// The entry, and what the system said.
        #[source]
        source: CaptureError,
    },
    /// A file could not be read.
    #[error("read {path} of source {origin}")]
    Read {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is shorter than at the cut: somebody truncated it under its pin.
    #[error(
        "{path} of source {origin} shrank while it was read: it had {len} bytes at the cut; \
         it is not the append-only or write-once file that it should be"
    )]
    Shrank {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// Its length at the cut.
        len: u64,
        /// Where it ended.
        #[source]
        source: io::Error,
    },
    /// A file that never changes has other content than in the last snapshot.
    #[error(
        "{path} of source {origin} has changed although its kind never does and its identity is the same: \
         its disk or its writer is at fault; back up with `--reread` to take it as it is"
    )]
    Changed {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
    },
    /// Entries that do not form a tree: out of order, doubled, or without their directory.
    #[error("the entries of source {origin} form no tree")]
    Disorder {
        /// The source.
        origin: String,
        /// Which, and why.
        #[source]
        source: Malformed,
    },
    /// Two inputs of one name.
    #[error("two sources are named {origin}: every source of a snapshot needs its own name")]
    SameName {
        /// The name.
        origin: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A part of this program failed in a way that should be impossible.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl Error {
    /// Whether the caller cancelled.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Repository { source, .. } | Self::Store { source, .. } => source.is_cancelled(),
            _ => false,
        }
    }

    /// The error of the repository below, if there is one.
    pub fn repository(&self) -> Option<&crate::Error> {
        match self {
            Self::Repository { source, .. } | Self::Store { source, .. } => Some(source),
            _ => None,
        }
    }

    pub(super) fn step(step: &'static str) -> impl FnOnce(crate::Error) -> Self {
        move |source| {
            if source.is_cancelled() {
                Self::Cancelled
            } else {
                Self::Repository { step, source }
            }
        }
    }
}
