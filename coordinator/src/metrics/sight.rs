//! Deriving gauges: agents, ages, objectives, plans, queues, certificates, as they stand at one moment.

use std::collections::BTreeMap;

use dr_proto::model::{HostName, ProofLevel, TaskState, Verdict, Verification};
use jiff::Timestamp;

use super::Families;
use super::filed::DRILLS;
use crate::handle::{AgentState, Coverage, Error, Fleet, Plans};
use crate::reconcile::FleetState;
use crate::reconcile::watchdog::oldest_overdue;
use dr_proto::model::Selector;
use dr_store::Store;

/// How deep drills of this version go.
const PROOFS: [ProofLevel; 4] = [
    ProofLevel::Bytes,
    ProofLevel::Engine,
    ProofLevel::Queries,
    ProofLevel::Restored,
];

/// Where gauges are derived from.
#[derive(Debug)]
pub struct Sight {
    /// The store.
    pub store: Store,
    /// Hosts.
    pub fleet: Fleet,
    /// Plans.
    pub plans: Plans,
    /// The present moment.
    pub now: Timestamp,
    /// Whether series carry hosts' names.
    pub per_host: bool,
    /// Our own certificate: its name, and when it ends.
    pub own_certificate: (String, Timestamp),
}

/// Derives all gauges.
pub async fn derive(sight: &Sight) -> Result<Families, Error> {
    let mut families = Families::default();
    build(&mut families);
    agents(sight, &mut families).await?;
    sources(sight, &mut families).await?;
    snapshots(sight, &mut families).await?;
    repositories(sight, &mut families).await?;
    drills(sight, &mut families).await?;
    objectives(sight, &mut families).await?;
    plans(sight, &mut families).await?;
    tasks(sight, &mut families).await?;
    keeping(sight, &mut families).await?;
    Ok(families)
}

fn build(families: &mut Families) {
    let labels = [
        ("component", "coordinator"),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    families.set("dr_build_info", "What runs.", &labels, 1.0);
}

/// A moment as Prometheus takes it; 0 is never.
fn seconds(moment: Option<Timestamp>) -> f64 {
    moment.map_or(0.0, |moment| moment.as_duration().as_secs_f64())
}

async fn agents(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    let agents = sight.fleet.list(&Selector::all()).await?;
    for state in AgentState::ALL {
        let count = agents.iter().filter(|agent| agent.state == state).count();
        families.set(
            "dr_agents",
            "Agents by state.",
            &[("state", state.word())],
            float(count),
        );
    }
    // Counted under what they are as well: a host that is missing may be lost, revoked or never have come.
    families.set(
        "dr_agents",
        "Agents by state.",
        &[("state", "missing")],
        float(sight.fleet.overdue().await?),
    );
    let name = "dr_certificate_expiry_timestamp_seconds";
    let help = "When certificates end.";
    let (own, ends) = &sight.own_certificate;
    families.set(
        name,
        help,
        &[("role", "coordinator"), ("name", own)],
        seconds(Some(*ends)),
    );
    for agent in agents.iter().filter(|_| sight.per_host) {
        let host = agent.record.host.as_str();
        let help = "When an agent was last heard of.";
        families.set(
            "dr_agent_last_seen_timestamp_seconds",
            help,
            &[("host", host)],
            seconds(agent.last_seen),
        );
        if matches!(
            agent.state,
            AgentState::Connected | AgentState::Away | AgentState::Lost | AgentState::Pending
        ) {
            let expires = seconds(agent.record.certificate_expires);
            families.set(
                name,
                "When certificates end.",
                &[("role", "agent"), ("name", host)],
                expires,
            );
        }
    }
    Ok(())
}

async fn sources(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    let mut counts = BTreeMap::from([
        ("protected", 0_usize),
        ("uncovered", 0),
        ("excluded", 0),
        ("missing", 0),
    ]);
    for coverage in sight.fleet.sources(None, false).await? {
        *counts.entry(state(&coverage)).or_default() += 1;
    }
    for (state, count) in counts {
        let help = "Sources: covered by an enabled plan; by none, or found on a host and not configured there; left out by a \
                    plan; or not readable on their host. Damaged ones count by their plans.";
        families.set("dr_sources", help, &[("state", state)], float(count));
    }
    Ok(())
}

/// What becomes of a source. Damage is no state of its own: `dr_agent_source_damaged` tells of it, and a source that a
/// plan covers is rehearsed all the same.
fn state(coverage: &Coverage) -> &'static str {
    let source = &coverage.source;
    if !source.configured {
        "uncovered"
    } else if source.problem.is_some() && !source.damaged {
        "missing"
    } else if !coverage.plans.is_empty() {
        "protected"
    } else if coverage.excluded {
        "excluded"
    } else {
        "uncovered"
    }
}

