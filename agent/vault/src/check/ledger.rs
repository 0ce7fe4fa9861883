//! Which pack was verified when: so that a budget always takes the least recently verified first.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{PackId, Repository};

/// Packs named by one entry: well below what a sealed object holds.
const ENTRY_PACKS: usize = 50_000;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Packs read whole, opened and hashed.
    verified: Vec<PackId>,
}

/// When each pack was verified last, by the ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger(HashMap<PackId, Timestamp>);

impl Ledger {
    /// Reads the whole ledger. Entries that can not be read count as not written: their packs come first again.
    pub(super) async fn read(repository: &Repository) -> Result<Self, crate::Error> {
        let mut ledger = Self::default();
        for info in repository.ledger().await? {
            let body = match repository.record(&info.object).await {
                Ok(body) => body,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            let Ok(entry) = serde_json::from_slice::<Entry>(&body) else {
                continue;
            };
            for pack in entry.verified {
                let last = ledger.0.entry(pack).or_insert(info.time);
                *last = info.time.max(*last);
            }
        }
        Ok(ledger)
    }

    pub(super) fn verified(&self, pack: &PackId) -> Option<Timestamp> {
        self.0.get(pack).copied()
    }

    /// Appends what this run has verified.
    pub(super) async fn append(repository: &Repository, packs: Vec<PackId>) -> Result<(), crate::Error> {
        for packs in packs.chunks(ENTRY_PACKS) {
            let entry = serde_json::to_vec(&Entry {
                verified: packs.to_vec(),
            });
            let entry = entry.map_err(|error| crate::Error::Internal {
                reason: format!("encode ledger: {error}"),
            })?;
            repository.append_ledger(&entry).await?;
        }
        Ok(())
    }
}
