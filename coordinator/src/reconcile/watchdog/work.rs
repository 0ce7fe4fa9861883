//! Work that should have begun or ended.

use std::collections::BTreeMap;

use dr_proto::model::plan::{Member, Plan};
use dr_store::tasks::TaskRecord;

use super::{
    A_MONTH, Concern, FleetState, OVERDUE, PlanRecord, Result, RunState, STUCK, Severity, Store, TaskState,
    Timestamp, of_fleet, of_host, scheduler,
};

/// So many tasks of a host in a row without an answer need somebody.
const IN_A_ROW: u32 = 3;

/// Plans whose newest slot by the clock was not started, and plans that can not be read. A plan whose hosts are all
/// suspended is not missed until that ends.
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
                let message = dr_terminal::in_one_line(&error);
                let remedy = format!("drctl plan show {0}, mend it, drctl plan apply", record.name);
                concerns.push(of_fleet(Severity::Page, "plan_unreadable", message, &remedy));
                continue;
            }
        };
        if let Some(slot) = overdue_slot(store, record, &plan, now).await? {
            if is_suspended(&plan, fleet, now) {
                continue;
            }
            let message = format!("plan `{}` was due at {slot} and was not started", record.name);
            let remedy = format!(
                "drctl status shows how the scheduler does; drctl run start {} starts it by hand",
                record.name
            );
            concerns.push(of_fleet(Severity::Page, "plan_overdue", message, &remedy));
        }
    }
    Ok(concerns)
}

/// Whether a plan covers hosts, and every one of them is suspended.
fn is_suspended(plan: &Plan, fleet: &FleetState, now: Timestamp) -> bool {
    let welcome = fleet.hosts.iter().filter(|(_, facts)| facts.barred.is_none());
    let mut covered = welcome
        .filter(|(host, facts)| {
            let member = Member {
                host,
                labels: &facts.labels,
                sources: Some(facts.sources.as_slice()),
            };
            plan.covers(member, now).is_covered()
        })
        .peekable();
    covered.peek().is_some() && covered.all(|(_, facts)| facts.suspended.is_some())
}

/// For how many seconds the oldest open task of each state has been overdue: to be handed out by the end of its window
/// (from the start, if it has none), or to have ended. What a suspension holds up is not overdue while it does.
pub(crate) fn oldest_overdue(
    open: &[TaskRecord],
    fleet: &FleetState,
    now: Timestamp,
) -> BTreeMap<&'static str, f64> {
    let mut oldest: BTreeMap<_, _> = [TaskState::Queued, TaskState::Offered, TaskState::Running]
        .map(|state| (state.name(), 0.0_f64))
        .into();
    for task in open {
        let suspended = || {
            let facts = fleet.hosts.get(&task.agent);
            facts.is_some_and(|facts| facts.suspended.is_some())
        };
        let due = match task.state {
            TaskState::Queued if suspended() => None,
            TaskState::Queued => task.start_by.or(Some(task.not_before)),
            _ => task.deadline,
        };
        let overdue = due.map_or(0.0, |due| now.duration_since(due).as_secs_f64());
        let slowest = oldest.entry(task.state.name()).or_default();
        *slowest = slowest.max(overdue);
    }
    oldest
}

/// The newest slot that should have been started by now.
async fn overdue_slot(
    store: &Store,
    record: &PlanRecord,
    plan: &Plan,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    // What was applied under a clock that was ahead is in force since the scheduler noticed.
    let in_force = match record.applied.max(record.since) {
        ahead if ahead > now => record.cursor,
        since => since,
    };
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