async fn snapshots(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    if !sight.per_host {
        return Ok(());
    }
    let cuts: BTreeMap<_, _> = sight
        .store
        .inventories()
        .cuts()
        .await?
        .into_iter()
        .map(|cuts| ((cuts.host.clone(), cuts.source.clone()), cuts.last))
        .collect();
    let sources = sight.store.inventories().sources(None).await?;
    for record in sources.into_iter().filter(|record| record.source.configured) {
        let (host, source) = (record.host, record.source.name);
        let last = cuts.get(&(host.clone(), source.clone())).copied();
        let labels = [("host", host.as_str()), ("source", source.as_str())];
        let help = "The newest cut of a source that is not suspect; 0 is never.";
        families.set(
            "dr_snapshot_last_success_timestamp_seconds",
            help,
            &labels,
            seconds(last),
        );
    }
    Ok(())
}

async fn repositories(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    if !sight.per_host {
        return Ok(());
    }
    let told = sight.store.inventories().list().await?;
    let told: BTreeMap<_, _> = told.into_iter().map(|told| (told.host.clone(), told)).collect();
    for record in sight.store.hosts().list().await? {
        if !record.state.is_welcome() {
            continue;
        }
        let told = told.get(&record.host);
        let labels = [("host", record.host.as_str())];
        families.set(
            "dr_repository_stored_bytes",
            "Bytes that a host's repository holds; 0: its agent never said.",
            &labels,
            told.map_or(0.0, |told| float_of(told.stored_bytes)),
        );
        let verification = told.and_then(|told| told.verification);
        families.set(
            "dr_repository_verified_ratio",
            "The share of a repository's bytes that was verified within thirty days; 0: none, or its agent never said.",
            &labels,
            verification.map_or(0.0, Verification::ratio),
        );
    }
    Ok(())
}

/// A source, as series of drills name it.
type Place = (HostName, String);

async fn drills(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    if !sight.per_host {
        return Ok(());
    }
    let (mut passed, mut verdicts) = (BTreeMap::new(), BTreeMap::new());
    for record in sight.store.inventories().sources(None).await? {
        let place: Place = (record.host, record.source.name);
        for level in PROOFS {
            passed.insert((place.clone(), level.to_string()), None);
        }
        for kind in DRILLS {
            verdicts.insert((place.clone(), kind.to_string()), None);
        }
    }
    for proof in sight.store.proofs().passed().await? {
        let place = (proof.host, proof.source);
        passed.insert((place, proof.proof.to_string()), Some(proof.at));
    }
    for proof in sight.store.proofs().newest().await? {
        let place = (proof.host, proof.source);
        verdicts.insert((place, proof.kind.to_string()), Some(proof.verdict));
    }
    for (((host, source), level), at) in passed {
        let labels = [
            ("host", host.as_str()),
            ("source", source.as_str()),
            ("proof", level.as_str()),
        ];
        let help = "The newest drill of a source that passed, by how deep it went; 0 is never.";
        families.set(
            "dr_drill_last_success_timestamp_seconds",
            help,
            &labels,
            seconds(at),
        );
    }
    for (((host, source), kind), concluded) in verdicts {
        for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Inconclusive] {
            let word = verdict.to_string();
            let labels = [
                ("host", host.as_str()),
                ("source", source.as_str()),
                ("kind", kind.as_str()),
                ("verdict", word.as_str()),
            ];
            let help =
                "What the newest drill of a source and kind concluded: 1 for its verdict, 0 for the others.";
            let holds = f64::from(concluded == Some(verdict));
            families.set("dr_drill_last_verdict", help, &labels, holds);
        }
    }
    Ok(())
}

