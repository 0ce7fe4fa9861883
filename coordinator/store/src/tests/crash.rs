//! A coordinator that is killed between any two statements leaves a store that the next one brings to the same end.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use dr_proto::model::{RunState, TaskState};

use super::{HandClock, host, new_run, open, plan, result};
use crate::audit::Chain;
use crate::{SharedClock, Store};

const CHILD: &str = "DR_STORE_TEST_CHILD";

/// What a coordinator and its agents do, from whatever state they find.
async fn work_on(store: &Store, clock: &SharedClock) {
    let epoch = store.epochs().begin("0.1.0").await.unwrap().number;
    plan(store, "nightly").await;
    let run = new_run("nightly", clock.now(), &["db-1", "db-2", "db-3"], 0);
    let run = store.runs().create(&run).await.unwrap().into_run();
    for task in store.tasks().of_run(run.id).await.unwrap() {
        store.tasks().offer(&[task.id], epoch).await.unwrap();
    }
    for task in store.tasks().of_run(run.id).await.unwrap() {
        if task.state.is_final() {
            continue;
        }
        store.tasks().accept(task.key(), &task.agent).await.unwrap();
        let mut answer = result(task.key(), TaskState::Passed, clock.now());
        answer.outcome.document = b"{}".to_vec();
        store
            .results()
            .file(&host(task.agent.as_str()), &answer)
            .await
            .unwrap();
    }
    store.runs().settle(run.id).await.unwrap();
}

/// Only does something as a child of the test below.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let clock: SharedClock = HandClock::new();
    let store = open(Path::new(&folder), Arc::clone(&clock)).await;
    work_on(&store, &clock).await;
}

#[tokio::test]
async fn killed_anywhere_the_next_coordinator_brings_it_to_the_same_end() {
    let points = [
        "store.run.made",
        "store.task.made:2",
        "store.run.commit",
        "store.run.committed",
        "store.offer",
        "store.offer:3",
        "store.offered:2",
        "store.result.stepped",
        "store.result:2",
        "store.result.committed:3",
        "store.settle",
    ];
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::child", "--test-threads=1"])
            .env(CHILD, folder.path())
            .env("DR_FAILPOINT", point)
            .output()
            .unwrap()
            .status;
        assert!(!status.success(), "{point} was not reached");
        let clock: SharedClock = HandClock::new();
        let store = open(folder.path(), Arc::clone(&clock)).await;
        work_on(&store, &clock).await;
        let run = store
            .runs()
            .of_slot("nightly", clock.now())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(run.state, RunState::Passed, "{point}");
        assert_eq!(run.tasks.get(&TaskState::Passed), Some(&3), "{point}");
        for task in store.tasks().of_run(run.id).await.unwrap() {
            let events = store.events().of_task(task.id).await.unwrap();
            let times = |state| events.iter().filter(|event| event.state == state).count();
            assert_eq!(
                (times(TaskState::Offered), times(TaskState::Passed)),
                (1, 1),
                "{point}: {events:?}"
            );
        }
        assert!(
            matches!(store.audit().verify(None).await.unwrap(), Chain::Intact { .. }),
            "{point}"
        );
        store.close().await;
        Store::check_copy(&folder.path().join("state.db")).await.unwrap();
    }
}
