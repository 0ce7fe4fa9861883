//! Takes a snapshot: cut, store, commit, then measure facts on the very files that were stored.
//!
//! # Overview
//! 1. The [`cut`] holds every source at one moment.
//! 2. Logs are verified from their descriptors; each source is stamped and judged [suspect](crate::cut::suspect)
//!    or not, beside the snapshot before.
//! 3. The vault stores what is new and commits the manifest. From here on the snapshot exists.
//! 4. A probe opens the held files through a socket and measures digests and golden answers: the facts.
//!
//! # Crash consistency
//! Before the commit nothing refers to the packs that were stored: a later run finds their chunks in the index and
//! uses them. Between commit and facts the snapshot is complete but has no facts: drills say so. Descriptors
//! vanish with the process; staging folders are swept by the next start.
//!
//! # Cancellation
//! Before the commit cancelling leaves no snapshot. After it the snapshot stands without facts.

mod facts;
mod inputs;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dr_auditlog::{LogState, VerifyOptions};
use dr_vault::backup;
use dr_vault::clock::SharedClock;
use dr_vault::progress::Progress;
use dr_vault::{Manifest, Repository, SnapshotId, Window};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::ResolvedSource;
use crate::cut::{self, Content, Cut, Held};
use crate::stamp::{LanceStamp, LogStamp, Stamp};

pub use facts::Options as FactsOptions;
pub use facts::{Facts, FactsOutcome, load as load_facts, row_key};
pub use inputs::EntryError;
pub use watch::PinLimits;

/// Points of a snapshot at which a development build can be killed; the vault has its own.
pub const FAILPOINTS: &[&str] = &[
    "snapshot.cut",
    "snapshot.committed",
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
    /// Where reflinks and copies are held while they are read.
    pub staging: PathBuf,
    /// Read files again that can not have changed.
    pub reread: bool,
    /// Why this snapshot is taken, for whoever reads the list.
    pub reason: Option<String>,
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

/// A committed snapshot.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its id.
    pub id: SnapshotId,
    /// The moment of the cut.
    pub cut: jiff::Timestamp,
    /// Whether all sources stood still together at that moment.
    pub exact: bool,
    /// Length of the window in which sources were captured, in seconds.
    pub window_seconds: f64,
    /// Why it is suspect, if it is.
    pub suspect: Option<String>,
    /// What was read and stored.
    pub stats: backup::Stats,
    /// Its sources with what must be said of them.
    pub sources: Vec<SourceOutcome>,
    /// What came of measuring facts.
    pub facts: FactsOutcome,
    /// How long it took until the commit, in seconds.
    pub seconds: f64,
}

/// One source of a committed snapshot.
#[derive(Debug, Serialize)]
pub struct SourceOutcome {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// `3 tables, 15204 rows` or `12000 records`.
    pub figure: String,
    /// How its files were held: `descriptor 214`.
    pub pins: String,
    /// What the source lacked: an alarm, for the live data is damaged.
    pub damage: Vec<String>,
    /// What is not in the snapshot, and other things to know.
    pub notes: Vec<String>,
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
    let previous = previous(repository).await?;
    let cut = hold(&request, clock, cancel).await?;
    dr_vault::failpoint::reach("snapshot.cut");
    let (cut, stamps) = stamp(cut, previous.as_ref().map(|(_, manifest)| manifest), cancel).await?;
    let suspects = suspects(&cut, &stamps, previous.as_ref().map(|(_, manifest)| manifest));
    let window = Window {
        from: cut.from,
        to: cut.at,
        exact: cut.exact,
    };
    let mut sources = Vec::with_capacity(cut.sources.len());
    let mut inputs = Vec::with_capacity(cut.sources.len());
    for ((held, stamp), suspect) in cut.sources.iter().zip(&stamps).zip(&suspects) {
        sources.push(describe(held, stamp));
        inputs.push(inputs::input(held, stamp, suspect.clone())?);
    }
    let suspect = first_suspect(&cut, &suspects);
    let previous = previous.map(|(id, _)| id);
    let backup = backup::Request {
        window: Some(window),
        inputs,
        previous,
        reread: request.reread,
        suspect: suspect.clone(),
        reason: request.reason.clone(),
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
    let seconds = started.elapsed().as_secs_f64();
    let measure = async |token: CancellationToken| match request.facts {
        Some(options) => facts::measure(repository, &done.id, previous, &cut, &stamps, options, &token).await,
        None => FactsOutcome::NotAsked,
    };
    let facts = match watch::watched(&cut, request.pins, clock, cancel, measure).await {
        (facts, None) => facts,
        (_, Some(breach)) => FactsOutcome::Missing {
            reason: breach.to_string(),
        },
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
        stats: done.stats,
        sources,
        facts,
        seconds,
    })
}

/// Name and version of this program, as manifests carry it.
pub fn tool() -> String {
    format!("dr-agent {}", env!("CARGO_PKG_VERSION"))
}

fn length(from: jiff::Timestamp, to: jiff::Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

/// The newest snapshot that is not suspect: what the next one is compared with and carries files over from.
async fn previous(repository: &Repository) -> Result<Option<(SnapshotId, Manifest)>, Error> {
    let mut newest_first = repository.snapshots().await?;
    newest_first.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.time));
    for snapshot in newest_first {
        let manifest = repository.manifest(&snapshot.id).await?;
        if manifest.suspect.is_none() {
            return Ok(Some((snapshot.id, manifest)));
        }
    }
    Ok(None)
}

