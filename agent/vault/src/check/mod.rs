//! Is the repository what was written?
//!
//! ## Overview
//! [`run`] looks at the repository as a whole; [`snapshot_objects`] and [`snapshot_bytes`] at one snapshot, as the
//! first rungs of a drill. Each finding names the object, what is wrong with it, and the files of the snapshots that
//! suffer. A store that does not answer is an error, never a finding: it says nothing about the data.
//!
//! ## Layout
//! A [`Depth::Quick`] check opens manifests and lists everything else: presence and sizes. A [`Depth::Full`] check
//! reads every object: small ones are proved by name and opened, file lists are walked, packs are read whole, hashed,
//! and each chunk opened and hashed. [`Depth::Budget`] is a full check that reads packs up to a number of bytes, those
//! first whose last verification is longest ago; the ledger remembers.
//!
//! ## Consistency
//! What is gone is told by who refers to it: a manifest names its predecessor by hash, the key objects, index objects
//! and records that stood there; the index names packs; lists name chunks; this host remembers the newest snapshot.
//!
//! ## Cancellation
//! Between packs; what was verified by then is not in the ledger.

mod findings;
mod ledger;
mod objects;
mod packs;
mod recent;
mod snapshot;
mod snapshots;
mod walk;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use findings::{Affected, Finding, MAX_AFFECTED, MAX_FINDINGS, Problem, Severity};
pub use recent::{Recent, Share};
pub use snapshot::{
    BytesOptions, BytesReport, ObjectsReport, note_restored, snapshot_bytes, snapshot_objects,
};

use crate::progress::{Phase, Progress};
use crate::read::Coverage;
use crate::{Digest, Repository, Result};
use findings::Findings;
use packs::{Packs, Wanted};
use snapshots::Chain;
use walk::walk;

/// How deep a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Presence and sizes, manifests and their chain, file lists.
    #[default]
    Quick,
    /// Everything, and of the packs up to this many bytes.
    Budget(u64),
    /// Every byte.
    Full,
}

/// How a check works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// How deep it goes.
    pub depth: Depth,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How deep it went.
    pub depth: Depth,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Findings beyond [`MAX_FINDINGS`].
    pub findings_not_listed: u64,
    /// Snapshots listed.
    pub snapshots: u64,
    /// Packs listed.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Chunks opened and hashed in them.
    pub chunks_read: u64,
    /// Packs that the budget left for another time.
    pub packs_left: u64,
    /// Other objects read and proved.
    pub objects_read: u64,
}

impl Report {
    /// Whether nothing is disproved; notes and warnings do not count.
    pub fn is_sound(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity < Severity::Damage)
            && self.findings_not_listed == 0
    }
}

/// Checks a repository.
///
/// # Errors
///
/// If the store does not answer or the caller cancels; damage is a finding.
pub async fn run(
    repository: &Repository,
    options: &Options,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Report> {
    progress.enter(Phase::Verifying);
    let checked = unless_cancelled(cancel, check(repository, options.depth, progress)).await;
    progress.enter(Phase::Finished);
    checked
}

/// `work`, dropped as soon as the caller cancels.
async fn unless_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(crate::Error::Cancelled),
        done = work => done,
    }
}

async fn check(repository: &Repository, depth: Depth, progress: &Progress) -> Result<Report> {
    let mut findings = Findings::default();
    repository.sync_index().await?;
    let chain = Chain::open(repository, &mut findings).await?;
    chain.links(repository, &mut findings).await?;
    let objects_read = match depth {
        Depth::Quick => {
            objects::listed(repository, &chain, &mut findings).await?;
            0
        }
        Depth::Budget(_) | Depth::Full => objects::check(repository, &chain, &mut findings).await?,
    };
    let mut packs = Packs::compare(repository, &mut findings).await?;
    let done = match depth {
        Depth::Quick => packs::Verification::default(),
        Depth::Budget(bytes) => read_packs(repository, &mut packs, Some(bytes), progress).await?,
        Depth::Full => read_packs(repository, &mut packs, None, progress).await?,
    };
    packs.bad.report(&mut findings);
    if lists(repository, &chain, &packs, &mut findings).await? {
        packs.bad.relieve(&mut findings);
        findings.relieve_indexes();
    }
    let (list, findings_not_listed) = findings.finish();
    Ok(Report {
        depth,
        findings: list,
        findings_not_listed,
        snapshots: chain.snapshots.len() as u64,
        packs: packs.listed.len() as u64,
        pack_bytes: packs.listed.values().sum(),
        packs_read: done.packs,
        bytes_read: done.bytes,
        chunks_read: done.chunks,
        packs_left: done.left,
        objects_read: objects_read + chain.snapshots.len() as u64,
    })
}

/// Reads packs whole, as far as the budget allows.
async fn read_packs(
    repository: &Repository,
    packs: &mut Packs,
    budget: Option<u64>,
    progress: &Progress,
) -> Result<packs::Verification> {
    let wanted = packs
        .listed
        .iter()
        .map(|(pack, size)| Wanted::whole(*pack, *size));
    let task = packs::Task {
        wanted: wanted.collect(),
        open: &Coverage::new(),
        budget,
        drill: false,
    };
    packs::verify(repository, packs, task, progress).await
}

/// Walks the lists of all snapshots: chunks that no index knows, and files that suffer from bad packs. Lists that
/// several snapshots share are walked once as long as nothing is wrong with them. Answers whether all could be read.
async fn lists(
    repository: &Repository,
    chain: &Chain,
    packs: &Packs,
    findings: &mut Findings,
) -> Result<bool> {
    let mut sound: HashSet<Digest> = HashSet::new();
    let mut all = true;
    for (info, manifest) in chain.snapshots.iter().rev() {
        let Some(manifest) = manifest else {
            all = false;
            continue;
        };
        let mut rest = manifest.clone();
        rest.sources.retain(|source| !sound.contains(&source.tree.hash));
        let mut suffering: HashSet<String> = HashSet::new();
        let stops = walk(repository, &rest, &mut |need| {
            if need
                .at
                .is_none_or(|at| packs.bad.of(&at.pack, &need.chunk).is_some())
            {
                suffering.insert(need.source.to_owned());
            }
            snapshot::blame(&info.id, &need, packs, findings);
        })
        .await?;
        all &= stops.is_empty();
        suffering.extend(stops.iter().map(|stop| stop.source.clone()));
        snapshot::note_stops(&info.id, stops, findings)?;
        let fine = rest
            .sources
            .iter()
            .filter(|source| !suffering.contains(&source.name));
        sound.extend(fine.map(|source| source.tree.hash));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
