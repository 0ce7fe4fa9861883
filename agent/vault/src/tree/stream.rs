//! A tree as it comes out of the repository: chunk by chunk, verified, a few requests ahead.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::{Decoder, Malformed, Record};
use crate::id::Digest;
use crate::{ChunkId, Repository, TreeRef};

/// Chunks of the list asked for in one step.
const BATCH: usize = 64;
/// Steps under way at once.
const AHEAD: usize = 2;

/// Why a file list could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A chunk of the list could not be read.
    #[error("read chunk {chunk} of the file list")]
    Chunk {
        /// The chunk.
        chunk: ChunkId,
        /// What happened, with the object.
        #[source]
        source: crate::Error,
    },
    /// The chunks are sound, what they say is not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The chunks are sound, but not those that the manifest means.
    #[error("the file list is not the one that the manifest names: its {what} differs")]
    Differs {
        /// `length` or `hash`.
        what: &'static str,
    },
}

impl Error {
    /// Whether the repository's content is disproved, rather than out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Chunk { source, .. } => source.is_damage(),
            Self::Malformed(_) | Self::Differs { .. } => true,
        }
    }

    /// The error of the repository below, if there is one.
    pub fn repository(&self) -> Option<&crate::Error> {
        match self {
            Self::Chunk { source, .. } => Some(source),
            Self::Malformed(_) | Self::Differs { .. } => None,
        }
    }
}

/// Records of one tree, in order.
pub struct TreeStream {
    chunks: BoxStream<'static, (ChunkId, crate::Result<bytes::Bytes>)>,
    decoder: Decoder,
    records: VecDeque<Record>,
    expected: (u64, Digest),
    len: u64,
    hasher: blake3::Hasher,
    ended: bool,
}

impl std::fmt::Debug for TreeStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeStream")
            .field("read", &self.len)
            .field("of", &self.expected.0)
            .finish_non_exhaustive()
    }
}

impl TreeStream {
    /// The records of the tree that `tree` names.
    pub fn open(repository: &Repository, tree: &TreeRef) -> Self {
        let repository = repository.clone();
        let batches: Vec<Vec<ChunkId>> = tree.chunks.chunks(BATCH).map(<[ChunkId]>::to_vec).collect();
        let chunks = futures::stream::iter(batches)
            .map(move |batch| {
                let repository = repository.clone();
                async move {
                    let read = repository.read_chunks(&batch).await;
                    futures::stream::iter(batch.into_iter().zip(read))
                }
            })
            .buffered(AHEAD)
            .flatten()
            .boxed();
        Self {
            chunks,
            decoder: Decoder::new(),
            records: VecDeque::new(),
            expected: (tree.len, tree.hash),
            len: 0,
            hasher: blake3::Hasher::new(),
            ended: false,
        }
    }

    /// The next record; `None` at the end of the list, once its length and hash have proved right.
    ///
    /// # Errors
    ///
    /// [`Error`]; nothing comes after one.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
            }
            if self.ended {
                return Ok(None);
            }
            match self.chunks.next().await {
                Some((chunk, read)) => {
                    let bytes = read.map_err(|source| self.end(Error::Chunk { chunk, source }))?;
                    self.take(&bytes).map_err(|error| self.end(error))?;
                }
                None => {
                    self.ended = true;
                    self.finish()?;
                }
            }
        }
    }

    fn end(&mut self, error: Error) -> Error {
        self.ended = true;
        self.records.clear();
        error
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.len += bytes.len() as u64;
        self.hasher.update(bytes);
        self.decoder.feed(bytes);
        while let Some(record) = self.decoder.next_record()? {
            self.records.push_back(record);
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        self.decoder.finish()?;
        if self.len != self.expected.0 {
            return Err(Error::Differs { what: "length" });
        }
        if self.hasher.finalize().as_bytes() != self.expected.1.as_bytes() {
            return Err(Error::Differs { what: "hash" });
        }
        Ok(())
    }
}
