//! History ends, and what is still worth something stays.

use dr_proto::model::TaskState;
use jiff::SignedDuration;

use super::{Bench, host, new_run, result};

#[tokio::test]
async fn old_runs_go_with_everything_of_theirs_and_young_and_open_ones_stay() {
    let bench = Bench::new().await;
    let old = bench.run(&["db-1"], 0).await;
    let task = bench.offered(old.id, 1).await;
    let mut answer = result(task.key(), TaskState::Passed, bench.now());
    answer.outcome.document = b"{}".to_vec();
    bench.store.results().file(&host("db-1"), &answer).await.unwrap();
    bench.store.runs().settle(old.id).await.unwrap();
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
