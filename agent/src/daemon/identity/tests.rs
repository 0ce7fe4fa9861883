use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dr_proto::model::{EnrolmentToken, Fingerprint, Secret, TokenId};
use dr_proto::tls::{
    Address, CertificateDer, Files, Fresh, Limits, Peer, Refusal, Refusals, Reloading, Role, SystemTime,
    TimeProvider, accept, fingerprint, read_bundle,
};
use dr_proto::v1::agent_gateway_server::{AgentGateway, AgentGatewayServer};
use dr_proto::v1::enrollment_server::{Enrollment, EnrollmentServer};
use dr_proto::v1::{
    AgentMessage, CertificateResponse, CoordinatorMessage, EnrollRequest, RenewCertificateRequest,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, PublicKeyData, SanType,
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, Streaming};

use super::*;

const COORDINATOR: &str = "spiffe://acme.example/coordinator/one";
const AGENT: &str = "spiffe://acme.example/agent/db-1";

/// An authority of a few lines.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Arc<Self> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a root").pem();
        Arc::new(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    fn sign(&self, key: &impl PublicKeyData, uri: &str, from: Timestamp, until: Timestamp) -> String {
        let mut params = CertificateParams::default();
        params
            .subject_alt_names
            .push(SanType::URI(uri.to_owned().try_into().expect("a URI")));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let since_epoch = |at: Timestamp| Duration::from_secs(at.as_second().try_into().expect("after 1970"));
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(from);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(until);
        params.signed_by(key, &self.issuer).expect("a certificate").pem()
    }

    /// Installs a certificate that is valid for a day around now, give or take `age`.
    fn install(&self, files: &Files, uri: &str, from: Timestamp, until: Timestamp) {
        let key = KeyPair::generate().expect("a key");
        let certificate = self.sign(&key, uri, from, until);
        let fresh = Fresh {
            private_key: &key.serialize_pem(),
            certificate: &certificate,
            trust_bundle: &self.pem,
        };
        files.install(&fresh).expect("install");
    }

    fn root(&self, dir: &Path) -> CertificateDer<'static> {
        let path = dir.join("root.pem");
        fs::write(&path, &self.pem).expect("write");
        read_bundle(&path).expect("a root").remove(0)
    }
}

fn files(dir: &Path) -> Files {
    Files {
        certificate: dir.join("agent.pem"),
        private_key: dir.join("agent.key"),
        trust_bundle: dir.join("ca.pem"),
    }
}

fn now() -> Timestamp {
    dr_vault::clock::Clock::now(&dr_vault::clock::SystemClock)
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn system() -> Arc<dyn TimeProvider> {
    Arc::new(SystemTime)
}

/// A coordinator that signs.
struct Coordinator {
    ca: Arc<Ca>,
    secret: String,
    /// Fails this many times before it answers.
    failures: AtomicUsize,
    /// Keys of requests, PEM of the request's public key, in order.
    keys: Mutex<Vec<Vec<u8>>>,
    /// Whose certificate it signs; `None`: whose was asked for.
    signs_for: Option<&'static str>,
    /// Signs nothing.
    bare: bool,
    lifetime: SignedDuration,
}

impl Coordinator {
    fn new(ca: &Arc<Ca>) -> Self {
        Self {
            ca: ca.clone(),
            secret: secret().expose(),
            failures: AtomicUsize::new(0),
            keys: Mutex::new(Vec::new()),
            signs_for: None,
            bare: false,
            lifetime: hours(24),
        }
    }

    fn answer(&self, uri: &str, csr: &str) -> Result<Response<CertificateResponse>, Status> {
        if self.bare {
            return Err(Status::failed_precondition(
                "this coordinator signs no certificates",
            ));
        }
        let csr = CertificateSigningRequestParams::from_pem(csr)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.keys
            .lock()
            .expect("keys")
            .push(csr.public_key.der_bytes().to_vec());
        let failing = |left: usize| left.checked_sub(1);
        if self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, failing)
            .is_ok()
        {
            return Err(Status::unavailable("the answer got lost"));
        }
        let until = now() + self.lifetime;
        let uri = self.signs_for.unwrap_or(uri);
        Ok(Response::new(CertificateResponse {
            certificate_pem: self.ca.sign(&csr.public_key, uri, now() - hours(1), until),
            trust_bundle_pem: self.ca.pem.clone(),
            expires: None,
        }))
    }
}

