//! What agents did while no coordinator answered, and what they remember for one that lost its store.

use dr_proto::model::{RunState, TaskState};

use super::{Bench, host, new_run, offline, plan, result};
use crate::plans::NewPlan;
use crate::results::Filed;
use crate::runs::Origin;

#[tokio::test]
async fn a_queued_task_is_ended_by_what_its_agent_did_meanwhile() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let done = offline(
        "db-1",
        "nightly",
        run.slot.as_ref().unwrap().at,
        TaskState::Passed,
    );
    assert_eq!(
        bench.store.results().file(&host("db-1"), &done).await.unwrap(),
        Filed::Offline
    );
    let tasks = bench.store.tasks().of_run(run.id).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].state, TaskState::Passed);
    assert_eq!(
        bench
            .store
            .runs()
            .settle(run.id)
            .await
            .unwrap()
            .unwrap()
            .run
            .state,
        RunState::Passed
    );
}

#[tokio::test]
async fn a_slot_that_was_done_both_ways_counts_once() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    let done = offline(
        "db-1",
        "nightly",
        run.slot.as_ref().unwrap().at,
        TaskState::Failed,
    );
    assert_eq!(
        bench.store.results().file(&host("db-1"), &done).await.unwrap(),
        Filed::Duplicate
    );
    assert_eq!(bench.state(task.id).await, TaskState::Offered);
}

#[tokio::test]
async fn an_unknown_result_becomes_a_recovered_run_once() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let key = bench.offered(run.id, 7).await.key();
    let lost = Bench::new().await;
    let answer = result(key, TaskState::Passed, lost.now());
    assert_eq!(
        lost.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Recovered
    );
    assert_eq!(
        lost.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Already
    );
    let runs = lost.store.runs().active().await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].origin, Origin::Recovered);
    assert_eq!(runs[0].explanation, "recovered from what db-1 remembers");
    let settled = lost.store.runs().settle(runs[0].id).await.unwrap().unwrap();
    assert_eq!(settled.run.state, RunState::Passed);
    // And nothing will ever be handed out below the fences that agents have seen.
    assert_eq!(lost.store.epochs().begin("0.1.0").await.unwrap().number, 8);
}

#[tokio::test]
async fn a_lost_store_is_refilled_by_its_agents_and_starts_nothing_by_itself() {
    let bench = Bench::new().await;
    let slot = bench.now();
    bench.clock.pass(3_600);
    let remembered = NewPlan {
        name: "nightly",
        text: "the text",
        hash: "h1",
        expected_hash: None,
        by: "agent db-1",
    };
    assert!(bench.store.plans().recover(&remembered).await.unwrap());
    assert!(!bench.store.plans().recover(&remembered).await.unwrap());
    let known = bench.store.plans().get("nightly").await.unwrap().unwrap();
    assert!(!known.enabled, "an operator says which text holds");
    for name in ["db-1", "db-2"] {
        let done = offline(name, "nightly", slot, TaskState::Passed);
        let filed = bench.store.results().file(&host(name), &done).await.unwrap();
        assert_eq!(filed, Filed::Recovered, "{name}");
    }
    let run = bench
        .store
        .runs()
        .of_slot("nightly", slot)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (run.origin, run.tasks.get(&TaskState::Passed)),
        (Origin::Recovered, Some(&2))
    );
    assert!(bench.store.runs().settle(run.id).await.unwrap().is_some());
}

#[tokio::test]
async fn an_operators_text_wins_over_what_agents_remember() {
    let bench = Bench::new().await;
    plan(&bench.store, "nightly").await;
    let older = NewPlan {
        name: "nightly",
        text: "an older text",
        hash: "h0",
        expected_hash: None,
        by: "agent db-1",
    };
    assert!(!bench.store.plans().recover(&older).await.unwrap());
    assert_eq!(
        bench.store.plans().get("nightly").await.unwrap().unwrap().hash,
        "h1"
    );
    bench
        .store
        .runs()
        .create(&new_run("nightly", bench.now(), &["db-1"], 0))
        .await
        .unwrap();
}
