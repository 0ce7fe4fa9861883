//! Sources into the repository: one committed snapshot of all of them, or none.
//!
//! ## Overview
//! [`run`] takes the inputs one after the other. Entries come in order; files are read several at once, large ones in
//! several lanes; each file's chunks and then its hash flow through a bounded channel into the source's list, which
//! drains them in order. Files that never change and are the same as in the last snapshot are carried over: their
//! chunks are looked up, their content is not touched.
//!
//! ## Consistency
//! The lists are written while files are read, the manifest last, after every pack and index object is stored. What
//! is carried over must still be in the index: what is not is read again, and must then be what the old list says.
//!
//! ## Retries
//! None here: those of the store are inside it. A backup that failed is run again and finds its packs.
//!
//! ## Cancellation
//! Readers look at the token before each block; everything else is dropped. Nothing is committed.
//!
//! ## Crash consistency
//! Packs without a snapshot may be left, protected by an intent until that ends and found again by the next run.

mod error;
mod file;
mod input;
mod list;
mod previous;
mod source;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use input::{CaptureError, Entries, Input, InputEntry, InputKind, SharedContent, plain_directory};

use crate::chunker::Cutter;
use crate::chunking;
use crate::failpoint;
use crate::progress::{Phase, Progress};
use crate::repository::{Intent, IntentKind};
use crate::tree::content_hasher;
use crate::writer::{ChunkWriter, WriteCounters, WriteStats, WriterOptions};
use crate::{Manifest, Repository, SnapshotId, SourceRecord, Window};

/// Points at which a development build can kill itself, in the order in which [`run`] passes them.
pub const FAILPOINTS: &[&str] = &[
    "backup.announced",
    "backup.source.listed",
    "backup.packs.stored",
    "backup.committed",
];

/// How long packs without a snapshot are protected; announced again at half of it.
const INTENT_TTL: Duration = Duration::from_secs(2 * 60 * 60);

/// What is to be stored, and how.
#[derive(Debug)]
pub struct Request {
    /// The host whose sources these are.
    pub host: String,
    /// The program that writes this, with its version.
    pub tool: String,
    /// The moment of the cut.
    pub created: Timestamp,
    /// When the cut was taken, and how exact it is.
    pub window: Option<Window>,
    /// The sources.
    pub inputs: Vec<Input>,
    /// The snapshot to carry unchanged files over from; none: everything is read.
    pub previous: Option<SnapshotId>,
    /// Read everything, whatever the last snapshot says.
    pub reread: bool,
    /// The machine that writes this.
    pub writer: Option<String>,
    /// Why this cut would not be trusted, had somebody not said that it is right.
    pub accepted: Option<String>,
    /// Why this cut is not to be trusted as a whole.
    pub suspect: Option<String>,
    /// Why the snapshot is taken, in the words of who asked for it.
    pub reason: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Files read at once; each costs up to about 8 MiB.
    pub files_at_once: usize,
    /// Packs uploaded at once; each costs about 17 MiB.
    pub uploads: usize,
}

impl Request {
    /// A request with nothing in it yet.
    pub fn new(created: Timestamp, host: impl Into<String>, tool: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            tool: tool.into(),
            created,
            window: None,
            inputs: Vec::new(),
            previous: None,
            reread: false,
            writer: None,
            accepted: None,
            suspect: None,
            reason: None,
            tags: Vec::new(),
            files_at_once: 3,
            uploads: 4,
        }
    }
}

/// Figures of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Files in the snapshot.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files carried over without reading.
    pub files_unchanged: u64,
    /// Their bytes.
    pub bytes_unchanged: u64,
    /// Files that were read.
    pub files_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Chunks that the repository did not hold.
    pub chunks_new: u64,
    /// Their bytes before compression, file lists included.
    pub bytes_new: u64,
    /// Bytes sent to the store.
    pub bytes_stored: u64,
    /// Packs written.
    pub packs: u64,
    /// How long it took.
    pub seconds: u64,
}

/// A committed snapshot.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its id.
    pub id: SnapshotId,
    /// Its manifest as handed to the commit.
    pub manifest: Manifest,
    /// What it took.
    pub stats: Stats,
}

