//! What a run measured: gathered from the coordinator, drawn for people, and judged into an exit code.

mod document;
mod draw;
mod html;
mod judge;
mod notes;
pub(crate) mod outputs;
mod table;

use dr_proto::model::{Report, TaskState, Work};
use dr_proto::view::{Document, LeftOut, Note, Run, RunDetail, Task};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::Value;

pub(crate) use document::draw;
pub(crate) use html::html;
pub(crate) use judge::code;
pub(crate) use notes::{keep as keep_notes, print as notes};
pub(crate) use table::{left_out, note, tasks, verdict};

use crate::coordinator::{CallError, Coordinator};

/// How many reports are asked for at once.
const PARALLEL: usize = 8;

/// A run, its tasks, and what they measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Evidence {
    /// The run.
    pub(crate) run: Run,
    /// Its tasks, worst first, each with its report if there is one.
    pub(crate) tasks: Vec<Piece>,
    /// What operators wrote beside it, oldest first.
    pub(crate) notes: Vec<Note>,
    /// Hosts that were selected and got no task.
    pub(crate) left_out: Vec<LeftOut>,
}

/// One task with what it measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Piece {
    /// The task.
    #[serde(flatten)]
    pub(crate) task: Task,
    /// The document that its agent wrote.
    pub(crate) report: Option<Value>,
}

impl Piece {
    /// `snapshot`, `drill`, `restore`, `check` or `hold`.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        self.task.work.as_ref().map(Work::word)
    }

    /// The report, if it is that of a drill.
    pub(crate) fn drill(&self) -> Option<Report> {
        let report = self.report.as_ref()?;
        serde_json::from_value(report.clone()).ok()
    }
}

/// Why a document cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the report of task {task} is not JSON")]
pub(crate) struct NotJson {
    task: String,
    #[source]
    source: serde_json::Error,
}

/// A document as JSON.
pub(crate) fn parse(document: &Document) -> Result<Value, NotJson> {
    serde_json::from_slice(&document.document).map_err(|source| NotJson {
        task: document.task.clone(),
        source,
    })
}

/// Why evidence could not be gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The coordinator did not give a report.
    #[error("fetch the report of {host}")]
    Call {
        /// The host.
        host: String,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// A report is not what it should be.
    #[error(transparent)]
    NotJson(#[from] NotJson),
}

impl Evidence {
    /// How the tasks ended, without what they measured.
    pub(crate) fn without_reports(detail: RunDetail) -> Self {
        let mut tasks = detail.tasks;
        tasks.sort_by(crate::follow::worst_first);
        let tasks = tasks.into_iter().map(|task| Piece { task, report: None });
        Self {
            run: detail.run,
            tasks: tasks.collect(),
            notes: detail.notes,
            left_out: detail.left_out,
        }
    }
}

/// Asks for the reports of all tasks that have one.
pub(crate) async fn gather(coordinator: &Coordinator, detail: RunDetail) -> Result<Evidence, Error> {
    let mut tasks = detail.tasks;
    tasks.sort_by(crate::follow::worst_first);
    let pieces = futures::stream::iter(tasks.into_iter().map(|task| async move {
        let report = if task.has_report {
            let document = coordinator.report(task.id.clone()).await;
            let document = document.map_err(|source| Error::Call {
                host: task.host.clone(),
                source,
            })?;
            Some(parse(&document)?)
        } else {
            None
        };
        Ok::<_, Error>(Piece { task, report })
    }));
    Ok(Evidence {
        run: detail.run,
        tasks: pieces.buffered(PARALLEL).try_collect().await?,
        notes: detail.notes,
        left_out: detail.left_out,
    })
}

/// How much a state needs somebody, as colours say it.
pub(crate) fn tone(state: TaskState) -> dr_terminal::Tone {
    use dr_terminal::Tone;
    match state {
        TaskState::Passed => Tone::Good,
        TaskState::Failed => Tone::Bad,
        TaskState::Queued | TaskState::Offered | TaskState::Running => Tone::Dim,
        _ => Tone::Warn,
    }
}
