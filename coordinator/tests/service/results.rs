//! Tasks and their results: handed out, told of, filed once.

use dr_proto::model::{AgentMessage, CoordinatorMessage, Progress, TaskState, TaskUpdate};
use dr_proto::v1;

use crate::world::{Agent, World, ask, check, fence, host, passed, result, snapshot, until};

async fn task_of(world: &World, run: &str) -> v1::Task {
    let mut runs = world.operator().await.runs();
    let detail = runs
        .get_run(v1::GetRunRequest { id: run.to_owned() })
        .await
        .unwrap()
        .into_inner();
    detail.tasks.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_a_task_and_its_answer_the_end_of_the_run() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("r-1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(run.requested_by, "spiffe://acme.example/operator/ana");
    let start = agent.start().await;
    assert_eq!(start.key.fence, fence(world.epoch, 1));
    assert_eq!(start.run.to_string(), run.id);
    agent
        .say(AgentMessage::Update(TaskUpdate {
            key: start.key,
            progress: Progress {
                phase: "upload".to_owned(),
                bytes_done: 7,
                ..Progress::default()
            },
        }))
        .await;
    until("it runs, with progress", || async {
        let task = task_of(&world, &run.id).await;
        (task.state() == v1::TaskState::Running && task.progress?.bytes_done == 7).then_some(())
    })
    .await;
    agent.answer(&passed(&start)).await;
    until("the run has passed", || async {
        let mut runs = world.operator().await.runs();
        let detail = runs
            .get_run(v1::GetRunRequest { id: run.id.clone() })
            .await
            .unwrap()
            .into_inner();
        (detail.run.unwrap().state() == v1::RunState::Passed).then_some(())
    })
    .await;
    let report = runs
        .get_report(v1::GetReportRequest { id: run.id.clone() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(report.document, br#"{"schema":1}"#);
    assert!(
        world
            .scrape()
            .await
            .contains("dr_snapshots_total{outcome=\"committed\"} 1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_sent_again_is_acknowledged_again_and_filed_once() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("r-1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    let start = agent.start().await;
    let answer = passed(&start);
    agent.answer(&answer).await;
    agent.answer(&answer).await;
    let mut again = world.agent("db-1").await;
    again.answer(&answer).await;
    let detail = runs
        .get_run(v1::GetRunRequest { id: run.id })
        .await
        .unwrap()
        .into_inner();
    let ends = detail
        .events
        .iter()
        .filter(|event| event.state() == v1::TaskState::Passed)
        .count();
    assert_eq!(ends, 1, "{:?}", detail.events);
    assert!(
        world
            .scrape()
            .await
            .contains("dr_snapshots_total{outcome=\"committed\"} 1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_under_an_older_fence_is_acknowledged_and_changes_nothing() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("r-1", "db-1", check()))
        .await
        .unwrap()
        .into_inner();
    let first = agent.start().await;
    agent
        .answer(&result(
            first.key,
            first.work.clone(),
            TaskState::Inconclusive,
            "no_space",
        ))
        .await;
    until("the run has ended", || async {
        let mut runs = world.operator().await.runs();
        let found = runs
            .get_run(v1::GetRunRequest { id: run.id.clone() })
            .await
            .unwrap()
            .into_inner();
        (found.run.unwrap().state() == v1::RunState::Inconclusive).then_some(())
    })
    .await;
    runs.retry_run(v1::RetryRunRequest { id: run.id.clone() })
        .await
        .unwrap();
    let second = agent.start().await;
    assert!(second.key.fence > first.key.fence);
    assert_eq!(
        second.key.task, first.key.task,
        "a further attempt at the same task"
    );
    agent
        .answer(&result(first.key, first.work.clone(), TaskState::Passed, ""))
        .await;
    assert_eq!(world.audited("result.stale").await.len(), 1);
    assert_ne!(task_of(&world, &run.id).await.state(), v1::TaskState::Passed);
    agent.answer(&passed(&second)).await;
    assert_eq!(task_of(&world, &run.id).await.state(), v1::TaskState::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_another_hosts_task_is_refused_audited_and_counted() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let liar = world.agent("db-2").await;
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("r-1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    let start = agent.start().await;
    liar.say(AgentMessage::Result(Box::new(passed(&start)))).await;
    until("it is counted", || async {
        world
            .scrape()
            .await
            .contains("dr_auth_refusals_total{reason=\"wrong_host\"} 1")
            .then_some(())
    })
    .await;
    assert_eq!(world.audited("result.refused").await.len(), 1);
    assert_ne!(task_of(&world, &run.id).await.state(), v1::TaskState::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_agent_never_got_it_is_handed_out_again_under_the_same_fence() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    runs.start_run(ask("r-1", "db-1", snapshot())).await.unwrap();
    let first = agent.start().await;
    // The same process comes back and says that it has nothing: the first message was lost on the way.
    let mut agent = world.agent("db-1").await;
    let again = agent.start().await;
    assert_eq!(again.key, first.key);
    agent.answer(&passed(&again)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_agent_and_ends_as_cancelled() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("r-1", "db-1", check()))
        .await
        .unwrap()
        .into_inner();
    let start = agent.start().await;
    let cancel = v1::CancelRunRequest {
        id: run.id.clone(),
        reason: "not now".to_owned(),
    };
    runs.cancel_run(cancel).await.unwrap();
    match agent.next().await {
        CoordinatorMessage::Cancel(cancel) => {
            assert_eq!(cancel.key, start.key);
            assert!(cancel.reason.contains("not now"), "{}", cancel.reason);
        }
        other => panic!("{other:?}"),
    }
    agent
        .say(AgentMessage::Result(Box::new(result(
            start.key,
            start.work,
            TaskState::Cancelled,
            "cancelled",
        ))))
        .await;
    until("it is cancelled", || async {
        let mut runs = world.operator().await.runs();
        let found = runs
            .get_run(v1::GetRunRequest { id: run.id.clone() })
            .await
            .unwrap()
            .into_inner();
        (found.run.unwrap().state() == v1::RunState::Cancelled).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_fills_an_empty_store() {
    let world = World::start().await;
    let client = world.client(dr_proto::model::Role::Agent, "db-1").await;
    let mut agent = Agent::attach(client, &host("db-1"), |_| {}).await;
    assert!(agent.welcome().await.wants_history);
    let key = dr_proto::model::TaskKey {
        task: dr_proto::model::TaskId::new(crate::world::now()),
        fence: fence(7, 1),
    };
    let history = dr_proto::model::History {
        results: vec![result(key, snapshot(), TaskState::Passed, "")],
        plans: Vec::new(),
    };
    agent.say(AgentMessage::History(history)).await;
    let mut runs = world.operator().await.runs();
    let filed = until("it is filed", || async {
        let found = world.store.tasks().get(key.task).await.unwrap();
        found.filter(|task| task.state == TaskState::Passed)
    })
    .await;
    let listed = runs
        .list_runs(v1::ListRunsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.runs.len(), 1);
    assert_eq!(listed.runs[0].id, filed.run.to_string());
    drop(agent);
    // Something else came after the history or not: only what was told in full is not asked for again.
    let client = world.client(dr_proto::model::Role::Agent, "db-1").await;
    let mut agent = Agent::attach(client, &host("db-1"), |_| {}).await;
    assert!(
        agent.welcome().await.wants_history,
        "the stream ended before the history was known to be whole"
    );
    agent
        .say(AgentMessage::History(dr_proto::model::History::default()))
        .await;
    agent
        .say(AgentMessage::Inventory(dr_proto::model::Inventory::default()))
        .await;
    until("the history counts as told", || async {
        world
            .store
            .hosts()
            .get(&host("db-1"))
            .await
            .unwrap()
            .filter(|record| record.history_filed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_a_snapshot_without_a_source_of_the_host_is_no_pass() {
    use dr_proto::model::{DrillKind, DrillWork, Inventory, SourceInfo, Work};

    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let source = |name: &str, configured| SourceInfo {
        name: name.to_owned(),
        kind: "lancedb".to_owned(),
        path: format!("/srv/{name}"),
        problem: None,
        damaged: false,
        configured,
    };
    let inventory = Inventory {
        sources: vec![
            source("memory", true),
            source("audit", true),
            source("found", false),
        ],
        ..Inventory::default()
    };
    agent.say(AgentMessage::Inventory(inventory)).await;
    let drill = |snapshot: &str| {
        Work::Drill(DrillWork {
            kind: DrillKind::Verify,
            snapshot: snapshot.to_owned(),
            from_host: None,
            bytes_budget: None,
            hooks: Vec::new(),
            recall_tolerance: None,
            only: None,
            loss: None,
            bytes_cycle: None,
            content_cycle: None,
        })
    };
    let cases = [
        ("latest", &["memory"][..], v1::TaskState::Inconclusive),
        ("latest", &["memory", "audit"], v1::TaskState::Passed),
        // Who names a snapshot wants that one, whatever it holds.
        ("00ff", &["memory"], v1::TaskState::Passed),
    ];
    for (index, (snapshot, sources, state)) in cases.into_iter().enumerate() {
        let mut runs = world.operator().await.runs();
        let request = ask(&format!("r-{index}"), "db-1", drill(snapshot));
        let run = runs.start_run(request).await.unwrap().into_inner();
        let start = agent.start().await;
        let mut answer = passed(&start);
        answer.outcome.document = report(sources);
        agent.answer(&answer).await;
        // Told again, it is known.
        agent.answer(&answer).await;
        let task = task_of(&world, &run.id).await;
        assert_eq!(task.state(), state, "{}", task.explanation);
        if state == v1::TaskState::Inconclusive {
            assert_eq!(task.cause, "source_not_in_snapshot");
            assert!(task.explanation.contains("audit") && !task.explanation.contains("found"));
        }
    }
}

/// The report of a drill that passed for these sources.
fn report(sources: &[&str]) -> Vec<u8> {
    use dr_proto::model::{
        Bytes, DrillId, DrillKind, Freshness, ProofLevel, Report, Rpo, SourceReport, Verdict,
    };
    let source = |name: &&str| SourceReport {
        name: (*name).to_owned(),
        kind: "lancedb".to_owned(),
        root: format!("/srv/{name}"),
        files: 3,
        bytes: 10,
        capture: None,
        verdict: Verdict::Passed,
        proof: ProofLevel::Queries,
        checks: Vec::new(),
        notes: Vec::new(),
    };
    let report = Report {
        schema: 1,
        drill: DrillId::new(crate::world::now()),
        kind: DrillKind::Verify,
        loss: None,
        host: "db-1".to_owned(),
        agent: "0.1.0".to_owned(),
        probe: None,
        started: crate::world::now(),
        finished: crate::world::now(),
        snapshot: None,
        repository: "file:///r".to_owned(),
        encrypted: true,
        freshness: Freshness::Fresh,
        verdict: Verdict::Passed,
        proof: ProofLevel::Queries,
        binding: String::new(),
        time_to_usable: None,
        time_to_proven: 3.0,
        rpo: Rpo {
            at_loss: Some(60.0),
            worst_gap: None,
            snapshots: 1,
        },
        bytes: Bytes::default(),
        phases: Vec::new(),
        sources: sources.iter().map(source).collect(),
        notes: Vec::new(),
    };
    serde_json::to_vec(&report).unwrap()
}
