//! The world of a test: a certificate authority, a coordinator, agents and operators.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dr_coordinator::config::{Authority as AuthorityConfig, Config, Metrics, Tls};
use dr_coordinator::pki::{Authority, Names};
use dr_coordinator::serve::{Coordinator, Error};
use dr_proto::client::{Client, Options};
use dr_proto::model::units::Period;
use dr_proto::model::{
    AgentMessage, Allow, CheckKind, CheckWork, CoordinatorMessage, DrillKind, Fence, GoodbyeReason, Hello,
    HostName, Identity, PROTOCOL, Role, SnapshotWork, StartTask, TaskKey, TaskOutcome, TaskResult, TaskState,
    Work,
};
use dr_proto::tls::{ConnectTimeouts, Connector, Files, Fresh, Reloading, SystemTime};
use dr_proto::v1;
use dr_store::{Clock, SystemClock};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

/// How long anything may take: machines that run tests are slow and shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    dir: TempDir,
    pub(crate) authority: Authority,
    config: Config,
    /// Held while the coordinator is away, so that nobody else gets its port.
    _port: TcpSocket,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) epoch: u64,
    pub(crate) store: dr_store::Store,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

/// Waits until a look says so.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

/// The stable word in a refusal.
pub(crate) fn word(status: &Status) -> String {
    let word = status
        .metadata()
        .get("drctl-code")
        .map(|value| value.to_str().unwrap().to_owned());
    word.unwrap_or_default()
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain = "acme.example".parse().unwrap();
        let authority = Authority::create(&dir.path().join("pki"), domain, now()).unwrap();
        let files = install(
            &dir,
            &authority,
            Role::Coordinator,
            "one",
            Duration::from_secs(86_400),
        );
        let port = TcpSocket::new_v4().unwrap();
        // As the coordinator itself does: both have it, one listens.
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = Config {
            listen: port.local_addr().unwrap(),
            tls: Tls {
                certificate: files.certificate,
                private_key: files.private_key,
                trust_bundle: files.trust_bundle,
            },
            authority: Some(AuthorityConfig {
                dir: dir.path().join("pki"),
                agent_certificates: Period(Duration::from_secs(86_400)),
            }),
            store: format!("sqlite://{}", dir.path().join("state.db").display()),
            metrics: Some(Metrics {
                listen: "127.0.0.1:0".parse().unwrap(),
                per_host: true,
            }),
            ..Config::default()
        };
        change(&mut config);
        let up = Up::start(&config).await;
        Self {
            dir,
            authority,
            config,
            _port: port,
            address: up.address,
            metrics: up.metrics,
            epoch: up.epoch,
            store: up.store,
            stop: up.stop,
            running: up.running,
        }
    }

    /// Stops the coordinator and starts another one on the same store and address.
    pub(crate) async fn restart(&mut self) {
        self.stop().await.unwrap();
        let up = Up::start(&self.config).await;
        self.metrics = up.metrics;
        self.epoch = up.epoch;
        self.store = up.store;
        self.stop = up.stop;
        self.running = up.running;
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.running.is_finished()
    }

    pub(crate) async fn stop(&mut self) -> Result<(), Error> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, &mut self.running)
            .await
            .unwrap()
            .unwrap()
    }

    /// A certificate of this world's authority.
    pub(crate) fn files(&self, role: Role, name: &str) -> Files {
        install(
            &self.dir,
            &self.authority,
            role,
            name,
            Duration::from_secs(86_400),
        )
    }

    /// The serial number of a certificate that was installed before.
    pub(crate) fn serial(&self, role: Role, name: &str) -> String {
        let files = paths(&self.dir, &format!("{role}-{name}"));
        let time: Arc<dyn dr_proto::tls::TimeProvider> = Arc::new(SystemTime);
        let material = dr_proto::tls::Material::load(&files, &time).unwrap();
        material.certificate().serial.to_string()
    }

    /// A certificate of another authority, with this world's roots to trust.
    pub(crate) fn foreign_files(&self, role: Role, name: &str) -> Files {
        let dir = self.dir.path().join(format!("foreign-{name}"));
        let other = Authority::create(&dir, "acme.example".parse().unwrap(), now()).unwrap();
        let (issued, key) = other
            .issue_with_key(
                &identity(role, name),
                &Names::default(),
                Duration::from_secs(600),
                now(),
            )
            .unwrap();
        let files = paths(&self.dir, &format!("foreign-{name}"));
        let bundle = self.authority.trust_bundle().unwrap();
        files
            .install(&Fresh {
                private_key: &key,
                certificate: &issued.certificate_pem,
                trust_bundle: &bundle,
            })
            .unwrap();
        files
    }

    pub(crate) async fn client(&self, role: Role, name: &str) -> Client {
        self.connect(self.files(role, name)).await.unwrap()
    }

    pub(crate) async fn connect(&self, files: Files) -> Result<Client, dr_proto::client::Error> {
        const ROLES: &[Role] = &[Role::Agent, Role::Operator, Role::Viewer];
        let tls = Reloading::open(files, ROLES, Arc::new(SystemTime)).unwrap();
        let connector = Connector::new(tls, ConnectTimeouts::default());
        Client::connect(&connector, &self.options()).await
    }

    pub(crate) async fn stranger(&self) -> Client {
        let pins = self.authority.fingerprints().unwrap();
        let time: Arc<dyn dr_proto::tls::TimeProvider> = Arc::new(SystemTime);
        let domain = self.authority.domain().clone();
        let connector = Connector::stranger(pins, domain, &time, ConnectTimeouts::default()).unwrap();
        Client::connect(&connector, &self.options()).await.unwrap()
    }

    fn options(&self) -> Options {
        Options::new(
            vec![format!("https://{}", self.address).parse().unwrap()],
            "tests",
        )
    }

    pub(crate) async fn operator(&self) -> Client {
        self.client(Role::Operator, "ana").await
    }

    pub(crate) async fn agent(&self, name: &str) -> Agent {
        self.agent_with(name, |_| {}).await
    }

    pub(crate) async fn agent_with(&self, name: &str, change: impl FnOnce(&mut Hello)) -> Agent {
        let client = self.client(Role::Agent, name).await;
        let mut agent = Agent::attach(client, &host(name), change).await;
        agent.welcome().await;
        agent
    }

    /// What Prometheus would read.
    pub(crate) async fn scrape(&self) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.metrics).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Entries of the audit log with this action.
    pub(crate) async fn audited(&self, action: &str) -> Vec<dr_store::audit::AuditRecord> {
        let entries = self.store.audit().list(0, 1_000).await.unwrap();
        entries
            .into_iter()
            .filter(|entry| entry.action == action)
            .collect()
    }
}

