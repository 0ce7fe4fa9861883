//! From a token to a certificate, and from one certificate to the next.

use dr_coordinator::pki::new_key;
use dr_proto::model::{EnrolmentToken, GoodbyeReason, Role};
use dr_proto::tls::{Files, Fresh};
use dr_proto::v1;
use tonic::Code;

use crate::world::{Agent, World, ask, host, refusal, snapshot, until};

/// A key, and a request that is signed with it.
fn request() -> (String, String) {
    let key = new_key().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (key.serialize_pem(), request.pem().unwrap())
}

async fn token(world: &World, host: &str) -> EnrolmentToken {
    token_on(world, host, false).await
}

async fn token_on(world: &World, host: &str, needs_approval: bool) -> EnrolmentToken {
    let mut fleet = world.operator().await.fleet();
    let create = v1::CreateTokenRequest {
        host: host.to_owned(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        valid_for: None,
        needs_approval,
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

/// Puts a certificate where this machine's lie.
fn keep(world: &World, machine: &str, key: &str, answer: &v1::CertificateResponse) -> Files {
    let files = world.files(Role::Agent, machine);
    files
        .install(&Fresh {
            private_key: key,
            certificate: &answer.certificate_pem,
            trust_bundle: &answer.trust_bundle_pem,
        })
        .unwrap();
    files
}

/// Lets `db-1` in with a token, as `dr-agent enroll` does on a machine with a key of its own.
async fn let_in(world: &World, token: &EnrolmentToken, machine: &str) -> Files {
    let (key, csr) = request();
    let stranger = world.stranger().await;
    let answer = stranger.enrollment().enroll(enrol(token, "db-1", &csr)).await;
    keep(world, machine, &key, &answer.unwrap().into_inner())
}

/// The agent of `db-1` with these certificates.
async fn attached(world: &World, files: Files) -> Agent {
    let client = world.connect(files).await.unwrap();
    Agent::attach(client, &host("db-1"), |_| {}).await
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
    let mut agent = attached(&world, keep(&world, "first", &key, &answer)).await;
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
    let mut agent = attached(&world, keep(&world, "renewed", &key, &renewed)).await;
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

async fn agent_state(world: &World, name: &str) -> v1::Agent {
    let mut fleet = world.operator().await.fleet();
    let request = v1::GetAgentRequest {
        host: name.to_owned(),
    };
    fleet.get_agent(request).await.unwrap().into_inner()
}

const PLAN: &str =
    "schema = 1\nname = \"nightly\"\n[schedule]\ncron = \"0 3 1 1 *\"\n[drill]\nkind = \"snapshot\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_wants_an_approval_gets_nothing_before_it() {
    let world = World::start().await;
    let mut plans = world.operator().await.plans();
    let apply = v1::ApplyPlanRequest {
        text: PLAN.to_owned(),
        expected_hash: String::new(),
    };
    plans.apply_plan(apply).await.unwrap();
    let token = token_on(&world, "db-1", true).await;
    let files = let_in(&world, &token, "first").await;
    let mut agent = attached(&world, files).await;
    let welcome = agent.welcome().await;
    assert!(
        !welcome.wants_history,
        "what it says of its past does not count yet"
    );
    let waiting = agent_state(&world, "db-1").await;
    assert_eq!(waiting.state(), v1::agent::State::Pending);
    assert!(
        waiting.problems[0].contains("drctl agent approve db-1"),
        "{waiting:?}"
    );
    let mut runs = world.operator().await.runs();
    let refused = refusal(runs.start_run(ask("1", "db-1", snapshot())).await);
    assert_eq!(refused, (Code::FailedPrecondition, "host_not_welcome".to_owned()));
    let preview = v1::PreviewPlanRequest {
        plan: Some(v1::preview_plan_request::Plan::Name("nightly".to_owned())),
    };
    let preview = plans.preview_plan(preview).await.unwrap().into_inner();
    assert!(preview.hosts.is_empty(), "{preview:?}");
    assert!(preview.excluded[0].reason.contains("pending"), "{preview:?}");
    // It is told that no plan is for it, and after the approval which one is.
    assert_eq!(agent.plans().await, Vec::<String>::new());
    let mut fleet = world.operator().await.fleet();
    let approve = v1::ApproveAgentRequest {
        host: "db-1".to_owned(),
    };
    let approved = fleet.approve_agent(approve.clone()).await.unwrap().into_inner();
    assert_eq!(approved.state(), v1::agent::State::Connected);
    assert_eq!(agent.plans().await, ["nightly"]);
    runs.start_run(ask("2", "db-1", snapshot())).await.unwrap();
    agent.start().await;
    // A second approval changes nothing and is not written down.
    fleet.approve_agent(approve).await.unwrap();
    assert_eq!(world.audited("agent.approve").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_machine_is_refused_and_the_new_one_is_the_same_host() {
    let world = World::start().await;
    let first = token(&world, "db-1").await;
    let old = let_in(&world, &first, "first").await;
    let mut agent = attached(&world, old.clone()).await;
    agent.welcome().await;
    let unused = token(&world, "db-1").await;
    let mut fleet = world.operator().await.fleet();
    let replace = |reason: &str| v1::ReplaceAgentRequest {
        host: "db-1".to_owned(),
        reason: reason.to_owned(),
        valid_for: None,
        needs_approval: false,
    };
    let refused = refusal(fleet.replace_agent(replace(" ")).await);
    assert_eq!(refused, (Code::InvalidArgument, "invalid_request".to_owned()));
    let replaced = fleet
        .replace_agent(replace("disk died"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(replaced.streams_ended, 1);
    assert_eq!(agent.goodbye().await, GoodbyeReason::Revoked);
    let waiting = agent_state(&world, "db-1").await;
    assert_eq!(
        (waiting.state(), waiting.machine),
        (v1::agent::State::Expected, 2)
    );
    assert!(waiting.problems[0].contains("dr-agent enroll"), "{waiting:?}");
    let status = fleet
        .get_status(v1::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        status
            .concerns
            .iter()
            .any(|concern| concern.kind == "agent_awaited"),
        "{status:?}"
    );
    // A second one before the new machine came makes another token, and is of no further machine.
    let replaced = fleet
        .replace_agent(replace("disk died"))
        .await
        .unwrap()
        .into_inner();
    let second: EnrolmentToken = replaced.token.unwrap().text.parse().unwrap();
    assert_eq!(agent_state(&world, "db-1").await.machine, 2);
    let (_, csr) = request();
    let stranger = world.stranger().await;
    let withdrawn = refusal(stranger.enrollment().enroll(enrol(&unused, "db-1", &csr)).await);
    assert_eq!(
        withdrawn,
        (Code::PermissionDenied, "token_refused".to_owned()),
        "an older token"
    );
    let new = let_in(&world, &second, "second").await;
    // The old certificate stays refused although its host is welcome again.
    let client = world.connect(old).await.unwrap();
    let (_sender, outgoing) = tokio::sync::mpsc::channel::<v1::AgentMessage>(1);
    let attach = client
        .gateway()
        .attach(tokio_stream::wrappers::ReceiverStream::new(outgoing))
        .await;
    assert_eq!(refusal(attach), (Code::PermissionDenied, "revoked".to_owned()));
    let mut agent = attached(&world, new).await;
    assert_eq!(
        agent.welcome().await.labels.get("env"),
        Some("prod"),
        "labels stay"
    );
    let here = agent_state(&world, "db-1").await;
    assert_eq!((here.state(), here.machine), (v1::agent::State::Connected, 2));
    assert_eq!(world.audited("agent.replace").await.len(), 2);
    fleet
        .retire_agent(v1::RetireAgentRequest {
            host: "db-1".to_owned(),
            reason: "sold".to_owned(),
        })
        .await
        .unwrap();
    let gone = refusal(fleet.replace_agent(replace("no")).await);
    assert_eq!(gone, (Code::PermissionDenied, "barred".to_owned()));
}
