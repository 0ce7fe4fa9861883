//! The reconcilers together: a run over a fleet comes to its true end, whatever dies on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{Hello, RunState, TaskState};

use super::dispatch::Caps;
use super::dispatcher::{Dispatched, Dispatcher};
use super::driver::Reconciler as _;
use super::reaper::Reaper;
use super::scheduler::Scheduler;
use super::testing::{Bench, HandClock, host, open};
use super::{hello, testing};

const CHILD: &str = "DR_RECONCILE_TEST_CHILD";

const NIGHTLY: &str = r#"
schema = 1
name = "nightly"
schedule = { cron = "0 3 * * *", timezone = "UTC", window = "4h" }
drill = { kind = "snapshot" }
waves = { sizes = ["1", "100 %"] }
limits = { deadline = "1h", retries = 1 }
"#;

fn caps() -> Caps {
    Caps {
        tasks: 2,
        per_host: 1,
        per_label: BTreeMap::new(),
    }
}

async fn dispatch(bench: &Bench, epoch: u64) -> Dispatched {
    let dispatcher = Dispatcher::new(bench.store.clone(), bench.gateway.clone(), caps(), epoch);
    dispatcher.pass().await.unwrap()
}

async fn begin(bench: &Bench) -> u64 {
    bench.store.epochs().begin("0.1.0").await.unwrap().number
}

/// A fleet of three at the moment when the plan is due.
async fn due(bench: &Bench) {
    for name in ["db-1", "db-2", "db-3"] {
        bench.attach(name, &[]).await;
    }
    bench.apply(NIGHTLY).await;
    bench.clock.set("2026-11-26T03:00:00Z");
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
}

/// A coordinator that starts on whatever it finds, with agents that do what they are sent and come back with nothing.
async fn coordinate(bench: &Bench) {
    due(bench).await;
    let epoch = begin(bench).await;
    for name in ["db-1", "db-2", "db-3"] {
        let said = Hello {
            tasks: Vec::new(),
            ..testing::hello(name, bench.now())
        };
        hello::reconcile(&bench.store, epoch, &said).await.unwrap();
    }
    for _ in 0..10 {
        dispatch(bench, epoch).await;
        for name in ["db-1", "db-2", "db-3"] {
            for task in bench.store.tasks().at_work(&host(name)).await.unwrap() {
                bench.store.tasks().accept(task.key(), &task.agent).await.unwrap();
                bench.answer(&task, TaskState::Passed).await;
            }
        }
        bench.settler().pass().await.unwrap();
    }
}

async fn on(folder: &Path) -> (Bench, tempfile::TempDir) {
    let clock = HandClock::at("2026-11-26T02:00:00Z");
    let spare = tempfile::tempdir().unwrap();
    let store = open(folder, clock.clone()).await;
    let bench = Bench {
        folder: tempfile::tempdir().unwrap(),
        clock,
        store,
        gateway: Arc::default(),
    };
    (bench, spare)
}

/// Only does something as a child of the test below.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let (bench, _spare) = on(Path::new(&folder)).await;
    coordinate(&bench).await;
}

#[tokio::test]
async fn every_agent_of_a_run_learns_once_how_it_ended() {
    let bench = Bench::new().await;
    coordinate(&bench).await;
    let run = bench.store.runs().newest_of("nightly").await.unwrap().unwrap();
    let told = bench.gateway.ended();
    let hosts: Vec<&str> = told.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(hosts, ["db-1", "db-2", "db-3"]);
    let trace = super::trace_id(&run).unwrap();
    assert!(
        told.iter()
            .all(|(_, ended)| ended.passed && ended.trace_id == trace),
        "{told:?}"
    );
}

#[tokio::test]
async fn killed_at_every_step_the_next_coordinator_ends_the_run_once() {
    let points = [
        "store.run.made",
        "store.run.committed",
        "store.offer",
        "store.offered",
        "dispatcher.sent",
        "store.offered:2",
        "dispatcher.sent:3",
        "store.result:2",
        "store.result.committed",
        "store.result.committed:3",
        "store.settle",
    ];
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "reconcile::tests::child", "--test-threads=1"])
            .env(CHILD, folder.path())
            .env("DR_FAILPOINT", point)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{point} was not reached");
        let (bench, _spare) = on(folder.path()).await;
        coordinate(&bench).await;
        let run = bench.store.runs().newest_of("nightly").await.unwrap().unwrap();
        assert_eq!(run.state, RunState::Passed, "{point}: {}", run.explanation);
        let tasks = bench.store.tasks().of_run(run.id).await.unwrap();
        assert_eq!(tasks.len(), 3, "{point}");
        for task in tasks {
            let events = bench.store.events().of_task(task.id).await.unwrap();
            let passed = events
                .iter()
                .filter(|event| event.state == TaskState::Passed)
                .count();
            assert_eq!((passed, task.fence.attempt), (1, 1), "{point}: {events:?}");
        }
    }
}

