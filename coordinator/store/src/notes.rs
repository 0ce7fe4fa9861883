//! What operators write beside runs and their tasks: added, never changed, gone with their run.

use dr_proto::model::{RunId, TaskId};
use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use crate::audit;
use crate::column::{get, maybe_parsed, micros, time};
use crate::error::{During as _, Error, Result};
use crate::store::Store;

/// Notes of operators.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'a>(pub(crate) &'a Store);

/// The most notes beside one run: a place for remarks, not for a log.
pub const MOST: u32 = 100;

/// A note to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewNote<'a> {
    /// The run beside which it lies.
    pub run: RunId,
    /// The task that it is about; `None`: the whole run.
    pub task: Option<TaskId>,
    /// The text, validated by the caller.
    pub text: &'a str,
    /// The operator.
    pub by: &'a str,
    /// Chosen by the operator's client.
    pub request_id: &'a str,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteRecord {
    /// The task that it is about; `None`: the whole run.
    pub task: Option<TaskId>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The text, validated by the caller.
    pub text: String,
}

impl Notes<'_> {
    /// Adds a note; the same request id adds it once, and is answered with what was added then.
    pub async fn add(&self, note: &NewNote<'_>) -> Result<NoteRecord> {
        let NewNote {
            run,
            task,
            text,
            by,
            request_id,
        } = *note;
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let known = sqlx::query("SELECT task, at, by, text FROM notes WHERE request_id = ?1 AND run = ?2")
            .bind(request_id)
            .bind(run.to_string())
            .fetch_optional(&mut *tx)
            .await
            .during("look for a note")?;
        if let Some(row) = known {
            return record(&row);
        }
        let count: u32 = sqlx::query_scalar("SELECT count(*) FROM notes WHERE run = ?")
            .bind(run.to_string())
            .fetch_one(&mut *tx)
            .await
            .during("count notes")?;
        if count >= MOST {
            return Err(Error::Refused(format!(
                "run {run} has {MOST} notes already, the most there can be"
            )));
        }
        sqlx::query("INSERT INTO notes (run, task, at, by, text, request_id) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(run.to_string())
            .bind(task.map(|task| task.to_string()))
            .bind(micros(now))
            .bind(by)
            .bind(text)
            .bind(request_id)
            .execute(&mut *tx)
            .await
            .during("file a note")?;
        let subject = task.map_or_else(|| run.to_string(), |task| task.to_string());
        let details = json!({ "run": run.to_string(), "text": text });
        audit::append(&mut tx, now, by, "note.add", &subject, &details).await?;
        tx.commit().await.during("commit a note")?;
        Ok(NoteRecord {
            task,
            at: now,
            by: by.to_owned(),
            text: text.to_owned(),
        })
    }

    /// The notes beside a run and its tasks, oldest first.
    pub async fn of_run(&self, run: RunId) -> Result<Vec<NoteRecord>> {
        let rows =
            sqlx::query("SELECT task, at, by, text FROM notes WHERE run = ?1 ORDER BY number LIMIT ?2")
                .bind(run.to_string())
                .bind(MOST)
                .fetch_all(self.0.readers())
                .await
                .during("list notes")?;
        rows.iter().map(record).collect()
    }
}

fn record(row: &SqliteRow) -> Result<NoteRecord> {
    Ok(NoteRecord {
        task: maybe_parsed(row, "task")?,
        at: time(row, "at")?,
        by: get(row, "by")?,
        text: get(row, "text")?,
    })
}
