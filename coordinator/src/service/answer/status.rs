//! One screen of readiness.

use dr_proto::model::TaskState;
use dr_proto::{v1, wire};
use dr_store::reconcilers::ReconcilerRecord;

use super::{maybe, maybe_length, suspension};
use crate::handle::{AgentState, StatusView};
use crate::reconcile::objectives::Readiness;
use crate::reconcile::watchdog::{Concern, Severity};

pub(in crate::service) fn status(view: StatusView) -> v1::Status {
    let StatusView {
        version,
        now,
        epoch,
        agents,
        runs_active,
        tasks,
        concerns,
        readiness,
        suspensions,
        reconcilers,
    } = view;
    let agents_in = |state: AgentState| agents.get(&state).copied().unwrap_or(0);
    let tasks_in = |state: TaskState| tasks.get(&state).copied().unwrap_or(0);
    v1::Status {
        version: version.to_owned(),
        now: Some(wire::timestamp(now)),
        epoch,
        agents_connected: agents_in(AgentState::Connected),
        agents_lost: agents_in(AgentState::Lost),
        runs_active,
        tasks_queued: tasks_in(TaskState::Queued),
        tasks_running: tasks_in(TaskState::Offered) + tasks_in(TaskState::Running),
        concerns: concerns.into_iter().map(concern).collect(),
        readiness: readiness.into_iter().map(ready).collect(),
        suspensions: suspensions.into_iter().map(suspension).collect(),
        reconcilers: reconcilers.into_iter().map(reconciler).collect(),
    }
}

fn reconciler(record: ReconcilerRecord) -> v1::Reconciler {
    v1::Reconciler {
        name: record.name,
        last_success: maybe(record.last_success),
        last_error: record.last_error,
        status: record.status,
    }
}

fn concern(concern: Concern) -> v1::Concern {
    let Concern {
        severity,
        kind,
        host,
        source,
        message,
        remedy,
    } = concern;
    let severity = match severity {
        Severity::Page => v1::concern::Severity::Page,
        Severity::Ticket => v1::concern::Severity::Ticket,
    };
    v1::Concern {
        severity: severity.into(),
        kind: kind.to_owned(),
        host: host.map(Into::into).unwrap_or_default(),
        source: source.unwrap_or_default(),
        message,
        remedy,
    }
}

fn ready(ready: Readiness) -> v1::Readiness {
    let Readiness {
        host,
        source,
        last_snapshot,
        last_proof,
        proof,
        rto,
        rpo_worst,
        rpo_now: _,
        objective,
        breached,
    } = ready;
    let objective = objective.as_ref();
    let proof_objective = objective.and_then(|objective| objective.proof);
    v1::Readiness {
        host: host.into(),
        source,
        last_snapshot: maybe(last_snapshot),
        last_proof: maybe(last_proof),
        proof: v1::ProofLevel::from(proof).into(),
        rto: maybe_length(rto),
        rpo_worst: maybe_length(rpo_worst),
        rto_objective: maybe_length(objective.and_then(|objective| objective.rto)),
        rpo_objective: maybe_length(objective.and_then(|objective| objective.rpo)),
        proof_age_objective: maybe_length(objective.and_then(|objective| objective.proof_age)),
        proof_objective: proof_objective
            .map_or(v1::ProofLevel::Unspecified, Into::into)
            .into(),
        breached: breached
            .into_iter()
            .map(|breach| breach.name().to_owned())
            .collect(),
    }
}
