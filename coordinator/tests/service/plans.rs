//! Plans over the wire.

use dr_proto::model::{CoordinatorMessage, Inventory, SourceInfo};
use dr_proto::v1;
use tonic::Code;

use crate::world::{World, refusal, until};

const PLAN: &str = r#"
schema = 1
name = "nightly"
select = { labels = "*" }
schedule = { cron = "0 3 * * *" }
drill = { kind = "verify" }
"#;

async fn inventory(world: &World, agent: &crate::world::Agent) {
    let source = SourceInfo {
        name: "memory".to_owned(),
        kind: "lancedb".to_owned(),
        path: "/srv/memory".to_owned(),
        problem: None,
        damaged: false,
        configured: true,
    };
    let inventory = Inventory {
        sources: vec![source],
        ..Inventory::default()
    };
    agent
        .say(dr_proto::model::AgentMessage::Inventory(inventory))
        .await;
    until("the inventory is filed", || async {
        let sources = world
            .store
            .inventories()
            .sources(Some(&agent.host))
            .await
            .unwrap();
        (!sources.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_previewed_started_and_told_to_agents() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    inventory(&world, &agent).await;
    let mut plans = world.operator().await.plans();
    let apply = v1::ApplyPlanRequest {
        text: PLAN.to_owned(),
        expected_hash: String::new(),
    };
    let applied = plans.apply_plan(apply.clone()).await.unwrap().into_inner();
    assert_eq!(applied.change(), v1::apply_plan_response::Change::Created);
    let plan = applied.plan.unwrap();
    assert!(plan.next_slot.is_some() && plan.enabled);
    assert_eq!(plan.hosts, 1);
    let again = plans.apply_plan(apply).await.unwrap().into_inner();
    assert_eq!(again.change(), v1::apply_plan_response::Change::Unchanged);
    loop {
        if let Some(CoordinatorMessage::Plans(told)) = agent.hear().await.unwrap()
            && told
                .first()
                .is_some_and(|told| told.name == "nightly" && told.hash == plan.hash)
        {
            break;
        }
    }
    let name = v1::preview_plan_request::Plan::Name("nightly".to_owned());
    let preview = plans
        .preview_plan(v1::PreviewPlanRequest { plan: Some(name) })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(preview.hosts.len(), 1);
    let mut runs = world.operator().await.runs();
    let start = v1::StartRunRequest {
        request_id: "1".to_owned(),
        what: Some(v1::start_run_request::What::Plan("nightly".to_owned())),
    };
    let run = runs.start_run(start).await.unwrap().into_inner();
    let task = agent.start().await;
    assert_eq!(task.run.to_string(), run.id);
    assert_eq!(
        v1::Work::from(task.work),
        preview.hosts[0].work.clone().unwrap(),
        "the preview is what the run does"
    );
    assert_eq!(task.slot.unwrap().plan, "nightly");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_errors_is_refused_with_line_and_key() {
    let world = World::start().await;
    let mut plans = world.operator().await.plans();
    let text = PLAN.replace("kind = \"verify\"", "kidn = \"verify\"");
    let apply = v1::ApplyPlanRequest {
        text,
        expected_hash: String::new(),
    };
    let status = plans.apply_plan(apply).await.unwrap_err();
    assert_eq!(
        (status.code(), crate::world::word(&status).as_str()),
        (Code::InvalidArgument, "plan_invalid")
    );
    assert!(
        status.message().contains("line 6") && status.message().contains("kidn"),
        "{}",
        status.message()
    );
    assert!(
        plans
            .list_plans(v1::ListPlansRequest {})
            .await
            .unwrap()
            .into_inner()
            .plans
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_changed_meanwhile_is_not_overwritten() {
    let world = World::start().await;
    let mut plans = world.operator().await.plans();
    let apply = |text: &str, expected: &str| v1::ApplyPlanRequest {
        text: text.to_owned(),
        expected_hash: expected.to_owned(),
    };
    let first = plans
        .apply_plan(apply(PLAN, ""))
        .await
        .unwrap()
        .into_inner()
        .plan
        .unwrap();
    let other = PLAN.replace("0 3", "0 4");
    let second = plans
        .apply_plan(apply(&other, &first.hash))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(second.change(), v1::apply_plan_response::Change::Replaced);
    let stale = refusal(plans.apply_plan(apply(PLAN, &first.hash)).await);
    assert_eq!(stale, (Code::Aborted, "plan_changed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_disabled_deleted_and_its_sources_are_uncovered_then() {
    let world = World::start().await;
    let agent = world.agent("db-1").await;
    inventory(&world, &agent).await;
    let mut plans = world.operator().await.plans();
    let mut fleet = world.operator().await.fleet();
    let uncovered = v1::ListSourcesRequest {
        host: String::new(),
        uncovered: true,
    };
    assert_eq!(
        fleet
            .list_sources(uncovered.clone())
            .await
            .unwrap()
            .into_inner()
            .sources
            .len(),
        1
    );
    let apply = v1::ApplyPlanRequest {
        text: PLAN.to_owned(),
        expected_hash: String::new(),
    };
    plans.apply_plan(apply).await.unwrap();
    assert!(
        fleet
            .list_sources(uncovered.clone())
            .await
            .unwrap()
            .into_inner()
            .sources
            .is_empty()
    );
    let disable = v1::EnablePlanRequest {
        name: "nightly".to_owned(),
        enabled: false,
    };
    let plan = plans.enable_plan(disable).await.unwrap().into_inner();
    assert!(!plan.enabled && plan.next_slot.is_none());
    assert_eq!(
        fleet
            .list_sources(uncovered)
            .await
            .unwrap()
            .into_inner()
            .sources
            .len(),
        1
    );
    plans
        .delete_plan(v1::DeletePlanRequest {
            name: "nightly".to_owned(),
        })
        .await
        .unwrap();
    let gone = refusal(
        plans
            .get_plan(v1::GetPlanRequest {
                name: "nightly".to_owned(),
            })
            .await,
    );
    assert_eq!(gone, (Code::NotFound, "not_found".to_owned()));
    let audited: Vec<String> = world
        .store
        .audit()
        .list(0, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.action)
        .collect();
    for action in ["plan.apply", "plan.delete"] {
        assert!(
            audited.iter().any(|found| found == action),
            "{action} in {audited:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_leaves_a_host_out_has_not_passed_and_names_it() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    inventory(&world, &agent).await;
    let other = world.agent("db-2").await;
    inventory(&world, &other).await;
    let operator = world.operator().await;
    let suspend = v1::SuspendRequest {
        scope: "host=db-2".to_owned(),
        reason: "a new disk".to_owned(),
        duration: Some(prost_types::Duration {
            seconds: 40 * 86_400 / 2,
            nanos: 0,
        }),
    };
    operator.fleet().suspend(suspend).await.unwrap();
    let apply = v1::ApplyPlanRequest {
        text: PLAN.to_owned(),
        expected_hash: String::new(),
    };
    operator.plans().apply_plan(apply).await.unwrap();
    let start = v1::StartRunRequest {
        request_id: "1".to_owned(),
        what: Some(v1::start_run_request::What::Plan("nightly".to_owned())),
    };
    let run = operator.runs().start_run(start).await.unwrap().into_inner();
    let task = agent.start().await;
    agent.answer(&crate::world::passed(&task)).await;
    let detail = until("the run has ended", || async {
        let get = v1::GetRunRequest { id: run.id.clone() };
        let detail = operator.runs().get_run(get).await.unwrap().into_inner();
        detail.run.as_ref()?.finished.is_some().then_some(detail)
    })
    .await;
    let run = detail.run.unwrap();
    assert_eq!(run.state(), v1::RunState::Inconclusive, "{}", run.explanation);
    assert!(run.explanation.contains("db-2, suspended"), "{}", run.explanation);
    let left_out: Vec<_> = detail
        .left_out
        .iter()
        .map(|entry| (entry.host.as_str(), entry.by_plan))
        .collect();
    assert_eq!(left_out, [("db-2", false)]);
}
