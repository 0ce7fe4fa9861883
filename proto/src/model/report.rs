//! The report of one drill on one host.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CheckResult, DrillId, DrillKind, Loss, Outcome, ProofLevel, Rung, Verdict};

/// The report of one drill: what was asked, what came back, how long it took and what is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The report's schema: 1.
    pub schema: u32,
    /// The drill.
    pub drill: DrillId,
    /// Its kind.
    pub kind: DrillKind,
    /// How the data was lost that a restore drill brought back; `None`: nothing stood where it was restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// The host that ran it.
    pub host: String,
    /// Version of the agent.
    pub agent: String,
    /// Version of the probe; `None` if none was there.
    pub probe: Option<String>,
    /// When it began and ended.
    pub started: Timestamp,
    /// When the last check had answered.
    pub finished: Timestamp,
    /// The snapshot that was rehearsed; `None` if none could be chosen.
    pub snapshot: Option<SnapshotRef>,
    /// Where the repository is, without secrets.
    pub repository: String,
    /// Whether the repository's bytes are encrypted.
    pub encrypted: bool,
    /// Whether the repository is as new as this host remembers it.
    pub freshness: Freshness,
    /// The verdict over all sources.
    pub verdict: Verdict,
    /// How deep the pass went: the lowest level over all sources.
    pub proof: ProofLevel,
    /// What the verdict is bound to: BLAKE3 of drill kind, options, versions and snapshot, in hex.
    pub binding: String,
    /// RTO: seconds from the start until every source lay restored and had opened; `None` if one did not. What is
    /// asked of one source before the next one opens takes no time of it.
    pub time_to_usable: Option<f64>,
    /// Seconds until the last check had answered.
    pub time_to_proven: f64,
    /// Recovery point.
    pub rpo: Rpo,
    /// What moved.
    pub bytes: Bytes,
    /// How long each step took, in order.
    pub phases: Vec<Phase>,
    /// One entry a source.
    pub sources: Vec<SourceReport>,
    /// What the figures leave out, and everything else that a reader must know.
    pub notes: Vec<String>,
}

/// The snapshot that a drill rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Its id, 32 hex digits.
    pub id: String,
    /// The moment of its cut.
    pub cut: Timestamp,
    /// Why it is suspect, if it is.
    pub suspect: Option<String>,
}

/// Whether an older state of the repository may have been put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Freshness {
    /// As new as this host remembers.
    Fresh,
    /// This host remembers a newer snapshot than the repository has.
    RolledBack {
        /// The snapshot that is remembered.
        expected: String,
    },
    /// Nothing is remembered here: an older state could not be told from the present one.
    Unknown,
}

/// Recovery point: what would be lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rpo {
    /// Age in seconds of the snapshot's cut when the drill began: what a loss at that moment would cost.
    pub at_loss: Option<f64>,
    /// The longest time in seconds between two consecutive cuts in the repository's period.
    pub worst_gap: Option<f64>,
    /// How many snapshots the period holds.
    pub snapshots: usize,
}

/// What a drill moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Bytes of all sources in the snapshot.
    pub protected: u64,
    /// Bytes fetched from the store.
    pub fetched: u64,
    /// Bytes written into scratch.
    pub restored: u64,
    /// Bytes whose hash was checked, each once however many questions read it.
    pub verified: u64,
    /// Requests made to the store.
    pub requests: u64,
}

/// One step of a drill and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The step's name.
    pub name: String,
    /// Its length in seconds.
    pub seconds: f64,
}

/// How a source was captured at the cut, as recorded in the snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// `exact`, or `window` if tables kept moving while they were captured.
    pub exact: bool,
    /// Length of the window in seconds; 0 for an exact cut.
    pub window: f64,
    /// How files were held, and how many by each means: `descriptor: 214`.
    pub pins: BTreeMap<String, u64>,
}

/// What a drill found of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The source's name in the agent's configuration.
    pub name: String,
    /// `lancedb` or `audit-log`.
    pub kind: String,
    /// The folder or log that was captured.
    pub root: String,
    /// Files and bytes in the snapshot.
    pub files: u64,
    /// Bytes in the snapshot.
    pub bytes: u64,
    /// How it was captured.
    pub capture: Option<Capture>,
    /// The verdict over its checks.
    pub verdict: Verdict,
    /// How deep its pass went.
    pub proof: ProofLevel,
    /// One entry a rung.
    pub checks: Vec<CheckResult>,
    /// What was not included or could not be supported, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl SourceReport {
    /// Settles verdict and proof level from the checks.
    pub fn settle(&mut self) {
        self.verdict = verdict(&self.checks);
        self.proof = if self.verdict == Verdict::Failed {
            ProofLevel::None
        } else {
            proof(&self.kind, &self.checks)
        };
    }
}

