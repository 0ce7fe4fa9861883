//! How much of a repository was verified lately, kept up to date from the ledger at little cost.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::ledger::Ledger;
use super::snapshot::CYCLE;
use crate::storage::Key;
use crate::{PackId, Repository, Result};

/// What the ledger's entries of the last thirty days say. Each entry is read once; looking again costs one listing.
#[derive(Debug, Default)]
pub struct Recent {
    seen: HashSet<Key>,
    verified: HashMap<PackId, Timestamp>,
}

/// Bytes of packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Of all that the index names.
    pub packs: u64,
    /// Of those that were verified within the last thirty days: read whole, or as far as a drill's snapshot needed them.
    pub verified: u64,
}

impl Recent {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How it stands now.
    ///
    /// # Errors
    ///
    /// The store's. An entry that can not be read counts as not written.
    pub async fn share(&mut self, repository: &Repository) -> Result<Share> {
        let since = repository.clock().now() - CYCLE;
        let entries = repository.ledger().await?;
        let entries: Vec<_> = entries.into_iter().filter(|entry| entry.time >= since).collect();
        for entry in &entries {
            if self.seen.contains(&entry.object) {
                continue;
            }
            for (pack, at) in Ledger::entry(repository, entry).await? {
                let last = self.verified.entry(pack).or_insert(at);
                *last = at.max(*last);
            }
            self.seen.insert(entry.object.clone());
        }
        // What is older is not asked for again.
        let listed: HashSet<&Key> = entries.iter().map(|entry| &entry.object).collect();
        self.seen.retain(|object| listed.contains(object));
        self.verified.retain(|_, at| *at >= since);
        repository.sync_index().await?;
        let mut share = Share::default();
        for pack in repository.indexed_packs().await? {
            let bytes = u64::from(pack.size);
            share.packs += bytes;
            if self.verified.contains_key(&pack.id) {
                share.verified += bytes;
            }
        }
        Ok(share)
    }
}
