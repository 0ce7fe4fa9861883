//! Tasks move along their edges, once, under the fence in force.

use dr_proto::model::{Fence, RunState, TaskKey, TaskState};

use super::{Bench, host, result};
use crate::results::Filed;
use crate::runs::Excluded;
use crate::tasks::{Accepted, Offer, Requeued};

#[tokio::test]
async fn a_task_is_handed_out_once() {
    let bench = Bench::new().await;
    let other = bench.again().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 3).await;
    assert_eq!(task.fence, Fence { epoch: 3, attempt: 1 });
    let again = other.tasks().offer(&[task.id], 4).await.unwrap();
    assert_eq!(again, [Offer::Gone]);
    assert_eq!(bench.task(task.id).await.fence.epoch, 3);
}

#[tokio::test]
async fn only_the_agent_that_was_asked_accepts() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    let tasks = bench.store.tasks();
    assert_eq!(
        tasks.accept(task.key(), &host("db-2")).await.unwrap(),
        Accepted::Unknown
    );
    assert_eq!(
        tasks.accept(task.key(), &host("db-1")).await.unwrap(),
        Accepted::Running
    );
    assert_eq!(
        tasks.accept(task.key(), &host("db-1")).await.unwrap(),
        Accepted::Already
    );
}

#[tokio::test]
async fn a_lost_task_is_tried_again_as_often_as_its_plan_allows() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 1).await;
    let first = bench.offered(run.id, 1).await;
    bench
        .store
        .tasks()
        .accept(first.key(), &host("db-1"))
        .await
        .unwrap();
    assert_eq!(
        bench.store.tasks().lose(first.key(), "gone").await.unwrap(),
        Requeued::Again
    );
    assert_eq!(bench.store.runs().settle(run.id).await.unwrap(), None);
    let second = bench.offered(run.id, 1).await;
    assert_eq!(second.fence, Fence { epoch: 1, attempt: 2 });
    assert_eq!(
        bench.store.tasks().lose(second.key(), "gone").await.unwrap(),
        Requeued::Ended
    );
    assert_eq!(bench.state(second.id).await, TaskState::Lost);
    let settled = bench.store.runs().settle(run.id).await.unwrap().unwrap();
    assert_eq!(settled.run.state, RunState::Inconclusive);
    assert_eq!(settled.run.explanation, "0 of 1 hosts passed: 1 lost");
}

#[tokio::test]
async fn what_an_older_attempt_says_changes_nothing() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 1).await;
    let first = bench.offered(run.id, 1).await;
    bench.store.tasks().lose(first.key(), "gone").await.unwrap();
    let second = bench.offered(run.id, 1).await;
    let stale = result(first.key(), TaskState::Passed, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &stale).await.unwrap(),
        Filed::Stale
    );
    assert_eq!(bench.state(second.id).await, TaskState::Offered);
    assert_eq!(
        bench
            .store
            .tasks()
            .accept(first.key(), &host("db-1"))
            .await
            .unwrap(),
        Accepted::Superseded
    );
    assert_eq!(
        bench.store.tasks().lose(first.key(), "gone").await.unwrap(),
        Requeued::Moved
    );
    let audit = bench.store.audit().list(0, 10).await.unwrap();
    assert!(audit.iter().any(|entry| entry.action == "result.stale"));
}

