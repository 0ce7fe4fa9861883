//! One file on its way into the repository: read, cut, hashed, stored.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::input::SharedContent;
use crate::buffers::Buffers;
use crate::chunker::Cutter;
use crate::chunking::{BLOCK, Block, Blocks};
use crate::id::Digest;
use crate::progress::Progress;
use crate::tree::{ChunkRef, ContentHash, MAX_CHUNKS, TreePath};
use crate::writer::ChunkWriter;

/// Blocks of one large file that are stored at once.
const LANES: usize = 2;

/// What is learnt of a file while it is stored.
#[derive(Debug)]
pub(super) enum Part {
    Chunks(Vec<ChunkRef>),
    End(ContentHash),
}

/// Where parts go; bounded, so that a file waits until the list has come to it.
pub(super) type Parts = mpsc::Sender<Part>;

/// What the reading of all files of a source shares.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) source: Arc<str>,
    pub(super) writer: ChunkWriter,
    pub(super) buffers: Buffers,
    pub(super) cutter: Arc<Cutter>,
    pub(super) hasher: blake3::Hasher,
    pub(super) progress: Progress,
    pub(super) cancel: CancellationToken,
}

/// The front of a file whose chunks the list already names.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) len: u64,
    pub(super) digest: Digest,
}

/// Tells lists of chunks apart without holding them.
#[derive(Debug, Clone, Default)]
pub(super) struct ListDigest {
    hasher: blake3::Hasher,
    pub(super) len: u64,
}

impl ListDigest {
    pub(super) fn add(&mut self, chunk: &ChunkRef) {
        self.hasher.update(chunk.id.as_bytes());
        self.len += u64::from(chunk.len);
    }

    pub(super) fn finish(&self) -> Listed {
        Listed {
            len: self.len,
            digest: Digest::from_bytes(*self.hasher.finalize().as_bytes()),
        }
    }
}

/// A file to be read.
pub(super) struct Job {
    pub(super) path: TreePath,
    pub(super) len: u64,
    pub(super) content: SharedContent,
    /// Its front that needs no mention again, if carrying it over came to a halt.
    pub(super) listed: Option<Listed>,
}

impl Reader {
    /// Reads and stores one file. A failure goes its own way, so that it ends the backup at once and not when the
    /// list has come to this file.
    pub(super) async fn run(self, job: Job, parts: Parts, failures: mpsc::UnboundedSender<Error>) {
        let result = if job.len <= BLOCK as u64 {
            self.small(job, &parts).await
        } else {
            self.large(job, &parts).await
        };
        if let Err(error) = result {
            // Nobody listens any more only if another error came first.
            failures.send(error).ok();
        }
    }

    /// All on one thread: handing a few kilobytes around costs more than storing them.
    async fn small(self, job: Job, parts: &Parts) -> Result<(), Error> {
        let (chunks, hash) = blocking(move || {
            let mut blocks = Blocks::new(job.len, self.buffers.clone());
            let mut hasher = self.hasher.clone();
            let mut list = Emit::new(&job);
            while let Some(block) = self.read(&job, &mut blocks, &mut hasher)? {
                for chunk in self.store(&job.path, &block)? {
                    list.push(chunk);
                }
            }
            Ok((list.finish(&self.source, &job)?, ContentHash::of(&hasher)))
        })
        .await?;
        send(parts, chunks).await?;
        end(parts, hash).await
    }

