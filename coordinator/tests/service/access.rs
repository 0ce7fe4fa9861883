//! Who may call what: every method of every service, with everybody who might try.

use dr_coordinator::access::rules::{Rule, TABLE};
use dr_proto::client::Client;
use dr_proto::model::Role;
use dr_proto::v1;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::world::{PATIENCE, World, ask, check, passed, until, word};

/// The words of a refusal by the guard.
const REFUSED: [&str; 5] = [
    "no_certificate",
    "role",
    "revoked",
    "other_domain",
    "unknown_method",
];

/// `/package.Service/Method` of everything that reflection describes.
fn methods() -> Vec<String> {
    let sets = [
        v1::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut methods = Vec::new();
    for set in sets {
        for file in FileDescriptorSet::decode(set).unwrap().file {
            for service in &file.service {
                for method in &service.method {
                    methods.push(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
    }
    methods
}

/// Calls a method with an empty message, whatever kind it is, and says how the guard answered: its word, or none.
async fn knock(client: &Client, path: &str) -> Option<String> {
    let mut grpc = Grpc::new(client.channel());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(path.to_owned()).unwrap();
    let request = tonic::Request::new(tokio_stream::once(()));
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    // A refusal comes in the stead of a stream; a stream that has begun was let through, whatever it says then.
    let begun = tokio::time::timeout(PATIENCE, grpc.streaming(request, path, codec)).await;
    let status = begun.expect("an answer in time").err()?;
    let word = word(&status);
    if !REFUSED.contains(&word.as_str()) {
        return None;
    }
    let expected = if word == "no_certificate" {
        Code::Unauthenticated
    } else {
        Code::PermissionDenied
    };
    assert_eq!(status.code(), expected, "{status}");
    Some(word)
}

#[test]
fn every_method_has_a_rule_and_every_rule_a_method() {
    let methods = methods();
    for method in &methods {
        assert!(
            TABLE.iter().any(|(known, _)| known == method),
            "{method} stands in no row"
        );
    }
    for (known, _) in TABLE {
        assert!(
            methods.iter().any(|method| method == known),
            "{known} is not served"
        );
    }
    assert!(methods.len() > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_call_what_the_table_says_and_nothing_else() {
    let world = World::start().await;
    let callers = [
        (None, world.stranger().await),
        (Some(Role::Agent), world.client(Role::Agent, "db-9").await),
        (Some(Role::Viewer), world.client(Role::Viewer, "vic").await),
        (Some(Role::Operator), world.client(Role::Operator, "ana").await),
    ];
    for (role, client) in &callers {
        for (method, rule) in TABLE {
            let refused = knock(client, method).await;
            let expected = match (rule, role) {
                (Rule::Open, _) => None,
                (_, None) => Some("no_certificate"),
                (rule, Some(role)) if rule.admits(*role) => None,
                (_, Some(_)) => Some("role"),
            };
            assert_eq!(refused.as_deref(), expected, "{method} as {role:?}");
        }
    }
    until("refusals are audited", || async {
        let entries = world.audited("call.refused").await;
        let about =
            |actor: &str, method: &str| entries.iter().any(|e| e.actor == actor && e.subject == method);
        (about("spiffe://acme.example/viewer/vic", "/drill.v1.Runs/StartRun")
            && about("spiffe://acme.example/agent/db-9", "/drill.v1.Fleet/GetStatus")
            && about("127.0.0.1", "/drill.v1.Plans/ApplyPlan"))
        .then_some(())
    })
    .await;
    let scrape = world.scrape().await;
    assert!(
        !scrape.contains("dr_auth_refusals_total{reason=\"role\"} 0"),
        "{scrape}"
    );
    assert!(
        !scrape.contains("dr_auth_refusals_total{reason=\"no_certificate\"} 0"),
        "{scrape}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_stands_in_no_row_is_refused() {
    let world = World::start().await;
    let operator = world.operator().await;
    let mut grpc = Grpc::new(operator.channel());
    grpc.ready().await.unwrap();
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    let path = PathAndQuery::from_static("/drill.v1.Fleet/Shutdown");
    let status = grpc
        .unary(tonic::Request::new(()), path, codec)
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), word(&status).as_str()),
        (Code::Unimplemented, "unknown_method")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_everywhere_and_its_stream_ends() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let by = "spiffe://acme.example/operator/ana";
    let host = crate::world::host("db-1");
    // Revoked by another process that shares the store: word of it comes with the change.
    world
        .store
        .hosts()
        .revoke(&host, "stolen", by, None)
        .await
        .unwrap();
    assert_eq!(agent.goodbye().await, dr_proto::model::GoodbyeReason::Revoked);
    for (method, rule) in TABLE.iter().filter(|(_, rule)| *rule != Rule::Open) {
        assert_eq!(
            knock(&agent.client, method).await.as_deref(),
            Some("revoked"),
            "{method} {rule:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_operators_watch_ends_with_its_next_event() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let files = world.files(Role::Operator, "eve");
    let eve = world.connect(files).await.unwrap();
    let run = eve
        .runs()
        .start_run(ask("1", "db-1", check()))
        .await
        .unwrap()
        .into_inner();
    let watched = eve
        .runs()
        .watch_run(v1::WatchRunRequest { id: run.id })
        .await
        .unwrap();
    let mut events = watched.into_inner();
    let start = agent.start().await;
    let serial = world.serial(Role::Operator, "eve");
    let known = dr_store::certificates::Certificate {
        serial: serial.clone(),
        identity: "spiffe://acme.example/operator/eve".to_owned(),
        host: None,
        issued: crate::world::now(),
        expires: crate::world::now() + std::time::Duration::from_secs(600),
    };
    world.store.certificates().record(&known, "ana").await.unwrap();
    world
        .store
        .certificates()
        .revoke(&serial, "left", "ana")
        .await
        .unwrap();
    until("new calls are refused", || async {
        knock(&eve, "/drill.v1.Fleet/GetStatus").await
    })
    .await;
    agent.answer(&passed(&start)).await;
    let status = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the watch should have been cut off"),
            Err(status) => break status,
        }
    };
    assert_eq!(word(&status), "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_gets_no_connection_and_is_counted() {
    let world = World::start().await;
    let files = world.foreign_files(Role::Operator, "eve");
    // TLS 1.3 lets a client believe that it is in until its first call.
    let refused = match world.connect(files).await {
        Err(_) => true,
        Ok(client) => client.fleet().get_status(v1::GetStatusRequest {}).await.is_err(),
    };
    assert!(refused);
    until("it is audited", || async {
        let entries = world.audited("call.refused").await;
        entries.into_iter().find(|entry| {
            entry.subject == "handshake" && entry.details.to_string().contains("unknown_authority")
        })
    })
    .await;
    // A client that lost its connection may have dialled again.
    let scrape = world.scrape().await;
    assert!(
        !scrape.contains("dr_auth_refusals_total{reason=\"unknown_authority\"} 0"),
        "{scrape}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_makes_few_entries_and_is_counted_in_full() {
    let world = World::start().await;
    let viewer = world.client(Role::Viewer, "vic").await;
    for _ in 0..200 {
        let request = v1::DeletePlanRequest { name: "x".to_owned() };
        viewer.plans().delete_plan(request).await.unwrap_err();
    }
    until("the first is audited", || async {
        world.audited("call.refused").await.pop()
    })
    .await;
    assert_eq!(world.audited("call.refused").await.len(), 1);
    assert!(
        world
            .scrape()
            .await
            .contains("dr_auth_refusals_total{reason=\"role\"} 200")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_ask_whether_it_serves() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(stranger.channel());
    for service in ["", "drill.v1.Fleet"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = until("it serves", || {
            let mut health = health.clone();
            let request = request.clone();
            async move { health.check(request).await.ok() }
        })
        .await;
        assert_eq!(answer.into_inner().status, 1, "serving: {service:?}");
    }
    let unknown = tonic_health::pb::HealthCheckRequest {
        service: "drill.v1.Nothing".to_owned(),
    };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}
