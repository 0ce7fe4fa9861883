//! Where objects live: one small trait, a backend a file, and decorators around them.
//!
//! # Overview
//!
//! [`open`] takes a URL and gives a [`SharedStorage`]: a backend ([`s3`], [`local`], [`memory`]) inside
//! [`counting`], [`traced`], [`throttled`] and [`retrying`]. What is above sees one trait and one [`Error`], whose variants say
//! what to do next: try again, ask for rights, make space, correct the configuration.
//!
//! # Consistency
//!
//! Objects are small (at most [`MAX_OBJECT`]) and written in one piece: a reader sees all of one or nothing. Names are
//! unique or derived from content, so that a repeated PUT is harmless. Nothing above rests on [`Capabilities`].
//!
//! # Retries
//!
//! Backends try once and classify; [`retrying::Retrying`] is the only place that tries again.
//!
//! # Cancellation
//!
//! Every call may be dropped. A PUT that was dropped has stored all of the object or nothing.

pub mod circuit;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod counting;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
pub mod local;
pub mod memory;
mod options;
pub mod retrying;
pub mod s3;
pub mod throttled;
pub mod traced;
mod url;

pub use options::{StorageOptions, Timeouts};
pub use url::open;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

/// The largest object that a store takes or gives in one piece: every call holds one in memory.
pub const MAX_OBJECT: u64 = 64 << 20;

/// An object's name below the repository's root: `/`-separated, relative, without `.` or `..` segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// Takes a name made of our own parts.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name, relative to the repository's root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name stays below the repository's root in every store: a listing may hold anything.
    pub fn is_well_formed(&self) -> bool {
        self.0.len() <= 1024
            && !self.0.contains(['\0', '\\'])
            && self.0.split('/').all(|part| !matches!(part, "" | "." | ".."))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One of the five things that a store is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Store an object.
    Put,
    /// Read an object or a range of it.
    Get,
    /// Ask for size and time of an object.
    Head,
    /// Name objects.
    List,
    /// Remove an object.
    Delete,
}

impl Operation {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// The name used in messages and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a store says of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The object's name.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// When the store says that it was written, by the store's clock.
    pub modified: Timestamp,
}

/// How a PUT treats an object of that name that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// Replace it: harmless for names derived from content.
    Overwrite,
    /// Leave it and answer [`PutOutcome::Exists`], where the store can tell (see [`Capabilities::create_only`]).
    Create,
}

/// What a PUT did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is stored and durable.
    Stored,
    /// An object of that name was there and is unchanged.
    Exists,
}

/// What a store can do; correctness never rests on these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `PutMode::Create` is atomic.
    pub create_only: bool,
    /// `modified` comes from a clock that is not this host's.
    pub own_clock: bool,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No object of that name.
    #[error("object {0} is not in the store")]
    NotFound(Key),
    /// The store refused these credentials this operation, or they have expired.
    #[error("the store refused to {operation} {key}: {reason}")]
    Denied {
        /// What was asked: `put`, `get`, `list`, `delete`, `head`.
        operation: &'static str,
        /// The object or prefix.
        key: String,
        /// The store's own words.
        reason: String,
    },
    /// No answer, or an answer that a later try may change (connection, timeout, throttling, 5xx).
    #[error("the store did not answer {operation} of {key}: {reason}")]
    Unavailable {
        /// What was asked.
        operation: &'static str,
        /// The object or prefix.
        key: String,
        /// What happened, with the endpoint.
        reason: String,
    },
    /// No space, or a quota.
    #[error("no space in the store for {key}: {reason}")]
    NoSpace {
        /// The object.
        key: String,
        /// The store's own words.
        reason: String,
    },
    /// The store's configuration can not work (bad URL, missing bucket, missing region).
    #[error("{reason}")]
    Configuration {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Anything else; not worth a retry.
    #[error("{operation} of {key} failed: {reason}")]
    Other {
        /// What was asked.
        operation: &'static str,
        /// The object or prefix.
        key: String,
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// Whether another try can not help.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }
}

/// Answers of a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A store of objects. Every call has a timeout inside; retries live in a decorator.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// Where this is, for people: a URL without secrets.
    fn location(&self) -> String;
    /// What this store can do.
    fn capabilities(&self) -> Capabilities;
    /// Stores `body` under `key`, durable on return. At most 64 MiB.
    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome>;
    /// The object's bytes, or the given range of them (clamped to its end).
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes>;
    /// Size and time of one object.
    async fn head(&self, key: &Key) -> Result<ObjectMeta>;
    /// All objects whose names start with `prefix`, in byte order of name, page by page.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<ObjectMeta>> {
        self.list_after(prefix, None)
    }
    /// [`Storage::list`] from the first name behind `after`, which need not exist.
    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>>;
    /// Removes the object; an absent one is not an error.
    async fn delete(&self, key: &Key) -> Result<()>;
    /// Finds out what [`Storage::capabilities`] can only assume, by writing the object `existing` once more, with its
    /// own content and create-only: a store that honours that changes nothing, one that ignores it changes nothing
    /// either.
    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        let _ = existing;
        Ok(self.capabilities())
    }
}

/// A store shared by the parts of a repository.
pub type SharedStorage = Arc<dyn Storage>;

/// What every backend refuses before it asks its store: our own bugs, not the store's answers.
fn check_put(key: &Key, body: &Bytes) -> Result<()> {
    let reason = if !key.is_well_formed() {
        "that is no name for an object".to_owned()
    } else if body.len() as u64 > MAX_OBJECT {
        format!(
            "{} bytes are more than the {MAX_OBJECT} that one object may have",
            body.len()
        )
    } else {
        return Ok(());
    };
    Err(Error::Other {
        operation: Operation::Put.as_str(),
        key: key.to_string(),
        reason,
    })
}

/// What a GET refuses before it fills memory.
fn check_get(key: &Key, size: u64) -> Result<()> {
    if size <= MAX_OBJECT {
        return Ok(());
    }
    let reason = format!(
        "{size} bytes are more than the {MAX_OBJECT} that one answer may have; this is no object of ours"
    );
    Err(Error::Other {
        operation: Operation::Get.as_str(),
        key: key.to_string(),
        reason,
    })
}

/// The part of `body` that `range` names, clamped to its end.
fn slice(body: &Bytes, range: &Range<u64>) -> Bytes {
    let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(body.len());
    let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
    body.slice(start..end)
}