    /// Reading and hashing the next block goes on while blocks before it are compressed and sealed.
    async fn large(self, job: Job, parts: &Parts) -> Result<(), Error> {
        let mut list = Emit::new(&job);
        let job = Arc::new(job);
        let state = (
            self.clone(),
            Arc::clone(&job),
            Blocks::new(job.len, self.buffers.clone()),
            self.hasher.clone(),
        );
        let (hash_out, hash_in) = tokio::sync::oneshot::channel();
        let blocks = futures::stream::try_unfold((state, Some(hash_out)), |(state, hash_out)| async move {
            let (block, state) = blocking(move || {
                let (reader, job, mut blocks, mut hasher) = state;
                let block = reader.read(&job, &mut blocks, &mut hasher)?;
                Ok((block, (reader, job, blocks, hasher)))
            })
            .await?;
            let Some(block) = block else {
                let hash = ContentHash::of(&state.3);
                if let Some(out) = hash_out {
                    // Whoever asked for it has failed meanwhile.
                    out.send(hash).ok();
                }
                return Ok(None);
            };
            Ok::<_, Error>(Some((block, (state, hash_out))))
        });
        let stored = blocks
            .map_ok(|block| {
                let (reader, job) = (self.clone(), Arc::clone(&job));
                blocking(move || reader.store(&job.path, &block))
            })
            .try_buffered(LANES);
        let mut stored = std::pin::pin!(stored);
        while let Some(chunks) = stored.next().await.transpose()? {
            for chunk in chunks {
                list.push(chunk);
            }
            send(parts, list.take()).await?;
        }
        send(parts, list.finish(&self.source, &job)?).await?;
        let hash = hash_in
            .await
            .map_err(|_| Error::Internal("a file ended without its hash".to_owned()))?;
        end(parts, hash).await
    }

    fn read(
        &self,
        job: &Job,
        blocks: &mut Blocks,
        hasher: &mut blake3::Hasher,
    ) -> Result<Option<Block>, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let block = blocks.next(&*job.content, &self.cutter).map_err(|source| {
            let (origin, path) = (self.source.to_string(), job.path.clone());
            match source.kind() {
                std::io::ErrorKind::UnexpectedEof => Error::Shrank {
                    origin,
                    path,
                    len: job.len,
                    source,
                },
                _ => Error::Read { origin, path, source },
            }
        })?;
        for chunk in block.iter().flat_map(|block| &block.chunks) {
            hasher.update(chunk);
        }
        Ok(block)
    }

    fn store(&self, path: &TreePath, block: &Block) -> Result<Vec<ChunkRef>, Error> {
        let mut chunks = Vec::with_capacity(block.chunks.len());
        for chunk in &block.chunks {
            let (id, _) = self.writer.add_blocking(chunk).map_err(|source| {
                if self.cancel.is_cancelled() || source.is_cancelled() {
                    return Error::Cancelled;
                }
                Error::Store {
                    origin: self.source.to_string(),
                    path: path.clone(),
                    source,
                }
            })?;
            // A chunk is far below 4 GiB.
            chunks.push(ChunkRef {
                id,
                len: chunk.len() as u32,
            });
            self.progress.advance(chunk.len() as u64);
        }
        Ok(chunks)
    }
}

/// Keeps back what the list has already, and proves that it is the same.
struct Emit {
    listed: Option<Listed>,
    kept_back: ListDigest,
    ready: Vec<ChunkRef>,
}

impl Emit {
    fn new(job: &Job) -> Self {
        Self {
            listed: job.listed.clone(),
            kept_back: ListDigest::default(),
            ready: Vec::new(),
        }
    }

    fn push(&mut self, chunk: ChunkRef) {
        match &self.listed {
            Some(listed) if self.kept_back.len < listed.len => self.kept_back.add(&chunk),
            _ => self.ready.push(chunk),
        }
    }

    fn take(&mut self) -> Vec<ChunkRef> {
        std::mem::take(&mut self.ready)
    }

    fn finish(mut self, source: &str, job: &Job) -> Result<Vec<ChunkRef>, Error> {
        if let Some(listed) = &self.listed {
            let seen = self.kept_back.finish();
            if (seen.len, seen.digest) != (listed.len, listed.digest) {
                return Err(Error::Changed {
                    origin: source.to_owned(),
                    path: job.path.clone(),
                });
            }
        }
        Ok(self.take())
    }
}

pub(super) async fn send(parts: &Parts, chunks: Vec<ChunkRef>) -> Result<(), Error> {
    for batch in chunks.chunks(MAX_CHUNKS) {
        parts
            .send(Part::Chunks(batch.to_vec()))
            .await
            .map_err(|_| Error::Cancelled)?;
    }
    Ok(())
}

pub(super) async fn end(parts: &Parts, hash: ContentHash) -> Result<(), Error> {
    parts.send(Part::End(hash)).await.map_err(|_| Error::Cancelled)
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::Cancelled),
        Err(error) => Err(Error::Internal(format!(
            "a thread that reads files panicked: {error}"
        ))),
    }
}
