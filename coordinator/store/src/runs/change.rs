//! What operators and the dispatcher do to runs: cancel, retry, stop.

use dr_proto::model::{RunId, RunState, TaskState};
use serde_json::json;
use sqlx::SqliteConnection;

use super::Runs;
use super::record::{RunRecord, read};
use crate::audit;
use crate::column::micros;
use crate::error::{During as _, Error, Result};
use crate::store::Change;
use crate::tasks::{self, Step};

impl Runs<'_> {
    /// Cancels a run: what is queued ends at once, what is at work is told to stop. A run that has ended stays as it
    /// is, and a second call changes nothing.
    pub async fn cancel(&self, id: RunId, reason: &str, by: &str) -> Result<RunRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let run = expect(&mut tx, id).await?;
        if run.state.is_final() || run.state == RunState::Cancelling {
            return Ok(run);
        }
        let next = if run.state == RunState::Pending {
            RunState::Cancelled
        } else {
            RunState::Cancelling
        };
        let why = format!("cancelled by {by}: {reason}");
        set_state(
            &mut tx,
            &run,
            next,
            &why,
            (next == RunState::Cancelled).then(|| micros(now)),
        )
        .await?;
        end_queued(&mut tx, id, "cancelled", &why, now).await?;
        sqlx::query("UPDATE tasks SET cancel_reason = ?2 WHERE run = ?1 AND state IN ('offered', 'running')")
            .bind(id.to_string())
            .bind(reason)
            .execute(&mut *tx)
            .await
            .during("tell tasks at work to stop")?;
        audit::append(
            &mut tx,
            now,
            by,
            "run.cancel",
            &id.to_string(),
            &json!({ "reason": reason }),
        )
        .await?;
        let after = expect(&mut tx, id).await?;
        crate::failpoint::reach("store.cancel");
        tx.commit().await.during("commit a cancelled run")?;
        self.0.tell(Change::Run(id));
        Ok(after)
    }

    /// Ends what is still queued of a run that has gone wrong; what is at work goes on. Says how many were ended.
    pub async fn stop(&self, id: RunId, why: &str) -> Result<u64> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let run = expect(&mut tx, id).await?;
        if run.state != RunState::Running {
            return Ok(0);
        }
        let ended = end_queued(&mut tx, id, "stopped", why, now).await?;
        if ended > 0 {
            sqlx::query("UPDATE runs SET explanation = ?2 WHERE id = ?1")
                .bind(id.to_string())
                .bind(why)
                .execute(&mut *tx)
                .await
                .during("explain a stopped run")?;
            let details = json!({ "reason": why, "tasks": ended });
            audit::append(&mut tx, now, "coordinator", "run.stop", &id.to_string(), &details).await?;
        }
        tx.commit().await.during("commit a stopped run")?;
        if ended > 0 {
            self.0.tell(Change::Run(id));
        }
        Ok(ended)
    }

    /// Ends a run that was announced and will never begin. False if it is past waiting.
    pub async fn give_up(&self, id: RunId, why: &str) -> Result<bool> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let run = expect(&mut tx, id).await?;
        if run.state != RunState::Pending {
            return Ok(false);
        }
        let why = format!("{why} ({})", run.explanation);
        set_state(&mut tx, &run, RunState::Inconclusive, &why, Some(micros(now))).await?;
        tx.commit().await.during("commit a run that was given up")?;
        self.0.tell(Change::Run(id));
        Ok(true)
    }

    /// Asks again for what did not pass, as further attempts of the same tasks.
    pub async fn retry(&self, id: RunId, by: &str) -> Result<RunRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let run = expect(&mut tx, id).await?;
        if !run.state.is_final() {
            return Err(Error::Refused(format!(
                "run {id} has not ended: cancel it or wait for its end first"
            )));
        }
        let mut woken = 0_u32;
        for task in tasks::of_run(&mut tx, id).await? {
            if !task.state.is_final() || task.state == TaskState::Passed {
                continue;
            }
            woken +=
                u32::from(tasks::requeue(&mut tx, &task, now, now, &format!("tried again by {by}")).await?);
        }
        if woken == 0 {
            return Err(Error::Refused(format!(
                "run {id} has nothing to try again: every task passed, or it had none"
            )));
        }
        sqlx::query(
            "UPDATE tasks SET start_by = NULL, cancel_reason = NULL WHERE run = ?1 AND state = 'queued'",
        )
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .during("lift the window of a run that is tried again")?;
        set_state(&mut tx, &run, RunState::Running, "", None).await?;
        sqlx::query("UPDATE runs SET retries = retries + 1, retried = ?2 WHERE id = ?1")
            .bind(id.to_string())
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .during("count a retry of a run")?;
        audit::append(
            &mut tx,
            now,
            by,
            "run.retry",
            &id.to_string(),
            &json!({ "tasks": woken }),
        )
        .await?;
        let after = expect(&mut tx, id).await?;
        tx.commit().await.during("commit a run that is tried again")?;
        self.0.tell(Change::Run(id));
        Ok(after)
    }
}

async fn expect(tx: &mut SqliteConnection, id: RunId) -> Result<RunRecord> {
    read(tx, id).await?.ok_or_else(|| Error::NotFound {
        kind: "run",
        name: id.to_string(),
    })
}

async fn set_state(
    tx: &mut SqliteConnection,
    run: &RunRecord,
    next: RunState,
    why: &str,
    finished: Option<i64>,
) -> Result<()> {
    run.state.step(next).map_err(|source| Error::Step {
        kind: "run",
        id: run.id.to_string(),
        source,
    })?;
    sqlx::query("UPDATE runs SET state = ?2, explanation = ?3, finished = ?4 WHERE id = ?1 AND state = ?5")
        .bind(run.id.to_string())
        .bind(next.name())
        .bind(why)
        .bind(finished)
        .bind(run.state.name())
        .execute(tx)
        .await
        .during("change a run's state")?;
    Ok(())
}

/// Ends the queued tasks of a run as cancelled.
async fn end_queued(
    tx: &mut SqliteConnection,
    id: RunId,
    cause: &str,
    why: &str,
    now: jiff::Timestamp,
) -> Result<u64> {
    let mut ended = 0;
    for task in tasks::of_run(tx, id).await? {
        if task.state == TaskState::Queued {
            let step = Step {
                to: TaskState::Cancelled,
                cause,
                message: why,
            };
            ended += u64::from(tasks::step(tx, &task, &step, now).await?);
        }
    }
    Ok(ended)
}
