//! Random access to the files of a snapshot, straight from the repository.
//!
//! ## Overview
//! A [`SnapshotReader`] gives a [`SourceReader`] for each source: stat, list, read a range. Every byte that it hands
//! out has been opened and hashed; ranges that several readers want at once are fetched once, and a bounded cache
//! keeps what was used last.
//!
//! ## Layout
//! A source's file list is unrolled once into unnamed temporary files, so that memory depends on neither the number
//! of files nor their size. What it names (paths, chunk ids) is the host's own.
//!
//! ## Consistency
//! Errors tell what is *damaged* (read and disproved, or not there) from what is *unavailable* (not answered): only
//! the first says anything about the data.

mod blocking;
mod cache;
mod coverage;
mod error;
pub(crate) mod spool;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OnceCell;

pub use blocking::FileReader;
pub use coverage::{Coverage, Verified};
pub use error::Error;
pub use spool::Node;

use crate::tree::{TreePath, TreeStream};
use crate::{ChunkId, Manifest, Repository};
use cache::ChunkCache;
use spool::{Placed, Spool, SpoolWriter};

/// Chunks fetched in one step of a long read: a few mebibytes.
const STEP: u64 = 256;

/// How a snapshot is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most bytes of chunks kept in memory.
    pub cache: usize,
    /// Where the unrolled file lists lie; the index cache's folder serves well.
    pub spool_dir: PathBuf,
    /// Where verified chunks are counted; give one to several readers to count together.
    pub coverage: Coverage,
}

impl Options {
    /// 64 MiB of cache, lists in `spool_dir`.
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache: 64 << 20,
            spool_dir: spool_dir.into(),
            coverage: Coverage::new(),
        }
    }
}

/// Reads one snapshot. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotReader(Arc<Inner>);

struct Inner {
    repository: Repository,
    manifest: Manifest,
    options: Options,
    cache: Arc<ChunkCache>,
    sources: HashMap<String, OnceCell<SourceReader>>,
}

impl std::fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("created", &self.0.manifest.created)
            .finish_non_exhaustive()
    }
}

impl SnapshotReader {
    /// A reader of the snapshot with this manifest. Bring the index up to date before.
    pub fn new(repository: &Repository, manifest: Manifest, options: Options) -> Self {
        let cache = ChunkCache::new(repository.clone(), options.cache, options.coverage.clone());
        let sources = manifest
            .sources
            .iter()
            .map(|source| (source.name.clone(), OnceCell::new()))
            .collect();
        let repository = repository.clone();
        Self(Arc::new(Inner {
            repository,
            manifest,
            options,
            cache: Arc::new(cache),
            sources,
        }))
    }

    /// The snapshot's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// What has been read and verified so far.
    pub fn coverage(&self) -> &Coverage {
        &self.0.options.coverage
    }

    /// Opens a source: its file list is read and verified, once.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub async fn source(&self, name: &str) -> Result<SourceReader, Error> {
        let inner = &*self.0;
        let (Some(cell), Some(record)) = (inner.sources.get(name), inner.manifest.source(name)) else {
            let sources = inner
                .manifest
                .sources
                .iter()
                .map(|source| source.name.clone())
                .collect();
            return Err(Error::NoSource {
                name: name.to_owned(),
                sources,
            });
        };
        let opened = cell.get_or_try_init(|| async {
            let list = |source| Error::List {
                origin: name.to_owned(),
                source,
            };
            let spool_error = |source| Error::Spool {
                dir: inner.options.spool_dir.clone(),
                source,
            };
            let mut stream = TreeStream::open(&inner.repository, &record.tree);
            let mut spool = SpoolWriter::new(&inner.options.spool_dir).map_err(spool_error)?;
            while let Some(node) = stream.next().await.map_err(list)? {
                spool.push(node).map_err(spool_error)?;
            }
            inner
                .options
                .coverage
                .note_all(&inner.repository, &record.tree.chunks)
                .await;
            let spool = Arc::new(spool.finish().map_err(spool_error)?);
            let dir = inner.options.spool_dir.clone();
            Ok(SourceReader {
                origin: Arc::from(name),
                spool,
                dir,
                cache: Arc::clone(&inner.cache),
            })
        });
        opened.await.cloned()
    }
}

/// Reads one source of a snapshot. Cheap to clone; any number of tasks may read at once.
#[derive(Clone)]
pub struct SourceReader {
    origin: Arc<str>,
    spool: Arc<Spool>,
    dir: PathBuf,
    cache: Arc<ChunkCache>,
}

impl std::fmt::Debug for SourceReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceReader")
            .field("source", &self.origin)
            .finish_non_exhaustive()
    }
}

impl SourceReader {
    /// The source's name.
    pub fn name(&self) -> &str {
        &self.origin
    }

    /// The entry at `path`, if there is one.
    ///
    /// # Errors
    ///
    /// Only if the local list can not be read.
    pub async fn lookup(&self, path: &TreePath) -> Result<Option<Node>, Error> {
        let path = path.clone();
        self.on_spool(move |spool| spool.find(&path)).await
    }

