//! Chunks in: deduplicated, compressed, sealed, packed and uploaded, with bounded memory.
//!
//! # Overview
//!
//! Readers call [`ChunkWriter::add_blocking`] from their own threads, and the work on a chunk is done there: hash it,
//! look it up, compress and seal it into one of a few packs that are being filled. A full pack goes to an upload
//! task. Every 65,536 chunks an index object is stored and taken into the local index.
//!
//! What is in memory: the packs being filled, the packs being uploaded (a reader waits when there are too many), and
//! the names of the chunks that no index object names yet.
//!
//! # Retries
//!
//! None here; the store's decorator retries. The first failure ends the run: later calls answer
//! [`Error::WriterFailed`].
//!
//! # Cancellation
//!
//! The token stops uploads where they are; [`ChunkWriter::finish`] answers [`Error::Cancelled`].
//!
//! # Crash consistency
//!
//! A pack is stored before the index object that names it, and both before [`ChunkWriter::finish`] answers. A crash
//! leaves packs that no snapshot needs; those that an index object names are found again by the next run, so it
//! uploads at most the last 65,536 chunks twice.

mod pool;

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use self::pool::Pool;
use crate::buffers::Buffers;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::id::{ChunkId, IndexId};
use crate::layout;
use crate::pack::{self, Contents, PackBuilder, SealedPack};
use crate::repository::{FLUSH_RECORDS, Inner as Repository, blocking};
use crate::storage::PutMode;