/// Both services of one coordinator.
#[derive(Clone)]
struct Services(Arc<Coordinator>);

#[tonic::async_trait]
impl Enrollment for Services {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<CertificateResponse>, Status> {
        let peer = request.extensions().get::<Peer>().expect("a peer");
        assert_eq!(peer.identity(), None, "who enrols shows no certificate");
        let EnrollRequest { token, host, csr_pem } = request.into_inner();
        if token != self.0.secret {
            return Err(Status::permission_denied("the token is not known"));
        }
        self.0
            .answer(&format!("spiffe://acme.example/agent/{host}"), &csr_pem)
    }
}

#[tonic::async_trait]
impl AgentGateway for Services {
    type AttachStream = tokio_stream::Empty<Result<CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        _: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<CertificateResponse>, Status> {
        let peer = request.extensions().get::<Peer>().expect("a peer").clone();
        let identity = peer
            .identity()
            .ok_or_else(|| Status::unauthenticated("who is this?"))?;
        self.0
            .answer(&identity.to_string(), &request.into_inner().csr_pem)
    }
}

struct Silent;

impl Refusals for Silent {
    fn refused(&self, _: std::net::SocketAddr, _: &Refusal) {}
}

/// A coordinator that answers, its folder, and where.
struct Answering {
    coordinator: Arc<Coordinator>,
    endpoint: String,
    dir: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answering {
    async fn start(coordinator: Coordinator) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let own = files(dir.path());
        coordinator
            .ca
            .install(&own, COORDINATOR, now() - hours(1), now() + hours(24));
        let tls = Reloading::open(own, &[Role::Coordinator], system()).expect("certificates");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("https://{}", listener.local_addr().expect("an address"));
        let incoming = accept(listener, tls, Limits::default(), Arc::new(Silent));
        let coordinator = Arc::new(coordinator);
        let services = Services(coordinator.clone());
        let task = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(EnrollmentServer::new(services.clone()))
                .add_service(AgentGatewayServer::new(services))
                .serve_with_incoming(incoming)
                .await
                .expect("serve");
        });
        Self {
            coordinator,
            endpoint,
            dir,
            task,
        }
    }

    fn token(&self) -> EnrolmentToken {
        EnrolmentToken {
            id: TokenId::new(now()),
            secret: secret(),
            endpoints: vec![self.endpoint.clone()],
            roots: vec![fingerprint(&self.coordinator.ca.root(self.dir.path()))],
            domain: "acme.example".parse().expect("a domain"),
            expires: now() + hours(1),
        }
    }

    fn address(&self) -> Address {
        self.endpoint.parse().expect("an endpoint")
    }
}

fn secret() -> Secret {
    Secret::from_random([7; 32])
}

fn enrolment(token: EnrolmentToken, dir: &Path) -> Enrolment {
    Enrolment {
        token,
        host: "db-1".parse().expect("a host"),
        files: files(dir),
        replace: false,
    }
}

#[tokio::test]
async fn a_host_trades_a_token_for_a_certificate_that_opens_doors() {
    let server = Answering::start(Coordinator::new(&Ca::new())).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    // The folder is made where it is missing.
    let home = dir.path().join("etc/tls");
    let enrolled = enroll(enrolment(server.token(), &home), system(), now())
        .await
        .expect("enrolled");
    assert_eq!(enrolled.identity.to_string(), AGENT);
    assert_eq!(enrolled.endpoint, server.endpoint);
    assert_eq!(
        fs::read_dir(&home).expect("list").count(),
        3,
        "nothing else is left"
    );
    let tls = Reloading::open(files(&home), &[Role::Agent], system()).expect("certificates");
    let renewal = renewal(&tls, &server);
    renewal
        .renew()
        .await
        .expect("the certificate is good for a renewal");
}