    /// Entries at and below `prefix`, in order, from the position `from` among them on; at most `limit`.
    ///
    /// # Errors
    ///
    /// Only if the local list can not be read.
    pub async fn list(&self, prefix: &TreePath, from: u64, limit: usize) -> Result<Vec<Node>, Error> {
        let prefix = prefix.clone();
        self.on_spool(move |spool| {
            let first = spool.lower_bound(&prefix)?.saturating_add(from);
            let mut nodes = Vec::new();
            for index in (first..spool.len()).take(limit) {
                let node = spool.node(index)?;
                if !node.entry.path.is_within(&prefix) {
                    break;
                }
                nodes.push(node);
            }
            Ok(nodes)
        })
        .await
    }

    /// The bytes of `range` of a file. All are in memory on return: ask for a few mebibytes at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] and [`Error::Unavailable`] name file, offset and chunk.
    pub async fn read(&self, node: &Node, range: Range<u64>) -> Result<Bytes, Error> {
        let path = &node.entry.path;
        let len = node.entry.file_len().ok_or_else(|| Error::NotAFile {
            origin: self.name().to_owned(),
            path: path.clone(),
        })?;
        if range.start > range.end || range.end > len {
            return Err(Error::OutOfRange {
                origin: self.name().to_owned(),
                path: path.clone(),
                range,
                len,
            });
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let mut next = {
            let (node, offset) = (node.clone(), range.start);
            self.on_spool(move |spool| spool.chunk_at(&node, offset)).await?
        };
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut reached = range.start;
        while reached < range.end {
            let of = node.clone();
            let mut placed = self.on_spool(move |spool| spool.chunks(&of, next, STEP)).await?;
            next += placed.len() as u64;
            placed.retain(|chunk| chunk.start < range.end);
            let before = reached;
            self.fetch(node, &placed, &range, &mut pieces).await?;
            reached = placed.last().map_or(before, |chunk| chunk.end);
            if reached == before {
                return Err(Error::Spool {
                    dir: self.dir.clone(),
                    source: std::io::ErrorKind::InvalidData.into(),
                });
            }
        }
        Ok(join(pieces))
    }

    async fn fetch(
        &self,
        node: &Node,
        placed: &[Placed],
        range: &Range<u64>,
        out: &mut Vec<Bytes>,
    ) -> Result<(), Error> {
        let ids: Vec<ChunkId> = placed.iter().map(|chunk| chunk.id).collect();
        for (place, chunk) in placed.iter().zip(self.cache.get(&ids).await) {
            let chunk = chunk.map_err(|source| self.read_error(node, place, source))?;
            if chunk.len() as u64 != place.end - place.start {
                let reason = format!(
                    "it has {} bytes where the file list says {}",
                    chunk.len(),
                    place.end - place.start
                );
                return Err(self.read_error(node, place, crate::Error::Internal { reason }));
            }
            // A chunk's length is far below usize::MAX, and both ends lie within the chunk.
            let from = range.start.saturating_sub(place.start) as usize;
            let to = (range.end.min(place.end) - place.start) as usize;
            out.push(chunk.slice(from..to));
        }
        Ok(())
    }

    fn read_error(&self, node: &Node, place: &Placed, source: crate::Error) -> Error {
        let (origin, path) = (self.name().to_owned(), node.entry.path.clone());
        let (offset, chunk) = (place.start, place.id);
        if source.is_damage() {
            Error::Damaged {
                origin,
                path,
                offset,
                chunk,
                source,
            }
        } else {
            Error::Unavailable {
                origin,
                path,
                offset,
                chunk,
                source,
            }
        }
    }

    /// Whether the repository still holds every chunk of a file, by its index and by the packs that were there when
    /// [`Repository::sync_packs`] last looked.
    ///
    /// # Errors
    ///
    /// [`Error::Spool`], and [`Error::Unavailable`] if the local index can not be read.
    pub async fn is_held(&self, node: &Node) -> Result<bool, Error> {
        let mut next = node.chunks.start;
        while next < node.chunks.end {
            let of = node.clone();
            let from = next - node.chunks.start;
            let placed = self.on_spool(move |spool| spool.chunks(&of, from, STEP)).await?;
            let ids: Vec<ChunkId> = placed.iter().map(|chunk| chunk.id).collect();
            let Some(first) = placed.first() else { break };
            let held = self.cache.repository().holds_many(&ids).await;
            if held
                .map_err(|source| self.read_error(node, first, source))?
                .contains(&false)
            {
                return Ok(false);
            }
            next += placed.len() as u64;
        }
        Ok(true)
    }

    /// The content of a file as [`std::io::Read`], for threads that may block.
    pub fn file(&self, node: Node, runtime: tokio::runtime::Handle) -> FileReader {
        FileReader::new(self.clone(), node, runtime)
    }

    async fn on_spool<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Spool) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let spool = Arc::clone(&self.spool);
        let done = tokio::task::spawn_blocking(move || look(&spool)).await;
        let result = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        result.map_err(|source| Error::Spool {
            dir: self.dir.clone(),
            source,
        })
    }
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
    joined.freeze()
}
