//! Work that should have begun or ended.

use dr_proto::model::plan::Plan;
use jiff::SignedDuration;

use super::{
    Concern, FleetState, OVERDUE, PlanRecord, Result, RunState, STUCK, Severity, Store, TaskState, Timestamp,
    of_fleet, of_host, scheduler,
};

/// So many tasks of a host in a row without an answer need somebody.
const IN_A_ROW: u32 = 3;
/// Tasks that ended longer ago than this are history.
const A_MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

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
    let late = |since: Timestamp| now.duration_since(since) > OVERDUE;
    if !late(slot) {
        return Ok(None);
    }
    let overdue = match store.runs().of_slot(&record.name, slot).await? {
        None => true,
        // It waits for another plan, which it may until its patience ends.
        Some(run) if run.state == RunState::Pending => {
            late(scheduler::patience_ends(plan, slot, run.created))
        }
        Some(_) => false,
    };
    Ok(overdue.then_some(slot))
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

/// Hosts that gave no answer several times in a row: nothing is known to be wrong there, and nothing is proved.
pub(super) async fn unanswered(store: &Store, now: Timestamp) -> Result<Vec<Concern>> {
    let since = now.saturating_sub(A_MONTH).unwrap_or(Timestamp::MIN);
    let hosts = store.tasks().unanswered(since, IN_A_ROW).await?;
    Ok(hosts
        .into_iter()
        .map(|host| {
            let message = format!("its last {IN_A_ROW} tasks ended without an answer");
            let remedy = format!("drctl run list --host {host}, and look at the causes");
            of_host(&host, Severity::Ticket, "inconclusive", message, remedy)
        })
        .collect())
}
