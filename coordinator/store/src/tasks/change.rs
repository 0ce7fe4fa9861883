//! Steps of tasks. Each is one compare-and-set on state and fence.

use std::time::Duration;

use dr_proto::model::{Fence, HostName, RunId, TaskId, TaskKey, TaskState};
use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;

use super::Tasks;
use super::record::{TaskRecord, read};
use crate::column::{integer, micros};
use crate::error::{During as _, Error, Result};
use crate::events::{self, EventRecord};
use crate::failpoint;
use crate::store::Change;

/// How long an inconclusive or expired task waits before it is tried again, times the number of the attempt.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// A step that ends a task or moves it on under the same fence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    /// Where to.
    pub(crate) to: TaskState,
    /// The stable word for why it is not passed.
    pub(crate) cause: &'a str,
    /// Why, for people.
    pub(crate) message: &'a str,
}

/// What came of handing a task out.
#[derive(Debug, Clone, PartialEq)]
pub enum Offer {
    /// The fence is committed: the task may be sent.
    Made(Box<TaskRecord>),
    /// Somebody else was faster, or it has ended: nothing may be sent.
    Gone,
}

/// What came of an agent's word that it has a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is running now.
    Running,
    /// It was running already.
    Already,
    /// The attempt is not the one in force, or the task has ended: the agent should stop.
    Superseded,
    /// No such task is known, or it is not this agent's.
    Unknown,
}

/// What came of a task that its agent has lost, or that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// It is queued as a further attempt.
    Again,
    /// It has ended.
    Ended,
    /// It stood elsewhere by then: nothing changed.
    Moved,
}

