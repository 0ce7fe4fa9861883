use dr_proto::model::Fence;
use jiff::SignedDuration;

use super::super::dispatch::Caps;
use super::super::dispatcher::Dispatcher;
use super::super::driver::Reconciler as _;
use super::super::reaper::Reaper;
use super::super::scheduler::{Ask, start_plan};
use super::super::testing::{Bench, host};
use super::*;

const NIGHTLY: &str = r#"
schema = 1
name = "nightly"
schedule = { cron = "0 3 * * *", timezone = "UTC" }
drill = { kind = "snapshot" }
limits = { deadline = "1h", retries = 1 }
"#;

/// A host whose task was handed out.
async fn offered() -> (Bench, TaskRecord) {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    let ask = Ask {
        request_id: "r-1",
        by: "ana",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
    start_plan(&bench.store, "nightly", ask).await.unwrap();
    let caps = Caps {
        tasks: 9,
        per_host: 1,
        per_label: BTreeMap::new(),
    };
    let epoch = bench.store.epochs().begin("0.1.0").await.unwrap().number;
    Dispatcher::new(bench.store.clone(), bench.gateway.clone(), caps, epoch)
        .pass()
        .await
        .unwrap();
    let task = bench
        .store
        .tasks()
        .at_work(&host("db-1"))
        .await
        .unwrap()
        .remove(0);
    (bench, task)
}

async fn says_hello(bench: &Bench, tasks: &[TaskKey]) -> Vec<CoordinatorMessage> {
    let hello = Hello {
        tasks: tasks.to_vec(),
        ..super::super::testing::hello("db-1", bench.now())
    };
    reconcile(&bench.store, 1, &hello).await.unwrap()
}

async fn state(bench: &Bench, task: &TaskRecord) -> TaskState {
    bench.store.tasks().get(task.id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn what_the_agent_has_is_running() {
    let (bench, task) = offered().await;
    assert!(says_hello(&bench, &[task.key()]).await.is_empty());
    assert_eq!(state(&bench, &task).await, TaskState::Running);
}

#[tokio::test]
async fn what_never_arrived_is_sent_again_with_the_same_fence_and_what_is_left_of_its_time() {
    let (bench, task) = offered().await;
    bench.clock.pass(600);
    let messages = says_hello(&bench, &[]).await;
    let [CoordinatorMessage::Start(start)] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!(start.key, task.key());
    assert_eq!(start.deadline, Duration::from_secs(3_000));
    assert!(
        start
            .traceparent
            .as_ref()
            .unwrap()
            .starts_with("00-0af7651916cd43dd")
    );
    assert_eq!(state(&bench, &task).await, TaskState::Offered);
}

#[tokio::test]
async fn what_never_arrived_and_is_past_its_deadline_is_left_to_the_reaper() {
    let (bench, task) = offered().await;
    bench.clock.pass(3_600);
    assert!(says_hello(&bench, &[]).await.is_empty());
    assert_eq!(state(&bench, &task).await, TaskState::Offered);
}

#[tokio::test]
async fn what_ran_and_is_gone_is_lost_only_if_no_result_comes() {
    let (bench, task) = offered().await;
    says_hello(&bench, &[task.key()]).await;
    assert!(says_hello(&bench, &[]).await.is_empty());
    assert_eq!(state(&bench, &task).await, TaskState::Running);
    let reaper = Reaper::new(
        bench.store.clone(),
        bench.gateway.clone(),
        Duration::from_secs(30),
    );
    bench.clock.pass(29);
    assert_eq!(reaper.pass().await.unwrap().lost, 0);
    bench.clock.pass(1);
    let reaped = reaper.pass().await.unwrap();
    assert_eq!((reaped.lost, reaped.again), (1, 1));
    let again = bench.store.tasks().get(task.id).await.unwrap().unwrap();
    assert_eq!((again.state, again.fence.attempt), (TaskState::Queued, 2));
    // The agent of the first attempt comes back with it after all: it is told to stop.
    let messages = says_hello(&bench, &[task.key()]).await;
    assert!(matches!(messages.as_slice(), [CoordinatorMessage::Cancel(cancel)] if cancel.key == task.key()));
}

#[tokio::test]
async fn what_was_cancelled_before_it_arrived_is_over_and_what_runs_is_told_to_stop() {
    for has_it in [false, true] {
        let (bench, task) = offered().await;
        bench
            .store
            .runs()
            .cancel(task.run, "wrong week", "ana")
            .await
            .unwrap();
        let has: Vec<TaskKey> = has_it.then(|| task.key()).into_iter().collect();
        let messages = says_hello(&bench, &has).await;
        if has_it {
            assert!(
                matches!(messages.as_slice(), [CoordinatorMessage::Cancel(_)]),
                "{messages:?}"
            );
            assert_eq!(state(&bench, &task).await, TaskState::Running);
        } else {
            assert!(messages.is_empty());
            assert_eq!(state(&bench, &task).await, TaskState::Cancelled);
        }
    }
}

#[tokio::test]
async fn a_result_whose_acknowledgement_was_lost_stops_nothing() {
    let (bench, task) = offered().await;
    bench.answer(&task, TaskState::Passed).await;
    assert!(says_hello(&bench, &[task.key()]).await.is_empty());
    assert_eq!(state(&bench, &task).await, TaskState::Passed);
}

#[tokio::test]
async fn an_expired_task_that_still_runs_is_told_to_stop() {
    let (bench, task) = offered().await;
    bench
        .store
        .tasks()
        .expire(task.key(), "deadline", "too long")
        .await
        .unwrap();
    let messages = says_hello(&bench, &[task.key()]).await;
    assert!(
        matches!(messages.as_slice(), [CoordinatorMessage::Cancel(_)]),
        "{messages:?}"
    );
}

#[tokio::test]
async fn tasks_that_nobody_here_knows_are_left_alone() {
    let (bench, _) = offered().await;
    let unknown = TaskKey {
        task: TaskId::new(bench.now()),
        fence: Fence { epoch: 7, attempt: 1 },
    };
    let messages = says_hello(&bench, &[unknown]).await;
    assert!(
        !messages
            .iter()
            .any(|message| matches!(message, CoordinatorMessage::Cancel(_))),
        "{messages:?}"
    );
}

#[test]
fn every_state_and_fence_has_a_decision_that_its_state_allows() {
    let now: Timestamp = "2026-11-26T03:00:00Z".parse().unwrap();
    let fences = [
        Fence { epoch: 1, attempt: 1 },
        Fence { epoch: 1, attempt: 2 },
        Fence { epoch: 2, attempt: 1 },
    ];
    for state in TaskState::ALL {
        for cancelled in [false, true] {
            let task = super::super::dispatch::tests::one(state, cancelled);
            for fence in fences {
                let has = TaskKey { task: task.id, fence };
                for decision in decide(std::slice::from_ref(&task), &[has], now) {
                    match decision {
                        Decision::Accept(key) => assert!(key.fence >= task.fence && !task.state.is_final()),
                        Decision::Miss(_) => assert_eq!(task.state, TaskState::Running),
                        Decision::HandOutAgain(_) | Decision::Lose(_) => {
                            assert_eq!(task.state, TaskState::Offered)
                        }
                        Decision::Cancel(key, _) => assert_eq!(key, has),
                    }
                }
            }
            for decision in decide(
                std::slice::from_ref(&task),
                &[],
                now + SignedDuration::from_secs(1),
            ) {
                assert!(
                    !matches!(decision, Decision::Accept(_) | Decision::Cancel(..)),
                    "{state}: {decision:?}"
                );
            }
        }
    }
}
