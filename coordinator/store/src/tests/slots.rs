//! One slot is one run, whoever starts it and however often.

use dr_proto::model::{RunState, TaskState};

use super::{Bench, host, new_run, new_task, offline, open, plan};
use crate::Error;
use crate::results::Filed;
use crate::runs::{Created, NewRun, Origin, PlanSlot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_coordinators_never_start_a_slot_twice() {
    let bench = Bench::new().await;
    let other = bench.again().await;
    plan(&bench.store, "nightly").await;
    for round in 0..60 {
        bench.clock.pass(60);
        let run = new_run("nightly", bench.now(), &["db-1", "db-2"], 0);
        let (one, two) = tokio::join!(
            tokio::spawn({
                let (store, run) = (bench.store.clone(), run.clone());
                async move { store.runs().create(&run).await.unwrap() }
            }),
            tokio::spawn({
                let (store, run) = (other.clone(), run.clone());
                async move { store.runs().create(&run).await.unwrap() }
            }),
        );
        let made = [one.unwrap(), two.unwrap()];
        let new = made
            .iter()
            .filter(|created| matches!(created, Created::New(_)))
            .count();
        assert_eq!(new, 1, "round {round}");
        let [one, two] = made.map(Created::into_run);
        assert_eq!(one.id, two.id, "round {round}");
        assert_eq!(bench.store.tasks().of_run(one.id).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn the_same_request_makes_one_run_and_another_one_is_told() {
    let bench = Bench::new().await;
    let request = NewRun {
        slot: None,
        origin: Origin::Operator,
        requested_by: "ana".to_owned(),
        request_id: Some("r-1".to_owned()),
        ..new_run("none", bench.now(), &["db-1"], 0)
    };
    let first = bench.store.runs().create(&request).await.unwrap().into_run();
    let again = bench.store.runs().create(&request).await.unwrap();
    assert!(matches!(&again, Created::Existing(run) if run.id == first.id));
    let other = NewRun {
        work: "drill verify".to_owned(),
        ..request
    };
    let refused = bench.store.runs().create(&other).await.unwrap_err();
    assert!(
        refused.to_string().contains("used for another run (snapshot)"),
        "{refused}"
    );
}

#[tokio::test]
async fn no_run_is_made_of_a_plan_that_was_replaced_or_disabled_meanwhile() {
    let bench = Bench::new().await;
    plan(&bench.store, "nightly").await;
    let mut run = new_run("nightly", bench.now(), &["db-1"], 0);
    bench.store.plans().enable("nightly", false, "ana").await.unwrap();
    let refused = bench.store.runs().create(&run).await.unwrap_err();
    assert!(matches!(refused, Error::PlanChanged { .. }), "{refused}");
    bench.store.plans().enable("nightly", true, "ana").await.unwrap();
    run.slot = run.slot.map(|slot| PlanSlot {
        hash: "older".to_owned(),
        ..slot
    });
    assert!(bench.store.runs().create(&run).await.is_err());
    assert!(bench.store.runs().active().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_over_nobody_proves_nothing() {
    let bench = Bench::new().await;
    let run = bench.run(&[], 0).await;
    assert_eq!(run.state, RunState::Inconclusive);
    assert_eq!(run.explanation, "no host to ask");
    assert!(run.finished.is_some());
}

#[tokio::test]
async fn the_cursor_moves_with_the_run_and_never_back() {
    let bench = Bench::new().await;
    plan(&bench.store, "nightly").await;
    bench.clock.pass(3_600);
    let slot = bench.now();
    bench
        .store
        .runs()
        .create(&new_run("nightly", slot, &["db-1"], 0))
        .await
        .unwrap();
    assert_eq!(
        bench.store.plans().get("nightly").await.unwrap().unwrap().cursor,
        slot
    );
    let older = slot - jiff::SignedDuration::from_mins(30);
    bench
        .store
        .runs()
        .create(&new_run("nightly", older, &["db-1"], 0))
        .await
        .unwrap();
    assert_eq!(
        bench.store.plans().get("nightly").await.unwrap().unwrap().cursor,
        slot
    );
}

#[tokio::test]
async fn a_slot_that_an_agent_began_offline_gets_the_other_hosts_and_not_that_one_again() {
    let bench = Bench::new().await;
    plan(&bench.store, "nightly").await;
    bench.clock.pass(60);
    let slot = bench.now();
    let done = offline("db-1", "nightly", slot, TaskState::Passed);
    assert_eq!(
        bench.store.results().file(&host("db-1"), &done).await.unwrap(),
        Filed::Offline
    );
    let created = bench
        .store
        .runs()
        .create(&new_run("nightly", slot, &["db-1", "db-2"], 0))
        .await
        .unwrap();
    let run = created.into_run();
    assert_eq!(run.origin, Origin::Schedule);
    assert_eq!(run.state, RunState::Running);
    let tasks = bench.store.tasks().of_run(run.id).await.unwrap();
    let states: Vec<_> = tasks
        .iter()
        .map(|task| (task.host.as_str(), task.state))
        .collect();
    assert_eq!(states, [("db-1", TaskState::Passed), ("db-2", TaskState::Queued)]);
}

#[tokio::test]
async fn an_announced_slot_waits_says_why_and_is_filled_later() {
    let bench = Bench::new().await;
    plan(&bench.store, "weekly").await;
    let mut announced = new_run("weekly", bench.now(), &[], 0);
    announced.explanation = "waits for nightly".to_owned();
    assert!(bench.store.runs().announce(&announced).await.unwrap());
    let waiting = bench.store.runs().active().await.unwrap().remove(0);
    assert_eq!(
        (waiting.state, waiting.explanation.as_str()),
        (RunState::Pending, "waits for nightly")
    );
    announced.explanation = String::new();
    announced.tasks = vec![new_task("db-1", bench.now(), 0)];
    let run = bench.store.runs().create(&announced).await.unwrap().into_run();
    assert_eq!((run.id, run.state), (waiting.id, RunState::Running));
}

#[tokio::test]
async fn a_cancelled_announcement_stays_cancelled() {
    let bench = Bench::new().await;
    plan(&bench.store, "weekly").await;
    let announced = new_run("weekly", bench.now(), &["db-1"], 0);
    bench.store.runs().announce(&announced).await.unwrap();
    let waiting = bench.store.runs().active().await.unwrap().remove(0);
    bench
        .store
        .runs()
        .cancel(waiting.id, "not today", "ana")
        .await
        .unwrap();
    assert!(!bench.store.runs().announce(&announced).await.unwrap());
    let created = bench.store.runs().create(&announced).await.unwrap();
    assert!(matches!(created, Created::Existing(run) if run.state == RunState::Cancelled));
}

#[tokio::test]
async fn epochs_grow_with_each_start_on_one_file() {
    let bench = Bench::new().await;
    let first = bench.store.epochs().begin("0.1.0").await.unwrap();
    let again = open(bench.folder.path(), bench.clock.clone()).await;
    let second = again.epochs().begin("0.1.0").await.unwrap();
    assert!(second.number > first.number);
    assert!(!bench.store.epochs().is_newest(first.number).await.unwrap());
    assert!(again.epochs().is_newest(second.number).await.unwrap());
}
