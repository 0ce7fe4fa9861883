//! Results of tasks that this store never handed out: work that an agent did by itself while no coordinator answered,
//! or results that a lost store had known.

use std::time::Duration;

use dr_proto::model::{HostName, RunId, Slot, TaskResult, TaskState};
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::file::{Filed, record};
use crate::audit;
use crate::column::{integer, micros, parsed};
use crate::error::{During as _, Error, Result};
use crate::plans;
use crate::runs::{NewRun, NewTask, Origin, PlanSlot, Rollout};
use crate::tasks::{self, TaskRecord};

/// How long such a task may take if somebody tries it again: what was asked at first is not known.
const ALLOWANCE: Duration = Duration::from_secs(4 * 3_600);

/// Files it under its slot, or as a run of its own.
pub(super) async fn file(
    tx: &mut SqliteConnection,
    agent: &HostName,
    result: &TaskResult,
    now: Timestamp,
) -> Result<(Filed, RunId)> {
    let host = result.work.from_host().unwrap_or(agent);
    match &result.slot {
        Some(slot) => under_slot(tx, agent, host, result, slot, now).await,
        None => {
            let run = new_run(tx, agent, result, None, Origin::Recovered, now).await?;
            alone(tx, run, agent, host, result, None, now).await?;
            Ok((Filed::Recovered, run))
        }
    }
}

async fn under_slot(
    tx: &mut SqliteConnection,
    agent: &HostName,
    host: &HostName,
    result: &TaskResult,
    slot: &Slot,
    now: Timestamp,
) -> Result<(Filed, RunId)> {
    if let Some(task) = task_of_slot(tx, slot, host).await? {
        let run = task.run;
        if task.state != TaskState::Queued || task.agent != *agent {
            let message = format!(
                "{agent} also did this slot by itself ({}); that changes nothing",
                result.outcome.state
            );
            tasks::event(tx, &task, task.state, task.fence.attempt, now, &message).await?;
            return Ok((Filed::Duplicate, run));
        }
        finish(tx, task, agent, result, now).await?;
        return Ok((Filed::Offline, run));
    }
    let known = run_of_slot(tx, slot).await?;
    let plan = plans::read(tx, &slot.plan).await?;
    // Slots that the scheduler dealt with before this plan's store was lost are history, not work.
    let dealt_with = plan.as_ref().is_none_or(|plan| slot.at <= plan.applied);
    let origin = if dealt_with {
        Origin::Recovered
    } else {
        Origin::Agent
    };
    let planned = PlanSlot {
        plan: slot.plan.clone(),
        hash: plan.map(|plan| plan.hash).unwrap_or_default(),
        at: slot.at,
        scheduled: false,
    };
    let run = match known {
        Some(run) => run,
        None => new_run(tx, agent, result, Some(&planned), origin, now).await?,
    };
    alone(tx, run, agent, host, result, Some(&planned), now).await?;
    let filed = if origin == Origin::Recovered {
        Filed::Recovered
    } else {
        Filed::Offline
    };
    Ok((filed, run))
}

/// Makes the run that the result becomes a part of.
async fn new_run(
    tx: &mut SqliteConnection,
    agent: &HostName,
    result: &TaskResult,
    slot: Option<&PlanSlot>,
    origin: Origin,
    now: Timestamp,
) -> Result<RunId> {
    let explanation = match origin {
        Origin::Agent => format!("{agent} began it by itself while no coordinator answered"),
        _ => format!("recovered from what {agent} remembers"),
    };
    let new = NewRun {
        slot: slot.cloned(),
        work: result.work.to_string(),
        origin,
        requested_by: format!("agent {agent}"),
        reason: String::new(),
        request_id: None,
        traceparent: None,
        explanation,
        rollout: Rollout {
            waves: 1,
            targets: 1,
            ..Rollout::default()
        },
        excluded: Vec::new(),
        tasks: Vec::new(),
    };
    let run = RunId::new(now);
    crate::runs::insert(tx, run, &new, now).await?;
    let details = json!({ "origin": origin.name(), "slot": slot.map(|slot| slot.at), "work": new.work });
    audit::append(tx, now, &new.requested_by, "run.file", &run.to_string(), &details).await?;
    Ok(run)
}

