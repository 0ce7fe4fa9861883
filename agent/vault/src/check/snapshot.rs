//! One snapshot: is everything there that it needs, and is it what was written? The first two rungs of a drill.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::findings::{Affected, Finding, Findings, Problem, Severity};
use super::ledger::Ledger;
use super::packs::{self, Packs, Task, Wanted};
use super::walk::{Need, Stop, walk};
use super::{objects, unless_cancelled};
use crate::causes::in_one_line;
use crate::progress::{Phase, Progress};
use crate::read::{Coverage, Verified};
use crate::step;
use crate::storage::Key;
use crate::{Manifest, PackId, Repository, Result, SnapshotId, layout};

/// Within this time the ledger's entries count, if nothing else is said.
pub(super) const CYCLE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A pace is told once it was kept for this share of a cycle.
const PACE_AFTER: f64 = 0.05;

/// Whether the objects are there that a snapshot needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectsReport {
    /// Objects that the snapshot needs.
    pub objects: u64,
    /// Bytes of the packs among them.
    pub bytes: u64,
    /// Objects that are missing, of the wrong size, or damaged where reading the lists met them.
    pub findings: Vec<Finding>,
}

/// How much of a snapshot's bytes is verified.
#[derive(Debug, Clone)]
pub struct BytesOptions {
    /// Most bytes to be read; all if absent.
    pub budget: Option<u64>,
    /// Within this time everything is to be verified once: what the ledger says of it counts.
    pub cycle: SignedDuration,
    /// What others have read and verified: counts, and is not read again.
    pub already: Coverage,
}

impl Default for BytesOptions {
    fn default() -> Self {
        Self {
            budget: None,
            cycle: CYCLE,
            already: Coverage::default(),
        }
    }
}

/// Whether the bytes are right that a snapshot needs.
#[derive(Debug, Clone, PartialEq)]
pub struct BytesReport {
    /// Bytes of the snapshot's distinct chunks that this check, or others before it, opened and hashed.
    pub bytes: u64,
    /// How many chunks that are.
    pub chunks: u64,
    /// All of the snapshot's chunks have been verified by this check or the coverage that it was given.
    pub complete: bool,
    /// All of them have been verified now, or by the ledger within the cycle.
    pub covered: bool,
    /// Share of the snapshot's bytes that has been verified now, or by the ledger within the cycle.
    pub verified_ratio: f64,
    /// The share that a whole cycle would verify at the pace kept until now; `None` while that can not be told.
    pub pace: Option<f64>,
    /// Bytes that this check itself fetched.
    pub bytes_read: u64,
    /// Packs that the budget left for another time.
    pub packs_left: u64,
    /// Damage, with the files that suffer.
    pub findings: Vec<Finding>,
}

/// Whether every object that a snapshot needs is there, with its size: by listing, not one request each.
///
/// # Errors
///
/// If the store does not answer or the caller cancels; damage is a finding.
#[tracing::instrument(name = "objects", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub async fn snapshot_objects(
    repository: &Repository,
    snapshot: &SnapshotId,
    manifest: &Manifest,
    cancel: &CancellationToken,
) -> Result<ObjectsReport> {
    let asked = unless_cancelled(cancel, find_objects(repository, snapshot, manifest)).await;
    marked(asked, |report| &report.findings)
}

async fn find_objects(
    repository: &Repository,
    snapshot: &SnapshotId,
    manifest: &Manifest,
) -> Result<ObjectsReport> {
    repository.sync_index().await?;
    let mut findings = Findings::default();
    let small = objects::needed(repository, snapshot, manifest, &mut findings).await?;
    let packs = Packs::compare(repository, &mut Findings::default()).await?;
    let mut needed: HashSet<PackId> = HashSet::new();
    let stops = walk(repository, manifest, &mut |need| {
        needed.extend(need.at.map(|at| at.pack));
        blame(snapshot, &need, &packs, &mut findings);
    })
    .await?;
    if stops.is_empty() {
        findings.relieve_indexes();
    }
    note_stops(snapshot, stops, &mut findings)?;
    let bytes = needed.iter().filter_map(|pack| packs.listed.get(pack)).sum();
    Ok(ObjectsReport {
        objects: small + needed.len() as u64,
        bytes,
        findings: findings.finish().0,
    })
}

