//! Why a restore was refused or stopped.

use std::io;
use std::path::PathBuf;

use crate::ChunkId;
use crate::tree::{Invalid, StreamError, TreePath};

/// Why a restore was refused or stopped. What stood at the target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The selection has a pattern that is none.
    #[error("pattern {pattern:?} can not be used: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The snapshot has no source of that name.
    #[error("the snapshot has no source {name}, but {}", sources.join(", "))]
    NoSource {
        /// What was asked for.
        name: String,
        /// What there is.
        sources: Vec<String>,
    },
    /// Nothing of the snapshot is selected.
    #[error("nothing is selected: no entry of {} fits the paths given", sources.join(", "))]
    NothingSelected {
        /// The sources looked through.
        sources: Vec<String>,
    },
    /// Some paths select nothing, beside others that do: what was wanted would come back in part only.
    #[error("nothing fits {}, in none of {}: leave it out or correct it", patterns.join(", "), sources.join(", "))]
    NothingFits {
        /// The patterns.
        patterns: Vec<String>,
        /// The sources looked through.
        sources: Vec<String>,
    },
    /// Several sources for one directory.
    #[error("{} sources can not become one directory {}: choose one, or a directory with one folder for each", sources.len(), target.display())]
    SeveralSources {
        /// The sources.
        sources: Vec<String>,
        /// The directory.
        target: PathBuf,
    },
    /// A source's name can not be a folder's.
    #[error("source {name} can not be restored to a folder of its name")]
    SourceName {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: Invalid,
    },
    /// The target is relative, or the root of the file system.
    #[error("{} can not be a target: {reason}", target.display())]
    Target {
        /// The target.
        target: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// Two selected sources lie at or below one another.
    #[error("the targets {} and {} lie within each other: restore these sources one by one", first.display(), second.display())]
    Overlap {
        /// One target.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Something stands at the target.
    #[error(
        "{} exists and is not empty: choose another target, or state that it may be replaced \
         (exchanged whole, or entry by entry)", target.display()
    )]
    TargetExists {
        /// The target.
        target: PathBuf,
    },
    /// The way to swap in that was asked for can not work here.
    #[error("{} can not be swapped in: {reason}", target.display())]
    Swap {
        /// The target.
        target: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// Not enough space.
    #[error("{} has {available} bytes free, the restore needs {needed}: make space or choose another target", directory.display())]
    NoSpace {
        /// Where it would be written.
        directory: PathBuf,
        /// Bytes needed, with room for the file system's own.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// A source's file list could not be read.
    #[error("read the file list of source {origin}")]
    List {
        /// The source.
        origin: String,
        /// What happened.
        #[source]
        source: Box<StreamError>,
    },
    /// A chunk of a file could not be read.
    #[error("fetch {path} of source {origin} at byte {offset} (chunk {})", chunk.short())]
    Fetch {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// Where in the file the chunk begins.
        offset: u64,
        /// The chunk.
        chunk: ChunkId,
        /// What happened, with the object.
        #[source]
        source: Box<crate::Error>,
    },
    /// A file that was written does not have the content that it had at the cut.
    #[error(
        "{path} of source {origin} came out with other content than it had at the cut: \
         its chunks are sound, so the target's disk or the snapshot's list is at fault"
    )]
    WrongContent {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
    },
    /// The index could not be brought up to date or read.
    #[error("{step}")]
    Repository {
        /// What was tried.
        step: &'static str,
        /// What happened.
        #[source]
        source: crate::Error,
    },
    /// The local file system failed.
    #[error("{operation} {}", path.display())]
    Local {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process restores to the same target.
    #[error(
        "{} is being restored to by another process, which writes to {}: wait for it to end",
        target.display(), staging.display()
    )]
    Busy {
        /// The target.
        target: PathBuf,
        /// Where the other writes.
        staging: PathBuf,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It was cancelled, or the store went away, and another run can go on from what it has written.
    #[error(
        "interrupted; the same restore, given again, goes on from what is in {}",
        shown(staging)
    )]
    Interrupted {
        /// The staging directories.
        staging: Vec<PathBuf>,
        /// What happened.
        #[source]
        source: Box<Error>,
    },
    /// A part of this program failed in a way that should be impossible.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl Error {
    /// Whether the repository's content is disproved, rather than out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::List { source, .. } => source.is_damage(),
            Self::Fetch { source, .. } => source.is_damage(),
            Self::Repository { source, .. } => source.is_damage(),
            Self::WrongContent { .. } => true,
            Self::Interrupted { source, .. } => source.is_damage(),
            _ => false,
        }
    }

    /// Whether the store did not give what was asked for, or what it gave can not be told from that.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::List { .. } | Self::Fetch { .. } | Self::Repository { .. } => {
                !self.is_damage() && !self.is_cancelled()
            }
            Self::Interrupted { source, .. } => source.is_unavailable(),
            _ => false,
        }
    }

    /// Whether another run may succeed where this one stopped, and would want what it has written.
    pub(super) fn is_resumable(&self) -> bool {
        self.is_cancelled() || self.is_unavailable()
    }

    /// Whether there was no space, found beforehand or on the way.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Local { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            }
            _ => false,
        }
    }

    /// Whether the caller cancelled.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Fetch { source, .. } => source.is_cancelled(),
            Self::Repository { source, .. } => source.is_cancelled(),
            Self::Interrupted { source, .. } => source.is_cancelled(),
            _ => false,
        }
    }

    pub(super) fn local(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Local {
            operation,
            path,
            source,
        }
    }
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}
