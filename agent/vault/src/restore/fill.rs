//! Filling the staging directory: chunks in the order of their packs, files checked as they become whole.
//!
//! ## Overview
//! The list is walked in windows of a bounded number of chunks. Each window's chunks are sorted by pack and place,
//! fetched several ranges at once and written where they belong; a chunk that several places want is fetched once.
//! Files whose last chunk lies in the window are then read back, hashed, given their metadata and made durable, while
//! the next window is fetched.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::keep::Kept;
use super::report::Unrestored;
use super::site::Site;
use super::{Error, Options};
use crate::failpoint;
use crate::progress::Progress;
use crate::read::Node;
use crate::read::spool::{Placed, Spool};
use crate::tree::EntryKind;
use crate::{ChunkId, Location, Repository};

/// Chunks of one window: half a gibibyte at the usual size, and a few mebibytes of memory.
const WINDOW_CHUNKS: u64 = 32 << 10;
/// Files of one window.
const WINDOW_FILES: usize = 8 << 10;
/// Bytes fetched and written in one step.
const STEP_BYTES: u64 = 4 << 20;

/// What one source's filling shares.
#[derive(Clone)]
pub(super) struct Fill {
    pub(super) repository: Repository,
    pub(super) source: Arc<str>,
    pub(super) site: Site,
    pub(super) spool: Arc<Spool>,
    pub(super) options: Options,
    pub(super) hasher: blake3::Hasher,
    pub(super) progress: Progress,
    pub(super) unrestored: Arc<Unrestored>,
    /// Where the same files may stand already.
    pub(super) reuse_from: Option<PathBuf>,
    pub(super) kept: Arc<Kept>,
    /// What an interrupted run had written.
    pub(super) resumed: Arc<Kept>,
}

/// A chunk, and one place where it goes.
#[derive(Debug, Clone, Copy)]
struct Write {
    at: Location,
    id: ChunkId,
    file: usize,
    start: u64,
}

/// A stretch of the list.
#[derive(Default)]
struct Window {
    files: Vec<Arc<Node>>,
    chunks: Vec<(usize, Placed)>,
    /// Those of `files` that are whole after this window.
    whole: Vec<Arc<Node>>,
}

impl Fill {
    /// Writes every file of the list.
    pub(super) async fn files(&self) -> Result<(), Error> {
        let mut position = Position::default();
        let mut whole = Vec::new();
        while let Some((mut window, next)) = self.window(position).await? {
            position = next;
            let before = std::mem::replace(&mut whole, std::mem::take(&mut window.whole));
            tokio::try_join!(self.write_window(&window), self.complete_all(before))?;
            failpoint::reach("restore.window.written");
        }
        self.complete_all(whole).await
    }

    async fn complete_all(&self, whole: Vec<Arc<Node>>) -> Result<(), Error> {
        futures::stream::iter(whole.into_iter().map(|node| self.complete(node)))
            .buffer_unordered(self.options.parallel.max(1))
            .try_collect::<()>()
            .await
    }

    /// Collects the next window from the list.
    async fn window(&self, from: Position) -> Result<Option<(Window, Position)>, Error> {
        let fill = self.clone();
        self.blocking("read the file list at", move || {
            let (mut at, mut window) = (from, Window::default());
            while at.node < fill.spool.len() && !window.is_full() {
                let node = Arc::new(fill.spool.node(at.node)?);
                if !matches!(node.entry.kind, EntryKind::File { .. }) {
                    at = Position {
                        node: at.node + 1,
                        chunk: 0,
                    };
                    continue;
                }
                if at.chunk == 0 && (fill.take_up(&node)? || fill.keep(&node)?) {
                    at = Position {
                        node: at.node + 1,
                        chunk: 0,
                    };
                    continue;
                }
                let room = WINDOW_CHUNKS - window.chunks.len() as u64;
                let placed = fill.spool.chunks(&node, at.chunk, room)?;
                let file = window.files.len();
                at.chunk += placed.len() as u64;
                let missing = fill.missing(&node, placed)?;
                window
                    .chunks
                    .extend(missing.into_iter().map(|placed| (file, placed)));
                window.files.push(Arc::clone(&node));
                if node.chunks.start + at.chunk == node.chunks.end {
                    window.whole.push(node);
                    at = Position {
                        node: at.node + 1,
                        chunk: 0,
                    };
                }
            }
            Ok((!window.files.is_empty()).then_some((window, at)))
        })
        .await
    }

    async fn write_window(&self, window: &Window) -> Result<(), Error> {
        let writes = self.locate(window).await?;
        let steps = steps(writes);
        let files = &window.files;
        futures::stream::iter(steps.into_iter().map(|step| self.step(files, step)))
            .buffer_unordered(self.options.parallel.max(1))
            .try_collect::<()>()
            .await
    }

