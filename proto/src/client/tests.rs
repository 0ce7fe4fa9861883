use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tonic::{Request, Response, Status};

use super::*;
use crate::tls::{
    ConnectError, ConnectTimeouts, Files, Fresh, Limits, Refusal, Refusals, Reloading, Role, SystemTime,
    accept,
};
use crate::v1;
use crate::v1::audit_server::{Audit, AuditServer};

/// Answers with more than tonic takes by itself, and with who called.
struct Stand;

#[tonic::async_trait]
impl Audit for Stand {
    async fn list_audit(
        &self,
        _: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let entry = v1::AuditEntry {
            details: "x".repeat(5 << 20),
            ..v1::AuditEntry::default()
        };
        Ok(Response::new(v1::ListAuditResponse { entries: vec![entry] }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        let caller = request.metadata().get("user-agent");
        let caller = caller.and_then(|caller| caller.to_str().ok()).unwrap_or_default();
        Ok(Response::new(v1::VerifyAuditResponse {
            reason: caller.to_owned(),
            ..v1::VerifyAuditResponse::default()
        }))
    }
}

struct Unheard;

impl Refusals for Unheard {
    fn refused(&self, _: SocketAddr, _: &Refusal) {}
}

/// An authority and the folder that everybody's files are in.
struct Authority {
    dir: TempDir,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = valid();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            dir: tempfile::tempdir().unwrap(),
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, name: &str) -> Arc<Reloading> {
        let key = KeyPair::generate().unwrap();
        let mut params = valid();
        let uri = format!("spiffe://acme.example/{name}/one");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let at = |part: &str| self.dir.path().join(format!("{name}.{part}"));
        let files = Files {
            certificate: at("pem"),
            private_key: at("key"),
            trust_bundle: at("ca"),
        };
        let fresh = Fresh {
            private_key: &key.serialize_pem(),
            certificate: &params.signed_by(&key, &self.issuer).unwrap().pem(),
            trust_bundle: &self.pem,
        };
        files.install(&fresh).unwrap();
        Reloading::open(files, &Role::ALL, Arc::new(SystemTime)).unwrap()
    }
}

fn valid() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    params
}

fn address(of: SocketAddr) -> Address {
    format!("https://{of}").parse().unwrap()
}

/// A coordinator that answers, and how to dial it.
async fn coordinator() -> (Authority, Address, Connector) {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = address(listener.local_addr().unwrap());
    let tls = authority.issue("coordinator");
    let incoming = accept(listener, tls, Limits::default(), Arc::new(Unheard));
    let service = AuditServer::new(Stand).max_encoding_message_size(limits::MESSAGE);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    let connector = Connector::new(authority.issue("operator"), ConnectTimeouts::default());
    (authority, at, connector)
}

/// Where nobody listens, nor gets to listen for as long as the socket is held.
fn closed() -> (TcpSocket, Address) {
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let at = address(held.local_addr().unwrap());
    (held, at)
}

#[tokio::test]
async fn the_first_endpoint_that_answers_is_taken() {
    let (_authority, open, connector) = coordinator().await;
    let (_held, nobody) = closed();
    let options = Options::new(vec![nobody, open.clone()], "drctl/test");
    let client = Client::connect(&connector, &options).await.unwrap();
    assert_eq!(client.address(), &open);
    let answer = client
        .audit()
        .verify_audit(v1::VerifyAuditRequest {})
        .await
        .unwrap();
    let caller = answer.into_inner().reason;
    assert!(caller.starts_with("drctl/test"), "{caller}");
}

#[tokio::test]
async fn an_answer_as_large_as_the_wire_allows_is_taken() {
    let (_authority, open, connector) = coordinator().await;
    let options = Options::new(vec![open], "drctl/test");
    let client = Client::connect(&connector, &options).await.unwrap();
    let answer = client
        .audit()
        .list_audit(v1::ListAuditRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.into_inner().entries[0].details.len(), 5 << 20);
}

#[tokio::test]
async fn an_endpoint_that_is_not_reached_is_named_with_the_reason() {
    let (_authority, _, connector) = coordinator().await;
    let ((_held, first), (_held_too, last)) = (closed(), closed());
    let options = Options::new(vec![first, last.clone()], "drctl/test");
    let error = Client::connect(&connector, &options).await.unwrap_err();
    assert!(error.to_string().contains(&last.to_string()), "{error}");
    let mut causes = std::iter::successors(error.source(), |error| (*error).source());
    let refused = |error: &(dyn std::error::Error + 'static)| {
        matches!(error.downcast_ref(), Some(ConnectError::Connect { .. }))
    };
    assert!(causes.any(refused), "{error:?}");
    let nowhere = Options::new(Vec::new(), "drctl/test");
    let error = Client::connect(&connector, &nowhere).await.unwrap_err();
    assert!(matches!(error, Error::NoEndpoint), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_does_not_hold_anybody_for_ever() {
    let (_authority, _, connector) = coordinator().await;
    // It takes connections and never reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = address(silent.local_addr().unwrap());
    let options = Options {
        connect_within: Duration::from_millis(200),
        ..Options::new(vec![at.clone()], "drctl/test")
    };
    let error = Client::connect(&connector, &options).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains(&at.to_string()), "{error}");
}