impl Report {
    /// Settles verdict and proof level over all sources. Without a single source nothing is proved.
    pub fn settle(&mut self) {
        for source in &mut self.sources {
            source.settle();
        }
        let worst = self.sources.iter().map(|s| s.verdict).max();
        self.verdict = match (worst, &self.freshness) {
            (Some(Verdict::Passed), Freshness::RolledBack { .. }) => Verdict::Failed,
            (Some(worst), _) => worst,
            (None, _) => Verdict::Inconclusive,
        };
        self.proof = match self.verdict {
            Verdict::Failed => ProofLevel::None,
            _ => self
                .sources
                .iter()
                .map(|s| s.proof)
                .min()
                .unwrap_or(ProofLevel::None),
        };
    }
}

/// A pass needs at least one check that read data: presence of objects alone proves nothing.
fn verdict(checks: &[CheckResult]) -> Verdict {
    let worst = checks.iter().filter_map(|c| c.outcome.verdict()).max();
    let proved = checks
        .iter()
        .any(|c| c.outcome == Outcome::Passed && c.rung > Rung::Objects);
    match worst {
        Some(Verdict::Passed) if !proved => Verdict::Inconclusive,
        Some(worst) => worst,
        None => Verdict::Inconclusive,
    }
}

/// The deepest level whose rungs all passed, or had nothing to ask, with every level below it.
fn proof(kind: &str, checks: &[CheckResult]) -> ProofLevel {
    let holds = |rung: Rung| {
        checks
            .iter()
            .find(|c| c.rung == rung)
            .is_some_and(|c| matches!(c.outcome, Outcome::Passed | Outcome::NotApplicable))
    };
    let engine: &[Rung] = if kind == "lancedb" {
        &[Rung::Tables, Rung::Content]
    } else {
        &[Rung::Audit]
    };
    let levels: [(ProofLevel, &[Rung]); 4] = [
        (ProofLevel::Bytes, &[Rung::Objects, Rung::Bytes]),
        (ProofLevel::Engine, engine),
        (
            ProofLevel::Queries,
            if kind == "lancedb" { &[Rung::Queries] } else { &[] },
        ),
        (ProofLevel::Restored, &[Rung::Restore]),
    ];
    levels
        .into_iter()
        .take_while(|(_, rungs)| rungs.iter().all(|rung| holds(*rung)))
        .last()
        .map_or(ProofLevel::None, |(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;

    fn check(rung: Rung, outcome: Outcome) -> CheckResult {
        CheckResult {
            rung,
            outcome,
            figure: String::new(),
            findings: Vec::new(),
            seconds: 0.0,
        }
    }

    fn passed(rungs: &[Rung]) -> Vec<CheckResult> {
        rungs.iter().map(|r| check(*r, Outcome::Passed)).collect()
    }

    #[test]
    fn presence_alone_is_no_pass() {
        assert_eq!(verdict(&passed(&[Rung::Objects])), Verdict::Inconclusive);
        assert_eq!(verdict(&[]), Verdict::Inconclusive);
    }

    #[test]
    fn one_failure_outweighs_everything() {
        let mut checks = passed(&[Rung::Objects, Rung::Bytes, Rung::Tables]);
        checks.push(check(Rung::Content, Outcome::Inconclusive(Cause::NoFacts)));
        assert_eq!(verdict(&checks), Verdict::Inconclusive);
        checks.push(check(Rung::Queries, Outcome::Failed));
        assert_eq!(verdict(&checks), Verdict::Failed);
    }

    #[test]
    fn proof_stops_at_the_first_gap() {
        let mut checks = passed(&[
            Rung::Objects,
            Rung::Bytes,
            Rung::Tables,
            Rung::Queries,
            Rung::Restore,
        ]);
        checks.push(check(Rung::Content, Outcome::Inconclusive(Cause::NoFacts)));
        assert_eq!(proof("lancedb", &checks), ProofLevel::Bytes);
        checks.last_mut().unwrap().outcome = Outcome::Passed;
        assert_eq!(proof("lancedb", &checks), ProofLevel::Restored);
    }

    #[test]
    fn a_log_has_no_queries_to_ask() {
        let checks = passed(&[Rung::Objects, Rung::Bytes, Rung::Audit, Rung::Restore]);
        assert_eq!(proof("audit-log", &checks), ProofLevel::Restored);
    }
}
