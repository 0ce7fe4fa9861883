//! What the tests of reconcilers share: a store, a clock that is moved by hand, a gateway that only remembers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dr_proto::model::plan::Plan;
use dr_proto::model::{
    Allow, CancelTask, DrillKind, Hello, HostName, Inventory, Labels, PROTOCOL, RunEnded, SnapshotInfo,
    SourceInfo, StartTask, TaskKey, TaskOutcome, TaskResult, TaskState,
};
use dr_store::clock::Clock;
use dr_store::hosts::Arrival;
use dr_store::plans::NewPlan;
use dr_store::results::Filed;
use dr_store::tasks::TaskRecord;
use dr_store::{SharedClock, Store};
use jiff::{SignedDuration, Timestamp};

use super::gateway::{Gateway, Unreachable};
use super::settler::Settler;

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(text.parse().unwrap())))
    }

    pub(crate) fn set(&self, text: &str) {
        *self.0.lock().unwrap() = text.parse().unwrap();
    }

    pub(crate) fn pass(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A store in a folder of its own, at 02:00 of a Thursday.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) store: Store,
    pub(crate) gateway: Arc<Remembers>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::at("2026-11-26T02:00:00Z");
        let store = open(folder.path(), clock.clone()).await;
        Self {
            folder,
            clock,
            store,
            gateway: Arc::default(),
        }
    }

    pub(crate) async fn again(&self) -> Store {
        open(self.folder.path(), self.clock.clone()).await
    }

    pub(crate) fn settler(&self) -> Settler {
        Settler::new(self.store.clone(), self.gateway.clone())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A host that has come in, protects one database, and is connected.
    pub(crate) async fn attach(&self, name: &str, labels: &[&str]) {
        let hello = hello(name, self.now());
        self.store.hosts().admit(&arrival(&hello)).await.unwrap();
        let labels = Labels::parse(labels.iter().copied()).unwrap();
        self.store
            .hosts()
            .set_labels(&host(name), &labels, "ana")
            .await
            .unwrap();
        self.inventory(name, &[]).await;
        self.gateway.connect(name);
    }

    /// What the host says it protects, with cuts so many seconds ago.
    pub(crate) async fn inventory(&self, name: &str, cuts: &[i64]) {
        let snapshot = |ago: &i64| SnapshotInfo {
            id: format!("{ago:032x}"),
            cut: self.now() - SignedDuration::from_secs(*ago),
            exact: true,
            suspect: None,
            reason: None,
            bytes: 1_000,
            sources: vec!["memory".to_owned()],
            hold: None,
        };
        let inventory = Inventory {
            sources: vec![source("memory")],
            snapshots: cuts.iter().map(snapshot).collect(),
            snapshots_problem: None,
            stored_bytes: 1,
            verification: None,
        };
        self.store
            .inventories()
            .replace(&host(name), &inventory)
            .await
            .unwrap();
    }

    pub(crate) async fn apply(&self, text: &str) -> Plan {
        let plan = Plan::parse(text).unwrap();
        let new = NewPlan {
            name: &plan.name,
            text,
            hash: plan.hash(),
            expected_hash: None,
            by: "ana",
        };
        self.store.plans().apply(&new).await.unwrap();
        plan
    }

    /// The agent ends a task that it was handed.
    pub(crate) async fn answer(&self, task: &TaskRecord, state: TaskState) -> Filed {
        let result = result(task, state, self.now());
        self.store.results().file(&task.agent, &result).await.unwrap()
    }

    pub(crate) async fn states(&self) -> Vec<(String, TaskState)> {
        let runs = self.store.runs();
        let filter = dr_store::runs::RunFilter {
            limit: 1,
            ..dr_store::runs::RunFilter::default()
        };
        let run = runs.list(&filter).await.unwrap().remove(0);
        let tasks = self.store.tasks().of_run(run.id).await.unwrap();
        tasks
            .into_iter()
            .map(|task| (task.host.to_string(), task.state))
            .collect()
    }
}

pub(crate) async fn open(folder: &Path, clock: SharedClock) -> Store {
    let url = format!("sqlite://{}/state.db", folder.display());
    Store::open(&url, clock).await.unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

pub(crate) fn source(name: &str) -> SourceInfo {
    SourceInfo {
        name: name.to_owned(),
        kind: "lancedb".to_owned(),
        path: format!("/srv/{name}"),
        problem: None,
        damaged: false,
        configured: true,
    }
}

pub(crate) fn result(task: &TaskRecord, state: TaskState, at: Timestamp) -> TaskResult {
    TaskResult {
        key: task.key(),
        outcome: TaskOutcome {
            state,
            cause: String::new(),
            message: String::new(),
            started: at,
            finished: at,
            document: Vec::new(),
        },
        work: task.work.clone(),
        slot: task.slot.clone(),
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
        allow: Allow {
            drills: vec![DrillKind::Verify],
            ..Allow::default()
        },
        repository: Some("file:///r".to_owned()),
        repository_encrypted: true,
        probes: Vec::new(),
        tasks: Vec::new(),
        suspended: None,
    }
}

fn arrival(hello: &Hello) -> Arrival<'_> {
    Arrival {
        hello,
        clock_skew: SignedDuration::ZERO,
        certificate_serial: "01",
        certificate_expires: hello.clock + SignedDuration::from_hours(168),
    }
}

/// Remembers what was sent.
#[derive(Debug, Default)]
pub(crate) struct Remembers {
    connected: Mutex<BTreeSet<HostName>>,
    sent: Mutex<Vec<(HostName, StartTask)>>,
    cancelled: Mutex<Vec<(HostName, TaskKey)>>,
    ended: Mutex<Vec<(HostName, RunEnded)>>,
}

impl Remembers {
    pub(crate) fn connect(&self, name: &str) {
        self.connected.lock().unwrap().insert(host(name));
    }

    pub(crate) fn disconnect(&self, name: &str) {
        self.connected.lock().unwrap().remove(&host(name));
    }

    /// What was sent since the last time.
    pub(crate) fn sent(&self) -> Vec<(HostName, StartTask)> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// What agents were told of runs' ends since the last time.
    pub(crate) fn ended(&self) -> Vec<(HostName, RunEnded)> {
        std::mem::take(&mut self.ended.lock().unwrap())
    }

    pub(crate) fn cancelled(&self) -> Vec<(HostName, TaskKey)> {
        std::mem::take(&mut self.cancelled.lock().unwrap())
    }

    fn reach(&self, host: &HostName) -> Result<(), Unreachable> {
        if self.connected.lock().unwrap().contains(host) {
            Ok(())
        } else {
            Err(Unreachable)
        }
    }
}

impl Gateway for Remembers {
    fn connected(&self) -> BTreeSet<HostName> {
        self.connected.lock().unwrap().clone()
    }

    fn start(&self, host: &HostName, task: StartTask) -> Result<(), Unreachable> {
        self.reach(host)?;
        self.sent.lock().unwrap().push((host.clone(), task));
        Ok(())
    }

    fn cancel(&self, host: &HostName, cancel: CancelTask) -> Result<(), Unreachable> {
        self.reach(host)?;
        self.cancelled.lock().unwrap().push((host.clone(), cancel.key));
        Ok(())
    }

    fn ended(&self, host: &HostName, ended: RunEnded) -> Result<(), Unreachable> {
        self.reach(host)?;
        self.ended.lock().unwrap().push((host.clone(), ended));
        Ok(())
    }
}
