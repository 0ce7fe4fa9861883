//! Files one result.

use dr_proto::model::{HostName, Report, TaskResult, TaskState, Work};
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::Results;
use super::offline;
use crate::audit;
use crate::column::{micros, span_micros};
use crate::error::{During as _, Result};
use crate::failpoint;
use crate::proofs;
use crate::store::Change;
use crate::tasks::{self, Step, TaskRecord};

/// Why a host was left alone in the middle of a task: trying again needs no pause.
const INTERRUPTED: &str = "interrupted";

/// What came of a result. In every case it may be acknowledged, except [`Filed::NotYours`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filed {
    /// It ended the task.
    Recorded,
    /// It ended the task's attempt, and the task is queued again.
    Again,
    /// It was filed before.
    Already,
    /// Its fence is older than the one in force: noted, and nothing changed.
    Stale,
    /// The task had ended without it (expired, lost): noted, and nothing changed.
    Late,
    /// The agent did it by itself while no coordinator answered; it was filed under its slot.
    Offline,
    /// The slot has another result for this host already: noted, and nothing changed.
    Duplicate,
    /// Nothing was known of it: it was filed as a run of its own, marked as recovered.
    Recovered,
    /// The task is another agent's: refused.
    NotYours,
}

impl Filed {
    /// Its stable word, for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Again => "again",
            Self::Already => "already",
            Self::Stale => "stale",
            Self::Late => "late",
            Self::Offline => "offline",
            Self::Duplicate => "duplicate",
            Self::Recovered => "recovered",
            Self::NotYours => "not_yours",
        }
    }
}

impl Results<'_> {
    /// Files a result that `agent` sent. The state in it was validated to be one that an agent may give.
    pub async fn file(&self, agent: &HostName, result: &TaskResult) -> Result<Filed> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let (filed, run) = match tasks::read(&mut tx, result.key.task).await? {
            Some(task) if task.agent != *agent => {
                refuse(&mut tx, agent, result, now).await?;
                (Filed::NotYours, None)
            }
            Some(task) => {
                let run = task.run;
                (known(&mut tx, task, result, now).await?, Some(run))
            }
            None => {
                let (filed, run) = offline::file(&mut tx, agent, result, now).await?;
                (filed, Some(run))
            }
        };
        failpoint::reach("store.result");
        tx.commit().await.during("commit a result")?;
        failpoint::reach("store.result.committed");
        if let Some(run) = run {
            self.0.tell(Change::Run(run));
        }
        Ok(filed)
    }
}

async fn known(
    tx: &mut SqliteConnection,
    mut task: TaskRecord,
    result: &TaskResult,
    now: Timestamp,
) -> Result<Filed> {
    let fence = result.key.fence;
    if fence > task.fence && !task.state.is_final() {
        tasks::adopt_fence(tx, &mut task, fence, now).await?;
    }
    if fence < task.fence {
        let details = json!({ "fence": fence.to_string(), "in_force": task.fence.to_string(),
            "state": result.outcome.state });
        let actor = format!("agent {}", task.agent);
        note(
            tx,
            &task,
            result,
            now,
            "a result of an older attempt arrived; it changes nothing",
        )
        .await?;
        audit::append(tx, now, &actor, "result.stale", &task.id.to_string(), &details).await?;
        return Ok(Filed::Stale);
    }
    if task.state.is_final() {
        if task.state == result.outcome.state && task.has_answer() {
            return Ok(Filed::Already);
        }
        note(
            tx,
            &task,
            result,
            now,
            "a result arrived after the task had ended; it changes nothing",
        )
        .await?;
        return Ok(Filed::Late);
    }
    if task.state == TaskState::Queued {
        // The attempt that is queued was never handed out: this is the one before, told again.
        return Ok(Filed::Already);
    }
    record(tx, &task, result, now).await?;
    let worth =
        result.outcome.state == TaskState::Inconclusive && task.retries > 0 && task.cancel_reason.is_none();
    if worth && can_go_on(tx, &task).await? {
        tasks::retry_after(tx, &task, now, result.outcome.cause == INTERRUPTED).await?;
        return Ok(Filed::Again);
    }
    Ok(Filed::Recorded)
}

