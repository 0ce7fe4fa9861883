//! Chunks out: located, read in few requests, opened, and proved by their hash.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use super::{Inner, Repository, blocking};
use crate::codec::Decoder;
use crate::error::{Error, Result};
use crate::id::{ChunkId, PackId};
use crate::index::Location;
use crate::layout;
use crate::pack;

/// Chunks of one pack are read together when no more than this lies between them: cheaper than another request.
const GAP: u64 = 64 << 10;
/// No request asks for more.
const LONGEST_READ: u64 = 8 << 20;

/// Neighbours that are read with one request.
struct Run {
    pack: PackId,
    range: Range<u64>,
    chunks: Vec<(ChunkId, Location)>,
}

impl Repository {
    /// One chunk, verified: opened and hashed.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkNotIndexed`], [`Error::Missing`], [`Error::Damaged`], or the store's.
    pub async fn read_chunk(&self, chunk: &ChunkId) -> Result<Bytes> {
        let not_answered = || Err(Error::internal("a chunk was asked for and not answered"));
        self.read_chunks(std::slice::from_ref(chunk))
            .await
            .pop()
            .unwrap_or_else(not_answered)
    }

    /// Several chunks, verified, in the order asked; neighbours of one pack are read in one request. All are in
    /// memory on return: ask for a few MiB at a time. One damaged chunk does not spoil the others. A chunk that
    /// several packs hold is read from the next where one is damaged.
    pub async fn read_chunks(&self, chunks: &[ChunkId]) -> Vec<Result<Bytes>> {
        match self.read_distinct(chunks).await {
            Ok(read) => chunks
                .iter()
                .map(|chunk| {
                    read.get(chunk)
                        .cloned()
                        .unwrap_or(Err(Error::ChunkNotIndexed { chunk: *chunk }))
                })
                .collect(),
            Err(error) => chunks.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn read_distinct(&self, chunks: &[ChunkId]) -> Result<HashMap<ChunkId, Result<Bytes>>> {
        let mut distinct = chunks.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut places = self.locate_all(distinct.clone()).await?;
        if places.iter().any(Vec::is_empty) && self.recover_once().await? {
            places = self.locate_all(distinct.clone()).await?;
        }
        let mut results = HashMap::with_capacity(distinct.len());
        let mut turn = 0;
        // First the first place of each, then, for those that failed, the second, and so on.
        loop {
            let pending: Vec<(ChunkId, Location)> = distinct
                .iter()
                .zip(&places)
                .filter(|(chunk, _)| results.get(*chunk).is_none_or(Result::is_err))
                .filter_map(|(chunk, at)| at.get(turn).map(|location| (*chunk, *location)))
                .collect();
            if pending.is_empty() {
                return Ok(results);
            }
            for (chunk, result) in self.read_located(pending).await {
                // The first failure is the one to tell.
                if result.is_ok() || !results.contains_key(&chunk) {
                    results.insert(chunk, result);
                }
            }
            turn += 1;
        }
    }

    /// Reads chunks from these places and no other.
    pub(super) async fn read_located(
        &self,
        chunks: Vec<(ChunkId, Location)>,
    ) -> Vec<(ChunkId, Result<Bytes>)> {
        stream::iter(runs(chunks))
            .map(|run| self.read_run(run))
            .buffer_unordered(self.inner.reads.available_permits().max(1))
            .flat_map(stream::iter)
            .collect()
            .await
    }

    async fn read_run(&self, run: Run) -> Vec<(ChunkId, Result<Bytes>)> {
        let asked: Vec<ChunkId> = run.chunks.iter().map(|(chunk, _)| *chunk).collect();
        let opened = async {
            let bytes = self.inner.read_range(&run).await?;
            let inner = Arc::clone(&self.inner);
            blocking(move || inner.open_run(&run, &bytes)).await
        };
        opened.await.unwrap_or_else(|error| {
            asked
                .into_iter()
                .map(|chunk| (chunk, Err(error.clone())))
                .collect()
        })
    }
}

impl Inner {
    async fn read_range(&self, run: &Run) -> Result<Bytes> {
        let _permit = self.reads.acquire().await.map_err(|_| Error::Cancelled)?;
        let object = layout::pack(&run.pack);
        let got = self.storage.get(&object, Some(run.range.clone())).await;
        got.map_err(|e| self.failed(e, "the index names it"))
    }

    fn open_run(&self, run: &Run, bytes: &[u8]) -> Result<Vec<(ChunkId, Result<Bytes>)>> {
        let object = layout::pack(&run.pack);
        let mut decoder = Decoder::new()?;
        let mut sealed = Vec::new();
        let open = |(chunk, location): &(ChunkId, Location)| {
            let start = (u64::from(location.offset) - run.range.start) as usize;
            let end = start + location.sealed_len as usize;
            sealed.clear();
            // What a cut pack lacks is missing at the end; `open_chunk` tells.
            sealed.extend_from_slice(&bytes[start.min(bytes.len())..end.min(bytes.len())]);
            let opened = pack::open_chunk(&self.ring, &object, chunk, location, &mut sealed, &mut decoder);
            (*chunk, opened.map(Bytes::from))
        };
        Ok(run.chunks.iter().map(open).collect())
    }
}

/// Sorts chunks by place and joins neighbours.
fn runs(mut chunks: Vec<(ChunkId, Location)>) -> Vec<Run> {
    chunks.sort_by_key(|(_, l)| (l.pack, l.offset));
    let mut runs: Vec<Run> = Vec::new();
    for (chunk, location) in chunks {
        let start = u64::from(location.offset);
        let end = start + u64::from(location.sealed_len);
        match runs.last_mut() {
            Some(run)
                if run.pack == location.pack
                    && start <= run.range.end + GAP
                    && end - run.range.start <= LONGEST_READ =>
            {
                run.range.end = run.range.end.max(end);
                run.chunks.push((chunk, location));
            }
            _ => runs.push(Run {
                pack: location.pack,
                range: start..end,
                chunks: vec![(chunk, location)],
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pack: u8, offset: u32, len: u32) -> (ChunkId, Location) {
        let location = Location {
            pack: PackId::from_bytes([pack; 32]),
            offset,
            sealed_len: len,
            raw_len: len,
            ordinal: 0,
            salt: [0; 32],
        };
        (ChunkId::from_bytes([0; 32]), location)
    }

    #[test]
    fn neighbours_are_read_together() {
        let runs = runs(vec![
            at(2, 56, 100),
            at(1, 156, 100),
            at(1, 56, 100),
            at(1, 1 << 20, 100),
            at(1, (1 << 20) + 100 + (64 << 10), 10),
        ]);
        let ranges: Vec<_> = runs
            .iter()
            .map(|r| (r.pack.as_bytes()[0], r.range.clone()))
            .collect();
        let far = (1 << 20)..(1 << 20) + 110 + (64 << 10);
        assert_eq!(ranges, [(1, 56..256), (1, far), (2, 56..156)]);
    }

    #[test]
    fn a_run_is_bounded() {
        let chunks = (0..300).map(|n| at(1, 56 + n * 100_000, 100_000)).collect();
        assert!(
            runs(chunks)
                .iter()
                .all(|r| r.range.end - r.range.start <= LONGEST_READ)
        );
    }
}
