//! A source of a snapshot as a tree: what lies in the repository, and nothing else.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use dr_probe_wire::tree::{FileStat, FileTree, Listed, TreeError};
use dr_vault::read::{Error, Node, SourceReader};
use dr_vault::tree::TreePath;

use crate::error::in_one_line;

/// Files of one source, read and verified chunk by chunk as a probe asks for them.
#[derive(Debug, Clone)]
pub struct SnapshotTree {
    source: SourceReader,
}

/// Entries looked at in one step of a listing.
const STEP: usize = 1024;

impl SnapshotTree {
    /// The tree of an opened source.
    pub fn new(source: SourceReader) -> Self {
        Self { source }
    }

    async fn file(&self, path: &str) -> Result<Option<Node>, TreeError> {
        // A name that can not be part of a tree is not in it.
        let Ok(path) = TreePath::new(path) else {
            return Ok(None);
        };
        let node = self.source.lookup(&path).await.map_err(tree_error)?;
        Ok(node.filter(|node| node.entry.file_len().is_some()))
    }
}

#[async_trait]
impl FileTree for SnapshotTree {
    async fn stat(&self, path: &str) -> Result<Option<FileStat>, TreeError> {
        Ok(self.file(path).await?.map(|node| FileStat {
            len: len(&node),
            etag: etag(&node),
        }))
    }

    /// The vault's order is by component, the probe's by byte: every entry below the prefix is looked at, and only
    /// the `limit` first by byte are kept, so that memory does not depend on how many there are.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, TreeError> {
        let folder = match prefix.trim_end_matches('/') {
            "" => TreePath::root(),
            folder => match TreePath::new(folder) {
                Ok(folder) => folder,
                Err(_) => return Ok(Vec::new()),
            },
        };
        let mut kept: BTreeMap<String, Node> = BTreeMap::new();
        let mut from = 0;
        loop {
            let nodes = self.source.list(&folder, from, STEP).await.map_err(tree_error)?;
            from += nodes.len() as u64;
            let last = nodes.len() < STEP;
            for node in nodes.into_iter().filter(|node| node.entry.file_len().is_some()) {
                // Lance's names are UTF-8; a file whose name is not can not be asked for over the socket.
                let Ok(path) = std::str::from_utf8(node.entry.path.as_bytes()) else {
                    continue;
                };
                if path.starts_with(prefix) && after.is_none_or(|after| path > after) {
                    kept.insert(path.to_owned(), node);
                }
                if kept.len() > limit {
                    kept.pop_last();
                }
            }
            if last {
                break;
            }
        }
        Ok(kept
            .into_iter()
            .map(|(path, node)| Listed {
                len: len(&node),
                etag: etag(&node),
                path,
            })
            .collect())
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, TreeError> {
        let node = self.file(path).await?.ok_or(TreeError::NotFound)?;
        self.source.read(&node, range).await.map_err(tree_error)
    }
}

fn len(node: &Node) -> u64 {
    node.entry.file_len().unwrap_or(0)
}

fn etag(node: &Node) -> String {
    node.hash.map(|hash| hash.to_string()).unwrap_or_default()
}

/// Damage is told apart from an answer that did not come: only the first says anything about the data.
fn tree_error(error: Error) -> TreeError {
    let why = in_one_line(&error);
    if error.is_damage() {
        TreeError::Damaged(why)
    } else {
        TreeError::Unavailable(why)
    }
}