/// Whether every byte that a snapshot needs is right. What others have verified counts and is not read again; the rest
/// is read pack by pack, the least recently verified first, until the budget is spent.
///
/// # Errors
///
/// If the store does not answer or the caller cancels; damage is a finding.
#[tracing::instrument(name = "bytes", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub async fn snapshot_bytes(
    repository: &Repository,
    snapshot: &SnapshotId,
    manifest: &Manifest,
    options: &BytesOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<BytesReport> {
    progress.enter(Phase::Verifying);
    let asked = unless_cancelled(
        cancel,
        read_bytes(repository, snapshot, manifest, options, progress),
    );
    marked(asked.await, |report| &report.findings)
}

/// Marks the step as failed if it could not be done, or found damage.
fn marked<T>(asked: Result<T>, findings: impl FnOnce(&T) -> &[Finding]) -> Result<T> {
    let found = |report| {
        findings(report)
            .iter()
            .any(|finding| finding.severity == Severity::Damage)
    };
    if asked.as_ref().map_or(true, found) {
        step::failed();
    }
    asked
}

async fn read_bytes(
    repository: &Repository,
    snapshot: &SnapshotId,
    manifest: &Manifest,
    options: &BytesOptions,
    progress: &Progress,
) -> Result<BytesReport> {
    repository.sync_index().await?;
    let mut packs = Packs::compare(repository, &mut Findings::default()).await?;
    let mut findings = Findings::default();
    let mut needs = Needs::default();
    let stops = walk(repository, manifest, &mut |need| {
        needs.add(&need, &options.already)
    })
    .await?;
    note_stops(snapshot, stops, &mut findings)?;
    // As it was before this check wrote into it.
    let ledger = Ledger::read(repository).await?;
    let task = Task {
        wanted: needs.wanted(&packs),
        open: &needs.open,
        budget: options.budget,
        drill: true,
    };
    let done = packs::verify(repository, &mut packs, task, progress).await?;
    note_covered(repository, &needs).await;
    if !packs.bad.is_empty() || needs.unknown {
        walk(repository, manifest, &mut |need| {
            blame(snapshot, &need, &packs, &mut findings)
        })
        .await?;
    }
    let now = repository.clock().now();
    let since = now.saturating_sub(options.cycle).unwrap_or(Timestamp::MIN);
    let lately = |pack: &PackId| ledger.needed(pack).is_some_and(|time| time >= since);
    let verified = needs.verified(|pack| done.sound.contains(pack));
    let cycle = needs.verified(|pack| done.sound.contains(pack) || lately(pack) && !packs.bad.contains(pack));
    let all = needs.verified(|_| true);
    let verified_ratio = if all.bytes == 0 {
        1.0
    } else {
        cycle.bytes as f64 / all.bytes as f64
    };
    // How much of the cycle the ledger has seen.
    let kept = ledger
        .begun()
        .map(|begun| now.duration_since(begun.max(since)).as_secs_f64() / options.cycle.as_secs_f64());
    Ok(BytesReport {
        bytes: verified.bytes,
        chunks: verified.chunks,
        complete: verified == all && !needs.unknown,
        covered: cycle == all && !needs.unknown,
        verified_ratio,
        pace: kept
            .filter(|kept| *kept >= PACE_AFTER)
            .map(|kept| (verified_ratio / kept).min(1.0)),
        bytes_read: done.bytes,
        packs_left: done.left,
        findings: findings.finish().0,
    })
}

/// Notes in the ledger that everything was read and hashed that these sources of a snapshot need: a restore does that.
///
/// # Errors
///
/// If the store does not answer or the caller cancels.
pub async fn note_restored(
    repository: &Repository,
    manifest: &Manifest,
    cancel: &CancellationToken,
) -> Result<()> {
    let note = async {
        repository.sync_index().await?;
        let mut packs = HashSet::new();
        let stops = walk(repository, manifest, &mut |need| {
            packs.extend(need.at.map(|at| at.pack));
        })
        .await?;
        // A list that is damaged was not restored from either; one that is out of reach is another matter.
        let away = stops.iter().find(|stop| !stop.error.is_damage());
        if let Some(error) = away.and_then(|stop| stop.error.repository()) {
            return Err(error.clone());
        }
        let packs: Vec<PackId> = packs.into_iter().collect();
        Ledger::append(repository, &[], &packs).await
    };
    unless_cancelled(cancel, note).await
}