#[tokio::test]
async fn a_wedged_task_hits_its_deadline_and_blocks_nobody() {
    let bench = Bench::new().await;
    due(&bench).await;
    let epoch = begin(&bench).await;
    dispatch(&bench, epoch).await;
    let first = bench.gateway.sent();
    assert_eq!(first.len(), 1, "the first wave is one host");
    let wedged = first[0].1.key;
    bench.store.tasks().accept(wedged, &first[0].0).await.unwrap();
    let reaper = Reaper::new(
        bench.store.clone(),
        bench.gateway.clone(),
        Duration::from_secs(30),
    );
    bench.clock.pass(3_599);
    assert_eq!(reaper.pass().await.unwrap().expired, 0);
    bench.clock.pass(1);
    let reaped = reaper.pass().await.unwrap();
    assert_eq!((reaped.expired, reaped.again), (1, 1));
    assert_eq!(bench.gateway.cancelled(), [(first[0].0.clone(), wedged)]);
    // Its second attempt is wedged as well.
    bench.clock.pass(60);
    dispatch(&bench, epoch).await;
    assert_eq!(bench.gateway.sent()[0].1.key.fence.attempt, 2);
    bench.clock.pass(3_600);
    assert_eq!(reaper.pass().await.unwrap().expired, 1);
    // The others have their turn.
    assert_eq!(dispatch(&bench, epoch).await.sent, 2);
}

#[tokio::test]
async fn an_agent_that_goes_away_before_it_is_sent_its_task_holds_up_nobody() {
    let bench = Bench::new().await;
    due(&bench).await;
    let epoch = begin(&bench).await;
    for name in ["db-1", "db-2", "db-3"] {
        bench.gateway.disconnect(name);
    }
    let done = dispatch(&bench, epoch).await;
    assert_eq!((done.sent, done.waiting), (0, 3));
    let open = bench.store.tasks().open().await.unwrap();
    assert!(
        open.iter()
            .any(|task| task.explanation.starts_with("waits for the agent of"))
    );
    bench.clock.set("2026-11-26T07:00:00Z");
    let reaper = Reaper::new(
        bench.store.clone(),
        bench.gateway.clone(),
        Duration::from_secs(30),
    );
    assert_eq!(reaper.pass().await.unwrap().unstarted, 3);
    bench.settler().pass().await.unwrap();
    let run = bench.store.runs().newest_of("nightly").await.unwrap().unwrap();
    assert_eq!(run.state, RunState::Inconclusive);
    let task = bench.store.tasks().of_run(run.id).await.unwrap().remove(0);
    assert_eq!(task.cause, "window_over");
    assert!(task.explanation.contains("waits for"), "{}", task.explanation);
}

#[tokio::test]
async fn suspended_hosts_get_nothing_new_and_their_work_goes_on() {
    let bench = Bench::new().await;
    due(&bench).await;
    let epoch = begin(&bench).await;
    dispatch(&bench, epoch).await;
    let at_work = bench.gateway.sent();
    bench
        .store
        .suspensions()
        .begin("fleet", "upgrade", jiff::SignedDuration::from_hours(1), "ana")
        .await
        .unwrap();
    let task = bench
        .store
        .tasks()
        .get(at_work[0].1.key.task)
        .await
        .unwrap()
        .unwrap();
    bench.answer(&task, TaskState::Passed).await;
    assert_eq!(dispatch(&bench, epoch).await.sent, 0);
    assert!(bench.gateway.cancelled().is_empty());
    bench.clock.pass(3_600);
    assert_eq!(
        dispatch(&bench, epoch).await.sent,
        2,
        "the suspension ended by itself"
    );
}

#[tokio::test]
async fn a_coordinator_that_was_replaced_hands_nothing_out() {
    let bench = Bench::new().await;
    due(&bench).await;
    let old = begin(&bench).await;
    let new = begin(&bench).await;
    let dispatcher = Dispatcher::new(bench.store.clone(), bench.gateway.clone(), caps(), old);
    let error = dispatcher.pass().await.unwrap_err();
    assert!(error.to_string().contains("stop one of the two"), "{error}");
    assert!(bench.gateway.sent().is_empty());
    assert_eq!(dispatch(&bench, new).await.sent, 1);
}

#[tokio::test]
async fn a_cancelled_run_is_told_again_until_it_ends() {
    let bench = Bench::new().await;
    due(&bench).await;
    let epoch = begin(&bench).await;
    dispatch(&bench, epoch).await;
    let sent = bench.gateway.sent().remove(0);
    let run = bench.store.runs().newest_of("nightly").await.unwrap().unwrap();
    bench
        .store
        .runs()
        .cancel(run.id, "wrong week", "ana")
        .await
        .unwrap();
    bench.gateway.disconnect(sent.0.as_str());
    assert_eq!(dispatch(&bench, epoch).await.cancels, 0);
    bench.gateway.connect(sent.0.as_str());
    for _ in 0..2 {
        assert_eq!(dispatch(&bench, epoch).await.cancels, 1);
    }
    let task = bench.store.tasks().get(sent.1.key.task).await.unwrap().unwrap();
    bench.answer(&task, TaskState::Cancelled).await;
    bench.settler().pass().await.unwrap();
    let run = bench.store.runs().get(run.id).await.unwrap().unwrap();
    assert_eq!(
        (run.state, run.explanation.as_str()),
        (RunState::Cancelled, "cancelled by ana: wrong week")
    );
    assert!(
        bench
            .states()
            .await
            .iter()
            .all(|(_, state)| *state == TaskState::Cancelled)
    );
}
