//! Pinned files as a tree: how facts are measured on the very bytes that a snapshot holds.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dr_lance::PinnedEntry;
use dr_probe_wire::tree::{FileStat, FileTree, Listed, TreeError};

/// The files of one database's cut, by their path in it.
#[derive(Debug)]
pub struct PinnedTree {
    files: BTreeMap<String, Arc<PinnedEntry>>,
}

impl PinnedTree {
    /// A tree of everything that was pinned; it holds the pins as long as it lives.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a Arc<PinnedEntry>>) -> Self {
        let files = entries
            .into_iter()
            .filter(|entry| matches!(entry.kind, dr_lance::EntryKind::File { .. }));
        Self {
            files: files
                .map(|entry| (entry.path.clone(), Arc::clone(entry)))
                .collect(),
        }
    }
}

/// Pins never change, and no path names two of them: path and length tell them apart.
fn etag(entry: &PinnedEntry) -> String {
    format!("pin-{:x}", entry.len())
}

#[async_trait]
impl FileTree for PinnedTree {
    async fn stat(&self, path: &str) -> Result<Option<FileStat>, TreeError> {
        Ok(self.files.get(path).map(|entry| FileStat {
            len: entry.len(),
            etag: etag(entry),
        }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, TreeError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let below = self.files.range::<str, _>((from, Bound::Unbounded));
        let listed = below.take_while(|(path, _)| path.starts_with(prefix)).take(limit);
        let describe = |(path, entry): (&String, &Arc<PinnedEntry>)| Listed {
            path: path.clone(),
            len: entry.len(),
            etag: etag(entry),
        };
        Ok(listed.map(describe).collect())
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, TreeError> {
        let entry = Arc::clone(self.files.get(path).ok_or(TreeError::NotFound)?);
        match tokio::task::spawn_blocking(move || read(&entry, range)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TreeError::Damaged(
                "the file is shorter than it was at the cut".to_owned(),
            )),
            Ok(Err(error)) => Err(TreeError::Unavailable(error.to_string())),
            Err(stopped) => Err(TreeError::Unavailable(stopped.to_string())),
        }
    }
}

fn read(entry: &PinnedEntry, range: Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match entry.read_at(&mut buffer[filled..], range.start + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(buffer.into())
}
