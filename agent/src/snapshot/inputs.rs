//! What is held of a source, as the vault wants it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dr_auditlog::{Captured, Segment};
use dr_lance::{Collected, EntryKind, PinnedEntry};
use dr_vault::backup::{Input, InputEntry, InputKind};
use dr_vault::chunking::ReadAt;
use dr_vault::tree::{Identity, Metadata, TreePath, Xattr};

use super::Error;
use crate::cut::{Content, Held};
use crate::stamp::Stamp;

/// Why an entry could not be described.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Its path can not be part of a snapshot.
    #[error("name an entry")]
    Path(#[from] dr_vault::tree::Invalid),
    /// Its owner, mode and times could not be read.
    #[error("read the attributes of {}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The input of one source; it holds on to the pins until it is stored.
///
/// `carried` are entries that the host has no longer.
pub(super) fn input(
    held: &Held,
    stamp: &Stamp,
    suspect: Option<String>,
    carried: Vec<InputEntry>,
) -> Result<Input, Error> {
    let name = &held.source.name;
    let entries = match &held.content {
        Content::Database(collected) => database(collected),
        Content::Log(captured) => log(captured),
    };
    let mut entries = entries.map_err(|source| Error::Entry {
        name: name.clone(),
        source,
    })?;
    entries.extend(carried);
    // A log is restored into the folder that it lies in.
    let root = match &held.content {
        Content::Database(_) => Some(held.source.path.as_path()),
        Content::Log(_) => held.source.path.parent(),
    };
    let root = root.unwrap_or(Path::new("/")).to_string_lossy();
    let stamp = serde_json::to_value(stamp).map_err(|source| Error::Stamp {
        name: name.clone(),
        source,
    })?;
    Ok(Input {
        stamp,
        suspect,
        ..Input::new(name, held.source.kind.as_str(), root, entries)
    })
}

fn database(collected: &Collected) -> Result<Vec<InputEntry>, EntryError> {
    collected.entries.iter().map(database_entry).collect()
}

fn database_entry(entry: &Arc<PinnedEntry>) -> Result<InputEntry, EntryError> {
    let attributes = &entry.attributes;
    let mtime_ns = i64::try_from(attributes.mtime_ns).unwrap_or(i64::MAX);
    let xattr = |(name, value): &(String, Vec<u8>)| Xattr {
        name: name.clone().into_bytes(),
        value: value.clone(),
    };
    let metadata = Metadata {
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        mtime_ns,
        xattrs: attributes.xattrs.iter().map(xattr).collect(),
    };
    let (kind, identity) = match entry.kind {
        EntryKind::Directory => (InputKind::Directory, None),
        EntryKind::File { len, immutable } => {
            let identity = Identity {
                dev: attributes.device,
                inode: attributes.inode,
                mtime_ns,
                len,
            };
            let content = Arc::new(Pinned(Arc::clone(entry)));
            (InputKind::File { len, content }, immutable.then_some(identity))
        }
    };
    Ok(InputEntry {
        path: TreePath::new(&entry.path)?,
        kind,
        metadata,
        identity,
    })
}

/// A pinned file of a database as content.
struct Pinned(Arc<PinnedEntry>);

impl ReadAt for Pinned {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

fn log(captured: &Captured) -> Result<Vec<InputEntry>, EntryError> {
    captured.segments.iter().map(log_entry).collect()
}

fn log_entry(segment: &Segment) -> Result<InputEntry, EntryError> {
    let metadata = Metadata::of(&segment.live).map_err(|source| EntryError::Metadata {
        path: segment.path.clone(),
        source,
    })?;
    let identity = Identity {
        dev: segment.identity.device,
        inode: segment.identity.inode,
        mtime_ns: segment.identity.mtime_ns,
        len: segment.len,
    };
    Ok(InputEntry {
        path: TreePath::new(&segment.name)?,
        kind: InputKind::File {
            len: segment.len,
            content: Arc::new(Tail(segment.clone())),
        },
        metadata: Metadata {
            mtime_ns: segment.identity.mtime_ns,
            ..metadata
        },
        identity: segment.is_immutable().then_some(identity),
    })
}

/// A log up to its length at the cut: what was appended since belongs to the next snapshot.
struct Tail(Segment);

impl ReadAt for Tail {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}
