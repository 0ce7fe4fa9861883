//! How runs are made: once for each slot, once for each request.

use std::time::Duration;

use dr_proto::model::{HostName, RunId, RunState, TaskId, TaskState, Work};
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::Runs;
use super::record::{Excluded, Origin, Rollout, RunRecord, read};
use crate::audit;
use crate::column::{get, micros, parsed, span_micros, to_json};
use crate::error::{During as _, Error, Result};
use crate::events::{self, EventRecord};
use crate::failpoint;
use crate::plans;
use crate::store::Change;

/// A run to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// The plan's slot; `None`: an operator's request without a plan.
    pub slot: Option<PlanSlot>,
    /// What it asks, for people.
    pub work: String,
    /// What makes it.
    pub origin: Origin,
    /// Who asks: a certificate's identity, or `coordinator`.
    pub requested_by: String,
    /// Why; empty if not said.
    pub reason: String,
    /// Chosen by the caller: the same id makes one run.
    pub request_id: Option<String>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// Why it stands where it stands; empty if there is nothing to explain.
    pub explanation: String,
    /// How it goes over the fleet.
    pub rollout: Rollout,
    /// Hosts that were selected and left out.
    pub excluded: Vec<Excluded>,
    /// One a host.
    pub tasks: Vec<NewTask>,
}

/// The slot that a run is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSlot {
    /// The plan's name.
    pub plan: String,
    /// Hash of the text that the tasks were planned from. If another one is in force meanwhile, nothing is made.
    pub hash: String,
    /// The slot.
    pub at: Timestamp,
    /// True for a slot by the clock: the plan must be enabled, and counts as dealt with up to here.
    pub scheduled: bool,
}

/// A task to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// The host that is rehearsed or protected.
    pub host: HostName,
    /// The agent that does the work.
    pub agent: HostName,
    /// Which wave it belongs to, from 1.
    pub wave: u32,
    /// What is asked.
    pub work: Work,
    /// When it may start at the earliest.
    pub not_before: Timestamp,
    /// When it must have been handed out at the latest.
    pub start_by: Option<Timestamp>,
    /// How long it may take from when it is handed out.
    pub allowance: Duration,
    /// How often it is tried again by itself.
    pub retries: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The run was made.
    New(RunRecord),
    /// It was there already, for this slot or request.
    Existing(RunRecord),
}

impl Created {
    /// The run, whoever made it.
    pub fn into_run(self) -> RunRecord {
        match self {
            Self::New(run) | Self::Existing(run) => run,
        }
    }
}

