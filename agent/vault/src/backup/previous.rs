//! The last snapshot's file list, walked beside the present one.

use crate::tree::{ChunkRef, ContentHash, Entry, Record, StreamError, TreePath, TreeStream};
use crate::{Manifest, Repository};

/// A place in the previous tree of a source; moves forward only.
///
/// Damage to that tree costs speed, not the backup: it is logged, and what comes after it is read as if new.
pub(super) struct Previous {
    stream: Option<TreeStream>,
    /// The entry reached, its records still ahead.
    reached: Option<Entry>,
}

/// What follows an entry of the previous tree.
pub(super) enum Body {
    Chunks(Vec<ChunkRef>),
    End(ContentHash),
    /// The list can not be read on from here.
    Lost,
}

impl Previous {
    pub(super) fn open(repository: &Repository, manifest: Option<&Manifest>, source: &str) -> Self {
        let record = manifest.and_then(|manifest| manifest.source(source));
        Self {
            stream: record.map(|record| TreeStream::open(repository, &record.tree)),
            reached: None,
        }
    }

    /// The entry of that path, if the previous tree has one. Paths must be asked for in ascending order.
    pub(super) async fn seek(&mut self, path: &TreePath) -> Option<Entry> {
        loop {
            match &self.reached {
                Some(entry) if entry.path == *path => return self.reached.take(),
                Some(entry) if entry.path > *path => return None,
                _ => {}
            }
            self.reached = self.advance().await;
            self.reached.as_ref()?;
        }
    }

    async fn advance(&mut self) -> Option<Entry> {
        loop {
            match self.record().await? {
                Record::Entry(entry) => return Some(entry),
                Record::Chunks(_) | Record::End(_) => {}
            }
        }
    }

    /// What follows the file that was sought last.
    pub(super) async fn body(&mut self) -> Body {
        match self.record().await {
            Some(Record::Chunks(chunks)) => Body::Chunks(chunks),
            Some(Record::End(hash)) => Body::End(hash),
            Some(Record::Entry(_)) | None => Body::Lost,
        }
    }

    async fn record(&mut self) -> Option<Record> {
        let next = self.stream.as_mut()?.next().await;
        let record = next.unwrap_or_else(|error: StreamError| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the last snapshot's file list can not be read on; the rest is read as if new"
            );
            None
        });
        if record.is_none() {
            self.stream = None;
        }
        record
    }
}
