//! Who is let in: tokens, certificates, revocation.

use dr_proto::model::Labels;
use jiff::SignedDuration;

use super::{Bench, arrival, hello, host};
use crate::certificates::Certificate;
use crate::error::{Error, TokenProblem};
use crate::hosts::HostState;
use crate::tokens::{Applicant, NewToken};

async fn token(bench: &Bench, for_host: Option<&str>) {
    let labels = Labels::parse(["env=prod"]).unwrap();
    let for_host = for_host.map(host);
    let token = NewToken {
        id: "t1",
        secret_hash: "s1",
        host: for_host.as_ref(),
        labels: &labels,
        valid_for: SignedDuration::from_hours(1),
        needs_approval: false,
        by: "ana",
    };
    bench.store.tokens().create(&token).await.unwrap();
}

fn certificate(bench: &Bench, serial: &str, name: &str) -> Certificate {
    Certificate {
        serial: serial.to_owned(),
        identity: format!("spiffe://drctl/agent/{name}"),
        host: Some(host(name)),
        issued: bench.now(),
        expires: bench.now() + SignedDuration::from_hours(24),
    }
}

async fn redeem(bench: &Bench, name: &str, key: &str) -> Result<(), TokenProblem> {
    let name_of = host(name);
    let applicant = Applicant {
        secret_hash: "s1",
        host: &name_of,
        key,
    };
    let certificate = certificate(bench, &format!("{key}-{name}"), name);
    match bench.store.tokens().redeem(&applicant, &certificate).await {
        Ok(_) => Ok(()),
        Err(Error::Token(problem)) => Err(problem),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_token_lets_one_host_in_with_its_labels() {
    let bench = Bench::new().await;
    token(&bench, None).await;
    redeem(&bench, "db-1", "k1").await.unwrap();
    let known = bench.store.hosts().get(&host("db-1")).await.unwrap().unwrap();
    assert_eq!(
        (known.state, known.labels.to_string().as_str()),
        (HostState::Enrolled, "env=prod")
    );
    // The answer got lost, and the agent asks again with the same key.
    redeem(&bench, "db-1", "k1").await.unwrap();
    assert_eq!(redeem(&bench, "db-1", "k2").await, Err(TokenProblem::Used));
    assert_eq!(redeem(&bench, "db-2", "k1").await, Err(TokenProblem::Used));
}

#[tokio::test]
async fn a_token_is_refused_when_it_is_old_withdrawn_or_somebody_elses() {
    let bench = Bench::new().await;
    token(&bench, Some("db-1")).await;
    assert_eq!(redeem(&bench, "db-2", "k1").await, Err(TokenProblem::OtherHost));
    bench.clock.pass(3_601);
    assert_eq!(redeem(&bench, "db-1", "k1").await, Err(TokenProblem::Expired));
    bench.store.tokens().withdraw("t1", "ana").await.unwrap();
    assert_eq!(redeem(&bench, "db-1", "k1").await, Err(TokenProblem::Withdrawn));
    assert!(bench.store.hosts().get(&host("db-1")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revoked_host_stays_out_until_it_enrols_anew_and_its_old_certificate_for_ever() {
    let bench = Bench::new().await;
    token(&bench, None).await;
    redeem(&bench, "db-1", "k1").await.unwrap();
    let hosts = bench.store.hosts();
    hosts
        .revoke(&host("db-1"), "stolen", "ana", Some("elsewhere"))
        .await
        .unwrap();
    let greeting = hello("db-1", bench.now());
    let refused = hosts.admit(&arrival(&greeting)).await.unwrap_err();
    assert_eq!(refused.to_string(), "host db-1 is revoked: stolen");
    let revoked = bench.store.certificates().revocations().await.unwrap();
    assert!(revoked.refuses("k1-db-1", None) && revoked.refuses("elsewhere", None));
    assert!(revoked.refuses("new", Some(&host("db-1"))));
    // A new token for a new key.
    let labels = Labels::default();
    let again = NewToken {
        id: "t2",
        secret_hash: "s2",
        host: None,
        labels: &labels,
        valid_for: SignedDuration::from_hours(1),
        needs_approval: false,
        by: "ana",
    };
    bench.store.tokens().create(&again).await.unwrap();
    let (name, key) = (host("db-1"), "k9");
    let applicant = Applicant {
        secret_hash: "s2",
        host: &name,
        key,
    };
    bench
        .store
        .tokens()
        .redeem(&applicant, &certificate(&bench, "new", "db-1"))
        .await
        .unwrap();
    hosts.admit(&arrival(&greeting)).await.unwrap();
    let revoked = bench.store.certificates().revocations().await.unwrap();
    assert!(!revoked.refuses("new", Some(&name)));
    assert!(revoked.refuses("k1-db-1", Some(&name)));
}

#[tokio::test]
async fn every_change_leaves_its_audit_entry() {
    let bench = Bench::new().await;
    token(&bench, None).await;
    redeem(&bench, "db-1", "k1").await.unwrap();
    bench
        .store
        .hosts()
        .retire(&host("db-1"), "gone", "ana", None)
        .await
        .unwrap();
    let log = bench.store.audit().list(0, 100).await.unwrap();
    let actions: Vec<&str> = log.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["token.create", "agent.enroll", "agent.retire"]);
    assert!(
        log.iter().all(|entry| !entry.details.contains("s1")),
        "no secret, nor its hash"
    );
}
