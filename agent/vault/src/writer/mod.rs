//! Chunks in: deduplicated, compressed, sealed, packed and uploaded, with bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::id::{ChunkId, IndexId};

/// How a writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// How many packs are uploaded at once; each costs about 17 MiB of memory.
    pub uploads: usize,
    /// How many packs are filled at once: as many threads can compress and seal; each costs about 17 MiB too.
    pub builders: usize,
    /// Live figures; give your own to watch them.
    pub counters: Arc<WriteCounters>,
    /// Stops everything; [`ChunkWriter::finish`] then answers [`crate::Error::Cancelled`].
    pub cancel: CancellationToken,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            uploads: 4,
            builders: 2,
            counters: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }
}

/// Live figures of a writer.
#[derive(Debug, Default)]
pub struct WriteCounters {
    pub(crate) chunks_new: AtomicU64,
    pub(crate) chunks_known: AtomicU64,
    pub(crate) bytes_new: AtomicU64,
    pub(crate) bytes_known: AtomicU64,
    pub(crate) bytes_stored: AtomicU64,
    pub(crate) packs: AtomicU64,
}

impl WriteCounters {
    /// The figures as they stand.
    pub fn snapshot(&self) -> WriteStats {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        WriteStats {
            chunks_new: get(&self.chunks_new),
            chunks_known: get(&self.chunks_known),
            bytes_new: get(&self.bytes_new),
            bytes_known: get(&self.bytes_known),
            bytes_stored: get(&self.bytes_stored),
            packs: get(&self.packs),
            indexes: Vec::new(),
        }
    }
}

/// What a writer did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteStats {
    /// Chunks that the repository did not hold.
    pub chunks_new: u64,
    /// Chunks that it held, or that this run had added already.
    pub chunks_known: u64,
    /// Plain bytes of the new chunks.
    pub bytes_new: u64,
    /// Plain bytes of the known chunks.
    pub bytes_known: u64,
    /// Bytes stored in packs and index objects.
    pub bytes_stored: u64,
    /// Packs stored.
    pub packs: u64,
    /// Index objects stored: belongs into [`crate::Manifest::indexes`].
    pub indexes: Vec<IndexId>,
}

/// Whether a chunk had to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is on its way into a pack.
    New,
    /// The repository holds it, or this run added it before.
    Known,
}

/// Takes chunks. Cheap to clone: several readers can feed one writer.
#[derive(Clone, Debug)]
pub struct ChunkWriter {
    _inner: Arc<()>,
}

impl ChunkWriter {
    /// Adds a chunk from a thread that may block (`spawn_blocking`): hashing, compressing and sealing happen on
    /// it, and it waits when too many packs are on their way. Several threads may do so at once; chunks that one
    /// thread adds in sequence come to lie beside each other.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Cancelled`], [`crate::Error::WriterFailed`] after a failed upload, or what failed.
    pub fn add_blocking(&self, _chunk: &[u8]) -> Result<(ChunkId, Added)> {
        todo!()
    }

    /// Adds a chunk from async code, the work done on a blocking thread.
    ///
    /// # Errors
    ///
    /// As [`ChunkWriter::add_blocking`].
    pub async fn add(&self, _chunk: Bytes) -> Result<(ChunkId, Added)> {
        todo!()
    }

    /// Adds several chunks, in order, in one step: cheaper than one by one.
    ///
    /// # Errors
    ///
    /// As [`ChunkWriter::add_blocking`].
    pub async fn add_many(&self, _chunks: Vec<Bytes>) -> Result<Vec<(ChunkId, Added)>> {
        todo!()
    }

    /// Stores what is still in memory, waits until all packs are stored, then writes the last index object. Only
    /// after this may a manifest name the chunks.
    ///
    /// # Errors
    ///
    /// The first failure of any step.
    pub async fn finish(self) -> Result<WriteStats> {
        todo!()
    }
}
