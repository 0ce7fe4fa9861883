//! Why something could not be read out of a snapshot.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::ChunkId;
use crate::tree::{StreamError, TreePath};

/// Why something could not be read out of a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The snapshot has no source of that name.
    #[error("the snapshot has no source {name}, but {}", sources.join(", "))]
    NoSource {
        /// What was asked for.
        name: String,
        /// What there is.
        sources: Vec<String>,
    },
    /// A source's file list could not be read.
    #[error("read the file list of source {origin}")]
    List {
        /// The source.
        origin: String,
        /// What happened.
        #[source]
        source: StreamError,
    },
    /// A chunk of a file is disproved or gone.
    #[error("{path} of source {origin} is damaged at byte {offset} (chunk {})", chunk.short())]
    Damaged {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// Where in the file the chunk begins.
        offset: u64,
        /// The chunk.
        chunk: ChunkId,
        /// What is wrong with which object.
        #[source]
        source: crate::Error,
    },
    /// A chunk of a file could not be asked for: says nothing about the data.
    #[error("{path} of source {origin} can not be read at byte {offset} (chunk {})", chunk.short())]
    Unavailable {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// Where in the file the chunk begins.
        offset: u64,
        /// The chunk.
        chunk: ChunkId,
        /// What happened.
        #[source]
        source: crate::Error,
    },
    /// A directory or link was to be read.
    #[error("{path} of source {origin} is no file")]
    NotAFile {
        /// The source.
        origin: String,
        /// The entry.
        path: TreePath,
    },
    /// A range beyond the file's end.
    #[error("bytes {}..{} of {path} of source {origin} were asked for, it has {len}", range.start, range.end)]
    OutOfRange {
        /// The source.
        origin: String,
        /// The file.
        path: TreePath,
        /// What was asked for.
        range: Range<u64>,
        /// The file's length.
        len: u64,
    },
    /// The local copy of a file list could not be written or read.
    #[error("keep a file list in {}: is there space, and may it be written?", dir.display())]
    Spool {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether the repository's content is disproved, rather than out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::List { source, .. } => source.is_damage(),
            _ => false,
        }
    }
}