struct Up {
    address: SocketAddr,
    metrics: SocketAddr,
    epoch: u64,
    store: dr_store::Store,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

impl Up {
    async fn start(config: &Config) -> Self {
        let coordinator = Coordinator::open(config.clone(), Arc::new(SystemClock))
            .await
            .unwrap();
        let stop = CancellationToken::new();
        Self {
            address: coordinator.address(),
            metrics: coordinator.metrics_address().unwrap(),
            epoch: coordinator.epoch(),
            store: coordinator.store().clone(),
            stop: stop.clone(),
            running: tokio::spawn(coordinator.run(stop)),
        }
    }
}

fn identity(role: Role, name: &str) -> Identity {
    Identity {
        domain: "acme.example".parse().unwrap(),
        role,
        name: host(name),
    }
}

fn paths(dir: &TempDir, name: &str) -> Files {
    let path = |suffix: &str| -> PathBuf { dir.path().join(format!("{name}.{suffix}")) };
    Files {
        certificate: path("pem"),
        private_key: path("key"),
        trust_bundle: path("ca"),
    }
}

fn install(dir: &TempDir, authority: &Authority, role: Role, name: &str, lifetime: Duration) -> Files {
    let (issued, key) = authority
        .issue_with_key(&identity(role, name), &Names::default(), lifetime, now())
        .unwrap();
    let files = paths(dir, &format!("{role}-{name}"));
    files
        .install(&Fresh {
            private_key: &key,
            certificate: &issued.certificate_pem,
            trust_bundle: &issued.trust_bundle_pem,
        })
        .unwrap();
    files
}

/// An agent that does no work: the test says what it says.
pub(crate) struct Agent {
    pub(crate) host: HostName,
    pub(crate) client: Client,
    out: mpsc::Sender<v1::AgentMessage>,
    answers: Streaming<v1::CoordinatorMessage>,
}

pub(crate) fn hello(host: &HostName) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: "0.1.0".to_owned(),
        host: host.clone(),
        incarnation: format!("{host}-1"),
        clock: now(),
        capabilities: Vec::new(),
        allow: Allow {
            drills: vec![DrillKind::Verify, DrillKind::Restore],
            ..Allow::default()
        },
        repository: Some(format!("file:///backup/{host}")),
        repository_encrypted: true,
        probes: vec!["0.29.2".to_owned()],
        tasks: Vec::new(),
        suspended: None,
    }
}