impl Tasks<'_> {
    /// Hands tasks out in the incarnation `epoch`: commits the fence of each that is still queued, all in one
    /// transaction. Only what comes back as [`Offer::Made`] may be sent.
    pub async fn offer(&self, tasks: &[TaskId], epoch: u64) -> Result<Vec<Offer>> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let mut offers = Vec::with_capacity(tasks.len());
        for id in tasks {
            offers.push(offer(&mut tx, *id, epoch, now).await?);
        }
        failpoint::reach("store.offer");
        tx.commit().await.during("commit tasks that are handed out")?;
        failpoint::reach("store.offered");
        for offer in &offers {
            if let Offer::Made(task) = offer {
                self.tell(task.id, task.run);
            }
        }
        Ok(offers)
    }

    /// An agent says that it has accepted a task, or works on it.
    pub async fn accept(&self, key: TaskKey, agent: &HostName) -> Result<Accepted> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let Some(mut task) = read(&mut tx, key.task).await?.filter(|task| task.agent == *agent) else {
            return Ok(Accepted::Unknown);
        };
        if key.fence > task.fence && !task.state.is_final() {
            adopt_fence(&mut tx, &mut task, key.fence, now).await?;
        }
        let accepted = match task.state {
            TaskState::Running if task.fence == key.fence => {
                found_again(&mut tx, &task, now).await?;
                Accepted::Already
            }
            TaskState::Offered if task.fence == key.fence => {
                let begin = Step {
                    to: TaskState::Running,
                    cause: "",
                    message: "the agent has begun",
                };
                step(&mut tx, &task, &begin, now).await?;
                Accepted::Running
            }
            _ => Accepted::Superseded,
        };
        tx.commit().await.during("commit an accepted task")?;
        if accepted == Accepted::Running {
            self.tell(task.id, task.run);
        }
        Ok(accepted)
    }

    /// An agent came back without a task that was running there. Its result may still be on the way: it is lost only
    /// when that does not come ([`Tasks::lose`]).
    pub async fn miss(&self, key: TaskKey, why: &str) -> Result<bool> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let running = in_force(&mut tx, key)
            .await?
            .filter(|task| task.state == TaskState::Running);
        let Some(task) = running.filter(|task| task.missing_since.is_none()) else {
            return Ok(false);
        };
        sqlx::query("UPDATE tasks SET missing_since = ?2, explanation = ?3 WHERE id = ?1")
            .bind(task.id.to_string())
            .bind(micros(now))
            .bind(why)
            .execute(&mut *tx)
            .await
            .during("miss a task")?;
        event(&mut tx, &task, task.state, task.fence.attempt, now, why).await?;
        tx.commit().await.during("commit a missing task")?;
        self.tell(task.id, task.run);
        Ok(true)
    }

    /// An agent came back without a task that it was given: lost, and queued again if attempts are left. A task that
    /// was told to stop ends as cancelled.
    pub async fn lose(&self, key: TaskKey, why: &str) -> Result<Requeued> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let Some(task) = in_force(&mut tx, key).await? else {
            return Ok(Requeued::Moved);
        };
        let (to, cause) = match &task.cancel_reason {
            Some(_) => (TaskState::Cancelled, "cancelled"),
            None => (TaskState::Lost, "lost"),
        };
        let end = Step {
            to,
            cause,
            message: why,
        };
        step(&mut tx, &task, &end, now).await?;
        let again = to == TaskState::Lost && task.retries > 0;
        if again {
            spend_retry(&mut tx, &task, now, now).await?;
        }
        failpoint::reach("store.lose");
        tx.commit().await.during("commit a lost task")?;
        self.tell(task.id, task.run);
        Ok(if again { Requeued::Again } else { Requeued::Ended })
    }

    /// A task has passed its deadline or its window. One that was handed out is queued again if attempts are left and
    /// nobody cancelled it.
    pub async fn expire(&self, key: TaskKey, cause: &str, why: &str) -> Result<Requeued> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let Some(task) = read(&mut tx, key.task)
            .await?
            .filter(|task| task.fence == key.fence)
        else {
            return Ok(Requeued::Moved);
        };
        if task.state.is_final() {
            return Ok(Requeued::Moved);
        }
        let end = Step {
            to: TaskState::Expired,
            cause,
            message: why,
        };
        step(&mut tx, &task, &end, now).await?;
        let again = task.state != TaskState::Queued && task.cancel_reason.is_none() && task.retries > 0;
        if again {
            retry_after(&mut tx, &task, now, false).await?;
        }
        failpoint::reach("store.expire");
        tx.commit().await.during("commit an expired task")?;
        self.tell(task.id, task.run);
        Ok(if again { Requeued::Again } else { Requeued::Ended })
    }

    /// A task that never reached its agent can not be handed out, now or later: it ends inconclusive. False if it stood
    /// elsewhere by then.
    pub async fn decline(&self, key: TaskKey, cause: &str, why: &str) -> Result<bool> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let unsent = |task: &TaskRecord| {
            task.fence == key.fence && matches!(task.state, TaskState::Queued | TaskState::Offered)
        };
        let Some(task) = read(&mut tx, key.task).await?.filter(unsent) else {
            return Ok(false);
        };
        let end = Step {
            to: TaskState::Inconclusive,
            cause,
            message: why,
        };
        let ended = step(&mut tx, &task, &end, now).await?;
        tx.commit().await.during("commit a task that is not handed out")?;
        self.tell(task.id, task.run);
        Ok(ended)
    }

    /// Says why a queued task is not handed out. Writes only if that changed.
    pub async fn explain(&self, waiting: &[(TaskId, String)]) -> Result<u64> {
        if waiting.is_empty() {
            return Ok(0);
        }
        let mut tx = self.0.begin().await?;
        let mut changed = 0;
        for (task, why) in waiting {
            let done = sqlx::query(
                "UPDATE tasks SET explanation = ?2 WHERE id = ?1 AND state = 'queued' AND explanation <> ?2",
            )
            .bind(task.to_string())
            .bind(why)
            .execute(&mut *tx)
            .await
            .during("say why a task waits")?;
            changed += done.rows_affected();
        }
        tx.commit().await.during("commit why tasks wait")?;
        Ok(changed)
    }

    fn tell(&self, task: TaskId, run: RunId) {
        self.0.tell(Change::Task { task, run });
    }
}

