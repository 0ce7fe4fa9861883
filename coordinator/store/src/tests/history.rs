//! History ends, and what is still worth something stays.

use dr_proto::model::{RunId, TaskId, TaskState};
use jiff::SignedDuration;

use super::{Bench, host, new_run, result};
use crate::notes::NewNote;

#[tokio::test]
async fn old_runs_go_with_everything_of_theirs_and_young_and_open_ones_stay() {
    let bench = Bench::new().await;
    let old = bench.run(&["db-1"], 0).await;
    let task = bench.offered(old.id, 1).await;
    let mut answer = result(task.key(), TaskState::Passed, bench.now());
    answer.outcome.document = b"{}".to_vec();
    bench.store.results().file(&host("db-1"), &answer).await.unwrap();
    bench.store.runs().settle(old.id).await.unwrap();
    let notes = bench.store.notes();
    for (about, request) in [(None, "1"), (Some(task.id), "2")] {
        notes
            .add(&note(old.id, about, "looked at it", request))
            .await
            .unwrap();
    }
    bench.clock.pass(60);
    let open = bench
        .store
        .runs()
        .create(&new_run("nightly", bench.now(), &["db-1"], 0))
        .await
        .unwrap()
        .into_run();
    bench.clock.pass(401 * 86_400);
    let before = bench.now() - SignedDuration::from_hours(400 * 24);
    let pruned = bench.store.prune(before, before).await.unwrap();
    assert_eq!(pruned.runs, 1);
    assert!(bench.store.runs().get(old.id).await.unwrap().is_none());
    assert!(bench.store.tasks().get(task.id).await.unwrap().is_none());
    assert!(bench.store.results().document(task.id).await.unwrap().is_none());
    assert!(bench.store.events().of_run(old.id).await.unwrap().is_empty());
    assert!(notes.of_run(old.id).await.unwrap().is_empty());
    assert!(bench.store.runs().get(open.id).await.unwrap().is_some());
    assert!(pruned.audit > 0);
    let again = bench.store.prune(before, before).await.unwrap();
    assert_eq!((again.runs, again.audit), (0, 0));
}

#[tokio::test]
async fn a_run_that_took_long_is_as_old_as_its_end() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    bench.clock.pass(401 * 86_400);
    let task = bench.offered(run.id, 1).await;
    let answer = result(task.key(), TaskState::Passed, bench.now());
    bench.store.results().file(&host("db-1"), &answer).await.unwrap();
    bench.store.runs().settle(run.id).await.unwrap();
    let before = bench.now() - SignedDuration::from_hours(400 * 24);
    assert_eq!(bench.store.prune(before, before).await.unwrap().runs, 0);
}

fn note<'a>(run: RunId, task: Option<TaskId>, text: &'a str, request_id: &'a str) -> NewNote<'a> {
    NewNote {
        run,
        task,
        text,
        by: "ana",
        request_id,
    }
}

#[tokio::test]
async fn notes_are_added_in_order_and_bounded() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let notes = bench.store.notes();
    for number in 0..crate::notes::MOST {
        let text = format!("note {number}");
        // The answer may get lost on its way: the same request adds it once.
        for _ in 0..2 {
            let added = notes.add(&note(run.id, None, &text, &text)).await.unwrap();
            assert_eq!(added.text, text);
        }
    }
    let all = notes.of_run(run.id).await.unwrap();
    let texts: Vec<&str> = all.iter().map(|note| note.text.as_str()).collect();
    assert_eq!((texts[0], texts[99]), ("note 0", "note 99"));
    let refused = notes.add(&note(run.id, None, "one more", "x")).await.unwrap_err();
    assert_eq!(refused.code(), "refused");
    assert_eq!(notes.of_run(run.id).await.unwrap().len(), 100);
}