    /// The window's chunks in the order of their packs.
    async fn locate(&self, window: &Window) -> Result<Vec<Write>, Error> {
        let ids: Vec<ChunkId> = window.chunks.iter().map(|(_, placed)| placed.id).collect();
        let located = self.repository.locate_many(&ids).await;
        let located = located.map_err(|source| Error::Repository {
            step: "look up chunks in the index",
            source,
        })?;
        let mut writes = Vec::with_capacity(ids.len());
        for ((file, placed), at) in window.chunks.iter().zip(located) {
            let at = at.ok_or_else(|| {
                let source = crate::Error::ChunkNotIndexed { chunk: placed.id };
                self.fetch_error(window.files.get(*file), placed.start, placed.id, source)
            })?;
            writes.push(Write {
                at,
                id: placed.id,
                file: *file,
                start: placed.start,
            });
        }
        writes.sort_unstable_by_key(|write| (write.at.pack, write.at.offset, write.file, write.start));
        Ok(writes)
    }

    fn fetch_error(
        &self,
        node: Option<&Arc<Node>>,
        offset: u64,
        chunk: ChunkId,
        source: crate::Error,
    ) -> Error {
        if source.is_cancelled() {
            return Error::Cancelled;
        }
        let path = node.map(|node| node.entry.path.clone()).unwrap_or_default();
        Error::Fetch {
            origin: self.source.to_string(),
            path,
            offset,
            chunk,
            source: Box::new(source),
        }
    }

    /// Fetches a few mebibytes and writes them.
    async fn step(&self, files: &[Arc<Node>], step: Vec<Write>) -> Result<(), Error> {
        let mut ids: Vec<ChunkId> = step.iter().map(|write| write.id).collect();
        ids.dedup();
        let mut chunks = HashMap::with_capacity(ids.len());
        for (id, chunk) in ids.iter().zip(self.repository.read_chunks(&ids).await) {
            let chunk = chunk.map_err(|source| {
                let wanted = step.iter().find(|write| write.id == *id);
                let (file, start) = wanted.map_or((usize::MAX, 0), |write| (write.file, write.start));
                self.fetch_error(files.get(file), start, *id, source)
            })?;
            chunks.insert(*id, chunk);
        }
        self.progress.transferred(step_transfer(&step));
        let mut by_file: HashMap<usize, Vec<(u64, Bytes)>> = HashMap::new();
        for write in &step {
            if let Some(chunk) = chunks.get(&write.id) {
                by_file
                    .entry(write.file)
                    .or_default()
                    .push((write.start, chunk.clone()));
            }
        }
        let targets: Vec<(Arc<Node>, _)> = by_file
            .into_iter()
            .filter_map(|(file, pieces)| Some((Arc::clone(files.get(file)?), pieces)))
            .collect();
        let fill = self.clone();
        self.blocking("write below", move || {
            for (node, pieces) in &targets {
                fill.site
                    .write(|site| site.write_at(&node.entry.path, pieces))
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", node.entry.path)))?;
                fill.progress
                    .advance(pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum());
            }
            Ok(())
        })
        .await
    }

    /// Reads a whole file back, compares its hash, puts metadata on it, makes it durable.
    async fn complete(&self, node: Arc<Node>) -> Result<(), Error> {
        let (fill, at) = (self.clone(), Arc::clone(&node));
        let sound = self
            .blocking("complete a file below", move || {
                let file = fill.site.write(|site| site.create_file(&at.entry.path))?;
                let sound = fill.is_right(&file, &at)?;
                if sound {
                    fill.finish_file(&file, &at)?;
                }
                Ok(sound)
            })
            .await?;
        if !sound {
            return Err(Error::WrongContent {
                origin: self.source.to_string(),
                path: node.entry.path.clone(),
            });
        }
        self.progress.file_done();
        Ok(())
    }

    pub(super) fn finish_file(&self, file: &File, node: &Node) -> io::Result<()> {
        self.unrestored
            .note(&self.source, &node.entry.path, node.entry.metadata.apply(file));
        if self.options.durable {
            file.sync_all()
        } else {
            Ok(())
        }
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(Error::local(operation, self.site.path())),
            Err(error) if error.is_cancelled() => Err(Error::Cancelled),
            Err(error) => Err(Error::Internal(format!(
                "a thread that writes files panicked: {error}"
            ))),
        }
    }
}

/// A place in the list: a node, and how many of its chunks are behind.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    node: u64,
    chunk: u64,
}

impl Window {
    fn is_full(&self) -> bool {
        self.chunks.len() as u64 >= WINDOW_CHUNKS || self.files.len() >= WINDOW_FILES
    }
}

/// Neighbours of one pack together, up to a few mebibytes.
fn steps(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut steps: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let same = steps
            .last()
            .and_then(|step| step.last())
            .is_some_and(|last| last.at.pack == write.at.pack);
        if !same || bytes >= STEP_BYTES {
            steps.push(Vec::new());
            bytes = 0;
        }
        bytes += u64::from(write.at.raw_len);
        if let Some(step) = steps.last_mut() {
            step.push(write);
        }
    }
    steps
}

/// Sealed bytes of a step, each chunk once.
fn step_transfer(step: &[Write]) -> u64 {
    let mut last = None;
    step.iter()
        .filter(|write| last.replace(write.id) != Some(write.id))
        .map(|write| u64::from(write.at.sealed_len))
        .sum()
}