async fn offer(tx: &mut SqliteConnection, id: TaskId, epoch: u64, now: Timestamp) -> Result<Offer> {
    let Some(task) = read(tx, id).await?.filter(|task| task.state == TaskState::Queued) else {
        return Ok(Offer::Gone);
    };
    let allowance = SignedDuration::try_from(task.allowance).unwrap_or(SignedDuration::MAX);
    let deadline = now.saturating_add(allowance).unwrap_or(Timestamp::MAX);
    // Never below what was handed out before, also in a store that was recovered from an older copy.
    let fence = Fence {
        epoch: epoch.max(task.fence.epoch),
        attempt: task.fence.attempt,
    };
    sqlx::query(
        "UPDATE tasks SET state = 'offered', epoch = ?2, offered = ?3, deadline = ?4, explanation = 'handed out',
             cause = ''
         WHERE id = ?1 AND state = 'queued'",
    )
    .bind(id.to_string())
    .bind(integer(fence.epoch))
    .bind(micros(now))
    .bind(micros(deadline))
    .execute(&mut *tx)
    .await
    .during("hand a task out")?;
    sqlx::query("UPDATE runs SET started = ?2 WHERE id = ?1 AND started IS NULL")
        .bind(task.run.to_string())
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .during("note a run's start")?;
    let message = format!(
        "handed out to {} under fence {fence}, to end by {deadline}",
        task.agent
    );
    event(tx, &task, TaskState::Offered, fence.attempt, now, &message).await?;
    let task = read(tx, id).await?.ok_or_else(|| Error::NotFound {
        kind: "task",
        name: id.to_string(),
    })?;
    Ok(Offer::Made(Box::new(task)))
}

/// Takes a step under the task's own fence. False if the task has moved on since it was read.
pub(crate) async fn step(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    step: &Step<'_>,
    now: Timestamp,
) -> Result<bool> {
    task.state.step(step.to).map_err(|source| Error::Step {
        kind: "task",
        id: task.id.to_string(),
        source,
    })?;
    let ended = step.to.is_final().then(|| micros(now));
    let began = (step.to == TaskState::Running).then(|| micros(now));
    let done = sqlx::query(
        "UPDATE tasks SET state = ?5, cause = ?6, explanation = ?7, finished = ?8, started = coalesce(?9, started),
             missing_since = NULL
         WHERE id = ?1 AND state = ?2 AND epoch = ?3 AND attempt = ?4",
    )
    .bind(task.id.to_string())
    .bind(task.state.name())
    .bind(integer(task.fence.epoch))
    .bind(task.fence.attempt)
    .bind(step.to.name())
    .bind(step.cause)
    .bind(step.message)
    .bind(ended)
    .bind(began)
    .execute(&mut *tx)
    .await
    .during("change a task's state")?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    event(tx, task, step.to, task.fence.attempt, now, step.message).await?;
    Ok(true)
}

/// Queues a task that has ended as a further attempt.
pub(crate) async fn requeue(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    now: Timestamp,
    not_before: Timestamp,
    why: &str,
) -> Result<bool> {
    let attempt = task.fence.attempt.saturating_add(1);
    let done = sqlx::query(
        "UPDATE tasks SET state = 'queued', attempt = ?5, not_before = ?6, queued = ?7, explanation = ?8, cause = '',
             offered = NULL, started = NULL, finished = NULL, deadline = NULL, missing_since = NULL
         WHERE id = ?1 AND state = ?2 AND epoch = ?3 AND attempt = ?4",
    )
    .bind(task.id.to_string())
    .bind(task.state.name())
    .bind(integer(task.fence.epoch))
    .bind(task.fence.attempt)
    .bind(attempt)
    .bind(micros(not_before))
    .bind(micros(now))
    .bind(why)
    .execute(&mut *tx)
    .await
    .during("queue a task again")?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    event(tx, task, TaskState::Queued, attempt, now, why).await?;
    Ok(true)
}