impl Agent {
    /// Attaches and says hello; what the coordinator answers is left to the test.
    pub(crate) async fn attach(client: Client, host: &HostName, change: impl FnOnce(&mut Hello)) -> Self {
        let mut hello = hello(host);
        change(&mut hello);
        let (out, outgoing) = mpsc::channel(16);
        out.send(AgentMessage::Hello(Box::new(hello)).into())
            .await
            .unwrap();
        let answers = client
            .gateway()
            .attach(ReceiverStream::new(outgoing))
            .await
            .unwrap()
            .into_inner();
        Self {
            host: host.clone(),
            client,
            out,
            answers,
        }
    }

    pub(crate) async fn say(&self, message: AgentMessage) {
        self.out.send(message.into()).await.unwrap();
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn hear(&mut self) -> Result<Option<CoordinatorMessage>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        let next = next.unwrap_or_else(|_| panic!("{} heard nothing", self.host))?;
        Ok(next.map(|message| message.try_into().unwrap()))
    }

    /// The next message that is no plan, no suspension.
    pub(crate) async fn next(&mut self) -> CoordinatorMessage {
        loop {
            match self.hear().await.unwrap().expect("the stream goes on") {
                CoordinatorMessage::Plans(_) | CoordinatorMessage::Suspension(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn welcome(&mut self) -> dr_proto::model::Welcome {
        match self.next().await {
            CoordinatorMessage::Welcome(welcome) => welcome,
            other => panic!("a welcome was expected: {other:?}"),
        }
    }

    pub(crate) async fn start(&mut self) -> StartTask {
        match self.next().await {
            CoordinatorMessage::Start(start) => *start,
            other => panic!("a task was expected: {other:?}"),
        }
    }

    /// The names of the plans that it is told of next.
    pub(crate) async fn plans(&mut self) -> Vec<String> {
        loop {
            if let Some(CoordinatorMessage::Plans(plans)) = self.hear().await.unwrap() {
                return plans.into_iter().map(|plan| plan.name).collect();
            }
        }
    }

    /// Sends a result and waits until it is acknowledged.
    pub(crate) async fn answer(&mut self, result: &TaskResult) {
        self.say(AgentMessage::Result(Box::new(result.clone()))).await;
        match self.next().await {
            CoordinatorMessage::Acknowledged(key) => assert_eq!(key, result.key),
            other => panic!("an acknowledgement was expected: {other:?}"),
        }
    }

    /// How the coordinator ends the stream; whatever comes before is passed over.
    pub(crate) async fn goodbye(&mut self) -> GoodbyeReason {
        loop {
            let next = self.hear().await.unwrap();
            if let CoordinatorMessage::Goodbye(goodbye) = next.expect("a goodbye before the end") {
                return goodbye.reason;
            }
        }
    }
}

/// The result of a task that passed.
pub(crate) fn passed(start: &StartTask) -> TaskResult {
    result(start.key, start.work.clone(), TaskState::Passed, "")
}

pub(crate) fn result(key: TaskKey, work: Work, state: TaskState, cause: &str) -> TaskResult {
    TaskResult {
        key,
        outcome: TaskOutcome {
            state,
            cause: cause.to_owned(),
            message: if cause.is_empty() {
                String::new()
            } else {
                format!("because of {cause}")
            },
            started: now(),
            finished: now(),
            document: br#"{"schema":1}"#.to_vec(),
        },
        work,
        slot: None,
    }
}

pub(crate) fn fence(epoch: u64, attempt: u32) -> Fence {
    Fence { epoch, attempt }
}

pub(crate) fn snapshot() -> Work {
    Work::Snapshot(SnapshotWork::default())
}

pub(crate) fn check() -> Work {
    Work::Check(CheckWork {
        kind: CheckKind::VectorDb,
        sources: Vec::new(),
    })
}

/// A request of an operator, for one host.
pub(crate) fn ask(id: &str, of: &str, work: Work) -> v1::StartRunRequest {
    v1::StartRunRequest {
        request_id: id.to_owned(),
        what: Some(v1::start_run_request::What::AdHoc(v1::AdHoc {
            hosts: Some(v1::ad_hoc::Hosts::Host(of.to_owned())),
            work: Some(work.into()),
            deadline: None,
            reason: "a test".to_owned(),
        })),
    }
}

/// What a call was refused with.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("it is refused");
    (status.code(), word(&status))
}
