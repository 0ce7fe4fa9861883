//! A drill: rehearses the recovery of one snapshot and measures it.
//!
//! # Overview
//! A drill climbs the ladder of [rungs](dr_proto::model::Rung) and never stops at the first bad answer: an operator wants to know all
//! that is wrong. `verify` asks everything in place, straight from the repository, and reads last what nobody asked
//! for by then. `restore` first restores every byte into scratch with the clock running, source by source, so that
//! damage to one leaves the others proved; asks the restored copies with stock LanceDB, writes to them, then asks in
//! place as well.
//!
//! # Verdicts
//! Bytes that are wrong, data that can not be decoded although its bytes are right, and answers that differ are
//! `failed`. What could not be asked is `inconclusive` with its cause. Nothing is passed that was not asked.
//!
//! # Retries
//! The vault's, once: a store that was found away through all of them is not asked for anything more, unless it
//! answers.
//!
//! # Cancellation
//! What was not asked yet is reported as inconclusive; scratch is removed.
//!
//! # Crash consistency
//! A drill writes into scratch only. Scratch is owned by the process; the next start sweeps what a killed one left.

mod audit;
mod away;
mod judge;
mod loss;
mod objects;
mod proved;
mod restored;
mod rungs;
mod tables;
#[cfg(test)]
pub(crate) mod testing;

use std::path::PathBuf;
use std::time::Duration;

use dr_proto::model::{
    Bytes, Capture, CheckResult, DrillId, DrillKind, Freshness, Loss, Phase, ProofLevel, Report, Rpo,
    SnapshotRef, SourceKind, SourceReport, Verdict,
};
use dr_vault::clock::SharedClock;
use dr_vault::progress::Progress;
use dr_vault::read::{Options as ReadOptions, SnapshotReader};
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use dr_vault::{Cipher, Manifest, Repository, SnapshotId, SourceRecord, Window};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::snapshot;
use crate::stamp::{LanceStamp, Stamp};

use proved::Proved;
use restored::Restored;
pub use tables::ProbeOptions;

/// Points of a drill at which a development build can be killed; the vault has its own.
pub const FAILPOINTS: &[&str] = &["drill.restored", "drill.asked"];

/// What to rehearse.
#[derive(Debug, Clone)]
pub struct Request {
    /// The kind: `verify` or `restore`.
    pub kind: DrillKind,
    /// The snapshot: an id, the start of one, or `latest`.
    pub snapshot: String,
    /// The host that runs this.
    pub host: String,
    /// Where copies are restored to; the caller owns and removes it.
    pub scratch: PathBuf,
    /// Where file lists of the snapshot are unrolled while they are read.
    pub spool: PathBuf,
    /// Bytes that may be restored there; `None`: as many as fit.
    pub scratch_room: Option<u64>,
    /// The most bytes that the rung `bytes` reads beyond what other rungs read; unset: everything.
    pub bytes_budget: Option<u64>,
    /// Within this time all bytes are verified once: what the ledger says of it counts. Unset: only now counts.
    pub bytes_cycle: Option<Duration>,
    /// Tables whose digest was proved in place within this time are not scanned there again; unset: all are.
    pub content_cycle: Option<Duration>,
    /// How the data was lost that a `restore` drill brings back; unset: nothing stands at the target.
    pub loss: Option<Loss>,
    /// Only sources of this kind; unset: all.
    pub only: Option<SourceKind>,
    /// Probes.
    pub probe: ProbeOptions,
    /// When the operator asked: the clock of the RTO runs from here.
    pub asked: Instant,
}

/// Why a drill could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository could not be used.
    #[error("read the repository")]
    Repository(#[from] dr_vault::Error),
    /// The kind is not one that this function rehearses.
    #[error("a {0} drill can not be run here: choose verify or restore")]
    Kind(DrillKind),
    /// Nothing is restored that could have been lost.
    #[error("a {kind} drill restores nothing, so `{loss}` data can not be rehearsed with it: choose restore")]
    Loss {
        /// The kind.
        kind: DrillKind,
        /// The loss.
        loss: Loss,
    },
    /// The snapshot has sources, but none of the kind that was asked for.
    #[error("snapshot {snapshot} holds no source of kind {kind}")]
    NoSource {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The kind.
        kind: SourceKind,
    },
}

/// The store as this run knows it.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// What was asked of it.
    pub counters: &'a Counters,
    /// Whether it was found away.
    pub circuit: &'a Circuit,
}