fn renewal(tls: &Arc<Reloading>, server: &Answering) -> Renewal {
    let options = Options {
        endpoints: vec![server.address()],
        time: system(),
        chance: fastrand::Rng::with_seed(1),
    };
    Renewal::new(tls.clone(), options)
}

#[tokio::test]
async fn an_enrolment_whose_answer_got_lost_is_given_again_with_the_same_key() {
    let mut coordinator = Coordinator::new(&Ca::new());
    coordinator.failures = AtomicUsize::new(1);
    let server = Answering::start(coordinator).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let again = || enroll(enrolment(server.token(), dir.path()), system(), now());
    let lost = again().await.expect_err("the answer got lost");
    assert_eq!(lost.class().name(), "coordinator_unavailable");
    assert!(!files(dir.path()).certificate.exists());
    again().await.expect("enrolled");
    let keys = server.coordinator.keys.lock().expect("keys");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1], "the coordinator knows the asker by the key");
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 3);
}

#[tokio::test]
async fn a_token_that_is_wrong_or_old_or_of_another_root_gets_nothing() {
    let server = Answering::start(Coordinator::new(&Ca::new())).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let attempt = |token: EnrolmentToken| enroll(enrolment(token, dir.path()), system(), now());

    let other = EnrolmentToken {
        secret: Secret::from_random([8; 32]),
        ..server.token()
    };
    let error = attempt(other).await.expect_err("an unknown secret");
    assert_eq!(error.class().name(), "denied");
    assert!(error.to_string().contains("the token is not known"), "{error}");

    let old = EnrolmentToken {
        expires: now() - hours(1),
        ..server.token()
    };
    assert!(matches!(attempt(old).await, Err(Error::TokenExpired { .. })));

    let foreign = EnrolmentToken {
        roots: vec![Fingerprint([9; 32])],
        ..server.token()
    };
    let error = attempt(foreign).await.expect_err("another root");
    assert_eq!(error.class().name(), "denied", "{error:?}");
    assert!(
        error.hints()[0].contains("something else answers"),
        "{:?}",
        error.hints()
    );

    let domain = EnrolmentToken {
        domain: "other.example".parse().expect("a domain"),
        ..server.token()
    };
    assert_eq!(
        attempt(domain).await.expect_err("another domain").class().name(),
        "denied"
    );

    let nobody = EnrolmentToken {
        endpoints: vec!["https://127.0.0.1:1".to_owned()],
        ..server.token()
    };
    let error = attempt(nobody).await.expect_err("nobody listens");
    assert_eq!(error.class().name(), "coordinator_unavailable", "{error:?}");
    assert!(!files(dir.path()).certificate.exists());
}

#[tokio::test]
async fn an_answer_for_somebody_else_is_not_installed() {
    let mut coordinator = Coordinator::new(&Ca::new());
    coordinator.signs_for = Some("spiffe://acme.example/agent/db-2");
    let server = Answering::start(coordinator).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = enroll(enrolment(server.token(), dir.path()), system(), now()).await;
    assert!(matches!(refused, Err(Error::OtherIdentity { .. })), "{refused:?}");
    assert!(!files(dir.path()).certificate.exists());

    let own = files(dir.path());
    server
        .coordinator
        .ca
        .install(&own, AGENT, now() - hours(1), now() + hours(1));
    let before = fs::read(&own.certificate).expect("read");
    let tls = Reloading::open(own.clone(), &[Role::Agent], system()).expect("certificates");
    let refused = renewal(&tls, &server).renew().await;
    assert!(matches!(refused, Err(Error::OtherIdentity { .. })), "{refused:?}");
    assert_eq!(fs::read(&own.certificate).expect("read"), before);
}

