//! Fences, progress, outcomes and states.

use super::read::{bounded, counted, inner, parsed, required, text};
use super::time::{duration, maybe_length, moment, timestamp};
use super::{Error, limits};
use crate::model::{DrillKind, Fence, Progress, ProofLevel, RunState, TaskKey, TaskOutcome, TaskState};
use crate::v1;

/// The key that several messages spell as a task and its fence.
pub(crate) fn task_key(task: &str, fence: Option<v1::Fence>) -> Result<TaskKey, Error> {
    Ok(TaskKey {
        task: parsed("task", task)?,
        fence: inner("fence", fence)?,
    })
}

impl TryFrom<v1::Fence> for Fence {
    type Error = Error;

    fn try_from(fence: v1::Fence) -> Result<Self, Error> {
        let v1::Fence { epoch, attempt } = fence;
        if attempt == 0 {
            return Err(Error::Missing("attempt".to_owned()));
        }
        Ok(Self { epoch, attempt })
    }
}

impl From<Fence> for v1::Fence {
    fn from(fence: Fence) -> Self {
        let Fence { epoch, attempt } = fence;
        Self { epoch, attempt }
    }
}

impl TryFrom<v1::Progress> for Progress {
    type Error = Error;

    fn try_from(progress: v1::Progress) -> Result<Self, Error> {
        let v1::Progress {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            bytes_per_second,
            eta,
            items,
        } = progress;
        Ok(Self {
            phase: text("phase", phase)?,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            items: text("items", items)?,
            bytes_per_second,
            eta: maybe_length("eta", eta)?,
        })
    }
}

impl From<Progress> for v1::Progress {
    fn from(progress: Progress) -> Self {
        let Progress {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            bytes_per_second,
            eta,
            items,
        } = progress;
        Self {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            bytes_per_second,
            eta: eta.map(duration),
            items,
        }
    }
}

impl TryFrom<v1::Outcome> for TaskOutcome {
    type Error = Error;

    fn try_from(outcome: v1::Outcome) -> Result<Self, Error> {
        let v1::Outcome {
            state,
            cause,
            message,
            started,
            finished,
            document,
        } = outcome;
        let state = task_state("state", state)?;
        if !state.is_answer() {
            let reason = "an agent answers passed, failed, inconclusive, partial, refused or cancelled";
            return Err(Error::invalid("state", state.name(), reason));
        }
        counted("document", document.len(), limits::DOCUMENT)?;
        let outcome = Self {
            state,
            cause: bounded("cause", cause, CAUSE)?,
            message: text("message", message)?,
            started: moment("started", started)?,
            finished: moment("finished", finished)?,
            document,
        };
        if outcome.state != TaskState::Passed && outcome.cause.is_empty() {
            return Err(Error::Missing("cause".to_owned()));
        }
        Ok(outcome)
    }
}

/// The longest stable word for why something did not pass: it becomes a metric's label.
const CAUSE: usize = 64;

impl From<TaskOutcome> for v1::Outcome {
    fn from(outcome: TaskOutcome) -> Self {
        let TaskOutcome {
            state,
            cause,
            message,
            started,
            finished,
            document,
        } = outcome;
        Self {
            state: v1::TaskState::from(state).into(),
            cause,
            message,
            started: Some(timestamp(started)),
            finished: Some(timestamp(finished)),
            document,
        }
    }
}

/// The number of an enum as the generated enum; nobody but a newer peer sends another number.
pub(crate) fn word<T: TryFrom<i32>>(field: &str, value: i32) -> Result<T, Error> {
    T::try_from(value).map_err(|_| Error::unknown(field, value.to_string()))
}

