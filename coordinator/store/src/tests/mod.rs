//! What holds for the store as a whole, asked through its public methods.

mod audit;
mod copies;
mod crash;
mod doors;
mod fleet;
mod history;
mod offline;
mod results;
mod slots;
mod steps;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dr_proto::model::{
    Allow, Fence, Hello, HostName, PROTOCOL, RunId, Slot, SnapshotWork, TaskId, TaskKey, TaskOutcome,
    TaskResult, TaskState, Work,
};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::hosts::Arrival;
use crate::plans::NewPlan;
use crate::runs::{NewRun, NewTask, Origin, PlanSlot, Rollout, RunRecord};
use crate::tasks::{Offer, TaskRecord};
use crate::{SharedClock, Store};

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-11-26T03:00:00Z".parse().unwrap())))
    }

    pub(crate) fn pass(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_secs(seconds);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A store in a folder of its own.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) store: Store,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::new();
        let store = open(folder.path(), clock.clone()).await;
        Self { folder, clock, store }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A second coordinator on the same file.
    pub(crate) async fn again(&self) -> Store {
        open(self.folder.path(), self.clock.clone()).await
    }

    /// A run of one slot with a task for each host.
    pub(crate) async fn run(&self, hosts: &[&str], retries: u32) -> RunRecord {
        plan(&self.store, "nightly").await;
        let run = new_run("nightly", self.now(), hosts, retries);
        self.store.runs().create(&run).await.unwrap().into_run()
    }

    /// The run's only task, handed out.
    pub(crate) async fn offered(&self, run: RunId, epoch: u64) -> TaskRecord {
        let tasks = self.store.tasks().of_run(run).await.unwrap();
        let mut offers = self.store.tasks().offer(&[tasks[0].id], epoch).await.unwrap();
        match offers.remove(0) {
            Offer::Made(task) => *task,
            Offer::Gone => panic!("the task was not queued"),
        }
    }

    pub(crate) async fn task(&self, id: TaskId) -> TaskRecord {
        self.store.tasks().get(id).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, id: TaskId) -> TaskState {
        self.task(id).await.state
    }
}

pub(crate) async fn open(folder: &std::path::Path, clock: SharedClock) -> Store {
    let url = format!("sqlite://{}/state.db", folder.display());
    Store::open(&url, clock).await.unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

pub(crate) fn work() -> Work {
    Work::Snapshot(SnapshotWork::default())
}

pub(crate) async fn plan(store: &Store, name: &str) {
    let new = NewPlan {
        name,
        text: "the text",
        hash: "h1",
        expected_hash: None,
        by: "ana",
    };
    store.plans().apply(&new).await.unwrap();
}

pub(crate) fn new_run(plan: &str, slot: Timestamp, hosts: &[&str], retries: u32) -> NewRun {
    let tasks = hosts.iter().map(|name| new_task(name, slot, retries)).collect();
    NewRun {
        slot: Some(PlanSlot {
            plan: plan.to_owned(),
            hash: "h1".to_owned(),
            at: slot,
            scheduled: true,
        }),
        work: "snapshot".to_owned(),
        origin: Origin::Schedule,
        requested_by: "coordinator".to_owned(),
        reason: String::new(),
        request_id: None,
        traceparent: None,
        explanation: String::new(),
        rollout: Rollout {
            waves: 1,
            targets: u32::try_from(hosts.len()).unwrap(),
            ..Rollout::default()
        },
        excluded: Vec::new(),
        tasks,
    }
}

pub(crate) fn new_task(name: &str, at: Timestamp, retries: u32) -> NewTask {
    NewTask {
        host: host(name),
        agent: host(name),
        wave: 1,
        work: work(),
        not_before: at,
        start_by: None,
        allowance: Duration::from_secs(600),
        retries,
    }
}

pub(crate) fn result(key: TaskKey, state: TaskState, at: Timestamp) -> TaskResult {
    let passed = state == TaskState::Passed;
    TaskResult {
        key,
        outcome: TaskOutcome {
            state,
            cause: if passed {
                String::new()
            } else {
                "no_space".to_owned()
            },
            message: if passed {
                String::new()
            } else {
                "no space on the host".to_owned()
            },
            started: at,
            finished: at,
            document: Vec::new(),
        },
        work: work(),
        slot: None,
    }
}

pub(crate) fn offline(name: &str, plan: &str, slot: Timestamp, state: TaskState) -> TaskResult {
    let key = TaskKey {
        task: TaskId::new(slot),
        fence: Fence { epoch: 0, attempt: 1 },
    };
    let slot_of = Slot {
        plan: plan.to_owned(),
        at: slot,
    };
    TaskResult {
        slot: Some(slot_of),
        work: Work::Snapshot(SnapshotWork {
            reason: Some(name.to_owned()),
            ..SnapshotWork::default()
        }),
        ..result(key, state, slot)
    }
}

pub(crate) fn hello(name: &str, at: Timestamp) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: "0.1.0".to_owned(),
        host: host(name),
        incarnation: "first".to_owned(),
        clock: at,
        capabilities: Vec::new(),
        allow: Allow::default(),
        repository: Some("file:///r".to_owned()),
        repository_encrypted: true,
        probes: Vec::new(),
        tasks: Vec::new(),
        suspended: None,
    }
}

pub(crate) fn arrival(hello: &Hello) -> Arrival<'_> {
    Arrival {
        hello,
        clock_skew: SignedDuration::from_millis(-1_500),
        certificate_serial: "01ab",
        certificate_expires: hello.clock + SignedDuration::from_hours(168),
    }
}
