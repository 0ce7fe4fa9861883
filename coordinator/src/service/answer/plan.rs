//! Plans, and what their next run would do.

use dr_proto::{v1, wire};
use dr_store::plans::Applied;

use super::maybe;
use crate::handle::{PlanView, Preview};
use crate::reconcile::planner::{Planned, PlannedHost};

pub(in crate::service) fn plan(view: PlanView) -> v1::Plan {
    let PlanView {
        record,
        next_slot,
        last_run,
        hosts,
    } = view;
    let last_state = last_run
        .as_ref()
        .map_or(v1::RunState::Unspecified, |run| run.state.into());
    v1::Plan {
        name: record.name,
        text: record.text,
        hash: record.hash,
        enabled: record.enabled,
        applied: Some(wire::timestamp(record.applied)),
        applied_by: record.applied_by,
        next_slot: maybe(next_slot),
        last_run: last_run.map(|run| run.id.to_string()).unwrap_or_default(),
        last_state: last_state.into(),
        hosts,
    }
}

pub(in crate::service) fn applied(view: PlanView, applied: Applied) -> v1::ApplyPlanResponse {
    let change = match applied {
        Applied::Created => v1::apply_plan_response::Change::Created,
        Applied::Replaced => v1::apply_plan_response::Change::Replaced,
        Applied::Unchanged => v1::apply_plan_response::Change::Unchanged,
    };
    v1::ApplyPlanResponse {
        plan: Some(plan(view)),
        change: change.into(),
    }
}

pub(in crate::service) fn preview(preview: Preview) -> v1::PlanPreview {
    let Preview { name, slot, planned } = preview;
    let Planned {
        hosts,
        excluded,
        waves: _,
        bytes,
        mut warnings,
        refused,
    } = planned;
    // What keeps the run from beginning stands first.
    warnings.splice(0..0, refused);
    v1::PlanPreview {
        name,
        slot: Some(wire::timestamp(slot)),
        hosts: hosts.into_iter().map(host).collect(),
        excluded: excluded
            .into_iter()
            .map(|excluded| v1::PreviewExcluded {
                host: excluded.host.into(),
                reason: excluded.reason,
            })
            .collect(),
        bytes,
        warnings,
    }
}

fn host(planned: PlannedHost) -> v1::PreviewHost {
    let PlannedHost {
        host,
        on,
        sources,
        bytes,
        wave,
        work,
        not_before,
        start_by: _,
    } = planned;
    v1::PreviewHost {
        host: host.into(),
        on: on.into(),
        sources,
        bytes,
        wave,
        work: Some(work.into()),
        not_before: Some(wire::timestamp(not_before)),
    }
}
