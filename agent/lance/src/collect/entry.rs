//! Files and folders of a cut.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::pins::{Attributes, Pin, PinMethod};

/// A file or folder of the cut.
#[derive(Debug)]
pub struct PinnedEntry {
    /// Relative to the database, `/` between components.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// What the live file was like.
    pub attributes: Attributes,
    pub(super) pin: Option<Pin>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file.
    File {
        /// Length at the cut.
        len: u64,
        /// Whether a file of this name can never hold other bytes: it need not be read again if a snapshot has it.
        immutable: bool,
    },
}

impl PinnedEntry {
    /// The held content as an open file; keep it while reading. `None` for folders.
    ///
    /// # Errors
    /// When a staged pin cannot be opened.
    pub fn file(&self) -> io::Result<Option<Arc<File>>> {
        self.pin.as_ref().map(Pin::file).transpose()
    }

    /// Reads held content from an offset, as `pread` does: 0 at the end, and for folders.
    ///
    /// # Errors
    /// What the system said.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pin.as_ref().map_or(Ok(0), |pin| pin.read_at(buffer, offset))
    }

    /// How the content is held; `None` for folders and small mutable files that were read into memory.
    pub fn method(&self) -> Option<PinMethod> {
        self.pin.as_ref().and_then(Pin::method)
    }

    /// Length, 0 for folders.
    pub fn len(&self) -> u64 {
        match self.kind {
            EntryKind::Directory => 0,
            EntryKind::File { len, .. } => len,
        }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_immutable(&self) -> bool {
        matches!(self.kind, EntryKind::File { immutable: true, .. })
    }

    pub(crate) fn held(
        path: String,
        len: u64,
        immutable: bool,
        attributes: Attributes,
        pin: Pin,
    ) -> Arc<Self> {
        Arc::new(Self {
            path,
            kind: EntryKind::File { len, immutable },
            attributes,
            pin: Some(pin),
        })
    }

    pub(crate) fn content(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }
}
