//! Which pack was verified when: so that a budget always takes the least recently verified first.
//!
//! Drills verify what a snapshot needs, partly by what their other questions read. Such a pack is not verified as a
//! whole: a check of the repository does not go by that.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::repository::RecordInfo;
use crate::{PackId, Repository};

/// Packs named by one entry: well below what a sealed object holds.
const ENTRY_PACKS: usize = 50_000;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Packs read whole, opened and hashed.
    #[serde(default)]
    verified: Vec<PackId>,
    /// Packs of which every chunk was opened and hashed that the snapshot of a drill needs.
    #[serde(default)]
    needed: Vec<PackId>,
}

impl Entry {
    /// `None`: damaged, or of another version.
    async fn read(repository: &Repository, info: &RecordInfo) -> Result<Option<Self>, crate::Error> {
        match repository.record(&info.object).await {
            Ok(body) => Ok(serde_json::from_slice(&body).ok()),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// When each pack was verified last, by the ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    whole: HashMap<PackId, Timestamp>,
    needed: HashMap<PackId, Timestamp>,
    begun: Option<Timestamp>,
}

impl Ledger {
    /// Reads the whole ledger. Entries that can not be read count as not written: their packs come first again.
    pub(super) async fn read(repository: &Repository) -> Result<Self, crate::Error> {
        let mut ledger = Self::default();
        for info in repository.ledger().await? {
            let Some(entry) = Entry::read(repository, &info).await? else {
                continue;
            };
            if !entry.verified.is_empty() || !entry.needed.is_empty() {
                ledger.begun = Some(ledger.begun.map_or(info.time, |begun| begun.min(info.time)));
            }
            for (packs, times) in [
                (entry.verified, &mut ledger.whole),
                (entry.needed, &mut ledger.needed),
            ] {
                for pack in packs {
                    let last = times.entry(pack).or_insert(info.time);
                    *last = info.time.max(*last);
                }
            }
        }
        Ok(ledger)
    }

    /// When packs were first verified.
    pub(super) fn begun(&self) -> Option<Timestamp> {
        self.begun
    }

    /// All packs that one entry names, whole or in part, with its time. None, if it can not be read.
    pub(super) async fn entry(
        repository: &Repository,
        info: &RecordInfo,
    ) -> Result<Vec<(PackId, Timestamp)>, crate::Error> {
        let entry = Entry::read(repository, info).await?;
        let packs = entry
            .into_iter()
            .flat_map(|entry| entry.verified.into_iter().chain(entry.needed));
        Ok(packs.map(|pack| (pack, info.time)).collect())
    }

    /// When the pack was read whole.
    pub(super) fn whole(&self, pack: &PackId) -> Option<Timestamp> {
        self.whole.get(pack).copied()
    }

    /// When that was verified of the pack which a drill's snapshot needs, or all of it.
    pub(super) fn needed(&self, pack: &PackId) -> Option<Timestamp> {
        self.whole(pack).max(self.needed.get(pack).copied())
    }

    /// Appends what this run has verified: packs as a whole, and packs as far as a snapshot needs them.
    pub(super) async fn append(
        repository: &Repository,
        whole: &[PackId],
        needed: &[PackId],
    ) -> Result<(), crate::Error> {
        let of = |verified: &[PackId], needed: &[PackId]| Entry {
            verified: verified.to_vec(),
            needed: needed.to_vec(),
        };
        let entries = whole.chunks(ENTRY_PACKS).map(|packs| of(packs, &[]));
        for entry in entries.chain(needed.chunks(ENTRY_PACKS).map(|packs| of(&[], packs))) {
            let entry = serde_json::to_vec(&entry).map_err(|error| crate::Error::Internal {
                reason: format!("encode ledger: {error}"),
            })?;
            repository.append_ledger(&entry).await?;
        }
        Ok(())
    }
}