async fn objectives(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    if !sight.per_host {
        return Ok(());
    }
    for ready in sight.fleet.readiness().await? {
        let labels = [("host", ready.host.as_str()), ("source", ready.source.as_str())];
        let rto = ready.rto.unwrap_or_default();
        let help = "How long the last restore of a source took until it could be used; 0: none was measured.";
        families.set("dr_rto_seconds", help, &labels, rto.as_secs_f64());
        let gap = ready.rpo_worst.unwrap_or_default();
        let help = "The worst gap between cuts of a source within seven days, up to now; 0: there is no cut.";
        families.set("dr_rpo_worst_seconds", help, &labels, gap.as_secs_f64());
        let Some(objective) = ready.objective else {
            continue;
        };
        let wanted = [
            ("rto", objective.rto),
            ("rpo", objective.rpo),
            ("proof_age", objective.proof_age),
        ];
        for (name, length) in wanted {
            if let Some(length) = length {
                let labels = [labels[0], labels[1], ("objective", name)];
                families.set(
                    "dr_objective_seconds",
                    "What must hold for a source.",
                    &labels,
                    length.as_secs_f64(),
                );
            }
        }
    }
    Ok(())
}

async fn plans(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    for plan in sight.plans.list().await? {
        let labels = [("plan", plan.record.name.as_str())];
        let help = "When a plan is next due by the clock; 0 if it is not.";
        families.set(
            "dr_plan_next_slot_timestamp_seconds",
            help,
            &labels,
            seconds(plan.next_slot),
        );
        let ended = plan
            .last_run
            .filter(|run| run.state.is_final() && run.rollout.targets > 0);
        let share = ended.map_or(0.0, |run| {
            let passed = run.tasks.get(&TaskState::Passed).copied().unwrap_or(0);
            f64::from(passed) / f64::from(run.rollout.targets)
        });
        let help = "The share of hosts that passed in a plan's newest run, if that has ended; 0: it has not, or none did.";
        families.set("dr_plan_coverage_ratio", help, &labels, share);
    }
    Ok(())
}

async fn tasks(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    let open = sight.store.tasks().open().await?;
    let fleet = FleetState::read(&sight.store).await?;
    for (state, seconds) in oldest_overdue(&open, &fleet, sight.now) {
        let help = "How long the oldest open task is overdue: to be handed out, unless it is suspended, or to have ended.";
        families.set(
            "dr_task_oldest_overdue_seconds",
            help,
            &[("state", state)],
            seconds,
        );
    }
    Ok(())
}

async fn keeping(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    let mut copied = 0.0;
    for reconciler in sight.store.reconcilers().list().await? {
        let last = seconds(reconciler.last_success);
        let labels = [("reconciler", reconciler.name.as_str())];
        let help = "When a reconciler last succeeded; 0 is never.";
        families.set(
            "dr_reconciler_last_success_timestamp_seconds",
            help,
            &labels,
            last,
        );
        if reconciler.name == "backup" {
            copied = last;
        }
    }
    families.set(
        "dr_coordinator_backup_last_success_timestamp_seconds",
        "When the coordinator's store was last copied; 0 is never.",
        &[],
        copied,
    );
    let mut suspended = BTreeMap::from([("fleet", 0_usize), ("host", 0), ("labels", 0)]);
    for entry in sight.store.suspensions().active().await? {
        // One that can not be read is an error of the reconcilers, which are counted, too.
        if let Ok(scope) = entry.scope.parse::<crate::scope::Scope>() {
            *suspended.entry(scope.word()).or_default() += 1;
        }
    }
    for (scope, count) in suspended {
        let help = "Suspensions in force, by what they hold up.";
        families.set("dr_suspended", help, &[("scope", scope)], float(count));
    }
    Ok(())
}

fn float(count: usize) -> f64 {
    float_of(u64::try_from(count).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and bytes; beyond 2^53 a gauge need not be exact"
)]
fn float_of(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::testing::{host, source};

    #[test]
    fn a_damaged_source_counts_by_its_plans_and_one_out_of_reach_is_missing() {
        let of = |plans: &[&str], excluded, problem: Option<&str>, damaged| {
            let coverage = Coverage {
                host: host("db-1"),
                source: dr_proto::model::SourceInfo {
                    problem: problem.map(str::to_owned),
                    damaged,
                    ..source("memory")
                },
                plans: plans.iter().map(|plan| (*plan).to_owned()).collect(),
                excluded,
            };
            state(&coverage)
        };
        assert_eq!(of(&["nightly"], false, None, false), "protected");
        assert_eq!(
            of(&["nightly"], false, Some("the chain is broken"), true),
            "protected"
        );
        assert_eq!(of(&["nightly"], false, Some("not found"), false), "missing");
        assert_eq!(of(&[], true, Some("the chain is broken"), true), "excluded");
        assert_eq!(of(&[], false, None, false), "uncovered");
    }
}
