//! How each source stands against its objectives: computed from what is stored, whenever somebody asks.
//!
//! # Overview
//! A pass counts for a source until a later drill of it fails: a proof that was disproved since is none. The recovery
//! point is the age of the newest cut, or the worst gap between two cuts of the last seven days, whichever is longer.
//! A source that is new has as long as its objectives allow before it counts as unprotected or unproved.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dr_proto::model::{HostName, ProofLevel, Selector, Verdict};
use dr_store::inventory::{Cuts, SourceRecord};
use dr_store::proofs::ProofRecord;
use dr_store::{Result, Store};
use jiff::Timestamp;

/// What must hold for each source of the hosts that it selects. Of several the first that selects a host counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Which hosts.
    pub select: Selector,
    /// The most that may be lost: the longest time between two cuts.
    pub rpo: Option<Duration>,
    /// The longest that a restore may take until everything can be used.
    pub rto: Option<Duration>,
    /// How deep a drill must have passed.
    pub proof: Option<ProofLevel>,
    /// How old that pass may be.
    pub proof_age: Option<Duration>,
}

/// How one source stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// The host.
    pub host: HostName,
    /// The source.
    pub source: String,
    /// Its newest cut that is not suspect.
    pub last_snapshot: Option<Timestamp>,
    /// Its newest pass that is as deep as asked for.
    pub last_proof: Option<Timestamp>,
    /// How deep its deepest pass went that is young enough.
    pub proof: ProofLevel,
    /// How long its last restore took.
    pub rto: Option<Duration>,
    /// The worst gap between cuts, up to now.
    pub rpo_worst: Option<Duration>,
    /// Age of its newest cut.
    pub rpo_now: Option<Duration>,
    /// What must hold, if anything must.
    pub objective: Option<Objective>,
    /// What does not hold.
    pub breached: Vec<Breach>,
}

/// An objective that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breach {
    /// Too much could be lost.
    Rpo,
    /// A restore takes too long, or none was measured.
    Rto,
    /// Nothing proves it deeply enough.
    Proof,
    /// What proves it is too old.
    ProofAge,
}

impl Breach {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpo => "rpo",
            Self::Rto => "rto",
            Self::Proof => "proof",
            Self::ProofAge => "proof_age",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is known of one source.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    first_seen: Timestamp,
    cuts: Option<&'a Cuts>,
    /// Passes that no later drill disproved.
    passes: &'a [ProofRecord],
}

type Key = (HostName, String);

/// Every configured source of every host that may work, worst first.
pub async fn read(store: &Store, objectives: &[Objective]) -> Result<Vec<Readiness>> {
    let now = store.clock().now();
    let hosts = store.hosts().list().await?;
    let labels: BTreeMap<_, _> = hosts
        .into_iter()
        .filter(|host| host.may_work())
        .map(|host| (host.host, host.labels))
        .collect();
    let cuts: BTreeMap<Key, Cuts> = store
        .inventories()
        .cuts()
        .await?
        .into_iter()
        .map(|cuts| ((cuts.host.clone(), cuts.source.clone()), cuts))
        .collect();
    let passes = standing(store.proofs().passed().await?, &store.proofs().newest().await?);
    let mut readiness = Vec::new();
    for SourceRecord {
        host,
        source,
        first_seen,
    } in store.inventories().sources(None).await?
    {
        let Some(labels) = labels.get(&host).filter(|_| source.configured) else {
            continue;
        };
        let objective = objectives
            .iter()
            .find(|objective| objective.select.matches(&host, labels));
        let key = (host, source.name);
        let known = Known {
            first_seen,
            cuts: cuts.get(&key),
            passes: passes.get(&key).map_or(&[], Vec::as_slice),
        };
        readiness.push(judge(key, known, objective, now));
    }
    readiness.sort_by(|a, b| {
        let rank = |readiness: &Readiness| std::cmp::Reverse(readiness.breached.len());
        (rank(a), &a.host, &a.source).cmp(&(rank(b), &b.host, &b.source))
    });
    Ok(readiness)
}