/// Queues a task that has just ended again by itself, for one of its retries.
pub(crate) async fn retry_after(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    now: Timestamp,
    at_once: bool,
) -> Result<()> {
    let pause = RETRY_AFTER.saturating_mul(task.fence.attempt);
    let pause = if at_once { Duration::ZERO } else { pause };
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    let not_before = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
    spend_retry(tx, task, now, not_before).await
}

async fn spend_retry(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    now: Timestamp,
    not_before: Timestamp,
) -> Result<()> {
    let Some(ended) = read(tx, task.id).await? else {
        return Ok(());
    };
    let why = format!(
        "tried again after {}; {} retries are left",
        ended.state,
        task.retries.saturating_sub(1)
    );
    if requeue(tx, &ended, now, not_before, &why).await? {
        sqlx::query("UPDATE tasks SET retries = max(retries - 1, 0) WHERE id = ?")
            .bind(task.id.to_string())
            .execute(tx)
            .await
            .during("spend a retry")?;
    }
    Ok(())
}

/// A task that its agent had come back without is there after all.
async fn found_again(tx: &mut SqliteConnection, task: &TaskRecord, now: Timestamp) -> Result<()> {
    if task.missing_since.is_none() {
        return Ok(());
    }
    let message = "the agent has it after all";
    sqlx::query("UPDATE tasks SET missing_since = NULL, explanation = ?2 WHERE id = ?1")
        .bind(task.id.to_string())
        .bind(message)
        .execute(&mut *tx)
        .await
        .during("find a task again")?;
    event(tx, task, task.state, task.fence.attempt, now, message).await
}

/// The agent knows a newer fence than the store: the store was recovered from an older copy. The agent is right,
/// because only a coordinator can have given it that fence.
pub(crate) async fn adopt_fence(
    tx: &mut SqliteConnection,
    task: &mut TaskRecord,
    fence: Fence,
    now: Timestamp,
) -> Result<()> {
    let allowance = SignedDuration::try_from(task.allowance).unwrap_or(SignedDuration::MAX);
    let deadline = task
        .deadline
        .unwrap_or_else(|| now.saturating_add(allowance).unwrap_or(Timestamp::MAX));
    sqlx::query(
        "UPDATE tasks SET state = 'offered', epoch = ?2, attempt = ?3, offered = coalesce(offered, ?4), deadline = ?5
         WHERE id = ?1",
    )
    .bind(task.id.to_string())
    .bind(integer(fence.epoch))
    .bind(fence.attempt)
    .bind(micros(now))
    .bind(micros(deadline))
    .execute(&mut *tx)
    .await
    .during("adopt a newer fence")?;
    let message =
        format!("the agent has it under the newer fence {fence}: handed out before this store was recovered");
    event(tx, task, TaskState::Offered, fence.attempt, now, &message).await?;
    task.state = TaskState::Offered;
    task.fence = fence;
    task.deadline = Some(deadline);
    Ok(())
}

/// The task of this key if it is at work under exactly this fence.
async fn in_force(tx: &mut SqliteConnection, key: TaskKey) -> Result<Option<TaskRecord>> {
    let task = read(tx, key.task).await?;
    Ok(task.filter(|task| {
        task.fence == key.fence && matches!(task.state, TaskState::Offered | TaskState::Running)
    }))
}

/// Files one event of a task.
pub(crate) async fn event(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    state: TaskState,
    attempt: u32,
    at: Timestamp,
    message: &str,
) -> Result<()> {
    let event = EventRecord {
        task: task.id,
        at,
        state,
        attempt,
        message: message.to_owned(),
    };
    events::append(tx, task.run, &event).await
}