/// A state of a task.
pub(crate) fn task_state(field: &str, value: i32) -> Result<TaskState, Error> {
    use v1::TaskState as Wire;
    required(
        field,
        match word(field, value)? {
            Wire::Unspecified => None,
            Wire::Queued => Some(TaskState::Queued),
            Wire::Offered => Some(TaskState::Offered),
            Wire::Running => Some(TaskState::Running),
            Wire::Passed => Some(TaskState::Passed),
            Wire::Failed => Some(TaskState::Failed),
            Wire::Inconclusive => Some(TaskState::Inconclusive),
            Wire::Partial => Some(TaskState::Partial),
            Wire::Refused => Some(TaskState::Refused),
            Wire::Cancelled => Some(TaskState::Cancelled),
            Wire::Expired => Some(TaskState::Expired),
            Wire::Lost => Some(TaskState::Lost),
        },
    )
}

impl From<TaskState> for v1::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Queued => Self::Queued,
            TaskState::Offered => Self::Offered,
            TaskState::Running => Self::Running,
            TaskState::Passed => Self::Passed,
            TaskState::Failed => Self::Failed,
            TaskState::Inconclusive => Self::Inconclusive,
            TaskState::Partial => Self::Partial,
            TaskState::Refused => Self::Refused,
            TaskState::Cancelled => Self::Cancelled,
            TaskState::Expired => Self::Expired,
            TaskState::Lost => Self::Lost,
        }
    }
}

/// A state of a run.
pub(crate) fn run_state(field: &str, value: i32) -> Result<RunState, Error> {
    use v1::RunState as Wire;
    required(
        field,
        match word(field, value)? {
            Wire::Unspecified => None,
            Wire::Pending => Some(RunState::Pending),
            Wire::Running => Some(RunState::Running),
            Wire::Cancelling => Some(RunState::Cancelling),
            Wire::Passed => Some(RunState::Passed),
            Wire::Failed => Some(RunState::Failed),
            Wire::Inconclusive => Some(RunState::Inconclusive),
            Wire::Partial => Some(RunState::Partial),
            Wire::Cancelled => Some(RunState::Cancelled),
        },
    )
}

impl From<RunState> for v1::RunState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Pending => Self::Pending,
            RunState::Running => Self::Running,
            RunState::Cancelling => Self::Cancelling,
            RunState::Passed => Self::Passed,
            RunState::Failed => Self::Failed,
            RunState::Inconclusive => Self::Inconclusive,
            RunState::Partial => Self::Partial,
            RunState::Cancelled => Self::Cancelled,
        }
    }
}

/// A kind of drill.
pub(crate) fn drill_kind(field: &str, value: i32) -> Result<DrillKind, Error> {
    use v1::DrillKind as Wire;
    required(
        field,
        match word(field, value)? {
            Wire::Unspecified => None,
            Wire::Verify => Some(DrillKind::Verify),
            Wire::Restore => Some(DrillKind::Restore),
            Wire::Failover => Some(DrillKind::Failover),
            Wire::Negative => Some(DrillKind::Negative),
        },
    )
}

impl From<DrillKind> for v1::DrillKind {
    fn from(kind: DrillKind) -> Self {
        match kind {
            DrillKind::Verify => Self::Verify,
            DrillKind::Restore => Self::Restore,
            DrillKind::Failover => Self::Failover,
            DrillKind::Negative => Self::Negative,
        }
    }
}

/// How deep a pass went; unset where nothing was said.
pub(crate) fn proof_level(field: &str, value: i32) -> Result<Option<ProofLevel>, Error> {
    use v1::ProofLevel as Wire;
    Ok(match word(field, value)? {
        Wire::Unspecified => None,
        Wire::None => Some(ProofLevel::None),
        Wire::Bytes => Some(ProofLevel::Bytes),
        Wire::Engine => Some(ProofLevel::Engine),
        Wire::Queries => Some(ProofLevel::Queries),
        Wire::Restored => Some(ProofLevel::Restored),
        Wire::Failover => Some(ProofLevel::Failover),
    })
}

impl From<ProofLevel> for v1::ProofLevel {
    fn from(level: ProofLevel) -> Self {
        match level {
            ProofLevel::None => Self::None,
            ProofLevel::Bytes => Self::Bytes,
            ProofLevel::Engine => Self::Engine,
            ProofLevel::Queries => Self::Queries,
            ProofLevel::Restored => Self::Restored,
            ProofLevel::Failover => Self::Failover,
        }
    }
}
