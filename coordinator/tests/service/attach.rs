//! Attaching: who gets in, who is turned away, and what both are told.

use std::time::Duration;

use dr_proto::model::units::Period;
use dr_proto::model::{
    AgentMessage, CoordinatorMessage, Farewell, GoodbyeReason, Heartbeat, Hello, Inventory, PROTOCOL, Role,
    SnapshotInfo, SourceInfo, TOLERATED_SKEW, capability,
};
use dr_proto::v1;
use jiff::SignedDuration;
use tonic::Code;

use crate::world::{Agent, World, host, now, refusal, until, word};

fn beat() -> Heartbeat {
    Heartbeat {
        clock: now(),
        suspended: None,
        tasks: Vec::new(),
        oldest_pin: None,
        scratch_bytes: 0,
    }
}

async fn show(world: &World, name: &str) -> v1::Agent {
    let mut fleet = world.operator().await.fleet();
    fleet
        .get_agent(v1::GetAgentRequest {
            host: name.to_owned(),
        })
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_welcomed_and_seen() {
    let world = World::start().await;
    let client = world.client(Role::Agent, "db-1").await;
    let mut agent = Agent::attach(client, &host("db-1"), |_| {}).await;
    let welcome = agent.welcome().await;
    assert_eq!(welcome.protocol, PROTOCOL);
    assert_eq!(welcome.epoch, world.epoch);
    assert!(welcome.wants_history, "nothing of its past is known");
    agent
        .say(AgentMessage::Inventory(Inventory {
            sources: vec![SourceInfo {
                name: "memory".to_owned(),
                kind: "lancedb".to_owned(),
                path: "/srv/memory".to_owned(),
                problem: None,
                damaged: false,
                configured: true,
            }],
            snapshots: vec![SnapshotInfo {
                id: "0".repeat(32),
                cut: now(),
                exact: true,
                suspect: None,
                reason: None,
                bytes: 42,
                sources: vec!["memory".to_owned()],
                hold: None,
            }],
            snapshots_problem: None,
            stored_bytes: 4_242,
            verification: None,
        }))
        .await;
    let seen = until("the inventory is shown", || async {
        Some(show(&world, "db-1").await).filter(|agent| !agent.sources.is_empty())
    })
    .await;
    assert_eq!(seen.state(), v1::agent::State::Connected);
    assert_eq!(seen.sources[0].name, "memory");
    assert!(seen.problems.is_empty(), "{:?}", seen.problems);
    drop(agent);
    until("it is away", || async {
        (show(&world, "db-1").await.state() == v1::agent::State::Away).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_speaks_for_another_host_is_refused_audited_and_counted() {
    let world = World::start().await;
    let client = world.client(Role::Agent, "db-1").await;
    let mut agent = Agent::attach(client, &host("db-2"), |_| {}).await;
    let status = agent.hear().await.expect_err("it is refused");
    assert_eq!(
        (status.code(), word(&status).as_str()),
        (Code::PermissionDenied, "wrong_host")
    );
    let entry = until("it is audited", || async {
        world
            .audited("call.refused")
            .await
            .into_iter()
            .find(|entry| entry.subject == "db-2")
    })
    .await;
    assert_eq!(entry.actor, "spiffe://acme.example/agent/db-1");
    assert!(
        world
            .scrape()
            .await
            .contains("dr_auth_refusals_total{reason=\"wrong_host\"} 1")
    );
    assert!(
        world.store.hosts().get(&host("db-2")).await.unwrap().is_none(),
        "it left no trace of a host"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_stream_of_an_identity_wins_and_somebody_is_told() {
    let world = World::start().await;
    let mut first = world.agent("db-1").await;
    let second = world
        .agent_with("db-1", |hello| hello.incarnation = "another".to_owned())
        .await;
    assert_eq!(first.goodbye().await, GoodbyeReason::Replaced);
    assert!(
        first.hear().await.unwrap().is_none(),
        "the stream ends after the goodbye"
    );
    assert_eq!(world.audited("agent.duplicate").await.len(), 1);
    let mut fleet = world.operator().await.fleet();
    let status = fleet
        .get_status(v1::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let concern = status
        .concerns
        .iter()
        .find(|concern| concern.kind == "duplicate_identity")
        .unwrap();
    assert_eq!(concern.host, "db-1");
    assert_eq!(status.agents_connected, 1);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_process_that_dials_again_is_no_second_one() {
    let world = World::start().await;
    let mut first = world.agent("db-1").await;
    let _second = world.agent("db-1").await;
    assert_eq!(first.goodbye().await, GoodbyeReason::Replaced);
    assert!(world.audited("agent.duplicate").await.is_empty());
}

/// A process of a version that says farewell.
fn process(name: &str) -> impl FnOnce(&mut Hello) {
    move |hello| {
        hello.incarnation = name.to_owned();
        hello.capabilities = vec![capability::FAREWELL.to_owned()];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_gone_without_a_word_is_no_twin() {
    let world = World::start().await;
    let mut first = world.agent_with("db-1", process("one")).await;
    let mut second = world.agent_with("db-1", process("two")).await;
    assert_eq!(first.goodbye().await, GoodbyeReason::Replaced);
    // It was killed: what it had sent before may still come, and nothing else does.
    first.say(AgentMessage::Heartbeat(beat())).await;
    drop(first);
    let _third = world.agent_with("db-1", process("three")).await;
    assert_eq!(second.goodbye().await, GoodbyeReason::Replaced);
    drop(second);
    assert!(world.audited("agent.duplicate").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_says_farewell_lives_and_is_a_twin() {
    let world = World::start().await;
    let mut first = world.agent_with("db-1", process("one")).await;
    let _second = world.agent_with("db-1", process("two")).await;
    assert_eq!(first.goodbye().await, GoodbyeReason::Replaced);
    assert!(world.audited("agent.duplicate").await.is_empty());
    let farewell = Farewell {
        incarnation: "one".to_owned(),
    };
    first.say(AgentMessage::Farewell(farewell)).await;
    let told = until("both are told of", || async {
        world.audited("agent.duplicate").await.pop()
    })
    .await;
    assert_eq!(told.subject, "db-1");
    let details = told.details;
    assert!(
        details.contains("\"one\"") && details.contains("\"two\""),
        "{details}"
    );
    assert!(
        first.hear().await.unwrap().is_none(),
        "the stream ends when it was heard"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_may_differ_by_a_little() {
    let world = World::start().await;
    for (name, protocol) in [
        ("old", PROTOCOL - TOLERATED_SKEW),
        ("new", PROTOCOL + TOLERATED_SKEW),
    ] {
        let _agent = world.agent_with(name, |hello| hello.protocol = protocol).await;
        let problems = show(&world, name).await.problems;
        assert!(
            problems.iter().any(|problem| problem.contains("minor version")),
            "{name}: {problems:?}"
        );
    }
    let client = world.client(Role::Agent, "newest").await;
    let far = |hello: &mut dr_proto::model::Hello| hello.protocol = PROTOCOL + TOLERATED_SKEW + 1;
    let mut agent = Agent::attach(client, &host("newest"), far).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Version);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_clock_is_a_problem_of_that_host() {
    let world = World::start().await;
    let slow = now() - SignedDuration::from_mins(10);
    let _agent = world.agent_with("db-1", |hello| hello.clock = slow).await;
    let seen = show(&world, "db-1").await;
    assert!(
        seen.problems.iter().any(|problem| problem.contains("clock skew")),
        "{:?}",
        seen.problems
    );
    assert!(seen.clock_skew.unwrap().seconds < -500);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_protocol_is_told_so() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    agent
        .say(AgentMessage::Hello(Box::new(crate::world::hello(&host("db-1")))))
        .await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Protocol);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_is_let_go() {
    let world = World::start_with(|config| {
        config.agents.heartbeat = Period(Duration::from_secs(1));
        config.agents.lost_after = Period(Duration::from_secs(5));
    })
    .await;
    let mut agent = world.agent("db-1").await;
    agent.say(AgentMessage::Heartbeat(beat())).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Shutdown);
    until("it is lost", || async {
        (show(&world, "db-1").await.state() == v1::agent::State::Lost).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_is_sent_away_and_not_let_in_again() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut fleet = world.operator().await.fleet();
    let revoke = v1::RevokeAgentRequest {
        host: "db-1".to_owned(),
        reason: "stolen".to_owned(),
    };
    let answer = fleet.revoke_agent(revoke).await.unwrap().into_inner();
    assert_eq!(answer.streams_ended, 1);
    assert_eq!(agent.goodbye().await, GoodbyeReason::Revoked);
    let request = v1::RenewCertificateRequest {
        csr_pem: String::new(),
    };
    let refused = refusal(agent.client.gateway().renew_certificate(request).await);
    assert_eq!(refused, (Code::PermissionDenied, "revoked".to_owned()));
    assert_eq!(show(&world, "db-1").await.state(), v1::agent::State::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_suspensions_reach_the_agents_that_they_concern() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let mut fleet = world.operator().await.fleet();
    let suspend = v1::SuspendRequest {
        scope: "host=db-1".to_owned(),
        reason: "disk swap".to_owned(),
        duration: None,
    };
    fleet.suspend(suspend).await.unwrap();
    loop {
        match agent.hear().await.unwrap().unwrap() {
            CoordinatorMessage::Suspension(suspension) if suspension.reason.is_some() => {
                assert!(suspension.reason.unwrap().contains("disk swap"));
                assert!(suspension.until.unwrap() > now());
                break;
            }
            CoordinatorMessage::Suspension(_) | CoordinatorMessage::Plans(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let resume = v1::ResumeRequest {
        scope: "host=db-1".to_owned(),
    };
    assert_eq!(fleet.resume(resume).await.unwrap().into_inner().ended, 1);
    loop {
        match agent.hear().await.unwrap().unwrap() {
            CoordinatorMessage::Suspension(suspension) => {
                assert_eq!(suspension.reason, None);
                break;
            }
            CoordinatorMessage::Plans(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_the_inventory_file_are_expected_with_their_labels() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts.json");
    std::fs::write(&file, r#"[{ "host": "db-7", "labels": { "env": "prod" } }]"#).unwrap();
    let world = World::start_with(|config| config.inventory.file = Some(file)).await;
    until("the host is expected", || async {
        let fleet = world.operator().await.fleet();
        let request = v1::ListAgentsRequest {
            select: "env=prod".to_owned(),
        };
        let agents = fleet
            .clone()
            .list_agents(request)
            .await
            .unwrap()
            .into_inner()
            .agents;
        let expected = agents.into_iter().find(|agent| agent.host == "db-7")?;
        (expected.state() == v1::agent::State::Expected).then_some(())
    })
    .await;
    let _agent = world.agent("db-7").await;
    assert_eq!(show(&world, "db-7").await.state(), v1::agent::State::Connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_file_that_can_not_be_read_is_a_concern() {
    let nowhere = std::path::PathBuf::from("/nowhere/hosts.json");
    let world = World::start_with(|config| config.inventory.file = Some(nowhere)).await;
    until("somebody is told", || async {
        let mut fleet = world.operator().await.fleet();
        let status = fleet
            .get_status(v1::GetStatusRequest {})
            .await
            .unwrap()
            .into_inner();
        status
            .concerns
            .into_iter()
            .find(|concern| concern.kind == "inventory_unreadable")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_handed_over_is_compared_with_the_fleet() {
    let world = World::start().await;
    let mut fleet = world.operator().await.fleet();
    let none = crate::world::refusal(fleet.get_inventory_diff(v1::GetInventoryDiffRequest {}).await);
    assert_eq!(none, (tonic::Code::NotFound, "not_found".to_owned()));
    let _expected = world.agent("db-1").await;
    let _stranger = world.agent("db-9").await;
    let listed = |host: &str| v1::ExpectedHost {
        host: host.to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
    };
    let import = |hosts: &[&str]| v1::ImportInventoryRequest {
        hosts: hosts.iter().map(|host| listed(host)).collect(),
    };
    for bad in [&[][..], &["db-1", "db-1"], &["../x"]] {
        let refused = crate::world::refusal(fleet.import_inventory(import(bad)).await);
        assert_eq!(
            refused,
            (tonic::Code::InvalidArgument, "invalid_request".to_owned())
        );
    }
    let done = fleet
        .import_inventory(import(&["db-1", "db-2"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((done.hosts, done.added, done.removed), (2, 2, 0));
    let diff = fleet
        .get_inventory_diff(v1::GetInventoryDiffRequest {})
        .await
        .unwrap()
        .into_inner();
    let missing: Vec<(&str, bool)> = diff
        .missing
        .iter()
        .map(|host| (host.host.as_str(), host.overdue))
        .collect();
    assert_eq!(missing, [("db-2", false)], "it was named a moment ago");
    let unexpected: Vec<&str> = diff.unexpected.iter().map(|host| host.host.as_str()).collect();
    assert_eq!(unexpected, ["db-9"]);
    assert_eq!(
        show(&world, "db-1").await.labels.get("env").map(String::as_str),
        Some("prod")
    );
    assert_eq!(world.audited("inventory.import").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_from_a_file_of_its_own_is_not_replaced_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts.json");
    std::fs::write(&file, r#"[{ "host": "db-7" }]"#).unwrap();
    let world = World::start_with(|config| config.inventory.file = Some(file)).await;
    let mut fleet = world.operator().await.fleet();
    let import = v1::ImportInventoryRequest {
        hosts: vec![v1::ExpectedHost {
            host: "db-1".to_owned(),
            labels: [].into(),
        }],
    };
    let refused = crate::world::refusal(fleet.import_inventory(import).await);
    assert_eq!(
        refused,
        (tonic::Code::FailedPrecondition, "inventory_from_file".to_owned())
    );
}