/// Passes by source that no later drill disproved.
fn standing(passed: Vec<ProofRecord>, newest: &[ProofRecord]) -> BTreeMap<Key, Vec<ProofRecord>> {
    let mut disproved: BTreeMap<(&HostName, &str), Timestamp> = BTreeMap::new();
    for failed in newest.iter().filter(|drill| drill.verdict == Verdict::Failed) {
        let at = disproved
            .entry((&failed.host, &failed.source))
            .or_insert(failed.at);
        *at = failed.at.max(*at);
    }
    let mut standing: BTreeMap<Key, Vec<ProofRecord>> = BTreeMap::new();
    for pass in passed {
        let failed = disproved.get(&(&pass.host, pass.source.as_str()));
        if failed.is_none_or(|failed| pass.at > *failed) {
            standing
                .entry((pass.host.clone(), pass.source.clone()))
                .or_default()
                .push(pass);
        }
    }
    standing
}

fn judge((host, source): Key, known: Known<'_>, objective: Option<&Objective>, now: Timestamp) -> Readiness {
    let age = |at: Timestamp| now.duration_since(at).unsigned_abs();
    let wanted = objective
        .and_then(|objective| objective.proof)
        .unwrap_or(ProofLevel::Bytes);
    let oldest = objective.and_then(|objective| objective.proof_age);
    let young = |pass: &&ProofRecord| oldest.is_none_or(|oldest| age(pass.at) <= oldest);
    let rpo_now = known.cuts.map(|cuts| age(cuts.last));
    let mut readiness = Readiness {
        host,
        source,
        last_snapshot: known.cuts.map(|cuts| cuts.last),
        last_proof: known
            .passes
            .iter()
            .filter(|pass| pass.proof >= wanted)
            .map(|pass| pass.at)
            .max(),
        proof: known
            .passes
            .iter()
            .filter(young)
            .map(|pass| pass.proof)
            .max()
            .unwrap_or(ProofLevel::None),
        rto: newest_restore(known.passes),
        rpo_worst: known.cuts.zip(rpo_now).map(|(cuts, now)| cuts.worst_gap.max(now)),
        rpo_now,
        objective: objective.cloned(),
        breached: Vec::new(),
    };
    if let Some(objective) = objective {
        readiness.breached = breaches(objective, &readiness, age(known.first_seen), now);
    }
    readiness
}

fn newest_restore(passes: &[ProofRecord]) -> Option<Duration> {
    let restores = passes.iter().filter(|pass| pass.time_to_usable.is_some());
    restores
        .max_by_key(|pass| pass.at)
        .and_then(|pass| pass.time_to_usable)
}

fn breaches(objective: &Objective, found: &Readiness, known_for: Duration, now: Timestamp) -> Vec<Breach> {
    let mut breached = Vec::new();
    if let Some(most) = objective.rpo {
        // A source without a snapshot loses everything since it is known.
        if found.rpo_worst.unwrap_or(known_for) > most {
            breached.push(Breach::Rpo);
        }
    }
    let grace = objective.proof_age.unwrap_or_default();
    let is_new = found.last_proof.is_none() && known_for <= grace;
    if let Some(most) = objective.rto
        && !is_new
        && found.rto.is_none_or(|rto| rto > most)
    {
        breached.push(Breach::Rto);
    }
    if let Some(wanted) = objective.proof
        && !is_new
        && found.proof < wanted
    {
        breached.push(Breach::Proof);
    }
    if let Some(most) = objective.proof_age {
        let age = found
            .last_proof
            .map_or(known_for, |at| now.duration_since(at).unsigned_abs());
        if age > most {
            breached.push(Breach::ProofAge);
        }
    }
    breached
}

#[cfg(test)]
mod tests;
