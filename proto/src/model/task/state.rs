//! States of tasks and runs, and the only steps between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ParseTaskError;

/// Where a task stands.
///
/// | state | means | after a restart of the coordinator | may become |
/// |---|---|---|---|
/// | queued | not handed out: caps, waves, jitter, suspension or an absent agent hold it | stays; handed out under the new epoch | offered, cancelled, expired; inconclusive, if its agent is too old for it |
/// | offered | sent to an agent that has not answered | handed out again when the agent says hello without it; running if it has it | queued, running, any end |
/// | running | the agent said that it works on it | stays until the agent says hello: with it, running; without it and without a result, lost | queued, any end |
/// | passed, failed, inconclusive, partial, refused | the agent's answer | stays | queued, by a retry |
/// | cancelled | somebody cancelled, and the agent stopped or never began | stays | queued, by a retry |
/// | expired | no end by its deadline | stays | queued, by a retry |
/// | lost | its agent came back without it, or did not come back in time | stays | queued, by a retry |
///
/// A result under an older fence than the task's is acknowledged, noted, and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Not handed out yet.
    Queued,
    /// Sent to an agent that has not answered.
    Offered,
    /// The agent works on it.
    Running,
    /// Done, and whatever was asked got the right answer.
    Passed,
    /// Data was disproved, or a snapshot or restore could not be made.
    Failed,
    /// A question could not be asked.
    Inconclusive,
    /// Done in part; what is missing is named.
    Partial,
    /// The agent does not allow it, or does not understand it.
    Refused,
    /// Somebody cancelled it.
    Cancelled,
    /// It had not ended by its deadline.
    Expired,
    /// Its agent lost it, or was lost with it.
    Lost,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Offered,
        Self::Running,
        Self::Passed,
        Self::Failed,
        Self::Inconclusive,
        Self::Partial,
        Self::Refused,
        Self::Cancelled,
        Self::Expired,
        Self::Lost,
    ];

    /// Whether nothing more happens to it unless somebody retries.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Offered | Self::Running)
    }

    /// Whether an agent may give it as the end of a task.
    pub fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Passed
                | Self::Failed
                | Self::Inconclusive
                | Self::Partial
                | Self::Refused
                | Self::Cancelled
        )
    }

    /// The table above.
    pub fn can_become(self, next: Self) -> bool {
        match (self, next) {
            // Handed out; or the end of a task that nobody will hand out.
            (Self::Queued, Self::Offered | Self::Cancelled | Self::Expired) => true,
            // The agent is too old to understand what is asked: it is not asked.
            (Self::Queued, Self::Inconclusive) => true,
            // The agent said no, never heard of it, began, or was so quick that its result came first.
            (Self::Offered, Self::Queued | Self::Running) => true,
            // The agent came back without it and the plan allows another attempt.
            (Self::Running, Self::Queued) => true,
            (Self::Offered | Self::Running, end) => end.is_final(),
            // Only a retry wakes what has ended.
            (end, Self::Queued) => end.is_final(),
            _ => false,
        }
    }

    /// Takes the step, or says that there is none.
    pub fn step(self, next: Self) -> Result<Self, IllegalStep> {
        if self.can_become(next) {
            Ok(next)
        } else {
            Err(IllegalStep {
                from: self.name(),
                to: next.name(),
            })
        }
    }

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Offered => "offered",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }
}

