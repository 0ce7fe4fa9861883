//! A source's file list on its way into the repository.

use tokio::sync::mpsc;

use super::Error;
use super::file::Part;
use crate::chunker::Cutter;
use crate::chunking::Stream;
use crate::progress::Progress;
use crate::tree::{Encoder, Entry, EntryKind, Record};
use crate::writer::ChunkWriter;
use crate::{ChunkId, Digest, TreeRef};

/// An entry and, for a file, where its parts come from.
pub(super) struct Item {
    pub(super) entry: Entry,
    pub(super) parts: Option<mpsc::Receiver<Part>>,
}

/// A file list that is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) tree: TreeRef,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Writes the list of one source as its entries and their parts come in.
pub(super) struct ListWriter<'a> {
    source: &'a str,
    writer: &'a ChunkWriter,
    cutter: &'a Cutter,
    progress: &'a Progress,
    encoder: Encoder,
    stream: Stream,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    stored: Stored,
}

impl<'a> ListWriter<'a> {
    pub(super) fn new(
        source: &'a str,
        writer: &'a ChunkWriter,
        cutter: &'a Cutter,
        progress: &'a Progress,
    ) -> Self {
        let tree = TreeRef {
            chunks: Vec::new(),
            len: 0,
            hash: Digest::of(&[]),
        };
        Self {
            source,
            writer,
            cutter,
            progress,
            encoder: Encoder::new(),
            stream: Stream::new(),
            hasher: blake3::Hasher::new(),
            buffer: Vec::new(),
            stored: Stored {
                tree,
                files: 0,
                bytes: 0,
            },
        }
    }

    /// Takes items until there are no more. The order of items is the order of the list: a file that comes first is
    /// drained first, while those behind it are read as far as their channels hold.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>) -> Result<Stored, Error> {
        while let Some(Item { entry, parts }) = items.recv().await {
            let len = match entry.kind {
                EntryKind::File { len } => Some(len),
                EntryKind::Directory | EntryKind::Symlink { .. } => None,
            };
            self.write(&Record::Entry(entry)).await?;
            if let Some(parts) = parts {
                self.drain(parts).await?;
            }
            if let Some(len) = len {
                self.stored.files += 1;
                self.stored.bytes += len;
                self.progress.file_done();
            }
        }
        self.finish().await
    }

    async fn drain(&mut self, mut parts: mpsc::Receiver<Part>) -> Result<(), Error> {
        while let Some(part) = parts.recv().await {
            match part {
                Part::Chunks(chunks) => self.write(&Record::Chunks(chunks)).await?,
                Part::End(hash) => return self.write(&Record::End(hash)).await,
            }
        }
        Err(Error::Internal(
            "a file's reader went away without a word".to_owned(),
        ))
    }

    async fn write(&mut self, record: &Record) -> Result<(), Error> {
        self.buffer.clear();
        self.encoder
            .encode(record, &mut self.buffer)
            .map_err(|source| Error::Disorder {
                origin: self.source.to_owned(),
                source,
            })?;
        self.hasher.update(&self.buffer);
        self.stored.tree.len += self.buffer.len() as u64;
        let chunks = self.stream.write(&self.buffer, self.cutter);
        self.store(chunks).await
    }

    async fn store(&mut self, chunks: Vec<bytes::Bytes>) -> Result<(), Error> {
        if chunks.is_empty() {
            return Ok(());
        }
        let added = self
            .writer
            .add_many(chunks)
            .await
            .map_err(Error::step("store the file list"))?;
        self.stored
            .tree
            .chunks
            .extend(added.into_iter().map(|(id, _): (ChunkId, _)| id));
        Ok(())
    }

    async fn finish(mut self) -> Result<Stored, Error> {
        let last = std::mem::take(&mut self.stream).finish(self.cutter);
        self.store(last).await?;
        self.stored.tree.hash = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        Ok(self.stored)
    }
}
