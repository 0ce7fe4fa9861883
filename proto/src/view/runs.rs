//! Runs, their tasks, and what these measured.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::read::{MOST, as_seconds, some, sorted};
use crate::model::{Progress, ProofLevel, RunState, TaskState, Work};
use crate::wire::read::{inner, list, required};
use crate::wire::task::{proof_level, run_state, task_state};
use crate::wire::time::{maybe_length, maybe_moment, moment};
use crate::{v1, wire};

/// One slot of a plan over the fleet, or one request of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: RunState,
    /// Its plan; `None`: an operator's request.
    pub plan: Option<String>,
    /// Hash of the plan's text.
    pub plan_hash: Option<String>,
    /// The slot.
    pub slot: Option<Timestamp>,
    /// `snapshot`, `drill verify`, `restore`, `check vector-db`.
    pub work: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Why, if that was said.
    pub reason: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its first task began.
    pub started: Option<Timestamp>,
    /// When its last task ended.
    pub finished: Option<Timestamp>,
    /// How many tasks are in each state.
    pub tasks: BTreeMap<String, u32>,
    /// Why it stands where it stands.
    pub explanation: Option<String>,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
}

impl Run {
    /// How many tasks it has.
    pub fn task_count(&self) -> u32 {
        self.tasks
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// One host's part of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// The run that it is a part of.
    pub run: String,
    /// The host that is rehearsed or protected.
    pub host: String,
    /// The agent that does the work.
    pub on: String,
    /// Where it stands.
    pub state: TaskState,
    /// Attempt at it: 1 for the first.
    pub attempt: u32,
    /// The wave, from 1.
    pub wave: u32,
    /// The stable word for why it did not pass.
    pub cause: Option<String>,
    /// Why it stands where it stands.
    pub explanation: Option<String>,
    /// How far it is.
    pub progress: Option<ProgressView>,
    /// When it was made.
    pub queued: Option<Timestamp>,
    /// When its agent began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When it must have ended.
    pub deadline: Option<Timestamp>,
    /// How deep a pass went.
    pub proof: Option<ProofLevel>,
    /// RTO.
    #[serde(rename = "time_to_usable_seconds", serialize_with = "as_seconds")]
    pub time_to_usable: Option<Duration>,
    /// RPO at the moment of loss.
    #[serde(rename = "rpo_seconds", serialize_with = "as_seconds")]
    pub rpo: Option<Duration>,
    /// What its agent is asked.
    pub work: Option<Work>,
    /// Whether it left a report.
    pub has_report: bool,
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgressView {
    /// What is being done, for people.
    pub phase: String,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes in all; 0 if not known.
    pub bytes_total: u64,
    /// Items done.
    pub items_done: u64,
    /// Items in all; 0 if not known.
    pub items_total: u64,
    /// What items are, in the plural: `files`, `rows`; empty if that is not known.
    pub items: String,
    /// Bytes a second; 0 if not known.
    pub bytes_per_second: u64,
    /// What is left at that rate.
    #[serde(rename = "eta_seconds", serialize_with = "as_seconds")]
    pub eta: Option<Duration>,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let Progress {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            items,
            bytes_per_second,
            eta,
        } = progress;
        Self {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            items,
            bytes_per_second,
            eta,
        }
    }
}

/// One step in a task's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskEvent {
    /// The task.
    pub task: String,
    /// When.
    pub at: Timestamp,
    /// What it became.
    pub state: TaskState,
    /// The attempt.
    pub attempt: u32,
    /// What happened.
    pub message: String,
}

/// A run with its tasks and their lives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// One entry a host.
    pub tasks: Vec<Task>,
    /// Oldest first.
    pub events: Vec<TaskEvent>,
    /// What operators wrote beside it, oldest first.
    pub notes: Vec<Note>,
    /// Hosts that were selected and got no task.
    pub left_out: Vec<LeftOut>,
}

/// A host that was selected and left out of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The host.
    pub host: String,
    /// Why.
    pub reason: String,
    /// The plan itself says so; otherwise the host is missed.
    pub by_plan: bool,
}

/// What an operator wrote beside a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The task that it is about; `None`: the whole run.
    pub task: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The text.
    pub text: String,
}

/// A change of a run that is watched.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// The run, as it stands now.
    Run(Box<Run>),
    /// One of its tasks, as it stands now.
    Task(Box<Task>),
}

/// What one task measured, as its agent wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The task.
    pub task: String,
    /// Its host.
    pub host: String,
    /// `snapshot`, `drill`, `restore` or `check`.
    pub kind: String,
    /// JSON.
    pub document: Vec<u8>,
}

