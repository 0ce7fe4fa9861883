//! From a token to a certificate, and from one certificate to the next.

use dr_coordinator::pki::new_key;
use dr_proto::model::{EnrolmentToken, Role};
use dr_proto::tls::{Files, Fresh};
use dr_proto::v1;
use tonic::Code;

use crate::world::{Agent, World, host, refusal, until};

/// A key, and a request that is signed with it.
fn request() -> (String, String) {
    let key = new_key().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (key.serialize_pem(), request.pem().unwrap())
}

async fn token(world: &World, host: &str) -> EnrolmentToken {
    let mut fleet = world.operator().await.fleet();
    let create = v1::CreateTokenRequest {
        host: host.to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        valid_for: None,
    };
    let token = fleet.create_token(create).await.unwrap().into_inner();
    token.text.parse().unwrap()
}

fn enrol(token: &EnrolmentToken, host: &str, csr_pem: &str) -> v1::EnrollRequest {
    v1::EnrollRequest {
        token: token.secret.expose(),
        host: host.to_owned(),
        csr_pem: csr_pem.to_owned(),
    }
}

fn keep(world: &World, key: &str, answer: &v1::CertificateResponse) -> Files {
    let files = world.files(Role::Agent, "scratch");
    files
        .install(&Fresh {
            private_key: key,
            certificate: &answer.certificate_pem,
            trust_bundle: &answer.trust_bundle_pem,
        })
        .unwrap();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_one_host_in_once() {
    let world = World::start().await;
    let token = token(&world, "db-1").await;
    assert_eq!(token.endpoints, [format!("https://{}", world.address)]);
    let (key, csr) = request();
    let stranger = world.stranger().await;
    let answer = stranger
        .enrollment()
        .enroll(enrol(&token, "db-1", &csr))
        .await
        .unwrap()
        .into_inner();
    let client = world.connect(keep(&world, &key, &answer)).await.unwrap();
    let mut agent = Agent::attach(client, &host("db-1"), |_| {}).await;
    assert_eq!(
        agent.welcome().await.labels.get("env"),
        Some("prod"),
        "the token fixes labels"
    );
    // The answer may have got lost: the same key may ask again.
    stranger
        .enrollment()
        .enroll(enrol(&token, "db-1", &csr))
        .await
        .unwrap();
    let (_, other) = request();
    let refused = refusal(stranger.enrollment().enroll(enrol(&token, "db-1", &other)).await);
    assert_eq!(refused, (Code::PermissionDenied, "token_refused".to_owned()));
    let mut fleet = world.operator().await.fleet();
    let tokens = fleet
        .list_tokens(v1::ListTokensRequest {})
        .await
        .unwrap()
        .into_inner()
        .tokens;
    assert_eq!(
        (tokens[0].used_by.as_str(), tokens[0].text.as_str()),
        ("db-1", ""),
        "its text is shown once"
    );
    assert_eq!(
        world
            .audited("agent.enroll")
            .await
            .first()
            .map(|entry| entry.subject.clone()),
        Some("db-1".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_nothing_else() {
    let world = World::start().await;
    let token = token(&world, "db-1").await;
    let (_, csr) = request();
    let stranger = world.stranger().await;
    let mut enrolling = stranger.enrollment();
    let refused = refusal(enrolling.enroll(enrol(&token, "db-2", &csr)).await);
    assert_eq!(
        refused,
        (Code::PermissionDenied, "token_refused".to_owned()),
        "another host"
    );
    let refused = refusal(
        enrolling
            .enroll(enrol(&token, "db-1", "-----BEGIN JUNK-----"))
            .await,
    );
    assert_eq!(refused, (Code::InvalidArgument, "bad_signing_request".to_owned()));
    let mut fleet = world.operator().await.fleet();
    fleet
        .withdraw_token(v1::WithdrawTokenRequest {
            id: token.id.to_string(),
        })
        .await
        .unwrap();
    let refused = refusal(enrolling.enroll(enrol(&token, "db-1", &csr)).await);
    assert_eq!(
        refused,
        (Code::PermissionDenied, "token_refused".to_owned()),
        "withdrawn"
    );
    until("refused tokens are audited", || async {
        let entries = world.audited("call.refused").await;
        entries
            .into_iter()
            .find(|entry| entry.actor == "127.0.0.1" && entry.subject == "enrolment of db-2")
    })
    .await;
    assert!(
        world
            .scrape()
            .await
            .contains("dr_auth_refusals_total{reason=\"token\"} 2")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_renews_for_its_own_host_only() {
    let world = World::start().await;
    let client = world.client(Role::Agent, "db-1").await;
    let (key, csr_pem) = request();
    let renewed = client
        .gateway()
        .renew_certificate(v1::RenewCertificateRequest { csr_pem })
        .await
        .unwrap()
        .into_inner();
    let client = world.connect(keep(&world, &key, &renewed)).await.unwrap();
    let mut agent = Agent::attach(client, &host("db-1"), |_| {}).await;
    agent.welcome().await;
    let entries = world.audited("certificate.renew").await;
    assert_eq!(entries[0].subject, "spiffe://acme.example/agent/db-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_nobody_enrols_here() {
    let world = World::start_with(|config| config.authority = None).await;
    let mut fleet = world.operator().await.fleet();
    let refused = refusal(fleet.create_token(v1::CreateTokenRequest::default()).await);
    assert_eq!(refused, (Code::FailedPrecondition, "no_authority".to_owned()));
}
