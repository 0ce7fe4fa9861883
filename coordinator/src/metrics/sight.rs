//! Deriving gauges: agents, ages, objectives, plans, queues, certificates, as they stand at one moment.

use std::collections::BTreeMap;

use dr_proto::model::TaskState;
use jiff::Timestamp;

use super::Families;
use crate::handle::{AgentState, Error, Fleet, Plans};
use dr_proto::model::Selector;
use dr_store::Store;

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
            AgentState::Connected | AgentState::Away | AgentState::Lost
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
        let state = match (&coverage.source.problem, coverage.plans.is_empty()) {
            (Some(_), _) => "missing",
            (None, false) => "protected",
            (None, true) if coverage.excluded => "excluded",
            (None, true) => "uncovered",
        };
        *counts.entry(state).or_default() += 1;
    }
    for (state, count) in counts {
        let help = "Sources: covered by an enabled plan, by none, left out by a plan, or not readable on their host.";
        families.set("dr_sources", help, &[("state", state)], float(count));
    }
    Ok(())
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
    for record in sight.store.inventories().sources(None).await? {
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
    for inventory in sight.store.inventories().list().await? {
        let labels = [("host", inventory.host.as_str())];
        let help = "Bytes that a host's repository holds.";
        families.set(
            "dr_repository_stored_bytes",
            help,
            &labels,
            float_of(inventory.stored_bytes),
        );
    }
    Ok(())
}

async fn drills(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    if !sight.per_host {
        return Ok(());
    }
    for proof in sight.store.proofs().passed().await? {
        let level = proof.proof.to_string();
        let labels = [
            ("host", proof.host.as_str()),
            ("source", proof.source.as_str()),
            ("proof", level.as_str()),
        ];
        let help = "The newest drill of a source that passed, by how deep it went.";
        families.set(
            "dr_drill_last_success_timestamp_seconds",
            help,
            &labels,
            seconds(Some(proof.at)),
        );
    }
    for proof in sight.store.proofs().newest().await? {
        let (kind, verdict) = (proof.kind.to_string(), proof.verdict.to_string());
        let place = [("host", proof.host.as_str()), ("source", proof.source.as_str())];
        let labels = [
            place[0],
            place[1],
            ("kind", kind.as_str()),
            ("verdict", verdict.as_str()),
        ];
        let help = "What the newest drill of a source and kind concluded: 1 for its verdict.";
        families.set("dr_drill_last_verdict", help, &labels, 1.0);
    }
    Ok(())
}

async fn objectives(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    if !sight.per_host {
        return Ok(());
    }
    for ready in sight.fleet.readiness().await? {
        let labels = [("host", ready.host.as_str()), ("source", ready.source.as_str())];
        if let Some(rto) = ready.rto {
            families.set(
                "dr_rto_seconds",
                "How long the last restore of a source took.",
                &labels,
                rto.as_secs_f64(),
            );
        }
        if let Some(gap) = ready.rpo_worst {
            let help = "The worst gap between cuts of a source, up to now.";
            families.set("dr_rpo_worst_seconds", help, &labels, gap.as_secs_f64());
        }
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
        let Some(run) = plan
            .last_run
            .filter(|run| run.state.is_final() && run.rollout.targets > 0)
        else {
            continue;
        };
        let passed = run.tasks.get(&TaskState::Passed).copied().unwrap_or(0);
        let share = f64::from(passed) / f64::from(run.rollout.targets);
        let help = "The share of hosts that passed in a plan's newest ended run.";
        families.set("dr_plan_coverage_ratio", help, &labels, share);
    }
    Ok(())
}

async fn tasks(sight: &Sight, families: &mut Families) -> Result<(), Error> {
    let mut oldest = BTreeMap::from([("queued", 0.0_f64), ("offered", 0.0), ("running", 0.0)]);
    for task in sight.store.tasks().open().await? {
        let due = match task.state {
            TaskState::Queued => Some(task.not_before),
            _ => task.deadline,
        };
        let overdue = due.map_or(0.0, |due| sight.now.duration_since(due).as_secs_f64());
        let slowest = oldest.entry(task.state.name()).or_default();
        *slowest = slowest.max(overdue);
    }
    for (state, seconds) in oldest {
        let help = "How long the oldest open task has been due: to be handed out, or to have ended.";
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
            let help = "When the coordinator's store was last copied; 0 is never.";
            families.set(
                "dr_coordinator_backup_last_success_timestamp_seconds",
                help,
                &[],
                last,
            );
        }
    }
    let mut suspended = BTreeMap::from([("fleet", 0_usize), ("host", 0), ("labels", 0)]);
    for entry in sight.store.suspensions().active().await? {
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
