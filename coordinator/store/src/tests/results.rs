//! Results are filed once, and what they measured is drawn out of them.

use dr_proto::model::{
    Bytes, DrillId, DrillKind, DrillWork, Freshness, ProofLevel, Report, Rpo, SourceReport, TaskState,
    Verdict, Work,
};

use super::{Bench, host, new_run, plan, result};
use crate::results::Filed;

fn report(bench: &Bench, verdict: Verdict) -> Report {
    let source = SourceReport {
        name: "memory".to_owned(),
        kind: "lancedb".to_owned(),
        root: "/srv/db".to_owned(),
        files: 3,
        bytes: 10,
        capture: None,
        verdict,
        proof: ProofLevel::Restored,
        checks: Vec::new(),
        notes: Vec::new(),
    };
    Report {
        schema: 1,
        drill: DrillId::new(bench.now()),
        kind: DrillKind::Restore,
        loss: None,
        host: "db-1".to_owned(),
        agent: "0.1.0".to_owned(),
        probe: None,
        started: bench.now(),
        // The host's clock is an hour ahead.
        finished: bench.now() + jiff::SignedDuration::from_hours(1),
        snapshot: None,
        repository: "file:///r".to_owned(),
        encrypted: true,
        freshness: Freshness::Fresh,
        verdict,
        proof: ProofLevel::Restored,
        binding: String::new(),
        time_to_usable: Some(2.5),
        time_to_proven: 3.0,
        rpo: Rpo {
            at_loss: Some(60.0),
            worst_gap: None,
            snapshots: 1,
        },
        bytes: Bytes::default(),
        phases: Vec::new(),
        sources: vec![source],
        notes: Vec::new(),
    }
}

fn drill() -> Work {
    Work::Drill(DrillWork {
        only: None,
        kind: DrillKind::Restore,
        snapshot: "latest".to_owned(),
        from_host: None,
        bytes_budget: None,
        hooks: Vec::new(),
        recall_tolerance: None,
        loss: None,
        bytes_cycle: None,
        content_cycle: None,
    })
}

#[tokio::test]
async fn the_same_result_again_is_known() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    let answer = result(task.key(), TaskState::Passed, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Recorded
    );
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Already
    );
    let events = bench.store.events().of_task(task.id).await.unwrap();
    assert_eq!(
        events
            .iter()
            .filter(|event| event.state == TaskState::Passed)
            .count(),
        1
    );
}

#[tokio::test]
async fn an_agent_cannot_answer_for_another() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 0).await;
    let task = bench.offered(run.id, 1).await;
    let answer = result(task.key(), TaskState::Passed, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-2"), &answer).await.unwrap(),
        Filed::NotYours
    );
    assert_eq!(bench.state(task.id).await, TaskState::Offered);
    let newest = bench.store.audit().list(0, 1).await.unwrap().remove(0);
    assert_eq!(
        (newest.action.as_str(), newest.actor.as_str()),
        ("result.refused", "agent db-2")
    );
}

#[tokio::test]
async fn an_inconclusive_answer_is_tried_again_after_a_pause() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 1).await;
    let task = bench.offered(run.id, 1).await;
    let answer = result(task.key(), TaskState::Inconclusive, bench.now());
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Again
    );
    let again = bench.task(task.id).await;
    assert_eq!(
        (again.state, again.retries, again.fence.attempt),
        (TaskState::Queued, 0, 2)
    );
    assert!(again.not_before > bench.now());
    // The answer to the first attempt, once more: it changes nothing.
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Stale
    );
}

#[tokio::test]
async fn an_interrupted_task_is_tried_again_at_once() {
    let bench = Bench::new().await;
    let run = bench.run(&["db-1"], 1).await;
    let task = bench.offered(run.id, 1).await;
    let mut answer = result(task.key(), TaskState::Inconclusive, bench.now());
    answer.outcome.cause = "interrupted".to_owned();
    assert_eq!(
        bench.store.results().file(&host("db-1"), &answer).await.unwrap(),
        Filed::Again
    );
    assert_eq!(bench.task(task.id).await.not_before, bench.now());
}

#[tokio::test]
async fn a_drill_report_is_kept_and_measured() {
    let bench = Bench::new().await;
    plan(&bench.store, "weekly").await;
    let mut new = new_run("weekly", bench.now(), &["db-1"], 0);
    new.tasks[0].work = drill();
    let run = bench.store.runs().create(&new).await.unwrap().into_run();
    let task = bench.offered(run.id, 1).await;
    let mut answer = result(task.key(), TaskState::Passed, bench.now());
    answer.outcome.document = serde_json::to_vec(&report(&bench, Verdict::Passed)).unwrap();
    bench.store.results().file(&host("db-1"), &answer).await.unwrap();
    let task = bench.task(task.id).await;
    assert_eq!(task.proof, Some(ProofLevel::Restored));
    assert_eq!(task.time_to_usable.unwrap().as_millis(), 2_500);
    assert_eq!(task.rpo.unwrap().as_secs(), 60);
    assert!(task.has_document);
    let document = bench.store.results().document(task.id).await.unwrap().unwrap();
    assert_eq!(
        (document.kind.as_str(), document.document),
        ("drill", answer.outcome.document)
    );
    let proofs = bench.store.proofs().passed().await.unwrap();
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].source, "memory");
    assert_eq!(
        proofs[0].at,
        bench.now(),
        "a clock that is ahead makes no proof younger"
    );
}

#[tokio::test]
async fn a_report_that_cannot_be_read_proves_nothing_and_says_so() {
    let bench = Bench::new().await;
    plan(&bench.store, "weekly").await;
    let mut new = new_run("weekly", bench.now(), &["db-1"], 0);
    new.tasks[0].work = drill();
    let run = bench.store.runs().create(&new).await.unwrap().into_run();
    let task = bench.offered(run.id, 1).await;
    let mut answer = result(task.key(), TaskState::Passed, bench.now());
    answer.outcome.document = b"{\"schema\": 99}".to_vec();
    bench.store.results().file(&host("db-1"), &answer).await.unwrap();
    assert!(bench.store.proofs().passed().await.unwrap().is_empty());
    let events = bench.store.events().of_task(task.id).await.unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.message.contains("counts for no objective"))
    );
}
