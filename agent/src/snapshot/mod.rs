//! Takes a snapshot: cut, store, commit, then measure facts on the very files that were stored.
//!
//! # Overview
//! 1. The [`cut`] holds every source at one moment.
//! 2. Logs are verified from their descriptors; each source is stamped and judged [suspect](crate::cut::suspect)
//!    or not, beside the snapshot before. Segments that the host has rotated away are carried over from there.
//! 3. The vault stores what is new and commits the manifest. From here on the snapshot exists.
//!    Where that was asked for it is held against retention at once.
//! 4. A probe opens the held files through a socket and measures digests and golden answers: the facts.
//!
//! # Crash consistency
//! Before the commit nothing refers to the packs that were stored: a later run finds their chunks in the index and
//! uses them. Between commit and facts the snapshot is complete but has no facts: drills say so. Descriptors
//! vanish with the process; staging folders are swept by the next start.
//!
//! # Cancellation
//! Before the commit cancelling leaves no snapshot. After it the snapshot stands without facts.
//!
//! # Damage that only decoding shows
//! Bytes of a write-once file are stored as they are on the host. Where a probe then can not decode them, the snapshot
//! stands, for it is the best there is, and its outcome names the table: [`FactsOutcome::disproved`].

mod carry;
mod facts;
mod inputs;
mod outcome;
mod previous;
mod stamping;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::HoldTerms;
use dr_vault::backup;
use dr_vault::clock::SharedClock;
use dr_vault::progress::Progress;
use dr_vault::read::{Options as ReadOptions, SnapshotReader};
use dr_vault::{Manifest, Repository, SnapshotId, Window};
use tokio_util::sync::CancellationToken;

use crate::config::ResolvedSource;
use crate::cut::{self, Content, Cut};
use crate::error::in_one_line;
use crate::stamp::Stamp;
use crate::{hold, limits};
use previous::{Gone, Previous};

pub use facts::Options as FactsOptions;
pub use facts::{Disproved, Facts, FactsOutcome, load as load_facts, row_key};
pub use inputs::EntryError;
pub use outcome::{HoldOutcome, Outcome, SourceOutcome};
pub(crate) use outcome::{log_notes, notes};
pub use watch::PinLimits;

/// Points of a snapshot at which a development build can be killed; the vault has its own.
pub const FAILPOINTS: &[&str] = &[
    "snapshot.cut",
    "snapshot.committed",
    "facts.probing",
    "facts.measured",
    "facts.stored",
];

