//! An authority, files, and both ends of a connection.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::pki_types::UnixTime;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tower::Service;

use super::super::*;

pub(super) const COORDINATOR: &str = "spiffe://acme.example/coordinator/one";
pub(super) const AGENT: &str = "spiffe://acme.example/agent/db-1";
pub(super) const ROLES: &[Role] = &Role::ALL;

/// A clock that stands where it is put.
#[derive(Debug)]
pub(super) struct Stood(Mutex<Timestamp>);

impl Stood {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-03-01T12:00:00Z".parse().unwrap())))
    }

    pub(super) fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    pub(super) fn forward(&self, by: SignedDuration) {
        *self.0.lock().unwrap() += by;
    }
}

impl TimeProvider for Stood {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// What stands in a certificate.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) uris: Vec<String>,
    pub(super) purposes: Vec<ExtendedKeyUsagePurpose>,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// A certificate for both purposes, valid from an hour ago for a day.
pub(super) fn wanted(uri: &str, now: Timestamp) -> Wanted {
    Wanted {
        uris: vec![uri.to_owned()],
        purposes: vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        from: now - SignedDuration::from_hours(1),
        until: now + SignedDuration::from_hours(24),
    }
}

/// A certificate authority.
pub(super) struct Ca {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2036, 1, 1);
        params
    }

    /// An authority below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn issue(&self, wanted: &Wanted) -> Pair {
        let mut params = CertificateParams::default();
        for uri in &wanted.uris {
            params
                .subject_alt_names
                .push(SanType::URI(uri.clone().try_into().unwrap()));
        }
        params.extended_key_usages.clone_from(&wanted.purposes);
        let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap());
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(wanted.from);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(wanted.until);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair {
            certificate,
            key: key.serialize_pem(),
        }
    }
}

/// Files of somebody, in a folder that goes with them.
pub(super) struct Somebody {
    pub(super) dir: TempDir,
    pub(super) files: Files,
}

impl Somebody {
    pub(super) fn new(pair: &Pair, bundle: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = files_in(dir.path());
        let somebody = Self { dir, files };
        somebody.install(pair, bundle);
        somebody
    }

    pub(super) fn install(&self, pair: &Pair, bundle: &str) {
        let fresh = Fresh {
            private_key: &pair.key,
            certificate: &pair.certificate,
            trust_bundle: bundle,
        };
        self.files.install(&fresh).unwrap();
    }

    pub(super) fn open(&self, clock: &Arc<Stood>) -> Result<Arc<Reloading>, MaterialError> {
        Reloading::open(self.files.clone(), ROLES, clock.clone())
    }
}

pub(super) fn files_in(dir: &Path) -> Files {
    let at = |name: &str| -> PathBuf { dir.join(name) };
    Files {
        certificate: at("own.pem"),
        private_key: at("own.key"),
        trust_bundle: at("ca.pem"),
    }
}

/// Collects refusals.
pub(super) struct Told(mpsc::UnboundedSender<String>);

impl Told {
    pub(super) fn new(sender: mpsc::UnboundedSender<String>) -> Self {
        Self(sender)
    }
}

impl Refusals for Told {
    fn refused(&self, _: SocketAddr, refusal: &Refusal) {
        drop(self.0.send(refusal.reason().to_owned()));
    }
}

/// A coordinator that echoes.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) tls: Arc<Reloading>,
    pub(super) peers: mpsc::UnboundedReceiver<Peer>,
    pub(super) refusals: mpsc::UnboundedReceiver<String>,
    _files: Somebody,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(files: Somebody, clock: &Arc<Stood>, limits: Limits) -> Self {
        let tls = files.open(clock).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, refusals) = mpsc::unbounded_channel();
        let (seen, peers) = mpsc::unbounded_channel();
        let mut incoming = accept(listener, tls.clone(), limits, Arc::new(Told::new(told)));
        let task = tokio::spawn(async move {
            while let Some(Ok(connection)) = incoming.next().await {
                seen.send(tonic::transport::server::Connected::connect_info(&connection))
                    .unwrap();
                tokio::spawn(echo(connection));
            }
        });
        Self {
            address,
            tls,
            peers,
            refusals,
            _files: files,
            task,
        }
    }

    pub(super) fn uri(&self) -> tonic::codegen::http::Uri {
        format!("https://{}", self.address)
            .parse::<Address>()
            .unwrap()
            .uri()
    }

    pub(super) async fn peer(&mut self) -> Peer {
        soon(self.peers.recv()).await.unwrap()
    }

    pub(super) async fn refusal(&mut self) -> String {
        soon(self.refusals.recv()).await.unwrap()
    }
}

async fn echo(mut connection: Connection) {
    let mut byte = [0; 1];
    while let Ok(1) = connection.read(&mut byte).await {
        if connection.write_all(&byte).await.is_err() || connection.flush().await.is_err() {
            return;
        }
    }
}

/// Waits for what must happen, with a bound.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), what)
        .await
        .expect("it did not happen within two minutes")
}

/// A connection with which bytes can be exchanged.
pub(super) struct Line(super::super::dialled::Stream);

impl Line {
    pub(super) async fn dial(connector: &Connector, server: &Server) -> Result<Self, ConnectError> {
        let dialled = soon(connector.clone().call(server.uri())).await?;
        Ok(Self(dialled.into_inner()))
    }

    /// Sends a byte and waits for it to come back.
    pub(super) async fn works(&mut self) -> std::io::Result<()> {
        self.0.write_all(b"x").await?;
        self.0.flush().await?;
        let mut byte = [0; 1];
        soon(self.0.read_exact(&mut byte)).await.map(|_| ())
    }

    /// Waits until the other side ends it; says why, as far as it said.
    pub(super) async fn ended(&mut self) -> Option<std::io::Error> {
        let mut byte = [0; 1];
        match soon(self.0.read(&mut byte)).await {
            Ok(0) => None,
            Ok(_) => panic!("a byte came that nobody sent"),
            Err(error) => Some(error),
        }
    }
}

pub(super) fn connector(tls: &Arc<Reloading>) -> Connector {
    Connector::new(tls.clone(), ConnectTimeouts::default())
}

/// The authority, a coordinator of it that answers, and the clock of all.
pub(super) async fn fleet() -> (Ca, Server, Arc<Stood>) {
    fleet_with(Limits::default()).await
}

pub(super) async fn fleet_with(limits: Limits) -> (Ca, Server, Arc<Stood>) {
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let coordinator = Somebody::new(&ca.issue(&wanted(COORDINATOR, clock.now())), &ca.pem);
    let server = Server::start(coordinator, &clock, limits).await;
    (ca, server, clock)
}
