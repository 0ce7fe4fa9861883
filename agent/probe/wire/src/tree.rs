//! The read-only file tree that an agent lends to a probe.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::frame::Listed;

/// What a tree says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Its length.
    pub len: u64,
    /// Changes with its content, and only with it: the content's hash where it is known.
    pub etag: String,
}

/// Why a tree did not give what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The file is not in the tree.
    #[error("it is not there")]
    NotFound,
    /// The file is there and its bytes are wrong: a hash did not match, an object is missing or cut short.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It could not be read now.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Files below one root. Paths are relative, `/`-separated and without `.` or `..`; [`crate::serve`] has checked
/// them before a tree sees them.
#[async_trait]
pub trait FileTree: Send + Sync + 'static {
    /// Length and etag of a file, `None` when there is no file of that name (a folder is no file).
    async fn stat(&self, path: &str) -> Result<Option<FileStat>, TreeError>;

    /// Up to `limit` files whose path starts with `prefix` (empty, or ending in `/`) and sorts after `after`, in
    /// the order of their bytes, at all depths. No such folder is an empty answer.
    ///
    /// `after` need not be a path of the tree: it is only a place in the order.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, TreeError>;

    /// Exactly the bytes of a range that lies within the file, verified. Ranges are at most
    /// [`crate::frame::MAX_READ`] long.
    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, TreeError>;
}