#[tokio::test]
async fn a_host_that_has_a_certificate_keeps_it_unless_told() {
    let server = Answering::start(Coordinator::new(&Ca::new())).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let first = enrolment(server.token(), dir.path());
    enroll(first.clone(), system(), now()).await.expect("enrolled");
    let before = fs::read(&first.files.certificate).expect("read");
    let again = enroll(first.clone(), system(), now()).await;
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    assert_eq!(fs::read(&first.files.certificate).expect("read"), before);
    enroll(
        Enrolment {
            replace: true,
            ..first.clone()
        },
        system(),
        now(),
    )
    .await
    .expect("enrolled anew");
    assert_ne!(fs::read(&first.files.certificate).expect("read"), before);
}

#[tokio::test]
async fn a_daemon_renews_when_two_thirds_are_over_and_goes_on_after_failures() {
    let mut coordinator = Coordinator::new(&Ca::new());
    coordinator.failures = AtomicUsize::new(2);
    let server = Answering::start(coordinator).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = files(dir.path());
    server
        .coordinator
        .ca
        .install(&own, AGENT, now() - hours(3), now() + hours(1));
    let tls = Reloading::open(own, &[Role::Agent], system()).expect("certificates");
    let before = tls.current().certificate().clone();
    let mut generation = tls.generation();
    let hasty = renewal(&tls, &server).waiting(Duration::ZERO..=Duration::from_millis(1));
    let running = tokio::spawn(hasty.run());
    let renewed = tokio::time::timeout(Duration::from_secs(60), generation.changed()).await;
    renewed.expect("within a minute").expect("a new certificate");
    running.abort();
    let after = tls.current().certificate().clone();
    assert_eq!(after.identity, before.identity);
    assert!(after.not_after > before.not_after);
    let keys = server.coordinator.keys.lock().expect("keys");
    assert_eq!(keys.len(), 3, "two tries failed");
    assert!(
        keys[0] != keys[1] && keys[1] != keys[2],
        "each try has a key of its own"
    );
}

#[tokio::test]
async fn a_fresh_certificate_is_left_alone() {
    let server = Answering::start(Coordinator::new(&Ca::new())).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = files(dir.path());
    server
        .coordinator
        .ca
        .install(&own, AGENT, now() - hours(1), now() + hours(23));
    let tls = Reloading::open(own, &[Role::Agent], system()).expect("certificates");
    let running = tokio::spawn(renewal(&tls, &server).run());
    tokio::time::pause();
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(3_600)).await;
    }
    running.abort();
    assert!(
        server.coordinator.keys.lock().expect("keys").is_empty(),
        "only the wall clock counts"
    );
}

#[tokio::test]
async fn a_coordinator_that_signs_nothing_is_not_pestered() {
    let mut coordinator = Coordinator::new(&Ca::new());
    coordinator.bare = true;
    let server = Answering::start(coordinator).await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = files(dir.path());
    server
        .coordinator
        .ca
        .install(&own, AGENT, now() - hours(3), now() + hours(1));
    let tls = Reloading::open(own, &[Role::Agent], system()).expect("certificates");
    let error = renewal(&tls, &server)
        .renew()
        .await
        .expect_err("it signs nothing");
    assert_eq!(error.class().name(), "configuration");
}

#[test]
fn the_end_of_the_certificate_is_told_to_prometheus() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().expect("a temporary folder"));
    let until: Timestamp = "2100-01-01T00:00:00Z".parse().expect("a date");
    ca.install(&files(dir.path()), AGENT, now() - hours(1), until);
    let tls = Reloading::open(files(dir.path()), &[Role::Agent], system()).expect("certificates");
    let registry = prometheus::Registry::new();
    registry
        .register(Box::new(Expiry::new(tls).expect("a metric")))
        .expect("registered");
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .expect("text");
    let line = format!(
        "dr_certificate_expiry_timestamp_seconds{{name=\"db-1\",role=\"agent\"}} {}",
        until.as_second()
    );
    assert!(text.contains(&line), "{text}");
}