/// How a writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// How many packs are uploaded at once; each costs about 17 MiB of memory.
    pub uploads: usize,
    /// How many packs are filled at once: as many threads can compress and seal; each costs about 17 MiB too.
    pub builders: usize,
    /// Live figures; give your own to watch them.
    pub counters: Arc<WriteCounters>,
    /// Stops everything; [`ChunkWriter::finish`] then answers [`Error::Cancelled`].
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
    chunks_new: AtomicU64,
    chunks_known: AtomicU64,
    bytes_new: AtomicU64,
    bytes_known: AtomicU64,
    bytes_stored: AtomicU64,
    packs: AtomicU64,
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

    fn count(&self, added: Added, len: usize) {
        let (chunks, bytes) = match added {
            Added::New => (&self.chunks_new, &self.bytes_new),
            Added::Known => (&self.chunks_known, &self.bytes_known),
        };
        chunks.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(len as u64, Ordering::Relaxed);
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
    /// Bytes stored in packs.
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
#[derive(Clone)]
pub struct ChunkWriter {
    inner: Arc<Inner>,
}

struct Inner {
    repository: Arc<Repository>,
    runtime: Handle,
    pool: Pool,
    buffers: Buffers,
    /// One permit per pack on its way.
    uploads: Arc<Semaphore>,
    tasks: TaskTracker,
    counters: Arc<WriteCounters>,
    cancel: CancellationToken,
    /// Stops the other uploads once one failed.
    stop: CancellationToken,
    /// Chunks added by this run that the local index does not know yet.
    pending: Mutex<HashSet<ChunkId>>,
    stored: Mutex<Stored>,
    failure: Mutex<Option<Arc<Error>>>,
    /// The step that writes: uploads belong to it.
    span: Span,
}

/// Packs that are stored and not yet named by an index object.
#[derive(Default)]
struct Stored {
    packs: Vec<Contents>,
    records: usize,
    indexes: Vec<IndexId>,
}

impl Stored {
    fn take(&mut self) -> Vec<Contents> {
        self.records = 0;
        std::mem::take(&mut self.packs)
    }
}

impl std::fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkWriter")
            .field("counters", &self.inner.counters)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChunkWriter {
    pub(crate) fn new(repository: Arc<Repository>, options: WriterOptions) -> Self {
        let inner = Inner {
            repository,
            runtime: Handle::current(),
            pool: Pool::new(options.builders),
            buffers: pack::buffers(),
            uploads: Arc::new(Semaphore::new(options.uploads.max(1))),
            tasks: TaskTracker::new(),
            counters: options.counters,
            stop: options.cancel.child_token(),
            cancel: options.cancel,
            pending: Mutex::default(),
            stored: Mutex::default(),
            failure: Mutex::default(),
            span: Span::current(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Adds a chunk from a thread that may block (`spawn_blocking`): hashing, compressing and sealing happen on
    /// it, and it waits when too many packs are on their way. Several threads may do so at once; chunks that one
    /// thread adds in sequence come to lie beside each other.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], [`Error::WriterFailed`] after a failed upload, or what failed.
    pub fn add_blocking(&self, chunk: &[u8]) -> Result<(ChunkId, Added)> {
        self.inner.check()?;
        let id = self.inner.repository.ring().chunk_id(chunk);
        let added = if self.inner.claim(&id)? {
            self.inner.store(id, chunk)?;
            Added::New
        } else {
            Added::Known
        };
        self.inner.counters.count(added, chunk.len());
        Ok((id, added))
    }

    /// Adds a chunk from async code, the work done on a blocking thread.
    ///
    /// # Errors
    ///
    /// As [`ChunkWriter::add_blocking`].
    pub async fn add(&self, chunk: Bytes) -> Result<(ChunkId, Added)> {
        let writer = self.clone();
        blocking(move || writer.add_blocking(&chunk)).await
    }

    /// Adds several chunks, in order, in one step: cheaper than one by one.
    ///
    /// # Errors
    ///
    /// As [`ChunkWriter::add_blocking`].
    pub async fn add_many(&self, chunks: Vec<Bytes>) -> Result<Vec<(ChunkId, Added)>> {
        let writer = self.clone();
        blocking(move || chunks.iter().map(|chunk| writer.add_blocking(chunk)).collect()).await
    }

    /// Stores what is still in memory, waits until all packs are stored, then writes the last index object. Only
    /// after this may a manifest name the chunks. Nobody may be adding any more.
    ///
    /// # Errors
    ///
    /// The first failure of any step.
    pub async fn finish(self) -> Result<WriteStats> {
        let inner = Arc::clone(&self.inner);
        let rest = blocking(move || {
            for pack in inner.pool.drain() {
                inner.upload(pack)?;
            }
            Ok(())
        })
        .await;
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.verdict()?;
        rest?;
        let packs = lock(&self.inner.stored).take();
        if !packs.is_empty() {
            self.inner.unless_stopped(self.inner.flush(packs)).await?;
        }
        let indexes = std::mem::take(&mut lock(&self.inner.stored).indexes);
        Ok(WriteStats {
            indexes,
            ..self.inner.counters.snapshot()
        })
    }
}

impl Inner {
    /// Whether work may go on.
    fn check(&self) -> Result<()> {
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        match &*lock(&self.failure) {
            Some(source) => Err(Error::WriterFailed {
                source: Arc::clone(source),
            }),
            None => Err(Error::Cancelled),
        }
    }

    /// The first failure, as it was.
    fn verdict(&self) -> Result<()> {
        match &*lock(&self.failure) {
            Some(first) => Err((**first).clone()),
            None if self.cancel.is_cancelled() => Err(Error::Cancelled),
            None => Ok(()),
        }
    }

    fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert_with(|| Arc::new(error));
        self.stop.cancel();
    }

    /// Whether the caller is the first with this chunk and has to store it.
    fn claim(&self, id: &ChunkId) -> Result<bool> {
        // First the claim, then the look: whoever comes second finds the one or the other.
        if !lock(&self.pending).insert(*id) {
            return Ok(false);
        }
        let known = self.repository.index.contains(id, &mut Vec::new())?;
        if known {
            lock(&self.pending).remove(id);
        }
        Ok(!known)
    }

    fn store(self: &Arc<Self>, id: ChunkId, chunk: &[u8]) -> Result<()> {
        let mut bench = self.pool.take()?;
        let mut pack = match bench.pack.take() {
            Some(pack) => pack,
            None => PackBuilder::new(self.repository.ring(), self.buffers.take())?,
        };
        pack.push(id, chunk, &mut bench.encoder);
        // The bench is kept while we wait for our turn to upload: no new pack is begun before.
        let result = if pack.is_full() {
            self.upload(pack)
        } else {
            bench.pack = Some(pack);
            Ok(())
        };
        self.pool.put_back(bench);
        result
    }

    /// Seals a pack and hands it to an upload task, once there is room for one.
    fn upload(self: &Arc<Self>, pack: PackBuilder) -> Result<()> {
        if pack.is_empty() {
            return Ok(());
        }
        let sealed = pack.finish();
        failpoint::reach("writer.pack.sealed");
        let uploads = Arc::clone(&self.uploads);
        let permit = self.runtime.block_on(
            self.unless_stopped(async { uploads.acquire_owned().await.map_err(|_| Error::Cancelled) }),
        );
        let permit = match permit {
            Ok(permit) => permit,
            Err(_) => return self.check(),
        };
        let inner = Arc::clone(self);
        let uploading = async move {
            if let Err(error) = inner.unless_stopped(inner.store_pack(sealed, permit)).await {
                match error {
                    Error::Cancelled => {}
                    error => inner.fail(error),
                }
            }
        };
        self.tasks
            .spawn_on(uploading.instrument(self.span.clone()), &self.runtime);
        Ok(())
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.stop.run_until_cancelled(work).await {
            Some(result) => result,
            None => Err(Error::Cancelled),
        }
    }

    async fn store_pack(&self, sealed: SealedPack, _permit: OwnedSemaphorePermit) -> Result<()> {
        let SealedPack { bytes, contents } = sealed;
        let object = layout::pack(&contents.pack);
        let put = self
            .repository
            .storage()
            .put(&object, bytes, PutMode::Overwrite)
            .await;
        put.map_err(|e| self.repository.failed(e, "it was just stored"))?;
        failpoint::reach("writer.pack.stored");
        self.counters.packs.fetch_add(1, Ordering::Relaxed);
        self.counters
            .bytes_stored
            .fetch_add(u64::from(contents.size), Ordering::Relaxed);
        let due = {
            let mut stored = lock(&self.stored);
            stored.records += contents.entries.len();
            stored.packs.push(contents);
            if stored.records >= FLUSH_RECORDS {
                stored.take()
            } else {
                Vec::new()
            }
        };
        if due.is_empty() {
            Ok(())
        } else {
            self.flush(due).await
        }
    }

    /// Stores an index object that names these packs; then the local index knows their chunks.
    async fn flush(&self, packs: Vec<Contents>) -> Result<()> {
        let chunks: Vec<ChunkId> = packs
            .iter()
            .flat_map(|p| p.entries.iter().map(|e| e.chunk))
            .collect();
        let id = self.repository.put_index(packs).await?;
        lock(&self.stored).indexes.push(id);
        let mut pending = lock(&self.pending);
        for chunk in &chunks {
            pending.remove(chunk);
        }
        Ok(())
    }
}