/// Runs a drill to its report.
pub async fn run(
    repository: &Repository,
    store: Store<'_>,
    request: &Request,
    clock: &SharedClock,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Report, Error> {
    if !matches!(request.kind, DrillKind::Verify | DrillKind::Restore) {
        return Err(Error::Kind(request.kind));
    }
    if let (DrillKind::Verify, Some(loss)) = (request.kind, request.loss) {
        return Err(Error::Loss {
            kind: request.kind,
            loss,
        });
    }
    let mut drill = Drill::begin(repository, store, request, clock, progress, cancel).await?;
    drill.objects().await;
    let mut restored = Restored::default();
    if request.kind == DrillKind::Restore {
        restored = drill.restore().await;
        dr_vault::failpoint::reach("drill.restored");
        drill.ask_restored(&restored).await;
    }
    drill.databases().await;
    drill.logs().await;
    drill.bytes(&restored).await;
    dr_vault::failpoint::reach("drill.asked");
    Ok(drill.finish(clock))
}

/// A drill under way.
struct Drill<'a> {
    repository: &'a Repository,
    store: Store<'a>,
    request: &'a Request,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
    id: SnapshotId,
    manifest: Manifest,
    reader: SnapshotReader,
    facts: snapshot::Facts,
    facts_error: Option<String>,
    sources: Vec<Source>,
    report: Report,
    before: Transfers,
    proved: Proved,
    /// How long it took to lose what is then restored: no figure counts that.
    prepared: Duration,
}

/// One source of the snapshot and what was found of it so far.
struct Source {
    record: SourceRecord,
    stamp: Option<Stamp>,
    checks: Vec<CheckResult>,
    notes: Vec<String>,
}

/// What the store had been asked when the drill began.
#[derive(Clone, Copy)]
struct Transfers {
    requests: u64,
    fetched: u64,
}

impl Transfers {
    fn of(counters: &Counters) -> Self {
        let requests = counters.snapshot().iter().map(|(_, _, count)| count).sum();
        Self {
            requests,
            fetched: counters.received(),
        }
    }
}

impl<'a> Drill<'a> {
    async fn begin(
        repository: &'a Repository,
        store: Store<'a>,
        request: &'a Request,
        clock: &SharedClock,
        progress: &'a Progress,
        cancel: &'a CancellationToken,
    ) -> Result<Self, Error> {
        let before = Transfers::of(store.counters);
        let started = clock.now();
        let info = repository.resolve(&request.snapshot).await?;
        let mut manifest = repository.manifest(&info.id).await?;
        if let Some(kind) = request.only {
            manifest.sources.retain(|source| source.kind == kind.as_str());
            if manifest.sources.is_empty() {
                let snapshot = info.id;
                return Err(Error::NoSource { snapshot, kind });
            }
        }
        repository.sync_index().await?;
        let (facts, facts_error) = match snapshot::load_facts(repository, &info.id).await {
            Ok(facts) => (facts.unwrap_or_default(), None),
            Err(error) => (snapshot::Facts::default(), Some(error.to_string())),
        };
        let reader = SnapshotReader::new(repository, manifest.clone(), ReadOptions::new(&request.spool));
        let sources = manifest.sources.iter().cloned().map(Source::new).collect();
        let mut drill = Self {
            report: Report {
                schema: 1,
                drill: DrillId::new(started),
                kind: request.kind,
                loss: request.loss,
                host: request.host.clone(),
                agent: env!("CARGO_PKG_VERSION").to_owned(),
                probe: None,
                started,
                finished: started,
                snapshot: Some(SnapshotRef {
                    id: info.id.to_string(),
                    cut: manifest.created,
                    suspect: manifest.suspect.clone(),
                }),
                repository: repository.storage().location(),
                encrypted: repository.config().cipher != Cipher::None,
                freshness: Freshness::Unknown,
                verdict: Verdict::Inconclusive,
                proof: ProofLevel::None,
                binding: String::new(),
                time_to_usable: None,
                time_to_proven: 0.0,
                rpo: Rpo {
                    at_loss: None,
                    worst_gap: None,
                    snapshots: 0,
                },
                bytes: Bytes::default(),
                phases: Vec::new(),
                sources: Vec::new(),
                notes: Vec::new(),
            },
            repository,
            store,
            request,
            progress,
            cancel,
            id: info.id,
            manifest,
            reader,
            facts,
            facts_error,
            sources,
            before,
            proved: match request.content_cycle {
                Some(cycle) => Proved::read(repository, cycle, started).await?,
                None => Proved::default(),
            },
            prepared: Duration::ZERO,
        };
        drill.report.freshness = freshness(repository).await?;
        drill.report.rpo = drill.rpo().await?;
        Ok(drill)
    }

