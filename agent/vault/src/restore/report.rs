//! What a restore did.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::plan::{MAX_EXAMPLES, Method};
use crate::SnapshotId;
use crate::tree::{TreePath, Unapplied};

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What went where.
    pub placed: Vec<PlacedSource>,
    /// Files restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were right already and were taken from where they stood.
    pub files_kept: u64,
    /// Their bytes.
    pub bytes_kept: u64,
    /// Files that a run that was interrupted had completed.
    pub files_resumed: u64,
    /// Bytes that it had written and that were right, those of files that it had not completed too.
    pub bytes_resumed: u64,
    /// Bytes fetched from the store.
    pub bytes_fetched: u64,
    /// Metadata that could not be put back; the first [`MAX_EXAMPLES`].
    pub metadata_missing: Vec<MissingMetadata>,
    /// How many there are.
    pub metadata_missing_count: u64,
    /// How long filling took, in milliseconds.
    pub millis: u64,
}

/// Where one source went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedSource {
    /// The source.
    pub source: String,
    /// Where it is now.
    pub target: PathBuf,
    /// How it came there.
    pub method: Method,
    /// Where that lies which stood there before.
    pub displaced: Option<PathBuf>,
}

/// A piece of metadata that could not be put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingMetadata {
    /// The source.
    pub source: String,
    /// The entry.
    pub path: String,
    /// Which: `owner`, `mode`, `mtime` or an attribute's name.
    pub what: String,
    /// The system's reason.
    pub reason: String,
}

/// Gathers what could not be put back, from several threads.
#[derive(Debug, Default)]
pub(super) struct Unrestored(Mutex<(Vec<MissingMetadata>, u64)>);

impl Unrestored {
    pub(super) fn note(&self, source: &str, path: &TreePath, unapplied: Vec<Unapplied>) {
        if unapplied.is_empty() {
            return;
        }
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.1 += unapplied.len() as u64;
        for Unapplied { what, reason } in unapplied {
            if list.0.len() < MAX_EXAMPLES {
                list.0.push(MissingMetadata {
                    source: source.to_owned(),
                    path: path.to_string(),
                    what,
                    reason,
                });
            }
        }
    }

    pub(super) fn list(&self) -> (Vec<MissingMetadata>, u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
