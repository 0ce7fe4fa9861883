//! Runs and tasks for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_proto::model::{RunState, TaskState};
use dr_proto::view::{ProgressView, Run, RunEvent, Task};

use super::watched::Watched;

pub(crate) fn task(host: &str, state: TaskState) -> Task {
    Task {
        id: format!("task-{host}"),
        run: "run-1".to_owned(),
        host: host.to_owned(),
        on: host.to_owned(),
        state,
        attempt: 1,
        wave: 1,
        cause: None,
        explanation: None,
        progress: None,
        queued: None,
        started: None,
        finished: None,
        deadline: None,
        proof: None,
        time_to_usable: None,
        rpo: None,
        work: None,
        has_report: false,
    }
}

pub(crate) fn at_work(host: &str, done: u64, eta: u64) -> Task {
    Task {
        progress: Some(ProgressView {
            phase: "restoring".to_owned(),
            bytes_done: done << 20,
            bytes_total: 100 << 20,
            items_done: 0,
            items_total: 0,
            items: String::new(),
            bytes_per_second: 10 << 20,
            eta: Some(Duration::from_secs(eta)),
        }),
        ..task(host, TaskState::Running)
    }
}

pub(crate) fn run(state: RunState) -> Run {
    Run {
        id: "run-1".to_owned(),
        state,
        plan: None,
        plan_hash: None,
        slot: None,
        work: "drill restore".to_owned(),
        requested_by: "ana".to_owned(),
        reason: None,
        created: jiff::Timestamp::UNIX_EPOCH,
        started: None,
        finished: None,
        tasks: BTreeMap::new(),
        explanation: None,
        trace_id: None,
    }
}

pub(crate) fn watched(tasks: Vec<Task>) -> Watched {
    let mut watched = Watched::default();
    watched.take(RunEvent::Run(Box::new(run(RunState::Running))));
    for task in tasks {
        watched.take(RunEvent::Task(Box::new(task)));
    }
    watched
}