impl TryFrom<v1::Run> for Run {
    type Error = wire::Error;

    fn try_from(run: v1::Run) -> Result<Self, wire::Error> {
        let v1::Run {
            id,
            state,
            plan,
            plan_hash,
            slot,
            work,
            requested_by,
            reason,
            created,
            started,
            finished,
            tasks,
            explanation,
            trace_id,
        } = run;
        Ok(Self {
            id,
            state: run_state("state", state)?,
            plan: some(plan),
            plan_hash: some(plan_hash),
            slot: maybe_moment("slot", slot)?,
            work,
            requested_by,
            reason: some(reason),
            created: moment("created", created)?,
            started: maybe_moment("started", started)?,
            finished: maybe_moment("finished", finished)?,
            tasks: sorted(tasks),
            explanation: some(explanation),
            trace_id: some(trace_id),
        })
    }
}

impl TryFrom<v1::Task> for Task {
    type Error = wire::Error;

    fn try_from(task: v1::Task) -> Result<Self, wire::Error> {
        let v1::Task {
            id,
            run,
            host,
            on,
            state,
            attempt,
            wave,
            cause,
            explanation,
            progress,
            queued,
            started,
            finished,
            deadline,
            proof,
            time_to_usable,
            rpo,
            work,
            has_report,
        } = task;
        let progress = progress.map(Progress::try_from).transpose()?;
        Ok(Self {
            id,
            run,
            on: some(on).unwrap_or_else(|| host.clone()),
            host,
            state: task_state("state", state)?,
            attempt,
            wave,
            cause: some(cause),
            explanation: some(explanation),
            progress: progress.map(ProgressView::from),
            queued: maybe_moment("queued", queued)?,
            started: maybe_moment("started", started)?,
            finished: maybe_moment("finished", finished)?,
            deadline: maybe_moment("deadline", deadline)?,
            proof: proof_level("proof", proof)?,
            time_to_usable: maybe_length("time_to_usable", time_to_usable)?,
            rpo: maybe_length("rpo", rpo)?,
            work: work.map(Work::try_from).transpose()?,
            has_report,
        })
    }
}

impl TryFrom<v1::TaskEvent> for TaskEvent {
    type Error = wire::Error;

    fn try_from(event: v1::TaskEvent) -> Result<Self, wire::Error> {
        let v1::TaskEvent {
            task,
            at,
            state,
            attempt,
            message,
        } = event;
        Ok(Self {
            task,
            at: moment("at", at)?,
            state: task_state("state", state)?,
            attempt,
            message,
        })
    }
}

impl TryFrom<v1::RunDetail> for RunDetail {
    type Error = wire::Error;

    fn try_from(detail: v1::RunDetail) -> Result<Self, wire::Error> {
        let v1::RunDetail {
            run,
            tasks,
            events,
            notes,
            left_out,
        } = detail;
        Ok(Self {
            run: inner("run", run)?,
            tasks: list("tasks", tasks, MOST)?,
            events: list("events", events, MOST)?,
            notes: list("notes", notes, MOST)?,
            left_out: left_out.into_iter().map(LeftOut::from).collect(),
        })
    }
}

impl From<v1::LeftOut> for LeftOut {
    fn from(left_out: v1::LeftOut) -> Self {
        let v1::LeftOut {
            host,
            reason,
            by_plan,
        } = left_out;
        Self {
            host,
            reason,
            by_plan,
        }
    }
}

impl TryFrom<v1::Note> for Note {
    type Error = wire::Error;

    fn try_from(note: v1::Note) -> Result<Self, wire::Error> {
        let v1::Note { task, at, by, text } = note;
        Ok(Self {
            task: some(task),
            at: moment("at", at)?,
            by,
            text,
        })
    }
}

impl TryFrom<v1::RunEvent> for RunEvent {
    type Error = wire::Error;

    fn try_from(event: v1::RunEvent) -> Result<Self, wire::Error> {
        let v1::RunEvent { event } = event;
        Ok(match required("event", event)? {
            v1::run_event::Event::Run(run) => Self::Run(Box::new(run.try_into()?)),
            v1::run_event::Event::Task(task) => Self::Task(Box::new(task.try_into()?)),
        })
    }
}

impl From<v1::ReportDocument> for Document {
    fn from(report: v1::ReportDocument) -> Self {
        let v1::ReportDocument {
            task,
            host,
            kind,
            document,
        } = report;
        Self {
            task,
            host,
            kind,
            document,
        }
    }
}
