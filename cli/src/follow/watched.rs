//! A run and its tasks, as they stand.

use std::collections::BTreeMap;

use dr_proto::model::TaskState;
use dr_proto::view::{Run, RunEvent, Task};

/// The newest of everything that a stream told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    run: Option<Run>,
    tasks: BTreeMap<String, Task>,
}

/// Figures over all tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// All tasks.
    pub(super) tasks: usize,
    /// Those that have ended.
    pub(super) ended: usize,
    /// Those of them that did not pass, by state.
    pub(super) not_passed: BTreeMap<&'static str, usize>,
    /// Bytes done of tasks at work.
    pub(super) bytes_done: u64,
    /// Bytes in all of tasks at work.
    pub(super) bytes_total: u64,
    /// Bytes a second of tasks at work.
    pub(super) bytes_per_second: u64,
    /// The longest that one at work has left.
    pub(super) eta: Option<std::time::Duration>,
}

impl Watched {
    /// Takes an event; answers with a line for each step that people want to read.
    pub(super) fn take(&mut self, event: RunEvent) -> Vec<String> {
        match event {
            RunEvent::Run(run) => {
                let before = self.run.as_ref().map(|run| run.state);
                let line = (before != Some(run.state)).then(|| {
                    let why = run.explanation.as_ref().map(|why| format!(": {why}"));
                    format!("run {}: {}{}", run.id, run.state, why.unwrap_or_default())
                });
                self.run = Some(*run);
                line.into_iter().collect()
            }
            RunEvent::Task(task) => {
                let before = self.tasks.get(&task.id).map(|task| (task.state, task.attempt));
                let line = (before != Some((task.state, task.attempt)) && task.state != TaskState::Queued)
                    .then(|| step(&task));
                self.tasks.insert(task.id.clone(), *task);
                line.into_iter().collect()
            }
        }
    }

    /// Whether the run has ended.
    pub(super) fn is_over(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.state.is_final())
    }

    /// The run, once it was told.
    pub(super) fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Its tasks, worst first.
    pub(super) fn tasks(&self) -> Vec<&Task> {
        let mut tasks: Vec<&Task> = self.tasks.values().collect();
        tasks.sort_by(|left, right| worst_first(left, right));
        tasks
    }

    /// Figures over all tasks.
    pub(super) fn sum(&self) -> Sum {
        let mut sum = Sum {
            tasks: self.tasks.len(),
            ..Sum::default()
        };
        for task in self.tasks.values() {
            if task.state.is_final() {
                sum.ended += 1;
                if task.state != TaskState::Passed {
                    *sum.not_passed.entry(task.state.name()).or_default() += 1;
                }
            } else if let Some(progress) = &task.progress {
                sum.bytes_done = sum.bytes_done.saturating_add(progress.bytes_done);
                sum.bytes_total = sum.bytes_total.saturating_add(progress.bytes_total);
                sum.bytes_per_second = sum.bytes_per_second.saturating_add(progress.bytes_per_second);
                sum.eta = sum.eta.max(progress.eta);
            }
        }
        sum
    }
}

/// `db-1: failed (no_space): the scratch folder is full`.
fn step(task: &Task) -> String {
    let cause = task.cause.as_ref().map(|cause| format!(" ({cause})"));
    let why = task
        .explanation
        .as_ref()
        .filter(|_| task.state != TaskState::Passed)
        .map(|why| format!(": {why}"));
    format!(
        "{}: {}{}{}",
        task.host,
        task.state,
        cause.unwrap_or_default(),
        why.unwrap_or_default()
    )
}

/// What needs somebody, then what is slowest, then what waits, then what is done.
pub(crate) fn worst_first(left: &Task, right: &Task) -> std::cmp::Ordering {
    let slowness = |task: &Task| task.progress.as_ref().and_then(|progress| progress.eta);
    weight(left.state)
        .cmp(&weight(right.state))
        .then_with(|| slowness(right).cmp(&slowness(left)))
        .then_with(|| left.host.cmp(&right.host))
}

fn weight(state: TaskState) -> u8 {
    match state {
        TaskState::Failed => 0,
        TaskState::Inconclusive | TaskState::Refused | TaskState::Expired | TaskState::Lost => 1,
        TaskState::Partial => 2,
        TaskState::Cancelled => 3,
        TaskState::Running => 4,
        TaskState::Offered => 5,
        TaskState::Queued => 6,
        TaskState::Passed => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{at_work, task, watched};

    #[test]
    fn steps_are_told_once_and_waiting_is_none() {
        let mut watched = Watched::default();
        let mut take = |task: Task| watched.take(RunEvent::Task(Box::new(task)));
        assert!(take(task("a", TaskState::Queued)).is_empty());
        assert_eq!(take(at_work("a", 1, 9)), ["a: running"]);
        assert!(take(at_work("a", 50, 5)).is_empty());
        let failed = Task {
            cause: Some("no_space".to_owned()),
            explanation: Some("the scratch folder is full".to_owned()),
            ..task("a", TaskState::Failed)
        };
        assert_eq!(take(failed), ["a: failed (no_space): the scratch folder is full"]);
    }

    #[test]
    fn the_worst_come_first_and_the_slowest_before_the_quick() {
        let watched = watched(vec![
            task("a", TaskState::Passed),
            task("b", TaskState::Queued),
            at_work("c", 90, 1),
            at_work("d", 10, 9),
            task("e", TaskState::Lost),
            task("f", TaskState::Failed),
        ]);
        let hosts: Vec<&str> = watched.tasks().iter().map(|task| task.host.as_str()).collect();
        assert_eq!(hosts, ["f", "e", "d", "c", "b", "a"]);
    }
}
