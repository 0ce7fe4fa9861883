//! Steps in the lives of tasks: why each stands where it stands.

use dr_proto::model::{RunId, TaskId, TaskState};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::column::{get, micros, parsed, small, time};
use crate::error::{During as _, Result};
use crate::store::Store;

/// Steps in the lives of tasks.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a>(pub(crate) &'a Store);

/// The most events of one run that a list holds: the newest.
const LONGEST: u32 = 10_000;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// The task.
    pub task: TaskId,
    /// When.
    pub at: Timestamp,
    /// Where it stood then.
    pub state: TaskState,
    /// Which attempt.
    pub attempt: u32,
    /// Why, for people.
    pub message: String,
}

impl Events<'_> {
    /// The newest 10,000 steps of a run's tasks, oldest first.
    pub async fn of_run(&self, run: RunId) -> Result<Vec<EventRecord>> {
        let rows = sqlx::query(
            "SELECT * FROM (SELECT * FROM task_events WHERE run = ?1 ORDER BY number DESC LIMIT ?2) ORDER BY number",
        )
        .bind(run.to_string())
        .bind(LONGEST)
        .fetch_all(self.0.readers())
        .await
        .during("list steps of a run")?;
        rows.iter().map(record).collect()
    }

    /// The steps of one task, oldest first.
    pub async fn of_task(&self, task: TaskId) -> Result<Vec<EventRecord>> {
        let rows = sqlx::query("SELECT * FROM task_events WHERE task = ?1 ORDER BY number LIMIT ?2")
            .bind(task.to_string())
            .bind(LONGEST)
            .fetch_all(self.0.readers())
            .await
            .during("list steps of a task")?;
        rows.iter().map(record).collect()
    }
}

/// Files a step inside a transaction.
pub(crate) async fn append(tx: &mut SqliteConnection, run: RunId, event: &EventRecord) -> Result<()> {
    sqlx::query("INSERT INTO task_events (task, run, at, state, attempt, message) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(event.task.to_string())
        .bind(run.to_string())
        .bind(micros(event.at))
        .bind(event.state.name())
        .bind(event.attempt)
        .bind(&event.message)
        .execute(tx)
        .await
        .during("file a step of a task")?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<EventRecord> {
    Ok(EventRecord {
        task: parsed(row, "task")?,
        at: time(row, "at")?,
        state: parsed(row, "state")?,
        attempt: small(row, "attempt")?,
        message: get(row, "message")?,
    })
}
