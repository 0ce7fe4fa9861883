//! What came before: the snapshot that this one follows, and for each source the last one that holds it.
//!
//! A snapshot may be taken of some sources only. The next of the others must still be compared with, and carry on
//! from, the last that has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dr_vault::{Error, Manifest, Repository, SnapshotId};

use crate::cut::Machine;
use crate::stamp::Stamp;

/// How many snapshots are looked through for a source: one that is in none of them is new, or as good as new.
const LOOK_BACK: usize = 64;

/// The snapshots before this one that are not suspect.
#[derive(Debug, Default)]
pub(super) struct Previous {
    /// The newest of all.
    pub(super) id: Option<SnapshotId>,
    /// The machine that took the newest of all.
    writer: Option<String>,
    by_source: BTreeMap<String, Arc<Manifest>>,
}

impl Previous {
    /// Looks for the newest, and for the newest that holds each of `sources`.
    pub(super) async fn find(repository: &Repository, sources: &[&str]) -> Result<Self, Error> {
        let mut newest_first = repository.snapshots().await?;
        newest_first.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.time));
        let mut found = Self::default();
        for snapshot in newest_first.into_iter().take(LOOK_BACK) {
            let manifest = repository.manifest(&snapshot.id).await?;
            if manifest.suspect.is_some() {
                continue;
            }
            if found.id.is_none() {
                found.id = Some(snapshot.id);
                found.writer.clone_from(&manifest.writer);
            }
            let manifest = Arc::new(manifest);
            for name in sources.iter().filter(|name| manifest.source(name).is_some()) {
                found
                    .by_source
                    .entry((*name).to_owned())
                    .or_insert_with(|| Arc::clone(&manifest));
            }
            if found.by_source.len() == sources.len() {
                break;
            }
        }
        Ok(found)
    }

    /// Who took the newest, seen from the machine `writer`.
    pub(super) fn machine(&self, writer: &str) -> Machine {
        match &self.writer {
            Some(before) if before != writer => Machine::Other,
            _ => Machine::Same,
        }
    }

    /// The manifest that holds a source last.
    pub(super) fn manifest(&self, source: &str) -> Option<&Arc<Manifest>> {
        self.by_source.get(source)
    }

    /// What a source was then.
    pub(super) fn stamp(&self, source: &str) -> Option<Stamp> {
        Stamp::read(&self.manifest(source)?.source(source)?.stamp)
    }
}