#[tokio::test]
async fn a_missing_task_may_still_answer() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    assert!(
        !bench.store.tasks().miss(task.key(), "gone").await.unwrap(),
        "it is not running yet"
    );
    bench
        .store
        .tasks()
        .accept(task.key(), &host("db-1"))
        .await
        .unwrap();
    assert!(bench.store.tasks().miss(task.key(), "gone").await.unwrap());
    assert_eq!(bench.store.tasks().missing(bench.now()).await.unwrap().len(), 1);
    let late = result(task.key(), TaskState::Passed, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &late).await.unwrap(),
        Filed::Recorded
    );
    assert_eq!(bench.state(task.id).await, TaskState::Passed);
    assert!(bench.store.tasks().missing(bench.now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_task_that_turns_up_again_is_not_missed_any_more() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    bench
        .store
        .tasks()
        .accept(task.key(), &host("db-1"))
        .await
        .unwrap();
    bench.store.tasks().miss(task.key(), "gone").await.unwrap();
    bench
        .store
        .tasks()
        .accept(task.key(), &host("db-1"))
        .await
        .unwrap();
    assert!(bench.store.tasks().missing(bench.now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_after_the_deadline_is_noted_and_changes_nothing() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    bench.clock.pass(601);
    assert_eq!(bench.store.tasks().overdue(bench.now()).await.unwrap().len(), 1);
    assert_eq!(
        bench
            .store
            .tasks()
            .expire(task.key(), "deadline", "too long")
            .await
            .unwrap(),
        Requeued::Ended
    );
    let late = result(task.key(), TaskState::Passed, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &late).await.unwrap(),
        Filed::Late
    );
    assert_eq!(bench.state(task.id).await, TaskState::Expired);
    let events = bench.store.events().of_task(task.id).await.unwrap();
    assert!(
        events.last().unwrap().message.contains("passed under fence 1.1"),
        "{events:?}"
    );
}

#[tokio::test]
async fn an_agent_that_knows_a_newer_fence_is_believed() {
    // The store was recovered from a copy that is older than the fence.
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    let newer = TaskKey {
        task: task.id,
        fence: Fence { epoch: 9, attempt: 2 },
    };
    assert_eq!(
        bench.store.tasks().accept(newer, &host("db-1")).await.unwrap(),
        Accepted::Running
    );
    assert_eq!(bench.task(task.id).await.fence, newer.fence);
    assert_eq!(bench.store.epochs().begin("0.1.0").await.unwrap().number, 10);
    let answer = result(newer, TaskState::Passed, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Recorded
    );
}

#[tokio::test]
async fn a_cancelled_run_ends_queued_tasks_and_tells_the_others() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1", "db-2"], 1).await;
    let at_work = bench.offered(run.id, 1).await;
    let cancelled = bench
        .store
        .runs()
        .cancel(run.id, "wrong week", "ana")
        .await
        .unwrap();
    assert_eq!(cancelled.state, RunState::Cancelling);
    assert_eq!(bench.store.tasks().to_cancel().await.unwrap().len(), 1);
    // An inconclusive end of what was cancelled is not tried again.
    let answer = result(at_work.key(), TaskState::Inconclusive, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Recorded
    );
    let settled = bench.store.runs().settle(run.id).await.unwrap().unwrap();
    assert_eq!(settled.run.state, RunState::Inconclusive);
    assert_eq!(settled.run.explanation, "cancelled by ana: wrong week");
}

#[tokio::test]
async fn a_retry_takes_only_what_did_not_pass() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1", "db-2"], 0).await;
    for task in bench.store.tasks().of_run(run.id).await.unwrap() {
        bench.store.tasks().offer(&[task.id], 1).await.unwrap();
        let task = bench.task(task.id).await;
        let state = if task.host == host("db-1") {
            TaskState::Passed
        } else {
            TaskState::Failed
        };
        let answer = result(task.key(), state, bench.now());
        bench.store.results().file(&task.host, &answer).await.unwrap();
    }
    assert!(
        bench.store.runs().retry(run.id, "ana").await.is_err(),
        "it has not ended"
    );
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
        RunState::Failed
    );
    let again = bench.store.runs().retry(run.id, "ana").await.unwrap();
    assert_eq!(again.state, RunState::Running);
    assert_eq!((again.retries, again.retried), (1, Some(bench.now())));
    assert_eq!(again.tasks.get(&TaskState::Passed), Some(&1));
    assert_eq!(again.tasks.get(&TaskState::Queued), Some(&1));
    let second = bench.store.tasks().of_run(run.id).await.unwrap().remove(1);
    assert_eq!((second.fence.attempt, second.finished), (2, None));
}

#[tokio::test]
async fn a_stopped_run_lets_what_is_at_work_end() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1", "db-2", "db-3"], 0).await;
    let at_work = bench.offered(run.id, 1).await;
    assert_eq!(
        bench
            .store
            .runs()
            .stop(run.id, "1 of 1 asked hosts failed")
            .await
            .unwrap(),
        2
    );
    assert_eq!(bench.state(at_work.id).await, TaskState::Offered);
    assert!(bench.store.tasks().to_cancel().await.unwrap().is_empty());
    let answer = result(at_work.key(), TaskState::Passed, bench.now());
    bench.store.results().file(&host("db-1"), &answer).await.unwrap();
    let settled = bench.store.runs().settle(run.id).await.unwrap().unwrap();
    assert_eq!(settled.run.explanation, "1 of 1 asked hosts failed");
    assert_eq!(settled.run.state, RunState::Cancelled);
}

#[tokio::test]
async fn all_that_were_asked_is_not_enough_if_too_few_were_asked() {
    let cases = [
        (2, Some(0.95), RunState::Inconclusive),
        (1, Some(0.95), RunState::Passed),
        // A plan that says nothing wants all.
        (2, None, RunState::Inconclusive),
        (2, Some(0.5), RunState::Passed),
    ];
    for (targets, coverage, end) in cases {
        let bench = Bench::new().await;
        super::plan(&bench.store, "nightly").await;
        let mut new = super::new_run("nightly", bench.now(), &["db-1"], 0);
        new.rollout.targets = targets;
        new.rollout.coverage = coverage;
        new.excluded = vec![Excluded {
            host: host("db-2"),
            reason: "suspended for long".to_owned(),
            by_plan: targets == 1,
        }];
        let run = bench.store.runs().create(&new).await.unwrap().into_run();
        let task = bench.offered(run.id, 1).await;
        let answer = result(task.key(), TaskState::Passed, bench.now());
        bench.store.results().file(&host("db-1"), &answer).await.unwrap();
        let settled = bench.store.runs().settle(run.id).await.unwrap().unwrap().run;
        assert_eq!(settled.state, end, "{}", settled.explanation);
        let named = settled.explanation.contains("db-2, suspended for long");
        assert_eq!(named, targets == 2, "{}", settled.explanation);
    }
}