/// What to take.
#[derive(Debug, Clone)]
pub struct Request {
    /// The host's name.
    pub host: String,
    /// The sources, globs expanded.
    pub sources: Vec<ResolvedSource>,
    /// These are all that are configured: what the snapshot before holds beside them has gone.
    pub whole: bool,
    /// Where reflinks and copies are held while they are read.
    pub staging: PathBuf,
    /// Read files again that can not have changed.
    pub reread: bool,
    /// Why this snapshot is taken, for whoever reads the list.
    pub reason: Option<String>,
    /// Hold it once it is committed.
    pub hold: Option<HoldTerms>,
    /// The cut is right although it may look suspect: somebody looked.
    pub accept: bool,
    /// Which machine this is.
    pub writer: String,
    /// Ceilings of what the cut may hold on to.
    pub pins: PinLimits,
    /// How facts are measured; `None` leaves them out.
    pub facts: Option<facts::Options>,
}

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sources could not be captured.
    #[error("take the cut")]
    Cut(#[from] cut::Error),
    /// A log could not be read.
    #[error("read the log of source `{name}`")]
    Log {
        /// The source.
        name: String,
        /// What stood in the way.
        #[source]
        source: dr_auditlog::Error,
    },
    /// A segment that the host rotated away could not be asked of the repository.
    #[error("carry segments of source `{name}` over from the snapshot before")]
    Carry {
        /// The source.
        name: String,
        /// What stood in the way.
        #[source]
        source: Box<dr_vault::read::Error>,
    },
    /// The repository failed.
    #[error("use the repository")]
    Repository(#[from] dr_vault::Error),
    /// The bytes could not be stored.
    #[error("store the snapshot")]
    Backup(#[from] backup::Error),
    /// A stamp could not be written as JSON.
    #[error("stamp source `{name}`")]
    Stamp {
        /// The source.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file of a source could not be described.
    #[error("describe the files of source `{name}`")]
    Entry {
        /// The source.
        name: String,
        /// Which, and why.
        #[source]
        source: inputs::EntryError,
    },
    /// The pins had to be dropped before everything was stored; nothing was committed.
    #[error("the files of the cut could not be held until they were stored")]
    Pins(#[from] dr_lance::pins::Breach),
    /// A worker thread ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Takes a snapshot.
pub async fn run(
    repository: &Repository,
    request: Request,
    clock: &SharedClock,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Outcome, Error> {
    let started = tokio::time::Instant::now();
    let names: Vec<&str> = request
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    let previous = Previous::find(repository, &names).await?;
    let gone = match request.whole {
        true => previous.gone(&names),
        false => Gone::default(),
    };
    progress.step("holding the files of the cut");
    let cut = hold_sources(&request, clock, cancel).await?;
    dr_vault::failpoint::reach("snapshot.cut");
    progress.step("stamping the cut");
    let (cut, mut stamps) = stamping::stamp(cut, &previous, cancel).await?;
    let mut suspects = stamping::suspects(&cut, &stamps, &previous, &request.writer);
    let mut suspect = stamping::all_suspects(&cut, &suspects, &gone);
    let mut accepted = None;
    if request.accept {
        accepted = suspect.take();
        suspects.fill(None);
    }
    let brought = bring(repository, &request, &previous, &cut, &mut stamps, cancel).await?;
    let window = Window {
        from: cut.from,
        to: cut.at,
        exact: cut.exact,
    };
    let mut sources = Vec::with_capacity(cut.sources.len());
    let mut inputs = Vec::with_capacity(cut.sources.len());
    let each = cut.sources.iter().zip(&stamps).zip(&suspects).zip(brought);
    for (((held, stamp), suspect), brought) in each {
        sources.push(outcome::describe(held, stamp, &brought.lost));
        inputs.push(inputs::input(held, stamp, suspect.clone(), brought.entries)?);
    }
    let (damaged, previous) = (previous.damaged, previous.id);
    let backup = backup::Request {
        window: Some(window),
        inputs,
        previous,
        reread: request.reread,
        writer: Some(request.writer.clone()),
        accepted: accepted.clone(),
        suspect: suspect.clone(),
        reason: request.reason.clone(),
        // One more than can compute, so that one may wait for the disk.
        files_at_once: limits::threads() + 1,
        ..backup::Request::new(cut.at, &request.host, tool())
    };
    let cut = Arc::new(cut);
    let store = async |token| backup::run(repository, backup, progress, &token).await;
    let done = match watch::watched(&cut, request.pins, clock, cancel, store).await {
        (Ok(done), _) => done,
        (Err(_), Some(breach)) => return Err(breach.into()),
        (Err(error), None) => return Err(error.into()),
    };
    dr_vault::failpoint::reach("snapshot.committed");
    let hold = keep(repository, &done.id, request.hold.as_ref(), clock).await;
    truncated(&cut, &mut sources);
    let seconds = started.elapsed().as_secs_f64();
    let measure = async |token: CancellationToken| match request.facts {
        Some(options) => facts::measure(repository, &done.id, previous, &cut, &stamps, options, &token).await,
        None => FactsOutcome::NotAsked,
    };
    let facts = match watch::watched(&cut, request.pins, clock, cancel, measure).await {
        (facts, None) => facts,
        (_, Some(breach)) => FactsOutcome::missing(breach.to_string()),
    };
    Ok(Outcome {
        id: done.id,
        cut: cut.at,
        exact: cut.exact,
        window_seconds: if cut.exact {
            0.0
        } else {
            length(cut.from, cut.at).as_secs_f64()
        },
        suspect,
        accepted,
        stats: done.stats,
        sources,
        gone: gone.names,
        damaged_before: damaged,
        hold,
        facts,
        seconds,
    })
}

/// Holds what was committed, if that was asked. The snapshot stands either way, so a failure is told and not returned.
async fn keep(
    repository: &Repository,
    snapshot: &SnapshotId,
    terms: Option<&HoldTerms>,
    clock: &SharedClock,
) -> HoldOutcome {
    let Some(terms) = terms else {
        return HoldOutcome::NotAsked;
    };
    match hold::set(repository, snapshot, terms, clock.now()).await {
        Ok(hold) => HoldOutcome::Set(hold),
        Err(error) => HoldOutcome::Missing {
            reason: in_one_line(&error),
        },
    }
}

/// Name and version of this program, as manifests carry it.
pub fn tool() -> String {
    format!("dr-agent {}", env!("CARGO_PKG_VERSION"))
}

fn length(from: jiff::Timestamp, to: jiff::Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

/// What is carried over of every source, in their order.
async fn bring(
    repository: &Repository,
    request: &Request,
    previous: &Previous,
    cut: &Cut,
    stamps: &mut [Stamp],
    cancel: &CancellationToken,
) -> Result<Vec<carry::Brought>, Error> {
    let mut brought = Vec::with_capacity(stamps.len());
    let mut synced = false;
    for (held, stamp) in cut.sources.iter().zip(stamps) {
        let name = &held.source.name;
        let (Stamp::AuditLog(log), Some(before)) = (stamp, previous.manifest(name)) else {
            brought.push(carry::Brought::default());
            continue;
        };
        if !log.carried.is_empty() && !synced {
            repository.sync_index().await?;
            repository.sync_packs().await?;
            synced = true;
        }
        let options = ReadOptions::new(&request.staging);
        let reader = SnapshotReader::new(repository, Manifest::clone(before), options);
        let carried = carry::bring(&reader, name, log, cancel).await;
        brought.push(carried.map_err(|source| Error::Carry {
            name: name.clone(),
            source: Box::new(source),
        })?);
    }
    Ok(brought)
}

/// Tells of logs that were too long to be copied and were truncated in place while they were stored: what is stored
/// of them is not what was verified. The snapshot is committed, so nothing here is an error.
fn truncated(cut: &Cut, sources: &mut [SourceOutcome]) {
    for (held, outcome) in cut.sources.iter().zip(sources) {
        let Content::Log(captured) = &held.content else {
            continue;
        };
        match captured.moved() {
            Ok(moved) => outcome.damage.extend(moved.truncated.iter().map(|segment| {
                format!(
                    "{segment} was truncated in place while it was stored, so this snapshot of it is not whole: rotate \
                     by rename instead of copytruncate, or rotate sooner"
                )
            })),
            Err(error) => outcome.notes.push(format!(
                "could not be looked at again after it was stored: {}",
                in_one_line(&error)
            )),
        }
    }
}

#[tracing::instrument(name = "cut", skip_all, fields(otel.status_code = tracing::field::Empty))]
async fn hold_sources(
    request: &Request,
    clock: &SharedClock,
    cancel: &CancellationToken,
) -> Result<Cut, Error> {
    let (sources, staging) = (request.sources.clone(), request.staging.clone());
    let (clock, cancel) = (Arc::clone(clock), cancel.clone());
    let cut = tokio::task::spawn_blocking(move || cut::take(&sources, Some(staging), &*clock, &cancel));
    Ok(cut.await??)
}
