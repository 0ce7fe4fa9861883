//! What a backup is made of: sources, and their entries in order.

use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunking::ReadAt;
use crate::tree::{EntryKind, Identity, Metadata, TreePath};

/// Content that several threads may read at once.
pub type SharedContent = Arc<dyn ReadAt>;

/// One directory, file or link to be stored.
pub struct InputEntry {
    /// Where it is, relative to the source's root; the root itself may be given too, as the first entry.
    pub path: TreePath,
    /// What it is.
    pub kind: InputKind,
    /// Owner, mode, time, attributes.
    pub metadata: Metadata,
    /// Set only for files that never change once they are written, and only then may the next backup pass them by.
    pub identity: Option<Identity>,
}

/// What an [`InputEntry`] is.
pub enum InputKind {
    /// A directory.
    Directory,
    /// A file: its first `len` bytes are taken.
    File {
        /// Length at the cut; content that has grown since is left for the next snapshot.
        len: u64,
        /// How to read it. Not called for files that are carried over.
        content: SharedContent,
    },
    /// A symbolic link; never followed.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
}

impl InputKind {
    pub(super) fn to_entry_kind(&self) -> EntryKind {
        match self {
            Self::Directory => EntryKind::Directory,
            Self::File { len, .. } => EntryKind::File { len: *len },
            Self::Symlink { target } => EntryKind::Symlink {
                target: target.clone(),
            },
        }
    }
}

impl std::fmt::Debug for InputEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InputEntry")
            .field("path", &self.path)
            .field("kind", &self.kind.to_entry_kind())
            .finish_non_exhaustive()
    }
}

/// An entry could not be captured.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}")]
pub struct CaptureError {
    /// What was tried: "read", "list", "open".
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Entries in order of [`TreePath`], made as they are asked for.
pub type Entries = Box<dyn Iterator<Item = Result<InputEntry, CaptureError>> + Send>;

/// One source to be stored.
pub struct Input {
    /// The source's configured name.
    pub name: String,
    /// What it is, for example `lancedb` or `audit-log`.
    pub kind: String,
    /// Its absolute path on this host.
    pub root: String,
    /// What the reader of this kind of source stamps; opaque here.
    pub stamp: serde_json::Value,
    /// Why this source is not to be trusted.
    pub suspect: Option<String>,
    /// Files and bytes to come, if known beforehand: for progress only.
    pub expected: Option<(u64, u64)>,
    /// What is in it.
    pub entries: Entries,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.name)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Input {
    /// A source whose entries are all in memory, in whatever order.
    pub fn new(
        name: impl Into<String>,
        kind: impl Into<String>,
        root: impl Into<String>,
        mut entries: Vec<InputEntry>,
    ) -> Self {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let files = entries.iter().filter_map(|entry| match entry.kind {
            InputKind::File { len, .. } => Some(len),
            _ => None,
        });
        let expected = files.fold((0, 0), |(files, bytes), len| (files + 1, bytes + len));
        Self {
            name: name.into(),
            kind: kind.into(),
            root: root.into(),
            stamp: serde_json::Value::Null,
            suspect: None,
            expected: Some(expected),
            entries: Box::new(entries.into_iter().map(Ok)),
        }
    }
}

/// A plain directory as a source, walked while it is stored: no cut, no pins. For what stands still, and for benches.
///
/// Every file is read whenever it is stored. Sockets, pipes and devices are left out.
///
/// # Errors
///
/// [`CaptureError`] if `path` is no readable directory.
pub fn plain_directory(path: &Path) -> Result<Input, CaptureError> {
    let root = path.canonicalize().map_err(|source| CaptureError {
        operation: "resolve",
        path: path.to_owned(),
        source,
    })?;
    let name = root
        .file_name()
        .map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned());
    let walk = Walk {
        pending: vec![(TreePath::root(), root.clone())],
    };
    Ok(Input {
        name,
        kind: "directory".to_owned(),
        root: root.to_string_lossy().into_owned(),
        stamp: serde_json::Value::Null,
        suspect: None,
        expected: None,
        entries: Box::new(walk),
    })
}

/// A walk in order of [`TreePath`]: what is held is the directories from the root down to the present one.
struct Walk {
    pending: Vec<(TreePath, PathBuf)>,
}

impl Iterator for Walk {
    type Item = Result<InputEntry, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (path, full) = self.pending.pop()?;
            match self.visit(path, &full) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err((operation, source)) => {
                    return Some(Err(CaptureError {
                        operation,
                        path: full,
                        source,
                    }));
                }
            }
        }
    }
}

impl Walk {
    fn visit(
        &mut self,
        path: TreePath,
        full: &Path,
    ) -> Result<Option<InputEntry>, (&'static str, io::Error)> {
        let kind = std::fs::symlink_metadata(full)
            .map_err(|e| ("read", e))?
            .file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(full)
                .map_err(|e| ("read", e))?
                .into_os_string()
                .into_vec();
            let metadata = Metadata::of_link(full).map_err(|e| ("read", e))?;
            return Ok(Some(InputEntry {
                path,
                kind: InputKind::Symlink { target },
                metadata,
                identity: None,
            }));
        }
        if kind.is_dir() {
            self.push_children(&path, full).map_err(|e| ("list", e))?;
            let metadata = File::open(full)
                .and_then(|file| Metadata::of(&file))
                .map_err(|e| ("read", e))?;
            return Ok(Some(InputEntry {
                path,
                kind: InputKind::Directory,
                metadata,
                identity: None,
            }));
        }
        if !kind.is_file() {
            tracing::warn!(path = %full.display(), "left out: neither file, directory nor link");
            return Ok(None);
        }
        let file = File::open(full).map_err(|e| ("open", e))?;
        let metadata = Metadata::of(&file).map_err(|e| ("read", e))?;
        let len = file.metadata().map_err(|e| ("read", e))?.len();
        let kind = InputKind::File {
            len,
            content: Arc::new(file),
        };
        Ok(Some(InputEntry {
            path,
            kind,
            metadata,
            identity: None,
        }))
    }

    fn push_children(&mut self, path: &TreePath, full: &Path) -> io::Result<()> {
        let mut names = std::fs::read_dir(full)?
            .map(|entry| entry.map(|e| e.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        // The last pushed comes first.
        names.sort_by(|a, b| b.cmp(a));
        for name in names {
            let child = path.join(name.as_bytes()).map_err(io::Error::other)?;
            self.pending.push((child, full.join(&name)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_in_order_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for name in ["a/b/c", "a-b", "a/z", "z"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let input = plain_directory(dir.path()).unwrap();
        let paths: Vec<TreePath> = input.entries.map(|entry| entry.unwrap().path).collect();
        assert!(paths.is_sorted(), "{paths:?}");
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [".", "a", "a/b", "a/b/c", "a/z", "a-b", "link", "z"]);
    }
}