impl Runs<'_> {
    /// Makes a run with its tasks and moves the plan's cursor, all or nothing. The same slot or request makes one run
    /// however often this is called, by however many coordinators.
    ///
    /// A run without tasks ends at once, inconclusive: it proves nothing. A slot that an agent already worked through
    /// offline, and one that was only announced ([`Runs::announce`]), gets the tasks that it lacks.
    pub async fn create(&self, new: &NewRun) -> Result<Created> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        if let Some(slot) = &new.slot {
            check_plan(&mut tx, slot).await?;
        }
        let (id, created) = match existing(&mut tx, new).await? {
            Some(run) if is_open_for_tasks(&run) => {
                adopt(&mut tx, &run, new, now).await?;
                (run.id, true)
            }
            Some(run) => (run.id, false),
            None => {
                let id = RunId::new(now);
                insert(&mut tx, id, new, now).await?;
                (id, true)
            }
        };
        if created {
            failpoint::reach("store.run.made");
            let tasks = insert_tasks(&mut tx, id, new, now).await?;
            if tasks == 0 {
                end_if_empty(&mut tx, id, now).await?;
            }
            if new.origin == Origin::Operator {
                let details = json!({ "plan": new.slot.as_ref().map(|slot| &slot.plan), "work": new.work,
                    "hosts": new.tasks.len(), "reason": new.reason });
                audit::append(
                    &mut tx,
                    now,
                    &new.requested_by,
                    "run.start",
                    &id.to_string(),
                    &details,
                )
                .await?;
            }
        }
        if let Some(slot) = new.slot.as_ref().filter(|slot| slot.scheduled) {
            plans::advance(&mut tx, &slot.plan, slot.at).await?;
        }
        let run = read(&mut tx, id).await?.ok_or_else(|| gone(id))?;
        failpoint::reach("store.run.commit");
        tx.commit().await.during("commit a run")?;
        failpoint::reach("store.run.committed");
        if created {
            self.0.tell(Change::Run(id));
            return Ok(Created::New(run));
        }
        Ok(Created::Existing(run))
    }

    /// Makes the run of a slot that has to wait, without tasks and pending, so that it can be seen and cancelled;
    /// or says anew what it waits for. The plan's cursor stays. False if the run is past waiting.
    pub async fn announce(&self, new: &NewRun) -> Result<bool> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        if let Some(slot) = &new.slot {
            check_plan(&mut tx, slot).await?;
        }
        let id = match existing(&mut tx, new).await? {
            Some(run) if run.state != RunState::Pending => return Ok(false),
            Some(run) if run.explanation == new.explanation => return Ok(true),
            Some(run) => {
                sqlx::query("UPDATE runs SET explanation = ?2 WHERE id = ?1 AND state = 'pending'")
                    .bind(run.id.to_string())
                    .bind(&new.explanation)
                    .execute(&mut *tx)
                    .await
                    .during("say what a run waits for")?;
                run.id
            }
            None => {
                let id = RunId::new(now);
                insert(&mut tx, id, new, now).await?;
                id
            }
        };
        tx.commit().await.during("commit an announced run")?;
        self.0.tell(Change::Run(id));
        Ok(true)
    }
}

/// Makes the run of what an agent did by itself, inside a transaction.
pub(crate) async fn insert(tx: &mut SqliteConnection, id: RunId, new: &NewRun, now: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO runs (id, plan, plan_hash, slot, work, state, origin, requested_by, reason, request_id, created,
             explanation, traceparent, rollout, excluded)
         VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(id.to_string())
    .bind(new.slot.as_ref().map(|slot| &slot.plan))
    .bind(new.slot.as_ref().map(|slot| &slot.hash))
    .bind(new.slot.as_ref().map(|slot| micros(slot.at)))
    .bind(&new.work)
    .bind(new.origin.name())
    .bind(&new.requested_by)
    .bind(&new.reason)
    .bind(&new.request_id)
    .bind(micros(now))
    .bind(&new.explanation)
    .bind(&new.traceparent)
    .bind(to_json(&new.rollout, "a run's rollout")?)
    .bind(to_json(&new.excluded, "excluded hosts")?)
    .execute(tx)
    .await
    .during("make a run")?;
    Ok(())
}

/// Makes a task, inside a transaction. `None` if the slot or run has one for the host.
pub(crate) async fn insert_task(
    tx: &mut SqliteConnection,
    run: RunId,
    slot: Option<&PlanSlot>,
    task: &NewTask,
    now: Timestamp,
) -> Result<Option<TaskId>> {
    let id = TaskId::new(now);
    let done = sqlx::query(
        "INSERT INTO tasks (id, run, plan, slot, host, agent, state, retries, wave, work, not_before, start_by,
             allowance, queued)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT DO NOTHING",
    )
    .bind(id.to_string())
    .bind(run.to_string())
    .bind(slot.map(|slot| &slot.plan))
    .bind(slot.map(|slot| micros(slot.at)))
    .bind(task.host.as_str())
    .bind(task.agent.as_str())
    .bind(task.retries)
    .bind(task.wave)
    .bind(to_json(&task.work, "a task's work")?)
    .bind(micros(task.not_before))
    .bind(task.start_by.map(micros))
    .bind(span_micros(task.allowance))
    .bind(micros(now))
    .execute(&mut *tx)
    .await
    .during("make a task")?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let event = EventRecord {
        task: id,
        at: now,
        state: TaskState::Queued,
        attempt: 1,
        message: format!("wave {}, not before {}", task.wave, task.not_before),
    };
    events::append(tx, run, &event).await?;
    Ok(Some(id))
}

