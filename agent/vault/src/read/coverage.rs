//! Which chunks have been read and verified: one bit each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, Location, PackId, Repository, Result};

/// How much has been read and verified, each chunk counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Distinct chunks.
    pub chunks: u64,
    /// Their bytes before compression.
    pub bytes: u64,
}

/// Verified chunks by pack and position; clones share it. About a bit for each chunk of the packs touched.
#[derive(Debug, Clone, Default)]
pub struct Coverage(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    packs: HashMap<PackId, Vec<u64>>,
    total: Verified,
}

impl Coverage {
    /// Nothing verified yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The figures now.
    pub fn verified(&self) -> Verified {
        self.seen(|seen| seen.total)
    }

    /// Whether the chunk at this place has been verified.
    pub fn contains(&self, at: &Location) -> bool {
        self.contains_ordinal(&at.pack, at.ordinal)
    }

    /// Whether the chunk of that number in the pack has been verified.
    pub(crate) fn contains_ordinal(&self, pack: &PackId, ordinal: u32) -> bool {
        let (word, bit) = split(ordinal);
        self.seen(|seen| {
            seen.packs
                .get(pack)
                .and_then(|words| words.get(word))
                .is_some_and(|w| w & bit != 0)
        })
    }

    /// Counts the chunk at this place as verified; false if it was already.
    pub fn insert(&self, at: &Location) -> bool {
        let (word, bit) = split(at.ordinal);
        self.seen(|seen| {
            let words = seen.packs.entry(at.pack).or_default();
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            let Some(slot) = words.get_mut(word) else {
                return false;
            };
            if *slot & bit != 0 {
                return false;
            }
            *slot |= bit;
            seen.total.chunks += 1;
            seen.total.bytes += u64::from(at.raw_len);
            true
        })
    }

    /// Packs of which at least one chunk has been verified, with how many.
    pub fn packs(&self) -> Vec<(PackId, u64)> {
        let count = |words: &Vec<u64>| words.iter().map(|word| u64::from(word.count_ones())).sum();
        self.seen(|seen| {
            seen.packs
                .iter()
                .map(|(pack, words)| (*pack, count(words)))
                .collect()
        })
    }

    /// Counts those of `ids` that came out sound.
    pub(crate) async fn note(&self, repository: &Repository, ids: &[ChunkId], chunks: &[Result<Bytes>]) {
        let sound: Vec<ChunkId> = ids
            .iter()
            .zip(chunks)
            .filter(|(_, chunk)| chunk.is_ok())
            .map(|(id, _)| *id)
            .collect();
        self.note_all(repository, &sound).await;
    }

    /// Counts chunks that are known to be sound.
    pub(crate) async fn note_all(&self, repository: &Repository, sound: &[ChunkId]) {
        match repository.locate_many(sound).await {
            Ok(places) => places.iter().flatten().for_each(|place| {
                self.insert(place);
            }),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was read can not be counted as verified"
            ),
        }
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An ordinal's word and its bit in it.
fn split(ordinal: u32) -> (usize, u64) {
    ((ordinal / 64) as usize, 1 << (ordinal % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_once() {
        let coverage = Coverage::new();
        let at = |ordinal| Location {
            pack: PackId::from_bytes([1; 32]),
            offset: 0,
            sealed_len: 9,
            raw_len: 10,
            ordinal,
            salt: [0; 32],
        };
        assert!(coverage.insert(&at(70)) && coverage.insert(&at(0)));
        assert!(!coverage.clone().insert(&at(70)));
        assert!(coverage.contains(&at(70)) && !coverage.contains(&at(71)) && !coverage.contains(&at(700)));
        assert_eq!(coverage.verified(), Verified { chunks: 2, bytes: 20 });
        assert_eq!(coverage.packs(), [(PackId::from_bytes([1; 32]), 2)]);
    }
}
