//! Results: the end of a task as its agent gave it, filed once however often it is sent.
//!
//! # Consistency
//! A result counts if its fence is the one in force and the task is at work. Whatever else comes is acknowledged as
//! well, so that the agent may forget it, and noted: sent again, too late, from an older attempt, or of work that an
//! agent did by itself while no coordinator answered.

mod file;
mod offline;

use dr_proto::model::TaskId;
use sqlx::sqlite::SqliteRow;

use crate::column::{get, parsed, small, time};
use crate::error::{During as _, Result};
use crate::store::Store;

pub use file::Filed;

/// Results of tasks and their documents.
#[derive(Debug, Clone, Copy)]
pub struct Results<'a>(pub(crate) &'a Store);

/// What a task measured, as its agent wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRecord {
    /// The task.
    pub task: TaskId,
    /// `snapshot`, `drill`, `restore` or `check`.
    pub kind: String,
    /// The attempt that measured it.
    pub attempt: u32,
    /// When it came.
    pub received: jiff::Timestamp,
    /// JSON.
    pub document: Vec<u8>,
}

impl Results<'_> {
    /// The document of a task.
    pub async fn document(&self, task: TaskId) -> Result<Option<DocumentRecord>> {
        let row = sqlx::query("SELECT * FROM documents WHERE task = ?")
            .bind(task.to_string())
            .fetch_optional(self.0.readers())
            .await
            .during("read a document")?;
        row.as_ref().map(record).transpose()
    }
}

fn record(row: &SqliteRow) -> Result<DocumentRecord> {
    Ok(DocumentRecord {
        task: parsed(row, "task")?,
        kind: get(row, "kind")?,
        attempt: small(row, "attempt")?,
        received: time(row, "received")?,
        document: get(row, "document")?,
    })
}
