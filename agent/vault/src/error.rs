//! What can go wrong with a repository, said so that a person knows the thing, the reason and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use crate::id::{ChunkId, RepositoryId};
use crate::storage::{self, Key};

/// Answers of a repository.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a repository did not do what it was asked. Cheap to clone: one failed request can concern many chunks.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed; see the source.
    #[error("the store at {location} failed")]
    Storage {
        /// The repository's URL, without secrets.
        location: String,
        /// The store's own error.
        #[source]
        source: Arc<storage::Error>,
    },
    /// An object is not what was written.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// The object that is wrong.
        object: Key,
        /// What was found and what was expected.
        reason: String,
    },
    /// An object that others refer to is gone.
    #[error("{object} is missing: {reason}")]
    Missing {
        /// The object that should be there.
        object: Key,
        /// Who refers to it.
        reason: String,
    },
    /// No index names a pack that holds this chunk.
    #[error(
        "chunk {chunk} is in no pack that the index knows: an index object or a pack is lost; \
         `repository check` names it, and an index can be rebuilt from the packs"
    )]
    ChunkNotIndexed {
        /// The chunk.
        chunk: ChunkId,
    },
    /// None of the keys given opens the repository.
    #[error(
        "the key given opens none of the {tried} key objects of repository {repository} at {location}: \
         use the identity or passphrase of one of its recipients"
    )]
    WrongKey {
        /// The repository's URL, without secrets.
        location: String,
        /// The repository's id.
        repository: RepositoryId,
        /// How many key objects were tried.
        tried: usize,
    },
    /// The repository is encrypted and no key was given.
    #[error("repository {repository} at {location} is encrypted: give an identity file or a passphrase")]
    KeyNeeded {
        /// The repository's URL, without secrets.
        location: String,
        /// The repository's id.
        repository: RepositoryId,
    },
    /// Something belongs to another repository.
    #[error("{what} belongs to repository {found}, not to {expected}: {hint}")]
    ForeignRepository {
        /// What belongs elsewhere: an object's name or the store's location.
        what: Box<str>,
        /// The repository that was opened or remembered.
        expected: RepositoryId,
        /// The repository that was found.
        found: RepositoryId,
        /// What to do.
        hint: Box<str>,
    },
    /// The repository has the remembered id, but another master key.
    #[error(
        "repository {repository} at {location} has another master key than the one used here before: \
         it was replaced. If that was intended, remove {memory}"
    )]
    KeyReplaced {
        /// The repository's URL, without secrets.
        location: String,
        /// The repository's id.
        repository: RepositoryId,
        /// The local record that remembers the former key's fingerprint.
        memory: PathBuf,
    },
    /// The repository was written by a newer version.
    #[error(
        "repository at {location} has format {found}, this version reads up to {known}: use a newer version"
    )]
    NewerFormat {
        /// The repository's URL, without secrets.
        location: String,
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// There is no repository at this place.
    #[error("no repository at {location}: its `config` object does not exist; check the URL, or run `init`")]
    NotARepository {
        /// The URL, without secrets.
        location: String,
    },
    /// There is a repository at this place already.
    #[error(
        "{location} already holds repository {repository}: choose another prefix, or use that repository"
    )]
    AlreadyInitialised {
        /// The URL, without secrets.
        location: String,
        /// The repository that is there.
        repository: RepositoryId,
    },
    /// Parameters that can not work.
    #[error("{reason}")]
    InvalidOptions {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file of keys could not be used.
    #[error("key file {path}: {reason}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do; never its content.
        reason: String,
    },
    /// A key could not be wrapped.
    #[error("wrap the master key for {recipient}: {reason}")]
    Wrap {
        /// For whom.
        recipient: String,
        /// What age says.
        reason: String,
    },
    /// No snapshot fits the name given.
    #[error("no snapshot `{wanted}` in repository {repository}: {hint}")]
    SnapshotNotFound {
        /// What was asked for.
        wanted: String,
        /// The repository's id.
        repository: RepositoryId,
        /// What there is.
        hint: String,
    },
    /// Several snapshots fit the name given.
    #[error("snapshot `{wanted}` is ambiguous, it fits {candidates}: give more digits")]
    SnapshotAmbiguous {
        /// What was asked for.
        wanted: String,
        /// Those that fit.
        candidates: String,
    },
    /// Something is larger than format 1 can hold.
    #[error("{what} has {size} bytes, more than the {limit} that format 1 holds")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The local cache or state could not be used.
    #[error("{operation} {path}")]
    Local {
        /// What was tried: "create", "read", ….
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A file of the local index cache is damaged; the caller removes it and downloads again.
    #[error("local index file {path} is damaged ({reason}); remove it, it is downloaded again")]
    CacheDamaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// An earlier upload of this writer failed; nothing more is accepted.
    #[error("the backup stopped because an earlier step failed")]
    WriterFailed {
        /// The first failure.
        #[source]
        source: Arc<Error>,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A part of this program failed in a way that should be impossible.
    #[error("internal error: {reason}; please report it")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// Whether another try can not help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Storage { source, .. } => source.is_permanent(),
            Self::WriterFailed { source } => source.is_permanent(),
            Self::Local { .. } => false,
            _ => true,
        }
    }

    /// Whether the repository's content is disproved: an object is damaged, missing or not indexed.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } | Self::ChunkNotIndexed { .. } => true,
            Self::WriterFailed { source } => source.is_damage(),
            _ => false,
        }
    }

    /// Whether the caller cancelled.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Storage { source, .. } => matches!(**source, storage::Error::Cancelled),
            Self::WriterFailed { source } => source.is_cancelled(),
            _ => false,
        }
    }

    /// The damaged or missing object, if this is about one.
    pub fn object(&self) -> Option<&Key> {
        match self {
            Self::Damaged { object, .. } | Self::Missing { object, .. } => Some(object),
            Self::WriterFailed { source } => source.object(),
            _ => None,
        }
    }

    pub(crate) fn damaged(object: &Key, reason: impl Into<String>) -> Self {
        Self::Damaged {
            object: object.clone(),
            reason: reason.into(),
        }
    }

    pub(crate) fn local(operation: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Local {
            operation,
            path: path.into(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn internal(reason: impl Into<String>) -> Self {
        Self::Internal {
            reason: reason.into(),
        }
    }
}
