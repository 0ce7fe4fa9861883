//! The list of files of one source: what is in it, in which order, and how it is written down.
//!
//! ## Overview
//! A tree is a stream of [`Record`]s in order of [`TreePath`]: an [`Entry`] for each directory, file and link; after a
//! file's entry its chunks in records of at most [`MAX_CHUNKS`], then an [`Record::End`] with the hash of the whole
//! content. The hash stands last so that a file of any size is written down while it is being read.
//!
//! ## Layout
//! The stream is cut into chunks and stored in packs like any file's content, so that an unchanged stretch of the
//! list costs nothing in the next snapshot and a manifest names only the list's chunks.
//!
//! ## Consistency
//! A tree read out of a repository is hostile until [`Decoder`] has let it pass: paths normal and ascending, every
//! parent a directory of this tree (so nothing is ever written through a link), lengths adding up, sizes bounded.

mod codec;
mod metadata;
mod path;
mod stream;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ChunkId, Digest, Repository};

pub use codec::{Decoder, Encoder, MAX_CHUNKS, MAX_RECORD, Malformed};
pub use metadata::{Identity, MAX_XATTRS, Metadata, Unapplied, Xattr};
pub use path::{Invalid, MAX_NAME, MAX_PATH, TreePath};
pub use stream::{Error as StreamError, TreeStream};

/// Keyed BLAKE3 of a file's whole content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(Digest);

impl ContentHash {
    /// Takes the raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What `hasher` has come to.
    pub fn of(hasher: &blake3::Hasher) -> Self {
        Self::from_bytes(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hasher for [`ContentHash`]es of `repository`.
///
/// Keyed, since file hashes leave the repository in reports: without the key nobody can tell known content by them.
pub fn content_hasher(repository: &Repository) -> blake3::Hasher {
    repository.content_hasher()
}

/// A directory, file or link of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, relative to the source's root.
    pub path: TreePath,
    /// What it is.
    pub kind: EntryKind,
    /// Owner, mode, time, attributes.
    pub metadata: Metadata,
    /// Set for files that never change once written: lets the next backup pass them by without reading.
    pub identity: Option<Identity>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file; its chunks and hash follow in records of their own.
    File {
        /// Length in bytes.
        len: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as stored in the link; never followed by us.
        target: Vec<u8>,
    },
}

impl Entry {
    /// The file's length; `None` for what is no file.
    pub fn file_len(&self) -> Option<u64> {
        match self.kind {
            EntryKind::File { len } => Some(len),
            EntryKind::Directory | EntryKind::Symlink { .. } => None,
        }
    }
}

/// One chunk of a file, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// Which chunk.
    pub id: ChunkId,
    /// Its length before compression.
    pub len: u32,
}

/// An element of a tree's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A directory, link, or the beginning of a file.
    Entry(Entry),
    /// The next chunks of the file that began last.
    Chunks(Vec<ChunkRef>),
    /// The end of the file that began last.
    End(ContentHash),
}
