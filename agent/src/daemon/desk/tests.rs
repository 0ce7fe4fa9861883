use std::path::Path;

use dr_proto::model::TaskState;

use super::*;
use crate::daemon::testing::{outcome, owed, slot_task, task, time};

const NOON: &str = "2026-01-02T12:00:00Z";

fn desk(folder: &Path) -> Desk {
    Desk::open(Journal::open(folder).expect("open the journal"), time(NOON)).expect("open the desk")
}

async fn begin(desk: &Desk) -> Option<journal::Accepted> {
    desk.next(&Halt::default()).await.expect("no panic")
}

fn cancel(task: &StartTask) -> CancelTask {
    CancelTask {
        key: task.key,
        reason: "by ana".to_owned(),
    }
}

#[tokio::test]
async fn a_task_that_is_handed_out_twice_is_begun_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (desk, task) = (desk(dir.path()), task());
    desk.start(task.clone(), time(NOON)).await.expect("start");
    desk.start(task.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await.expect("one").task, task);
    assert_eq!(begin(&desk).await, None);
    desk.start(task.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await, None, "it is at work");
    desk.finish(task.clone(), outcome(TaskState::Passed, "{}"))
        .await
        .expect("finish");
    desk.start(task.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await, None, "it has ended");
    assert_eq!(owed(&desk).await.len(), 1);
}

#[tokio::test]
async fn a_result_is_owed_until_it_is_acknowledged_and_again_when_it_is_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (desk_before, task) = (desk(dir.path()), task());
    desk_before.start(task.clone(), time(NOON)).await.expect("start");
    begin(&desk_before).await.expect("one");
    desk_before
        .finish(task.clone(), outcome(TaskState::Failed, "{\"a\":1}"))
        .await
        .expect("finish");
    drop(desk_before);
    let desk = desk(dir.path());
    let results = owed(&desk).await;
    assert_eq!(results[0].outcome, outcome(TaskState::Failed, "{\"a\":1}"));
    desk.acknowledge(task.key).await.expect("acknowledge");
    assert_eq!(owed(&desk).await, []);
    desk.start(task.clone(), time(NOON)).await.expect("start");
    assert_eq!(owed(&desk).await, results, "asked for again");
    desk.acknowledge(task.key).await.expect("acknowledge");
    assert_eq!(owed(&desk).await, []);
}

#[tokio::test]
async fn a_task_in_the_middle_of_which_the_agent_died_is_answered_and_not_begun_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (before, begun, queued) = (desk(dir.path()), task(), task());
    before.start(begun.clone(), time(NOON)).await.expect("start");
    before.start(queued.clone(), time(NOON)).await.expect("start");
    begin(&before).await.expect("one");
    drop(before);
    let desk = desk(dir.path());
    let results = owed(&desk).await;
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result.outcome.state, TaskState::Inconclusive);
        assert_eq!(result.outcome.cause, "interrupted");
    }
    desk.start(begun, time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await, None);
    assert!(desk.tasks().await.expect("no panic").is_empty());
}

#[tokio::test]
async fn a_cancel_takes_a_task_off_the_queue_and_halts_one_at_work() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (desk, working, waiting) = (desk(dir.path()), task(), task());
    desk.start(working.clone(), time(NOON)).await.expect("start");
    desk.start(waiting.clone(), time(NOON)).await.expect("start");
    let halt = Halt::default();
    desk.next(&halt).await.expect("no panic").expect("one");
    desk.cancel(cancel(&waiting), time(NOON)).await.expect("cancel");
    let results = owed(&desk).await;
    assert_eq!(
        (results[0].key, results[0].outcome.state),
        (waiting.key, TaskState::Cancelled)
    );
    assert_eq!(results[0].outcome.message, "by ana");
    desk.cancel(cancel(&working), time(NOON)).await.expect("cancel");
    assert_eq!(halt.ending(), Some(Ending::Cancelled("by ana".to_owned())));
    desk.finish(working, outcome(TaskState::Cancelled, ""))
        .await
        .expect("finish");
    assert_eq!(begin(&desk).await, None);
}

#[tokio::test]
async fn a_slot_that_was_done_offline_is_not_done_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let desk = desk(dir.path());
    let own = slot_task(OFFLINE_EPOCH, "2026-01-02T03:00:00Z");
    desk.start(own.clone(), time(NOON)).await.expect("start");
    begin(&desk).await.expect("one");
    let during = slot_task(2, "2026-01-02T03:00:00Z");
    desk.start(during.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await, None, "its slot is being done");
    desk.finish(own.clone(), outcome(TaskState::Passed, "{\"n\":1}"))
        .await
        .expect("finish");
    let after = slot_task(3, "2026-01-02T03:00:00Z");
    desk.start(after.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await, None, "its slot was done");
    let results = owed(&desk).await;
    let keys: Vec<TaskKey> = results.iter().map(|result| result.key).collect();
    assert_eq!(keys, [own.key, during.key, after.key]);
    assert!(
        results
            .iter()
            .all(|result| result.outcome == outcome(TaskState::Passed, "{\"n\":1}"))
    );
    let other = slot_task(3, "2026-01-03T03:00:00Z");
    desk.start(other.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await.expect("another slot").task, other);
}

#[tokio::test]
async fn a_slot_whose_offline_result_the_coordinator_has_is_done_again_when_it_asks() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let desk = desk(dir.path());
    let own = slot_task(OFFLINE_EPOCH, "2026-01-02T03:00:00Z");
    desk.start(own.clone(), time(NOON)).await.expect("start");
    begin(&desk).await.expect("one");
    desk.finish(own.clone(), outcome(TaskState::Failed, ""))
        .await
        .expect("finish");
    desk.acknowledge(own.key).await.expect("acknowledge");
    let retry = slot_task(2, "2026-01-02T03:00:00Z");
    desk.start(retry.clone(), time(NOON)).await.expect("start");
    assert_eq!(begin(&desk).await.expect("a retry").task, retry);
}

#[tokio::test]
async fn more_tasks_than_the_queue_holds_are_answered_as_busy() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let desk = desk(dir.path());
    for _ in 0..=MOST_QUEUED {
        desk.start(task(), time(NOON)).await.expect("start");
    }
    let results = owed(&desk).await;
    assert_eq!(results.len(), 1);
    assert_eq!(
        (results[0].outcome.state, results[0].outcome.cause.as_str()),
        (TaskState::Inconclusive, "busy")
    );
}

#[tokio::test]
async fn progress_is_told_of_the_task_at_work_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (desk, working, waiting) = (desk(dir.path()), task(), task());
    desk.start(working.clone(), time(NOON)).await.expect("start");
    desk.start(waiting.clone(), time(NOON)).await.expect("start");
    begin(&desk).await.expect("one");
    let told = Progress {
        phase: "storing".to_owned(),
        bytes_done: 7,
        ..Progress::default()
    };
    let mut outgoing = desk.outgoing();
    outgoing.mark_unchanged();
    desk.progress(waiting.key, told.clone());
    assert!(!outgoing.has_changed().expect("alive"));
    desk.progress(working.key, told.clone());
    assert!(outgoing.has_changed().expect("alive"));
    let tasks = desk.tasks().await.expect("no panic");
    let of = |key| {
        tasks
            .iter()
            .find(|update| update.key == key)
            .expect("known")
            .progress
            .clone()
    };
    assert_eq!(of(working.key), told);
    assert_eq!(of(waiting.key).phase, "queued");
}
