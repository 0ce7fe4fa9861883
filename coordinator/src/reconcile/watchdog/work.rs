//! Work that should have begun or ended.

use dr_proto::model::plan::Plan;

use super::{
    Concern, FleetState, OVERDUE, PlanRecord, Result, RunState, STUCK, Severity, Store, TaskState, Timestamp,
    of_fleet, of_host, planner, scheduler,
};

/// Plans whose newest slot by the clock was not started, and plans that can not be read.
pub(super) async fn overdue(
    store: &Store,
    plans: &[PlanRecord],
    fleet: &FleetState,
    now: Timestamp,
) -> Result<Vec<Concern>> {
    let mut concerns = Vec::new();
    for record in plans.iter().filter(|plan| plan.enabled) {
        let plan = match scheduler::parse(record) {
            Ok(plan) => plan,
            Err(error) => {
                let message = super::super::driver::in_one_line(&error);
                let remedy = format!("drctl plan show {0}, mend it, drctl plan apply", record.name);
                concerns.push(of_fleet(Severity::Page, "plan_unreadable", message, &remedy));
                continue;
            }
        };
        if let Some(slot) = overdue_slot(store, record, &plan, now).await? {
            let held = fleet
                .hosts
                .values()
                .filter(|facts| facts.suspended.is_some())
                .count();
            let message = format!("plan `{}` was due at {slot} and was not started", record.name);
            let remedy = match held {
                0 => format!(
                    "drctl status shows how the scheduler does; drctl run start {} starts it by hand",
                    record.name
                ),
                held => format!(
                    "{held} hosts are suspended: drctl resume, then drctl run start {}",
                    record.name
                ),
            };
            concerns.push(of_fleet(Severity::Page, "plan_overdue", message, &remedy));
        }
    }
    Ok(concerns)
}

/// The newest slot that should have been started by now.
async fn overdue_slot(
    store: &Store,
    record: &PlanRecord,
    plan: &Plan,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let in_force = record.applied.max(record.since);
    let Some(slot) = plan.schedule.last_slot(now).filter(|slot| *slot > in_force) else {
        return Ok(None);
    };
    // A slot that waits for another plan may wait until its window closes.
    let patient = match &plan.schedule.after {
        Some(_) => planner::window_end(plan, slot).max(slot),
        None => slot,
    };
    if now.duration_since(patient) <= OVERDUE {
        return Ok(None);
    }
    let run = store.runs().of_slot(&record.name, slot).await?;
    Ok(run
        .is_none_or(|run| run.state == RunState::Pending)
        .then_some(slot))
}

/// Tasks and runs that should have ended.
pub(super) async fn stuck(store: &Store, now: Timestamp) -> Result<Vec<Concern>> {
    let mut concerns = Vec::new();
    let late = |since: Timestamp| now.duration_since(since) > STUCK;
    for task in store.tasks().open().await? {
        let since = match task.state {
            TaskState::Queued => task.start_by,
            _ => task.deadline,
        };
        if let Some(since) = since.filter(|since| late(*since)) {
            let message = format!(
                "task {} is still {} although its time ended at {since}",
                task.id, task.state
            );
            let remedy =
                "the reaper should have ended it: look at the coordinator's log and restart it".to_owned();
            concerns.push(of_host(&task.host, Severity::Page, "task_stuck", message, remedy));
        }
    }
    for id in store.runs().to_settle().await? {
        let mut ended = None;
        for task in store.tasks().of_run(id).await? {
            ended = ended.max(task.finished);
        }
        if ended.is_some_and(late) {
            let message = format!("run {id} has not ended although all its tasks have");
            let remedy = "the settler should have ended it: look at the coordinator's log and restart it";
            concerns.push(of_fleet(Severity::Page, "run_stuck", message, remedy));
        }
    }
    Ok(concerns)
}