/// Where a run stands.
///
/// | state | means | may become |
/// |---|---|---|
/// | pending | its tasks are being made | running, cancelled |
/// | running | tasks are queued or at work | cancelling, any end |
/// | cancelling | tasks at work were told to stop | any end |
/// | passed | every task passed | running, by a retry |
/// | failed | at least one task failed | running, by a retry |
/// | inconclusive | none failed, at least one was inconclusive, expired, lost or refused | running, by a retry |
/// | partial | none of these, at least one was partial | running, by a retry |
/// | cancelled | cancelled before anything disproved data | running, by a retry |
///
/// All but the ends are as true after a restart as before: they are derived from the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its tasks are being made.
    Pending,
    /// Tasks are queued or at work.
    Running,
    /// Tasks at work were told to stop.
    Cancelling,
    /// Every task passed.
    Passed,
    /// At least one task failed.
    Failed,
    /// Something could not be asked.
    Inconclusive,
    /// Something was done in part.
    Partial,
    /// Somebody cancelled it.
    Cancelled,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Cancelling,
        Self::Passed,
        Self::Failed,
        Self::Inconclusive,
        Self::Partial,
        Self::Cancelled,
    ];

    /// Whether nothing more happens to it unless somebody retries.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Cancelling)
    }

    /// The table above.
    pub fn can_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Pending, Self::Running | Self::Cancelled) => true,
            // A run over no host has nothing to wait for.
            (Self::Pending, Self::Inconclusive) => true,
            (Self::Running, Self::Cancelling) => true,
            (Self::Running | Self::Cancelling, end) => end.is_final(),
            (end, Self::Running) => end.is_final(),
            _ => false,
        }
    }

    /// Takes the step, or says that there is none.
    pub fn step(self, next: Self) -> Result<Self, IllegalStep> {
        if self.can_become(next) {
            Ok(next)
        } else {
            Err(IllegalStep {
                from: self.name(),
                to: next.name(),
            })
        }
    }

    /// The end of a run whose tasks ended like this: the worst of them, failed before inconclusive before partial.
    /// `None` while a task has not ended. A run without tasks proves nothing.
    pub fn settle(tasks: impl IntoIterator<Item = TaskState>) -> Option<Self> {
        let mut worst: Option<Self> = None;
        for task in tasks {
            let end = match task {
                TaskState::Queued | TaskState::Offered | TaskState::Running => return None,
                TaskState::Passed => Self::Passed,
                TaskState::Failed => Self::Failed,
                TaskState::Inconclusive | TaskState::Refused | TaskState::Expired | TaskState::Lost => {
                    Self::Inconclusive
                }
                TaskState::Partial => Self::Partial,
                TaskState::Cancelled => Self::Cancelled,
            };
            if worst.is_none_or(|worst| end.weight() > worst.weight()) {
                worst = Some(end);
            }
        }
        Some(worst.unwrap_or(Self::Inconclusive))
    }

    /// How much an end needs somebody.
    fn weight(self) -> u8 {
        match self {
            Self::Failed => 4,
            Self::Inconclusive => 3,
            Self::Partial => 2,
            Self::Cancelled => 1,
            Self::Passed | Self::Pending | Self::Running | Self::Cancelling => 0,
        }
    }

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Partial => "partial",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A step that no table allows: a mistake of ours, refused and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no step leads from {from} to {to}")]
pub struct IllegalStep {
    /// Where it stands.
    pub from: &'static str,
    /// Where it should have gone.
    pub to: &'static str,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TaskState {
    type Err = ParseTaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| ParseTaskError::State(text.to_owned()))
    }
}

impl FromStr for RunState {
    type Err = ParseTaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| ParseTaskError::State(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_wakes_only_by_a_retry() {
        for end in TaskState::ALL.into_iter().filter(|state| state.is_final()) {
            for next in TaskState::ALL {
                assert_eq!(end.can_become(next), next == TaskState::Queued, "{end} to {next}");
            }
        }
    }

    #[test]
    fn nothing_passes_that_no_agent_was_given() {
        assert!(!TaskState::Queued.can_become(TaskState::Passed));
        assert!(!TaskState::Queued.can_become(TaskState::Running));
        assert!(TaskState::Offered.can_become(TaskState::Passed));
        assert!(TaskState::Queued.step(TaskState::Passed).is_err());
    }

    #[test]
    fn every_answer_ends_a_task_at_work() {
        for answer in TaskState::ALL.into_iter().filter(|state| state.is_answer()) {
            assert!(answer.is_final());
            assert!(TaskState::Running.can_become(answer));
        }
        assert!(!TaskState::Lost.is_answer() && !TaskState::Expired.is_answer());
    }

    #[test]
    fn a_run_ends_like_its_worst_task() {
        use TaskState::{Cancelled, Failed, Inconclusive, Lost, Partial, Passed, Running};
        assert_eq!(RunState::settle([Passed, Running, Failed]), None);
        assert_eq!(RunState::settle([Passed, Passed]), Some(RunState::Passed));
        assert_eq!(
            RunState::settle([Passed, Partial, Inconclusive]),
            Some(RunState::Inconclusive)
        );
        assert_eq!(
            RunState::settle([Lost, Failed, Cancelled]),
            Some(RunState::Failed)
        );
        assert_eq!(RunState::settle([Cancelled, Passed]), Some(RunState::Cancelled));
        assert_eq!(RunState::settle([]), Some(RunState::Inconclusive));
    }

    #[test]
    fn names_read_back() {
        for state in TaskState::ALL {
            assert_eq!(state.name().parse::<TaskState>().unwrap(), state);
        }
        for state in RunState::ALL {
            assert_eq!(state.name().parse::<RunState>().unwrap(), state);
        }
    }
}
