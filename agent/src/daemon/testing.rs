//! What the daemon's tests share: a host in a temporary folder, tasks, a clock.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use dr_proto::model::{
    Fence, RunId, Slot, SnapshotWork, StartTask, TaskId, TaskKey, TaskOutcome, TaskResult, TaskState, Work,
};
use dr_vault::clock::Clock;
use dr_vault::progress::Progress;
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use super::executor::{self, Ended, Halt, Jobs, Observer};
use crate::config::{self, Overrides, Surroundings};
use crate::error::{Class, Failure};
use crate::session::Session;
use crate::stop::Stop;
use crate::ui::{Options, Ui};

/// A clock that stands until a test moves it.
#[derive(Debug)]
pub(crate) struct StandingClock(Mutex<Timestamp>);

impl StandingClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(time("2026-01-02T03:00:00Z"))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no panic with the lock");
        *now = now.checked_add(by).expect("a time");
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic with the lock")
    }
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A session of `host-1` in a folder, with `more` in its agent.toml.
pub(crate) fn session(dir: &Path, more: &str) -> Session {
    let file = dir.join("agent.toml");
    let text = format!(
        "[agent]\nhost = \"host-1\"\nstate_dir = \"{0}/state\"\nsuspend_file = \"{0}/SUSPEND\"\n{more}",
        dir.display()
    );
    std::fs::write(&file, text).expect("write the configuration");
    let config = config::load(Some(&file), &Surroundings::default(), &Overrides::default());
    Session {
        config: config.expect("a valid configuration"),
        ui: Ui::into_sinks(Options::default(), std::io::sink(), std::io::sink()),
        clock: StandingClock::new(),
        stop: Stop::default(),
        counters: Counters::new(),
        circuit: Circuit::default(),
        probe_exits: crate::probe::Exits::default(),
        passphrase: None,
    }
}

pub(crate) fn key(epoch: u64, attempt: u32) -> TaskKey {
    TaskKey {
        task: TaskId::new(time("2026-01-02T03:00:00Z")),
        fence: Fence { epoch, attempt },
    }
}

/// A task that takes a snapshot.
pub(crate) fn task() -> StartTask {
    StartTask {
        key: key(1, 1),
        work: Work::Snapshot(SnapshotWork::default()),
        deadline: Duration::from_secs(3600),
        slot: None,
        run: RunId::new(time("2026-01-02T03:00:00Z")),
        traceparent: None,
    }
}

/// A task of a plan's slot.
pub(crate) fn slot_task(epoch: u64, at: &str) -> StartTask {
    StartTask {
        key: key(epoch, 1),
        slot: Some(Slot {
            plan: "nightly".to_owned(),
            at: time(at),
        }),
        ..task()
    }
}

pub(crate) fn outcome(state: TaskState, document: &str) -> TaskOutcome {
    TaskOutcome {
        state,
        cause: if state == TaskState::Passed {
            String::new()
        } else {
            "cause".to_owned()
        },
        message: String::new(),
        started: time("2026-01-02T03:00:00Z"),
        finished: time("2026-01-02T03:00:10Z"),
        document: document.as_bytes().to_vec(),
    }
}

/// A job as a test sees it: it ends when the test says so, or when it is halted.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) task: StartTask,
    pub(crate) progress: Progress,
    end: oneshot::Sender<Ended>,
}

impl Begun {
    pub(crate) fn end(self, ended: Ended) {
        self.end.send(ended).expect("the job still waits");
    }
}

/// Jobs that tests end.
#[derive(Debug)]
pub(crate) struct Scripted {
    begun: mpsc::UnboundedSender<Begun>,
    /// Whether a halt is obeyed.
    obedient: bool,
}

impl Scripted {
    pub(crate) fn new(obedient: bool) -> (Arc<Self>, mpsc::UnboundedReceiver<Begun>) {
        let (begun, seen) = mpsc::unbounded_channel();
        (Arc::new(Self { begun, obedient }), seen)
    }
}

#[async_trait]
impl Jobs for Scripted {
    async fn run(&self, task: &StartTask, halt: &Halt, progress: &Progress) -> Ended {
        let (end, ended) = oneshot::channel();
        let begun = Begun {
            task: task.clone(),
            progress: progress.clone(),
            end,
        };
        // A test that has seen enough no longer listens.
        let _gone = self.begun.send(begun);
        let told = async {
            match ended.await {
                Ok(ended) => ended,
                // The test looked and went on: the work lasts until it is halted.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = told => ended,
            () = halt.halted(), if self.obedient => {
                let failure = Failure::new(Class::Cancelled, "stopped before it was done");
                executor::failed(&task.work, &failure)
            }
        }
    }
}

/// An observer that counts.
#[derive(Debug, Default)]
pub(crate) struct Counting(pub(crate) std::sync::atomic::AtomicUsize);

impl Observer for Counting {
    fn ended(&self, _: &StartTask, _: &Ended, _: Timestamp) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// All results that are owed.
pub(crate) async fn owed(desk: &Desk) -> Vec<TaskResult> {
    let mut results = Vec::new();
    for key in desk.owed().await.expect("no panic") {
        results.extend(desk.result(key).await.expect("no panic"));
    }
    results
}

/// Waits until as many results are owed.
pub(crate) async fn until_owed(desk: &Desk, count: usize) -> Vec<TaskResult> {
    let mut outgoing = desk.outgoing();
    loop {
        let owed = owed(desk).await;
        if owed.len() >= count {
            return owed;
        }
        outgoing.changed().await.expect("the desk lives");
    }
}