async fn insert_tasks(tx: &mut SqliteConnection, run: RunId, new: &NewRun, now: Timestamp) -> Result<usize> {
    let mut made = 0;
    for task in &new.tasks {
        made += usize::from(
            insert_task(tx, run, new.slot.as_ref(), task, now)
                .await?
                .is_some(),
        );
        failpoint::reach("store.task.made");
    }
    if made > 0 {
        sqlx::query("UPDATE runs SET state = 'running', finished = NULL WHERE id = ?")
            .bind(run.to_string())
            .execute(tx)
            .await
            .during("begin a run")?;
    }
    Ok(made)
}

/// A run that got no tasks, and has none, has nothing to wait for.
async fn end_if_empty(tx: &mut SqliteConnection, run: RunId, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE runs SET state = 'inconclusive', finished = ?2,
             explanation = CASE explanation WHEN '' THEN 'no host to ask' ELSE explanation END
         WHERE id = ?1 AND state = 'pending' AND NOT EXISTS (SELECT 1 FROM tasks WHERE run = ?1)",
    )
    .bind(run.to_string())
    .bind(micros(now))
    .execute(tx)
    .await
    .during("end a run without tasks")?;
    Ok(())
}

/// The run of the same request or slot.
async fn existing(tx: &mut SqliteConnection, new: &NewRun) -> Result<Option<RunRecord>> {
    let row = sqlx::query(
        "SELECT id, plan, slot, work FROM runs WHERE request_id = ?1 OR (plan = ?2 AND slot = ?3) LIMIT 1",
    )
    .bind(&new.request_id)
    .bind(new.slot.as_ref().map(|slot| &slot.plan))
    .bind(new.slot.as_ref().map(|slot| micros(slot.at)))
    .fetch_optional(&mut *tx)
    .await
    .during("look for the run of a slot or request")?;
    let Some(row) = row else {
        return Ok(None);
    };
    let work: String = get(&row, "work")?;
    let plan: Option<String> = get(&row, "plan")?;
    if new.request_id.is_some()
        && (work != new.work || plan.as_ref() != new.slot.as_ref().map(|slot| &slot.plan))
    {
        return Err(Error::Refused(format!(
            "this request id was used for another run ({work}): use a new id for a new request"
        )));
    }
    read(tx, parsed(&row, "id")?).await
}

/// Whether the scheduler still has tasks to add.
fn is_open_for_tasks(run: &RunRecord) -> bool {
    run.state == RunState::Pending || run.origin == Origin::Agent
}

/// Takes over a run that was announced, or begun by an agent alone.
async fn adopt(tx: &mut SqliteConnection, run: &RunRecord, new: &NewRun, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE runs SET origin = ?2, plan_hash = ?3, rollout = ?4, excluded = ?5, explanation = ?6, work = ?7
         WHERE id = ?1",
    )
    .bind(run.id.to_string())
    .bind(new.origin.name())
    .bind(new.slot.as_ref().map(|slot| &slot.hash))
    .bind(to_json(&new.rollout, "a run's rollout")?)
    .bind(to_json(&new.excluded, "excluded hosts")?)
    .bind(&new.explanation)
    .bind(&new.work)
    .execute(tx)
    .await
    .during("take over a run")?;
    tracing::debug!(run = %run.id, at = %now, "a run was taken over by the scheduler");
    Ok(())
}

/// The plan must be the one that the tasks were planned from.
async fn check_plan(tx: &mut SqliteConnection, slot: &PlanSlot) -> Result<()> {
    let known = plans::read(tx, &slot.plan).await?;
    let in_force = known
        .filter(|plan| plan.enabled || !slot.scheduled)
        .map(|plan| plan.hash);
    if in_force.as_deref() == Some(slot.hash.as_str()) {
        Ok(())
    } else {
        Err(plans::changed(&slot.plan, &slot.hash, in_force.as_deref()))
    }
}

fn gone(id: RunId) -> Error {
    Error::NotFound {
        kind: "run",
        name: id.to_string(),
    }
}