async fn hold(request: &Request, clock: &SharedClock, cancel: &CancellationToken) -> Result<Cut, Error> {
    let (sources, staging) = (request.sources.clone(), request.staging.clone());
    let (clock, cancel) = (Arc::clone(clock), cancel.clone());
    let cut = tokio::task::spawn_blocking(move || cut::take(&sources, Some(staging), &*clock, &cancel));
    Ok(cut.await??)
}

/// Stamps every source; logs are read and verified for it.
async fn stamp(
    cut: Cut,
    previous: Option<&Manifest>,
    cancel: &CancellationToken,
) -> Result<(Cut, Vec<Stamp>), Error> {
    let before: Vec<Option<LogState>> = cut
        .sources
        .iter()
        .map(|held| match previous_stamp(previous, &held.source.name) {
            Some(Stamp::AuditLog(log)) => Some(log.facts.state()),
            _ => None,
        })
        .collect();
    let cancel = cancel.clone();
    let stamped = tokio::task::spawn_blocking(move || {
        let stamps: Result<Vec<Stamp>, Error> = cut
            .sources
            .iter()
            .zip(&before)
            .map(|(held, before)| match &held.content {
                Content::Database(collected) => Ok(Stamp::Lancedb(Box::new(LanceStamp {
                    canonical_root: collected.canonical_path().to_string_lossy().into_owned(),
                    tables: collected.tables.clone(),
                    pins: collected.pin.clone(),
                    excluded: collected.excluded.clone(),
                    damage: collected.damage.clone(),
                    external_bases: collected.external_bases.clone(),
                }))),
                Content::Log(captured) => log_stamp(&held.source, captured, before.as_ref(), &cancel),
            })
            .collect();
        stamps.map(|stamps| (cut, stamps))
    });
    stamped.await?
}

fn log_stamp(
    source: &ResolvedSource,
    captured: &dr_auditlog::Captured,
    before: Option<&LogState>,
    cancel: &CancellationToken,
) -> Result<Stamp, Error> {
    let options = VerifyOptions {
        chain: source.chain.clone(),
        ..VerifyOptions::default()
    };
    let facts = captured
        .verify(&options, before, cancel)
        .map_err(|error| Error::Log {
            name: source.name.clone(),
            source: error,
        })?;
    let active = source
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Stamp::AuditLog(Box::new(LogStamp {
        active,
        facts,
        chain: options.chain,
    })))
}

fn previous_stamp(previous: Option<&Manifest>, name: &str) -> Option<Stamp> {
    Stamp::read(&previous?.source(name)?.stamp)
}

fn suspects(cut: &Cut, stamps: &[Stamp], previous: Option<&Manifest>) -> Vec<Option<String>> {
    let judge = |(held, stamp): (&Held, &Stamp)| {
        cut::suspect(previous_stamp(previous, &held.source.name).as_ref(), stamp)
    };
    cut.sources.iter().zip(stamps).map(judge).collect()
}

fn first_suspect(cut: &Cut, suspects: &[Option<String>]) -> Option<String> {
    let named = cut.sources.iter().zip(suspects);
    let reasons: Vec<String> = named
        .filter_map(|(held, why)| Some(format!("{}: {}", held.source.name, why.as_ref()?)))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn describe(held: &Held, stamp: &Stamp) -> SourceOutcome {
    let mut outcome = SourceOutcome {
        name: held.source.name.clone(),
        kind: held.source.kind.as_str(),
        figure: String::new(),
        pins: String::new(),
        damage: Vec::new(),
        notes: Vec::new(),
    };
    match stamp {
        Stamp::Lancedb(lance) => {
            outcome.figure = format!("{} tables, {} rows", lance.tables.len(), lance.rows());
            outcome.pins = pins(lance);
            outcome.damage = lance.damage.iter().map(ToString::to_string).collect();
            outcome.notes = notes(lance);
        }
        Stamp::AuditLog(log) => {
            let facts = &log.facts;
            outcome.figure = format!("{} segments, {} records", facts.segments.len(), facts.records);
            outcome.pins = format!("descriptor {}", facts.segments.len());
            outcome.damage = facts.findings.kept().iter().map(ToString::to_string).collect();
            outcome.notes = vec![format!("the log {}", facts.continuity.standing.name())];
        }
    }
    outcome
}

fn pins(lance: &LanceStamp) -> String {
    let held = lance.pins.file_systems.iter().flat_map(|pins| &pins.held);
    held.map(|(method, figure)| format!("{method} {}", figure.files))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What is not in the snapshot, by name, and what was taken otherwise than usual.
pub(crate) fn notes(lance: &LanceStamp) -> Vec<String> {
    let excluded = lance.excluded.iter().map(|excluded| {
        let files = if excluded.files > 1 {
            format!(" ({} files)", excluded.files)
        } else {
            String::new()
        };
        format!("not included: {}{files}: {}", excluded.path, excluded.reason)
    });
    let external = lance.external_bases.iter().map(|base| {
        format!(
            "not included: {} files of {} that lie outside the database, below {}",
            base.files, base.table, base.path
        )
    });
    let opaque = lance.tables.iter().filter_map(|table| {
        Some(format!(
            "{} was taken whole: {}",
            table.path,
            table.opaque.as_ref()?
        ))
    });
    excluded.chain(external).chain(opaque).collect()
}