/// Stores all inputs and commits one snapshot of them.
///
/// # Errors
///
/// [`Error`]; nothing is committed then, except where the commit itself got no answer.
#[tracing::instrument(name = "store", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub async fn run(
    repository: &Repository,
    mut request: Request,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Outcome, Error> {
    let begun = Instant::now();
    progress.enter(Phase::Preparing);
    distinct(&request.inputs)?;
    let announced = Announced::begin(repository, &request.host).await?;
    failpoint::reach("backup.announced");
    let counters = Arc::<WriteCounters>::default();
    let work = async {
        repository
            .sync_index()
            .await
            .map_err(Error::step("bring the index up to date"))?;
        // What a lost pack held is stored again, or every later snapshot would lack it, too.
        let packs = repository
            .sync_packs()
            .await
            .map_err(Error::step("see which packs are there"))?;
        if !packs.unnamed.is_empty() {
            // What they hold is used, so an index has to name them: for readers, and for the next backup.
            repository
                .rebuild_index()
                .await
                .map_err(Error::step("name packs that no index names"))?;
        }
        let options = WriterOptions {
            uploads: request.uploads,
            counters: Arc::clone(&counters),
            cancel: cancel.clone(),
            ..WriterOptions::default()
        };
        let run = Run {
            previous: previous_manifest(repository, &request).await?,
            writer: repository.writer(options),
            cutter: Arc::new(repository.chunker().cutter()),
            repository,
            progress,
            cancel,
        };
        run.store(&mut request).await
    };
    let stored = tokio::select! {
        stored = work => stored,
        () = cancel.cancelled() => Err(Error::Cancelled),
        never = watch(progress, &counters) => match never {},
    };
    let result = match stored {
        Ok((sources, mut stats, written)) => {
            stats.seconds = begun.elapsed().as_secs();
            commit(repository, request, sources, stats, written, progress).await
        }
        Err(error) => Err(error),
    };
    announced.end(repository).await;
    progress.enter(Phase::Finished);
    result
}

/// Tells `progress` what the writer has stored, for as long as it is polled.
async fn watch(progress: &Progress, counters: &WriteCounters) -> std::convert::Infallible {
    let mut told = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        let stored = counters.snapshot().bytes_stored;
        progress.transferred(stored.saturating_sub(told));
        told = stored;
    }
}

fn distinct(inputs: &[Input]) -> Result<(), Error> {
    let mut names = HashSet::new();
    match inputs.iter().find(|input| !names.insert(&input.name)) {
        Some(input) => Err(Error::SameName {
            origin: input.name.clone(),
        }),
        None => Ok(()),
    }
}

/// The manifest to carry over from. Damage to it is no reason to go without a backup.
async fn previous_manifest(repository: &Repository, request: &Request) -> Result<Option<Manifest>, Error> {
    let Some(id) = request.previous.filter(|_| !request.reread) else {
        return Ok(None);
    };
    match repository.manifest(&id).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if error.is_permanent() && !error.is_cancelled() => {
            tracing::warn!(snapshot = %id, error = &error as &dyn std::error::Error, "the last snapshot can not be opened: everything is read");
            Ok(None)
        }
        Err(error) => Err(Error::step("open the last snapshot")(error)),
    }
}