    async fn rpo(&self) -> Result<Rpo, Error> {
        let mut cuts: Vec<_> = self
            .repository
            .snapshots()
            .await?
            .iter()
            .map(|snapshot| snapshot.time)
            .collect();
        cuts.sort();
        let seconds = |from: jiff::Timestamp, to: jiff::Timestamp| to.duration_since(from).as_secs_f64();
        Ok(Rpo {
            at_loss: Some(seconds(self.manifest.created, self.report.started).max(0.0)),
            worst_gap: cuts
                .windows(2)
                .map(|pair| seconds(pair[0], pair[1]))
                .reduce(f64::max),
            snapshots: cuts.len(),
        })
    }

    /// Notes how long a step took.
    fn phase(&mut self, name: &str, since: Instant) {
        self.report.phases.push(Phase {
            name: name.to_owned(),
            seconds: since.elapsed().as_secs_f64(),
        });
    }

    fn finish(mut self, clock: &SharedClock) -> Report {
        let mut report = self.report;
        for source in &mut self.sources {
            source.checks.sort_by_key(|check| check.rung);
        }
        report.sources = self
            .sources
            .into_iter()
            .map(|source| source.report(self.manifest.window))
            .collect();
        let now = Transfers::of(self.store.counters);
        report.bytes.protected = report.sources.iter().map(|source| source.bytes).sum();
        report.bytes.fetched = now.fetched - self.before.fetched;
        report.bytes.requests = now.requests - self.before.requests;
        report.finished = clock.now();
        report.time_to_proven = self.request.asked.elapsed().as_secs_f64();
        report.notes.extend(
            self.facts_error
                .map(|why| format!("the facts of this snapshot could not be read: {why}")),
        );
        report.notes.push(LEFT_OUT.to_owned());
        report.binding = binding(&report, self.request);
        report.settle();
        report
    }
}

/// "Data RTO": what no drill on one host can measure.
const LEFT_OUT: &str = "RTO is of the data alone: provisioning a host, installing programs, DNS and the application's \
                        own start are not in it";

/// What the verdict stands for: change any of it, and the verdict says nothing about the new state.
fn binding(report: &Report, request: &Request) -> String {
    let snapshot = report.snapshot.as_ref().map(|snapshot| &snapshot.id);
    let bound = serde_json::json!({
        "kind": report.kind, "snapshot": snapshot, "agent": report.agent, "probe": report.probe,
        "rules": request.probe.rules, "bytes_budget": request.bytes_budget, "only": request.only,
        "loss": request.loss, "bytes_cycle": request.bytes_cycle, "content_cycle": request.content_cycle,
    });
    blake3::hash(bound.to_string().as_bytes()).to_hex().to_string()
}

async fn freshness(repository: &Repository) -> Result<Freshness, Error> {
    Ok(match repository.freshness().await? {
        dr_vault::Freshness::Fresh => Freshness::Fresh,
        dr_vault::Freshness::Unknown => Freshness::Unknown,
        dr_vault::Freshness::RolledBack { expected, .. } => Freshness::RolledBack {
            expected: expected.to_string(),
        },
    })
}

impl Source {
    fn new(record: SourceRecord) -> Self {
        let stamp = Stamp::read(&record.stamp);
        let notes = match &stamp {
            Some(Stamp::Lancedb(lance)) => {
                let lacks = lance.lacks().into_iter();
                let lacks = lacks.map(|what| format!("lacked at the cut already: {what}"));
                lacks.chain(snapshot::notes(lance)).collect()
            }
            Some(Stamp::AuditLog(log)) => snapshot::log_notes(log),
            None => vec!["its stamp was written by another version and can not be read".to_owned()],
        };
        Self {
            record,
            stamp,
            checks: Vec::new(),
            notes,
        }
    }

    fn database(&self) -> Option<&LanceStamp> {
        match &self.stamp {
            Some(Stamp::Lancedb(lance)) => Some(lance),
            _ => None,
        }
    }

    fn report(self, window: Option<Window>) -> SourceReport {
        let pins = match &self.stamp {
            Some(Stamp::Lancedb(lance)) => {
                let held = lance.pins.file_systems.iter().flat_map(|pins| &pins.held);
                held.map(|(method, figure)| (method.to_string(), figure.files))
                    .collect()
            }
            Some(Stamp::AuditLog(log)) => log.pins(),
            None => std::collections::BTreeMap::new(),
        };
        SourceReport {
            name: self.record.name,
            kind: self.record.kind,
            root: self.record.root,
            files: self.record.files,
            bytes: self.record.bytes,
            capture: window.map(|window| Capture {
                exact: window.exact,
                window: if window.exact {
                    0.0
                } else {
                    window.to.duration_since(window.from).as_secs_f64()
                },
                pins,
            }),
            verdict: Verdict::Inconclusive,
            proof: ProofLevel::None,
            checks: self.checks,
            notes: self.notes,
        }
    }
}
