//! Where objects live: one small trait, a backend a file, and decorators around them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

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
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    /// All objects whose names start with `prefix` (ends with `/`, or empty), in order of name, page by page.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<ObjectMeta>>;
    /// Removes the object; an absent one is not an error.
    async fn delete(&self, key: &Key) -> Result<()>;
}

/// A store shared by the parts of a repository.
pub type SharedStorage = Arc<dyn Storage>;