struct Run<'a> {
    repository: &'a Repository,
    previous: Option<Manifest>,
    writer: ChunkWriter,
    cutter: Arc<Cutter>,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    async fn store(self, request: &mut Request) -> Result<(Vec<SourceRecord>, Stats, WriteStats), Error> {
        self.progress.enter(Phase::Storing);
        for (files, bytes) in request.inputs.iter().filter_map(|input| input.expected) {
            self.progress.expect(files, bytes);
        }
        let mut stats = Stats::default();
        let mut sources = Vec::new();
        for input in std::mem::take(&mut request.inputs) {
            sources.push(self.source(input, request, &mut stats).await?);
            failpoint::reach("backup.source.listed");
        }
        let written = self
            .writer
            .finish()
            .await
            .map_err(Error::step("store packs and index"))?;
        failpoint::reach("backup.packs.stored");
        Ok((sources, stats, written))
    }

    async fn source(
        &self,
        input: Input,
        request: &Request,
        stats: &mut Stats,
    ) -> Result<SourceRecord, Error> {
        let Input {
            name,
            kind,
            root,
            stamp,
            mut suspect,
            expected,
            entries,
        } = input;
        let backup = source::SourceBackup {
            repository: self.repository.clone(),
            reader: file::Reader {
                source: Arc::from(name.as_str()),
                writer: self.writer.clone(),
                buffers: chunking::buffers(),
                cutter: Arc::clone(&self.cutter),
                hasher: content_hasher(self.repository),
                progress: self.progress.clone(),
                cancel: self.cancel.clone(),
            },
            previous: previous::Previous::open(self.repository, self.previous.as_ref(), &name),
            reread: request.reread,
            expected: expected.is_some(),
            files_at_once: request.files_at_once.max(1),
        };
        let (stored, ways) = backup.run(entries).await?;
        stats.files += stored.files;
        stats.bytes += stored.bytes;
        stats.files_unchanged += ways.unchanged;
        stats.bytes_unchanged += ways.bytes_unchanged;
        stats.files_read += ways.read;
        stats.bytes_read += ways.bytes_read;
        if stored.files == 0 && suspect.is_none() {
            suspect = Some("it has no files at all".to_owned());
        }
        let (tree, files, bytes) = (stored.tree, stored.files, stored.bytes);
        Ok(SourceRecord {
            name,
            kind,
            root,
            tree,
            files,
            bytes,
            stamp,
            suspect,
        })
    }
}

async fn commit(
    repository: &Repository,
    request: Request,
    sources: Vec<SourceRecord>,
    mut stats: Stats,
    written: WriteStats,
    progress: &Progress,
) -> Result<Outcome, Error> {
    progress.enter(Phase::Committing);
    stats.chunks_new = written.chunks_new;
    stats.bytes_new = written.bytes_new;
    stats.bytes_stored = written.bytes_stored;
    stats.packs = written.packs;
    let mut manifest = Manifest::new(request.created, request.host, request.tool);
    manifest.suspect = request.suspect.or_else(|| {
        let suspect = sources
            .iter()
            .find_map(|source| Some((&source.name, source.suspect.as_ref()?)));
        suspect.map(|(name, why)| format!("source {name}: {why}"))
    });
    manifest.indexes = written.indexes;
    manifest.sources = sources;
    manifest.window = request.window;
    manifest.reason = request.reason;
    manifest.writer = request.writer;
    manifest.accepted = request.accepted;
    manifest.tags = request.tags;
    manifest.stats =
        serde_json::to_value(&stats).map_err(|error| Error::Internal(format!("figures as JSON: {error}")))?;
    let id = repository
        .commit(manifest.clone())
        .await
        .map_err(Error::step("commit the snapshot"))?;
    failpoint::reach("backup.committed");
    Ok(Outcome { id, manifest, stats })
}

/// The announcement that a backup is under way, renewed until it ends.
struct Announced {
    renewal: tokio::task::JoinHandle<()>,
    intents: Arc<tokio::sync::Mutex<Vec<Intent>>>,
}

impl Announced {
    async fn begin(repository: &Repository, host: &str) -> Result<Self, Error> {
        let announce = |repository: Repository, host: String| async move {
            repository.put_intent(IntentKind::Backup, &host, INTENT_TTL).await
        };
        let first = announce(repository.clone(), host.to_owned())
            .await
            .map_err(Error::step("announce the backup in the repository"))?;
        let intents = Arc::new(tokio::sync::Mutex::new(vec![first]));
        let (kept, repository, host) = (Arc::clone(&intents), repository.clone(), host.to_owned());
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTENT_TTL / 2).await;
                match announce(repository.clone(), host.clone()).await {
                    Ok(intent) => kept.lock().await.push(intent),
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the backup could not be announced again"
                    ),
                }
            }
        });
        Ok(Self { renewal, intents })
    }

    async fn end(self, repository: &Repository) {
        self.renewal.abort();
        for intent in self.intents.lock().await.drain(..) {
            if let Err(error) = repository.end_intent(&intent).await {
                tracing::debug!(object = %intent.object, error = &error as &dyn std::error::Error, "an intent stays until it expires");
            }
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

#[cfg(test)]
pub(crate) mod tests;