/// Adds the host's task to a run and ends it with the result.
async fn alone(
    tx: &mut SqliteConnection,
    run: RunId,
    agent: &HostName,
    host: &HostName,
    result: &TaskResult,
    slot: Option<&PlanSlot>,
    now: Timestamp,
) -> Result<()> {
    let task = NewTask {
        host: host.clone(),
        agent: agent.clone(),
        wave: 1,
        work: result.work.clone(),
        not_before: result.outcome.started.min(now),
        start_by: None,
        allowance: ALLOWANCE,
        retries: 0,
    };
    let made = crate::runs::insert_task(tx, run, slot, &task, now).await?;
    let id = made.ok_or_else(|| Error::Refused(format!("host {host} has a task in run {run} already")))?;
    // The task keeps the id that the agent gave it, so that the same result again finds it.
    let renamed = [
        "UPDATE task_events SET task = ?2 WHERE task = ?1",
        "UPDATE tasks SET id = ?2 WHERE id = ?1",
    ];
    sqlx::query("PRAGMA defer_foreign_keys = ON")
        .execute(&mut *tx)
        .await
        .during("rename a task")?;
    for sql in renamed {
        sqlx::query(sql)
            .bind(id.to_string())
            .bind(result.key.task.to_string())
            .execute(&mut *tx)
            .await
            .during("rename a task")?;
    }
    sqlx::query(
        "UPDATE runs SET state = 'running', started = coalesce(started, ?2), finished = NULL WHERE id = ?1",
    )
    .bind(run.to_string())
    .bind(micros(result.outcome.started.min(now)))
    .execute(&mut *tx)
    .await
    .during("begin a run that an agent did")?;
    let task = tasks::read(tx, result.key.task)
        .await?
        .ok_or_else(|| Error::NotFound {
            kind: "task",
            name: result.key.task.to_string(),
        })?;
    finish(tx, task, agent, result, now).await
}

/// Ends a queued task with a result that came without an offer.
async fn finish(
    tx: &mut SqliteConnection,
    mut task: TaskRecord,
    agent: &HostName,
    result: &TaskResult,
    now: Timestamp,
) -> Result<()> {
    let fence = result.key.fence.max(task.fence);
    sqlx::query(
        "UPDATE tasks SET state = 'offered', epoch = ?2, attempt = ?3, offered = ?4 WHERE id = ?1 AND state = 'queued'",
    )
    .bind(task.id.to_string())
    .bind(integer(fence.epoch))
    .bind(fence.attempt)
    .bind(micros(result.outcome.started.min(now)))
    .execute(&mut *tx)
    .await
    .during("take over what an agent did")?;
    task.state = TaskState::Offered;
    task.fence = fence;
    let message = format!("{agent} did it by itself, without a coordinator");
    tasks::event(tx, &task, TaskState::Offered, fence.attempt, now, &message).await?;
    record(tx, &task, result, now).await
}

async fn task_of_slot(tx: &mut SqliteConnection, slot: &Slot, host: &HostName) -> Result<Option<TaskRecord>> {
    let sql = sqlx::AssertSqlSafe(format!(
        "{} WHERE plan = ?1 AND slot = ?2 AND host = ?3",
        tasks::COLUMNS
    ));
    let row = sqlx::query(sql)
        .bind(&slot.plan)
        .bind(micros(slot.at))
        .bind(host.as_str())
        .fetch_optional(tx)
        .await
        .during("look for the task of a slot")?;
    row.as_ref().map(tasks::record).transpose()
}

async fn run_of_slot(tx: &mut SqliteConnection, slot: &Slot) -> Result<Option<RunId>> {
    let row = sqlx::query("SELECT id FROM runs WHERE plan = ?1 AND slot = ?2")
        .bind(&slot.plan)
        .bind(micros(slot.at))
        .fetch_optional(tx)
        .await
        .during("look for the run of a slot")?;
    row.as_ref().map(|row| parsed(row, "id")).transpose()
}
