//! Starting, listing and finding runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dr_proto::model::{
    DrillKind, DrillWork, HoldChange, HoldTerms, HoldWork, Role, SnapshotWork, Work, capability,
};
use dr_proto::v1;
use tonic::Code;

use crate::world::{Agent, World, ask, host, passed, refusal, snapshot};

fn select(id: &str, selector: &str) -> v1::StartRunRequest {
    let mut request = ask(id, "", snapshot());
    if let Some(v1::start_run_request::What::AdHoc(adhoc)) = &mut request.what {
        adhoc.hosts = Some(v1::ad_hoc::Hosts::Select(selector.to_owned()));
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_starts_one_run() {
    let world = World::start().await;
    let _agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let first = runs
        .start_run(ask("same", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    let second = runs
        .start_run(ask("same", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.id, second.id);
    let other = runs
        .start_run(ask("other", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    assert_ne!(first.id, other.id);
    assert_eq!(world.audited("run.start").await.len(), 2);
    let missing = refusal(runs.start_run(ask("", "db-1", snapshot())).await);
    assert_eq!(missing, (Code::InvalidArgument, "invalid_request".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_refused_by_name() {
    let world = World::start().await;
    let _agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let unknown = refusal(runs.start_run(ask("1", "db-2", snapshot())).await);
    assert_eq!(unknown, (Code::NotFound, "not_found".to_owned()));
    let nobody = refusal(runs.start_run(select("2", "env=prod")).await);
    assert_eq!(nobody, (Code::NotFound, "no_hosts".to_owned()));
    let bad = refusal(runs.start_run(select("3", "env in (")).await);
    assert_eq!(bad, (Code::InvalidArgument, "invalid_request".to_owned()));
    let drill = Work::Drill(DrillWork {
        only: None,
        kind: DrillKind::Failover,
        snapshot: "latest".to_owned(),
        from_host: None,
        bytes_budget: None,
        hooks: Vec::new(),
        recall_tolerance: None,
        loss: None,
        bytes_cycle: None,
        content_cycle: None,
    });
    let early = refusal(runs.start_run(ask("4", "db-1", drill)).await);
    assert_eq!(early, (Code::InvalidArgument, "invalid_request".to_owned()));
    let what = v1::StartRunRequest {
        request_id: "5".to_owned(),
        what: None,
    };
    assert_eq!(refusal(runs.start_run(what).await).0, Code::InvalidArgument);
    assert!(
        runs.list_runs(v1::ListRunsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .runs
            .is_empty()
    );
    world
        .store
        .hosts()
        .revoke(&host("db-1"), "gone", "ana", None)
        .await
        .unwrap();
    let barred = refusal(runs.start_run(ask("6", "db-1", snapshot())).await);
    assert_eq!(barred, (Code::FailedPrecondition, "host_not_welcome".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_page_by_page_and_found_by_the_start_of_their_id() {
    let world = World::start().await;
    let _agents = (world.agent("db-1").await, world.agent("db-2").await);
    let mut runs = world.operator().await.runs();
    let mut made = Vec::new();
    for number in 0..5 {
        let name = if number % 2 == 0 { "db-1" } else { "db-2" };
        made.push(
            runs.start_run(ask(&number.to_string(), name, snapshot()))
                .await
                .unwrap()
                .into_inner()
                .id,
        );
    }
    // Newest first; of one millisecond chance decides.
    made.sort();
    made.reverse();
    let mut listed = Vec::new();
    let mut page = String::new();
    loop {
        let request = v1::ListRunsRequest {
            limit: 2,
            page,
            ..Default::default()
        };
        let answer = runs.list_runs(request).await.unwrap().into_inner();
        listed.extend(answer.runs.into_iter().map(|run| run.id));
        page = answer.next_page;
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(listed, made);
    let of_host = v1::ListRunsRequest {
        host: "db-2".to_owned(),
        ..Default::default()
    };
    assert_eq!(runs.list_runs(of_host).await.unwrap().into_inner().runs.len(), 2);
    let start = &made[0][..30];
    let found = runs.get_run(v1::GetRunRequest { id: start.to_owned() }).await;
    // Ids of one millisecond may begin alike: then the answer says so.
    match found {
        Ok(found) => assert_eq!(found.into_inner().run.unwrap().id, made[0]),
        Err(status) => assert_eq!(crate::world::word(&status), "ambiguous"),
    }
    let unknown = refusal(
        runs.get_run(v1::GetRunRequest {
            id: "ffffffff".to_owned(),
        })
        .await,
    );
    assert_eq!(unknown, (Code::NotFound, "not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_takes_every_host_that_it_picks() {
    let world = World::start().await;
    let mut agents = [world.agent("db-1").await, world.agent("db-2").await];
    let mut runs = world.operator().await.runs();
    let run = runs.start_run(select("all", "*")).await.unwrap().into_inner();
    for agent in &mut agents {
        assert_eq!(agent.start().await.run.to_string(), run.id);
    }
    let several = refusal(runs.get_report(v1::GetReportRequest { id: run.id }).await);
    assert_eq!(several, (Code::InvalidArgument, "several_tasks".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_host_is_not_asked_until_it_resumes() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut fleet = world.operator().await.fleet();
    let suspend = v1::SuspendRequest {
        scope: "fleet".to_owned(),
        reason: "maintenance".to_owned(),
        duration: None,
    };
    fleet.suspend(suspend.clone()).await.unwrap();
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    let task = crate::world::until("it says why it waits", || async {
        let mut runs = world.operator().await.runs();
        let detail = runs
            .get_run(v1::GetRunRequest { id: run.id.clone() })
            .await
            .unwrap()
            .into_inner();
        detail
            .tasks
            .into_iter()
            .find(|task| task.explanation.contains("maintenance"))
    })
    .await;
    assert_eq!(task.state(), v1::TaskState::Queued);
    let unreasoned = v1::SuspendRequest {
        reason: String::new(),
        ..suspend
    };
    assert_eq!(refusal(fleet.suspend(unreasoned).await).0, Code::InvalidArgument);
    fleet
        .resume(v1::ResumeRequest {
            scope: "fleet".to_owned(),
        })
        .await
        .unwrap();
    assert_eq!(agent.start().await.run.to_string(), run.id);
    let nothing = refusal(
        fleet
            .resume(v1::ResumeRequest {
                scope: "fleet".to_owned(),
            })
            .await,
    );
    assert_eq!(nothing, (Code::NotFound, "not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_not_asked_what_it_does_not_understand() {
    let world = World::start().await;
    let _old = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let terms = HoldTerms {
        reason: "OPS-1".to_owned(),
        lasts_seconds: Some(3_600),
    };
    let held_snapshot = Work::Snapshot(SnapshotWork {
        hold: Some(terms.clone()),
        ..SnapshotWork::default()
    });
    let hold = Work::Hold(HoldWork {
        snapshot: "latest".to_owned(),
        change: HoldChange::Set(terms),
    });
    for (id, work) in [("1", held_snapshot), ("2", hold.clone())] {
        let run = runs.start_run(ask(id, "db-1", work)).await.unwrap().into_inner();
        crate::world::until("it is said what the agent lacks", || async {
            let mut runs = world.operator().await.runs();
            let request = v1::GetRunRequest { id: run.id.clone() };
            let detail = runs.get_run(request).await.unwrap().into_inner();
            let said = &detail.tasks[0].explanation;
            said.contains("does not understand snapshot.hold").then_some(())
        })
        .await;
    }
    let client = world.client(Role::Agent, "db-2").await;
    let mut new = Agent::attach(client, &host("db-2"), |hello| {
        hello.capabilities = vec![capability::SNAPSHOT_HOLD.to_owned()];
    })
    .await;
    new.welcome().await;
    let run = runs.start_run(ask("3", "db-2", hold.clone())).await.unwrap();
    assert_eq!(run.into_inner().work, "snapshot hold");
    assert_eq!(new.start().await.work, hold);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_work_through_one_request_a_few_at_a_time() {
    const HOSTS: usize = 40;
    const AT_A_TIME: usize = 8;
    let world = World::start_with(|config| config.limits.tasks = AT_A_TIME).await;
    let at_work = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut agents = tokio::task::JoinSet::new();
    for number in 0..HOSTS {
        let mut agent = world.agent(&format!("db-{number}")).await;
        let (at_work, most) = (at_work.clone(), most.clone());
        agents.spawn(async move {
            let start = agent.start().await;
            most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Others get their chance to be handed out too early.
            tokio::task::yield_now().await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            agent.answer(&passed(&start)).await;
            agent
        });
    }
    let mut runs = world.operator().await.runs();
    let run = runs.start_run(select("all", "*")).await.unwrap().into_inner();
    let answered = tokio::time::timeout(crate::world::PATIENCE, agents.join_all()).await;
    assert_eq!(
        answered.expect("every host was asked and acknowledged").len(),
        HOSTS
    );
    assert!(most.load(Ordering::SeqCst) <= AT_A_TIME);
    let ended = crate::world::until("the run has passed", || async {
        let mut runs = world.operator().await.runs();
        let request = v1::GetRunRequest { id: run.id.clone() };
        let run = runs.get_run(request).await.unwrap().into_inner().run.unwrap();
        (run.state() == v1::RunState::Passed).then_some(run)
    })
    .await;
    assert_eq!(ended.tasks.get("passed").copied(), u32::try_from(HOSTS).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_kept_beside_runs_and_tasks() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut runs = world.operator().await.runs();
    let run = runs
        .start_run(ask("1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    let task = agent.start().await.key.task.to_string();
    let note = |id: &str, text: &str, request: &str| v1::AddNoteRequest {
        id: id.to_owned(),
        text: text.to_owned(),
        request_id: request.to_owned(),
    };
    for bad in ["", "  ", "a\u{1b}[2Jb", &"x".repeat(4_001)] {
        let refused = refusal(runs.add_note(note(&run.id, bad, "r")).await);
        assert_eq!(refused, (Code::InvalidArgument, "invalid_request".to_owned()));
    }
    let nowhere = refusal(runs.add_note(note("ffffffff", "x", "r")).await);
    assert_eq!(nowhere, (Code::NotFound, "not_found".to_owned()));
    for _ in 0..2 {
        runs.add_note(note(&run.id, "beside the run\nwith a second line", "1"))
            .await
            .unwrap();
    }
    runs.add_note(note(&task, "beside the task", "2")).await.unwrap();
    let detail = runs
        .get_run(v1::GetRunRequest { id: task.clone() })
        .await
        .unwrap()
        .into_inner();
    let kept: Vec<(&str, &str)> = detail
        .notes
        .iter()
        .map(|note| (note.task.as_str(), note.text.as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            ("", "beside the run\nwith a second line"),
            (task.as_str(), "beside the task")
        ]
    );
    assert!(
        detail.notes.iter().all(|note| note.by.contains("operator")),
        "{detail:?}"
    );
    assert_eq!(world.audited("note.add").await.len(), 2);
}