/// Packs of which others had read all that the snapshot needs count as verified, too.
async fn note_covered(repository: &Repository, needs: &Needs) {
    let covered = needs.packs.iter().filter(|(_, needs)| needs.open.chunks == 0);
    let covered: Vec<PackId> = covered.map(|(pack, _)| *pack).collect();
    if let Err(error) = Ledger::append(repository, &[], &covered).await {
        tracing::warn!(%error, "what was read by other questions is not in the ledger: it counts as not verified");
    }
}

/// What a snapshot needs of each pack, each chunk counted once.
#[derive(Default)]
struct Needs {
    seen: Coverage,
    /// What nobody has verified yet.
    open: Coverage,
    packs: HashMap<PackId, PackNeeds>,
    /// There are chunks that no index knows.
    unknown: bool,
}

#[derive(Default)]
struct PackNeeds {
    covered: Verified,
    open: Verified,
}

impl Needs {
    fn add(&mut self, need: &Need<'_>, already: &Coverage) {
        let Some(at) = &need.at else {
            self.unknown = true;
            return;
        };
        if self.seen.insert(at) {
            let pack = self.packs.entry(at.pack).or_default();
            let side = if already.contains(at) {
                &mut pack.covered
            } else {
                self.open.insert(at);
                &mut pack.open
            };
            side.chunks += 1;
            side.bytes += u64::from(at.raw_len);
        }
    }

    /// Packs with open chunks: whole where nothing of them has been read, else the open chunks alone.
    fn wanted(&self, packs: &Packs) -> Vec<Wanted> {
        let open = self.packs.iter().filter(|(_, needs)| needs.open.chunks > 0);
        let listed = open.filter_map(|(pack, needs)| Some((*pack, needs, *packs.listed.get(pack)?)));
        listed
            .map(|(pack, needs, size)| match needs.covered.chunks {
                0 => Wanted::whole(pack, size),
                _ => Wanted {
                    pack,
                    size,
                    cost: needs.open.bytes.min(size),
                    partly: true,
                },
            })
            .collect()
    }

    /// What is verified if `sound` tells whether a pack is, beside what was covered before.
    fn verified(&self, sound: impl Fn(&PackId) -> bool) -> Verified {
        let mut sum = Verified::default();
        for (pack, needs) in &self.packs {
            let open = if sound(pack) {
                needs.open
            } else {
                Verified::default()
            };
            sum.chunks += needs.covered.chunks + open.chunks;
            sum.bytes += needs.covered.bytes + open.bytes;
        }
        sum
    }
}

/// Notes that a file suffers if its chunk lies in a bad place, or in none that is known.
pub(super) fn blame(snapshot: &SnapshotId, need: &Need<'_>, packs: &Packs, findings: &mut Findings) {
    let Some(at) = &need.at else {
        let what = "no index names a pack that holds the chunk: an index object or a pack is lost";
        let object = Key::new(layout::INDEX);
        return findings.affect(&object, Problem::NotIndexed, what, affected(snapshot, need));
    };
    if let Some((object, problem, what)) = packs.bad.of(&at.pack, &need.chunk) {
        findings.affect(&object, problem, what, affected(snapshot, need));
    }
}

fn affected(snapshot: &SnapshotId, need: &Need<'_>) -> Affected {
    Affected {
        snapshot: *snapshot,
        source: Some(need.source.to_owned()),
        path: need.path.map(ToString::to_string),
        chunk: Some(need.chunk),
        offset: need.path.map(|_| need.offset),
    }
}

/// A list that can not be read makes its whole source suffer.
pub(super) fn note_stops(snapshot: &SnapshotId, stops: Vec<Stop>, findings: &mut Findings) -> Result<()> {
    for Stop { source, error } in stops {
        if let Some(cause) = error.repository().filter(|cause| !cause.is_damage()) {
            return Err(cause.clone());
        }
        let object = error.repository().and_then(crate::Error::object).cloned();
        let object = object.unwrap_or_else(|| Key::new(format!("{}*-{snapshot}", layout::SNAPSHOTS)));
        let problem = match error.repository() {
            Some(crate::Error::Missing { .. }) => Problem::Missing,
            _ => Problem::Damaged,
        };
        let what = format!("file list of source {source}: {}", in_one_line(&error));
        let affected = Affected {
            snapshot: *snapshot,
            source: Some(source),
            path: None,
            chunk: None,
            offset: None,
        };
        findings.affect(&object, problem, &what, affected);
    }
    Ok(())
}
