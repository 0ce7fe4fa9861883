//! A task as the store holds it.

use std::time::Duration;

use dr_proto::model::{Fence, HostName, ProofLevel, RunId, Slot, TaskId, TaskKey, TaskState, Work};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::column::{count, get, json, maybe_span, maybe_time, maybe_word, parsed, small, span, time};
use crate::error::{During as _, Result};

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Its run.
    pub run: RunId,
    /// The plan's slot; `None`: an operator's request.
    pub slot: Option<Slot>,
    /// The host that is rehearsed or protected.
    pub host: HostName,
    /// The agent that does the work.
    pub agent: HostName,
    /// Where it stands.
    pub state: TaskState,
    /// The newest fence: epoch 0 until it is handed out.
    pub fence: Fence,
    /// How often it is still tried again by itself.
    pub retries: u32,
    /// Which wave it belongs to, from 1.
    pub wave: u32,
    /// What is asked.
    pub work: Work,
    /// The stable word for why it is not passed; empty if it is, or has not ended.
    pub cause: String,
    /// Why it stands where it stands.
    pub explanation: String,
    /// When it may start at the earliest.
    pub not_before: Timestamp,
    /// When it must have been handed out at the latest.
    pub start_by: Option<Timestamp>,
    /// How long it may take from when it is handed out.
    pub allowance: Duration,
    /// When it was queued, or queued again.
    pub queued: Timestamp,
    /// When it was handed out.
    pub offered: Option<Timestamp>,
    /// When its agent began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When it must have ended.
    pub deadline: Option<Timestamp>,
    /// Why its agent was told to stop.
    pub cancel_reason: Option<String>,
    /// When its agent came back without it; the result may still come.
    pub missing_since: Option<Timestamp>,
    /// How deep its drill went.
    pub proof: Option<ProofLevel>,
    /// How long its restore took until everything could be used.
    pub time_to_usable: Option<Duration>,
    /// Age of the newest cut when its drill began.
    pub rpo: Option<Duration>,
    /// Whether its agent sent a document.
    pub has_document: bool,
}

impl TaskRecord {
    /// The attempt that is in force.
    pub fn key(&self) -> TaskKey {
        TaskKey {
            task: self.id,
            fence: self.fence,
        }
    }
}

/// Every column.
pub(crate) const COLUMNS: &str = "SELECT id, run, plan, slot, host, agent, state, epoch, attempt, retries, wave, work,
    cause, explanation, not_before, start_by, allowance, queued, offered, started, finished, deadline, cancel_reason,
    missing_since, proof, time_to_usable, rpo, EXISTS (SELECT 1 FROM documents WHERE task = tasks.id) AS has_document FROM tasks";

/// Reads a task, inside a transaction or not.
pub(crate) async fn read(connection: &mut SqliteConnection, id: TaskId) -> Result<Option<TaskRecord>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?")))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .during("read a task")?;
    row.as_ref().map(record).transpose()
}

/// Reads the tasks of a run, inside a transaction or not.
pub(crate) async fn of_run(connection: &mut SqliteConnection, run: RunId) -> Result<Vec<TaskRecord>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE run = ? ORDER BY wave, host"
    )))
    .bind(run.to_string())
    .fetch_all(connection)
    .await
    .during("list tasks of a run")?;
    rows.iter().map(record).collect()
}

pub(crate) fn record(row: &SqliteRow) -> Result<TaskRecord> {
    let plan: Option<String> = get(row, "plan")?;
    let at = maybe_time(row, "slot")?;
    Ok(TaskRecord {
        id: parsed(row, "id")?,
        run: parsed(row, "run")?,
        slot: plan.zip(at).map(|(plan, at)| Slot { plan, at }),
        host: parsed(row, "host")?,
        agent: parsed(row, "agent")?,
        state: parsed(row, "state")?,
        fence: Fence {
            epoch: count(row, "epoch")?,
            attempt: small(row, "attempt")?,
        },
        retries: small(row, "retries")?,
        wave: small(row, "wave")?,
        work: json(row, "work")?,
        cause: get(row, "cause")?,
        explanation: get(row, "explanation")?,
        not_before: time(row, "not_before")?,
        start_by: maybe_time(row, "start_by")?,
        allowance: span(row, "allowance")?,
        queued: time(row, "queued")?,
        offered: maybe_time(row, "offered")?,
        started: maybe_time(row, "started")?,
        finished: maybe_time(row, "finished")?,
        deadline: maybe_time(row, "deadline")?,
        cancel_reason: get(row, "cancel_reason")?,
        missing_since: maybe_time(row, "missing_since")?,
        proof: maybe_word(row, "proof")?,
        time_to_usable: maybe_span(row, "time_to_usable")?,
        rpo: maybe_span(row, "rpo")?,
        has_document: get(row, "has_document")?,
    })
}
