//! One source on its way into the repository: entries in, a stored file list out.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::Error;
use super::file::{Job, ListDigest, Parts, Reader, blocking, end, send};
use super::input::{Entries, InputEntry, InputKind};
use super::list::{Item, ListWriter, Stored};
use super::previous::{Body, Previous};
use crate::Repository;
use crate::tree::Entry;

/// Entries that may wait between the walk, the reading and the list.
const QUEUE: usize = 64;
/// Parts of one file that may wait until the list has come to it.
const PARTS: usize = 4;

/// How many files took which way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ways {
    pub(super) unchanged: u64,
    pub(super) bytes_unchanged: u64,
    pub(super) read: u64,
    pub(super) bytes_read: u64,
}

/// Stores one source.
pub(super) struct SourceBackup {
    pub(super) repository: Repository,
    pub(super) reader: Reader,
    pub(super) previous: Previous,
    pub(super) reread: bool,
    pub(super) expected: bool,
    pub(super) files_at_once: usize,
}

impl SourceBackup {
    /// Reads what has to be read, carries over what has not, stores the list.
    pub(super) async fn run(self, entries: Entries) -> Result<(Stored, Ways), Error> {
        let reader = self.reader.clone();
        let (walked, walk) = mpsc::channel(QUEUE);
        let (item_out, item_in) = mpsc::channel(QUEUE);
        let list = ListWriter::new(&reader.source, &reader.writer, &reader.cutter, &reader.progress);
        let (failed, mut failures) = mpsc::unbounded_channel();
        let work = async {
            tokio::try_join!(
                walk_entries(entries, walked, Arc::clone(&reader.source)),
                self.dispatch(walk, item_out, failed),
                list.run(item_in)
            )
        };
        // Dropping the work stops the readers: their channels close and their tasks are aborted.
        let done = tokio::select! {
            biased;
            Some(failure) = failures.recv() => Err(failure),
            () = reader.cancel.cancelled() => Err(Error::Cancelled),
            done = work => done,
        };
        match done {
            Ok(((), ways, stored)) => Ok((stored, ways)),
            // The list may have missed a reader's parts before its failure was seen here.
            Err(error) => Err(failures.try_recv().unwrap_or(error)),
        }
    }

    async fn dispatch(
        mut self,
        mut walk: mpsc::Receiver<InputEntry>,
        items: mpsc::Sender<Item>,
        failed: mpsc::UnboundedSender<Error>,
    ) -> Result<Ways, Error> {
        let permits = Arc::new(Semaphore::new(self.files_at_once));
        let mut readers = JoinSet::new();
        let mut ways = Ways::default();
        while let Some(InputEntry {
            path,
            kind,
            metadata,
            identity,
        }) = walk.recv().await
        {
            let entry = Entry {
                path,
                kind: kind.to_entry_kind(),
                metadata,
                identity,
            };
            let before = self.previous.seek(&entry.path).await;
            let InputKind::File { len, content } = kind else {
                queue(&items, Item { entry, parts: None }).await?;
                continue;
            };
            if !self.expected {
                self.reader.progress.expect(1, len);
            }
            let (parts, parts_in) = mpsc::channel(PARTS);
            let unchanged = before.is_some_and(|before| is_unchanged(&before, &entry)) && !self.reread;
            let path = entry.path.clone();
            queue(
                &items,
                Item {
                    entry,
                    parts: Some(parts_in),
                },
            )
            .await?;
            let mut job = Job {
                path,
                len,
                content,
                listed: None,
            };
            if unchanged {
                match self.carry_over(len, &parts).await? {
                    Carried::Whole => {
                        ways.unchanged += 1;
                        ways.bytes_unchanged += len;
                        continue;
                    }
                    Carried::UpTo(digest) => job.listed = Some(digest.finish()),
                }
            }
            ways.read += 1;
            ways.bytes_read += len;
            let permit = Arc::clone(&permits)
                .acquire_owned()
                .await
                .map_err(|_| Error::Cancelled)?;
            let (reader, failed) = (self.reader.clone(), failed.clone());
            let read = async move {
                reader.run(job, parts, failed).await;
                drop(permit);
            };
            readers.spawn(read.in_current_span());
            while readers.try_join_next().is_some() {}
        }
        drop(items);
        while readers.join_next().await.is_some() {}
        Ok(ways)
    }

    /// Names the chunks of the last snapshot again, as long as the repository still holds them.
    async fn carry_over(&mut self, len: u64, parts: &Parts) -> Result<Carried, Error> {
        let mut digest = ListDigest::default();
        loop {
            match self.previous.body().await {
                Body::Chunks(chunks) => {
                    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
                    let held = self
                        .repository
                        .holds_many(&ids)
                        .await
                        .map_err(Error::step("look up chunks"))?;
                    let held = held.iter().take_while(|held| **held).count();
                    let carried = chunks.get(..held).unwrap_or_default();
                    carried.iter().for_each(|chunk| digest.add(chunk));
                    send(parts, carried.to_vec()).await?;
                    if held < chunks.len() {
                        return Ok(Carried::UpTo(Box::new(digest)));
                    }
                }
                Body::End(hash) => {
                    self.reader.progress.advance(len);
                    end(parts, hash).await?;
                    return Ok(Carried::Whole);
                }
                Body::Lost => return Ok(Carried::UpTo(Box::new(digest))),
            }
        }
    }
}

enum Carried {
    Whole,
    /// The rest has to be read: the repository has lost a chunk, or the old list breaks off.
    UpTo(Box<ListDigest>),
}

/// Same place, same identity: written once and therefore the same content.
fn is_unchanged(before: &Entry, now: &Entry) -> bool {
    now.identity.is_some() && before.identity == now.identity && before.file_len() == now.file_len()
}

async fn queue(items: &mpsc::Sender<Item>, item: Item) -> Result<(), Error> {
    // Closed only when the list has failed; that error is the one reported.
    items.send(item).await.map_err(|_| Error::Cancelled)
}

/// Runs the iterator on a thread that may block, a few entries ahead.
async fn walk_entries(
    entries: Entries,
    out: mpsc::Sender<InputEntry>,
    source: Arc<str>,
) -> Result<(), Error> {
    blocking(move || {
        for entry in entries {
            let entry = entry.map_err(|error| Error::Capture {
                origin: source.to_string(),
                source: error,
            })?;
            if out.blocking_send(entry).is_err() {
                break;
            }
        }
        Ok(())
    })
    .await
}
