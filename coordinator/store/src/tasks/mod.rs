//! Tasks: one host's part of a run, from the queue to its end.
//!
//! # Consistency
//! Every step names the state and the fence that it starts from; if the task stands elsewhere by then, nothing
//! happens and the caller is told. The edges themselves are `TaskState::can_become`.
//!
//! # Crash consistency
//! queued: stays, handed out by the next dispatcher. offered: the fence was committed before anything was sent; the
//! agent's next hello says whether it arrived. running: stays until the agent says hello, answers, or the deadline
//! passes. Ends stay.

mod change;
mod record;

use std::collections::BTreeMap;

use dr_proto::model::{HostName, RunId, TaskId, TaskState};
use jiff::Timestamp;

pub use change::{Accepted, Offer, Requeued};
pub use record::TaskRecord;

pub(crate) use change::{Step, adopt_fence, event, requeue, retry_after, step};
pub(crate) use record::{COLUMNS, of_run, read, record};

use crate::column::{micros, parsed, small};
use crate::error::{During as _, Result};
use crate::store::Store;

/// Tasks.
#[derive(Debug, Clone, Copy)]
pub struct Tasks<'a>(pub(crate) &'a Store);

/// How many tasks are in each state.
pub type Tally = BTreeMap<TaskState, u32>;

impl Tasks<'_> {
    /// One task.
    pub async fn get(&self, id: TaskId) -> Result<Option<TaskRecord>> {
        let mut reader = self.0.readers().acquire().await.during("read a task")?;
        read(&mut reader, id).await
    }

    /// The tasks of a run, by wave and host.
    pub async fn of_run(&self, run: RunId) -> Result<Vec<TaskRecord>> {
        let mut reader = self.0.readers().acquire().await.during("list tasks of a run")?;
        of_run(&mut reader, run).await
    }

    /// Everything that has not ended, in the order in which it may be handed out: oldest run first, then wave.
    pub async fn open(&self) -> Result<Vec<TaskRecord>> {
        self.select("state IN ('queued', 'offered', 'running') ORDER BY run, wave, not_before, host")
            .await
    }

    /// How many tasks of each run that has not ended are in each state, wave by wave.
    pub async fn tallies(&self) -> Result<BTreeMap<RunId, BTreeMap<u32, Tally>>> {
        let rows = sqlx::query(
            "SELECT run, wave, tasks.state AS state, count(*) AS n FROM tasks JOIN runs ON runs.id = tasks.run
             WHERE runs.state IN ('running', 'cancelling') GROUP BY run, wave, tasks.state",
        )
        .fetch_all(self.0.readers())
        .await
        .during("count tasks by wave")?;
        let mut tallies: BTreeMap<RunId, BTreeMap<u32, Tally>> = BTreeMap::new();
        for row in &rows {
            let waves = tallies.entry(parsed(row, "run")?).or_default();
            let tally = waves.entry(small(row, "wave")?).or_default();
            tally.insert(parsed(row, "state")?, small(row, "n")?);
        }
        Ok(tallies)
    }

    /// What an agent was given and has not answered.
    pub async fn at_work(&self, agent: &HostName) -> Result<Vec<TaskRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE agent = ? AND state IN ('offered', 'running') ORDER BY id"
        ));
        let rows = sqlx::query(sql)
            .bind(agent.as_str())
            .fetch_all(self.0.readers())
            .await
            .during("list an agent's tasks")?;
        rows.iter().map(record).collect()
    }

    /// What has passed its deadline, or was not handed out in its window.
    pub async fn overdue(&self, now: Timestamp) -> Result<Vec<TaskRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE (state IN ('offered', 'running') AND deadline <= ?1)
               OR (state = 'queued' AND start_by <= ?1) ORDER BY id"
        ));
        let rows = sqlx::query(sql)
            .bind(micros(now))
            .fetch_all(self.0.readers())
            .await
            .during("look for overdue tasks")?;
        rows.iter().map(record).collect()
    }

    /// What its agent came back without before `since`, and no result has come of.
    pub async fn missing(&self, since: Timestamp) -> Result<Vec<TaskRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE state = 'running' AND missing_since <= ?1 ORDER BY id"
        ));
        let rows = sqlx::query(sql)
            .bind(micros(since))
            .fetch_all(self.0.readers())
            .await
            .during("look for missing tasks")?;
        rows.iter().map(record).collect()
    }

    /// Hosts whose last `count` tasks that ended since then were all inconclusive, refused, expired or lost.
    pub async fn unanswered(&self, since: Timestamp, count: u32) -> Result<Vec<HostName>> {
        let rows = sqlx::query(
            "SELECT host FROM (
                 SELECT host, state, row_number() OVER (PARTITION BY host ORDER BY finished DESC, id DESC) AS nth
                 FROM tasks WHERE finished > ?1 AND state NOT IN ('queued', 'offered', 'running', 'cancelled'))
             WHERE nth <= ?2 GROUP BY host
             HAVING count(*) = ?2 AND sum(state IN ('inconclusive', 'refused', 'expired', 'lost')) = ?2
             ORDER BY host",
        )
        .bind(micros(since))
        .bind(count)
        .fetch_all(self.0.readers())
        .await
        .during("look for hosts without answers")?;
        rows.iter().map(|row| parsed(row, "host")).collect()
    }

    /// What is at work and was told to stop.
    pub async fn to_cancel(&self) -> Result<Vec<TaskRecord>> {
        self.select("state IN ('offered', 'running') AND cancel_reason IS NOT NULL ORDER BY id")
            .await
    }

    async fn select(&self, condition: &'static str) -> Result<Vec<TaskRecord>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {condition}")))
            .fetch_all(self.0.readers())
            .await
            .during("list tasks")?;
        rows.iter().map(record).collect()
    }
}
