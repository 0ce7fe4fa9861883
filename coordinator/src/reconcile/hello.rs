//! What becomes of an agent's tasks when it says hello.
//!
//! # Overview
//! The agent names the tasks that it has accepted and not finished; the store knows which ones it was given. [`decide`]
//! compares the two, and [`reconcile`] carries that out before anything else is handed to the agent.
//!
//! | the store says | the agent | then |
//! |---|---|---|
//! | offered | has it | it is running |
//! | offered | never heard of it | it is handed out again, under the same fence and the same deadline |
//! | offered | never heard of it, and is too old for it by now | inconclusive |
//! | offered, to be cancelled | never heard of it | cancelled |
//! | running | has it | it is running |
//! | running | came back without it | missed: its result may be on the way, otherwise the reaper takes it for lost |
//! | another attempt, or ended | has it | the agent is told to stop |
//! | nothing | has it | left alone: its result will be filed as recovered |
//!
//! # Crash consistency
//! Each decision is one transaction. Whatever a crash leaves undone is decided again at the next hello, which comes
//! because the crash ended the stream.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_proto::model::{CancelTask, CoordinatorMessage, Hello, StartTask, TaskId, TaskKey, TaskState};
use dr_store::tasks::{Accepted, TaskRecord};
use dr_store::{Result, Store};
use jiff::Timestamp;

use super::dispatch::{TOO_OLD, beyond};
use super::dispatcher::start_message;
use super::trace;

/// What is to be done about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The agent has it: running.
    Accept(TaskKey),
    /// The agent never got it: send it again.
    HandOutAgain(TaskId),
    /// The agent never got it and was to stop it: over.
    Lose(TaskKey),
    /// The agent came back without it: wait for its result, but not for long.
    Miss(TaskKey),
    /// The agent is to stop.
    Cancel(TaskKey, &'static str),
}

const MOVED_ON: &str = "the coordinator has moved on: another attempt is in force, or the task has ended";

/// What is to be done, given what the store knows of the agent's tasks and what the agent has.
///
/// `known` are the tasks at work by the store, and those with an id that the agent names.
pub fn decide(known: &[TaskRecord], has: &[TaskKey], now: Timestamp) -> Vec<Decision> {
    let has_by_id: BTreeMap<TaskId, TaskKey> = has.iter().map(|key| (key.task, *key)).collect();
    let mut decisions = Vec::new();
    for task in known {
        match has_by_id.get(&task.id) {
            Some(key) => decide_present(task, *key, &mut decisions),
            None => decisions.extend(decide_absent(task, now)),
        }
    }
    decisions
}

fn decide_present(task: &TaskRecord, has: TaskKey, decisions: &mut Vec<Decision>) {
    let key = task.key();
    let open = matches!(task.state, TaskState::Offered | TaskState::Running);
    if has.fence < key.fence {
        decisions.push(Decision::Cancel(has, MOVED_ON));
        match task.state {
            TaskState::Offered => decisions.push(Decision::HandOutAgain(task.id)),
            TaskState::Running => decisions.push(Decision::Miss(key)),
            _ => {}
        }
    } else if open || (has.fence > key.fence && !task.state.is_final()) {
        decisions.push(Decision::Accept(has));
        if task.cancel_reason.is_some() {
            decisions.push(Decision::Cancel(has, "the run was cancelled"));
        }
    } else if !task.state.is_answer() {
        // Expired, lost, or queued as a further attempt. (An answer means that only our acknowledgement was lost.)
        decisions.push(Decision::Cancel(has, MOVED_ON));
    }
}

fn decide_absent(task: &TaskRecord, now: Timestamp) -> Option<Decision> {
    let in_time = task.deadline.is_none_or(|deadline| deadline > now);
    match (task.state, &task.cancel_reason) {
        (TaskState::Offered, Some(_)) => Some(Decision::Lose(task.key())),
        (TaskState::Offered, None) if in_time => Some(Decision::HandOutAgain(task.id)),
        (TaskState::Running, _) => Some(Decision::Miss(task.key())),
        // Past its deadline: the reaper's. Everything else was never there.
        _ => None,
    }
}

/// Brings the store in line with what the agent has. What comes back is to be sent to the agent after its welcome.
pub async fn reconcile(store: &Store, epoch: u64, hello: &Hello) -> Result<Vec<CoordinatorMessage>> {
    let now = store.clock().now();
    let mut known = store.tasks().at_work(&hello.host).await?;
    for key in &hello.tasks {
        if known.iter().all(|task| task.id != key.task)
            && let Some(task) = store.tasks().get(key.task).await?
        {
            known.push(task);
        }
    }
    known.retain(|task| task.agent == hello.host);
    let mut messages = Vec::new();
    for decision in decide(&known, &hello.tasks, now) {
        tracing::debug!(host = %hello.host, epoch, ?decision, "at hello");
        match decision {
            Decision::Accept(key) => {
                if store.tasks().accept(key, &hello.host).await? == Accepted::Superseded {
                    messages.push(cancel(key, MOVED_ON));
                }
            }
            Decision::HandOutAgain(id) => {
                let Some(task) = known.iter().find(|task| task.id == id) else {
                    continue;
                };
                if let Some(why) = beyond(task, &hello.version, &hello.capabilities) {
                    store.tasks().decline(task.key(), TOO_OLD, &why).await?;
                    continue;
                }
                let run = store.runs().get(task.run).await?;
                messages.extend(again(task, run.as_ref().and_then(trace::traceparent), now));
            }
            Decision::Lose(key) => {
                let why = "cancelled before it reached the agent";
                store.tasks().lose(key, why).await?;
            }
            Decision::Miss(key) => {
                let why = "the agent came back without it; its result may still come";
                store.tasks().miss(key, why).await?;
            }
            Decision::Cancel(key, why) => messages.push(cancel(key, why)),
        }
        dr_store::failpoint::reach("hello.step");
    }
    Ok(messages)
}

/// The same offer again: what is left of its time, not all of it.
fn again(task: &TaskRecord, traceparent: Option<String>, now: Timestamp) -> Option<CoordinatorMessage> {
    let left = task.deadline.map(|deadline| deadline.duration_since(now));
    let left = left.map_or(Some(task.allowance), |left| Duration::try_from(left).ok())?;
    let start = StartTask {
        deadline: left,
        ..start_message(task, traceparent)
    };
    Some(CoordinatorMessage::Start(Box::new(start)))
}

fn cancel(key: TaskKey, reason: &str) -> CoordinatorMessage {
    CoordinatorMessage::Cancel(CancelTask {
        key,
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests;