/// Ends the task with what its agent said, and keeps what was measured.
pub(super) async fn record(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    result: &TaskResult,
    now: Timestamp,
) -> Result<()> {
    let outcome = &result.outcome;
    // Every state is explained, a pass too.
    let message = if outcome.message.is_empty() {
        "the agent's answer"
    } else {
        &outcome.message
    };
    let step = Step {
        to: outcome.state,
        cause: &outcome.cause,
        message,
    };
    tasks::step(tx, task, &step, now).await?;
    sqlx::query("UPDATE tasks SET started = ?2 WHERE id = ?1")
        .bind(task.id.to_string())
        .bind(micros(outcome.started.min(now)))
        .execute(&mut *tx)
        .await
        .during("note when a task began")?;
    failpoint::reach("store.result.stepped");
    if outcome.document.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO documents (task, kind, attempt, received, document) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (task) DO UPDATE SET kind = excluded.kind, attempt = excluded.attempt,
             received = excluded.received, document = excluded.document",
    )
    .bind(task.id.to_string())
    .bind(task.work.word())
    .bind(task.fence.attempt)
    .bind(micros(now))
    .bind(&outcome.document)
    .execute(&mut *tx)
    .await
    .during("keep a document")?;
    if matches!(task.work, Work::Drill(_)) {
        measure(tx, task, &outcome.document, now).await?;
    }
    Ok(())
}

/// Draws out of a drill's report what objectives and lists need. A report that can not be read leaves the task's state
/// as its agent gave it, and says so: it proves nothing here.
async fn measure(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    document: &[u8],
    now: Timestamp,
) -> Result<()> {
    let mut report: Report = match serde_json::from_slice(document) {
        Ok(report) => report,
        Err(error) => {
            let message = format!("the report can not be read, so that it counts for no objective: {error}");
            return tasks::event(tx, task, task.state, task.fence.attempt, now, &message).await;
        }
    };
    // A clock that is ahead must not make a proof look younger than it is.
    report.finished = report.finished.min(now);
    proofs::file(tx, task.id, &task.host, &report).await?;
    sqlx::query("UPDATE tasks SET proof = ?2, time_to_usable = ?3, rpo = ?4 WHERE id = ?1")
        .bind(task.id.to_string())
        .bind(report.proof.to_string())
        .bind(proofs::seconds(report.time_to_usable).map(span_micros))
        .bind(proofs::seconds(report.rpo.at_loss).map(span_micros))
        .execute(tx)
        .await
        .during("note what a drill measured")?;
    Ok(())
}

/// Whether a further attempt fits: the run must not be coming to an end by somebody's hand.
async fn can_go_on(tx: &mut SqliteConnection, task: &TaskRecord) -> Result<bool> {
    let run = crate::runs::read(tx, task.run).await?;
    Ok(run.is_some_and(|run| run.state == dr_proto::model::RunState::Running))
}

async fn note(
    tx: &mut SqliteConnection,
    task: &TaskRecord,
    result: &TaskResult,
    now: Timestamp,
    what: &str,
) -> Result<()> {
    let message = format!(
        "{what}: {} under fence {}",
        result.outcome.state, result.key.fence
    );
    tasks::event(tx, task, task.state, result.key.fence.attempt, now, &message).await
}

async fn refuse(
    tx: &mut SqliteConnection,
    agent: &HostName,
    result: &TaskResult,
    now: Timestamp,
) -> Result<()> {
    let actor = format!("agent {agent}");
    let details = json!({ "fence": result.key.fence.to_string(), "state": result.outcome.state });
    audit::append(
        tx,
        now,
        &actor,
        "result.refused",
        &result.key.task.to_string(),
        &details,
    )
    .await?;
    Ok(())
}

impl TaskRecord {
    /// Whether its end is its agent's answer, and not the coordinator's own conclusion.
    fn has_answer(&self) -> bool {
        self.state.is_answer() && self.started.is_some()
    }
}
