//! Hosts that speak the agents' protocol over real mutual TLS and do no work: for fleets larger than a machine.
//!
//! A simulated host keeps what a real agent's journal keeps, and counts what it executed: a case can tell whether a
//! task was lost or done twice. Killing it drops its connection in the middle of whatever it did.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dr_coordinator::pki::{Authority, Names};
use dr_proto::client::{Client, Options};
use dr_proto::model::{
    AgentMessage, Allow, CoordinatorMessage, DrillKind, Farewell, Goodbye, GoodbyeReason, Heartbeat, Hello,
    HostName, Identity, PROTOCOL, Progress, Role, StartTask, TaskKey, TaskOutcome, TaskResult, TaskState,
    TaskUpdate, capability,
};
use dr_proto::tls::{ConnectTimeouts, Connector, Files, Fresh, Reloading, SystemTime};
use dr_proto::v1;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

/// How long a simulated host waits before it dials again.
const AGAIN: Duration = Duration::from_millis(200);
/// Messages that may wait for the network.
const QUEUE: usize = 64;
/// Certificates live longer than any case.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a simulated host does with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Ends it at once like this.
    End(TaskState),
    /// Accepts it and never ends it: a wedged task.
    Wedge,
}

/// Where one attempt stands on a host.
#[derive(Debug, Clone)]
struct Entry {
    start: StartTask,
    executed: u32,
    result: Option<TaskResult>,
    acknowledged: bool,
}

/// What a journal keeps.
#[derive(Debug, Default)]
struct Journal {
    entries: BTreeMap<TaskKey, Entry>,
    welcomes: u64,
    goodbye: Option<Goodbye>,
}

/// How many processes there were: each has an incarnation of its own.
static STARTS: AtomicU64 = AtomicU64::new(0);

/// One simulated host.
#[derive(Debug)]
pub struct SimulatedHost {
    name: HostName,
    endpoint: SocketAddr,
    tls: Arc<Reloading>,
    protocol: u32,
    version: String,
    capabilities: Vec<String>,
    clock_ahead: jiff::SignedDuration,
    behaviour: watch::Sender<Behaviour>,
    journal: Arc<Mutex<Journal>>,
    task: Option<JoinHandle<()>>,
}

impl SimulatedHost {
    /// A host with a certificate of the fleet's authority; it does not run yet.
    ///
    /// # Panics
    ///
    /// If the authority does not issue one.
    pub fn new(pki: &Path, folder: &Path, name: &str, endpoint: SocketAddr) -> Self {
        let authority = Authority::open(pki).expect("open the fleet's authority");
        let host: HostName = name.parse().expect("a host name");
        let identity = Identity {
            domain: authority.domain().clone(),
            role: Role::Agent,
            name: host.clone(),
        };
        let (issued, key) = authority
            .issue_with_key(&identity, &Names::default(), LIFETIME, now())
            .expect("issue a certificate");
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let files = Files {
            certificate: file("pem"),
            private_key: file("key"),
            trust_bundle: file("ca.pem"),
        };
        files
            .install(&Fresh {
                private_key: &key,
                certificate: &issued.certificate_pem,
                trust_bundle: &issued.trust_bundle_pem,
            })
            .expect("write a certificate");
        let tls = Reloading::open(files, &[Role::Agent], Arc::new(SystemTime)).expect("read a certificate");
        Self {
            name: host,
            endpoint,
            tls,
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: capability::ALL.iter().map(|&name| name.to_owned()).collect(),
            clock_ahead: jiff::SignedDuration::ZERO,
            behaviour: watch::Sender::new(Behaviour::End(TaskState::Passed)),
            journal: Arc::default(),
            task: None,
        }
    }

    /// Speaks another minor version of the protocol.
    #[must_use]
    pub fn with_protocol(mut self, protocol: u32) -> Self {
        self.protocol = protocol;
        self
    }

    /// Is of another version, which understands only this.
    #[must_use]
    pub fn with_version(mut self, version: &str, capabilities: &[&str]) -> Self {
        version.clone_into(&mut self.version);
        self.capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Has a clock that is wrong by this much.
    #[must_use]
    pub fn with_clock_ahead(mut self, by: jiff::SignedDuration) -> Self {
        self.clock_ahead = by;
        self
    }

    /// Its name.
    pub fn name(&self) -> &HostName {
        &self.name
    }

    /// What it does with tasks from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Starts it, or starts it again with the journal that it had.
    pub fn start(&mut self) {
        self.kill();
        let line = Line {
            name: self.name.clone(),
            incarnation: format!("{}-{}", self.name, STARTS.fetch_add(1, Ordering::Relaxed)),
            protocol: self.protocol,
            version: self.version.clone(),
            capabilities: self.capabilities.clone(),
            clock_ahead: self.clock_ahead,
            behaviour: self.behaviour.subscribe(),
            journal: Arc::clone(&self.journal),
        };
        let connector = Connector::new(Arc::clone(&self.tls), ConnectTimeouts::default());
        let endpoint = format!("https://{}", self.endpoint)
            .parse()
            .expect("an address is an endpoint");
        let options = Options::new(vec![endpoint], "simulated-host");
        self.task = Some(tokio::spawn(async move {
            loop {
                if let Ok(client) = Client::connect(&connector, &options).await {
                    line.attach(&client).await;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    /// Ends what it is wedged at; told with the next welcome.
    pub fn finish(&self, state: TaskState) {
        let mut journal = lock(&self.journal);
        for entry in journal.entries.values_mut() {
            entry.result.get_or_insert_with(|| result(&entry.start, state));
        }
    }

    /// Drops its connection and whatever it was at.
    pub fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// How often it was welcomed.
    pub fn welcomes(&self) -> u64 {
        lock(&self.journal).welcomes
    }

    /// With what words the coordinator sent it away last.
    pub fn goodbye(&self) -> Option<Goodbye> {
        lock(&self.journal).goodbye.clone()
    }

    /// How often each attempt was executed.
    pub fn executions(&self) -> BTreeMap<TaskKey, u32> {
        let journal = lock(&self.journal);
        journal
            .entries
            .iter()
            .map(|(key, entry)| (*key, entry.executed))
            .collect()
    }
}

impl Drop for SimulatedHost {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What one stream needs.
struct Line {
    name: HostName,
    incarnation: String,
    protocol: u32,
    version: String,
    capabilities: Vec<String>,
    clock_ahead: jiff::SignedDuration,
    behaviour: watch::Receiver<Behaviour>,
    journal: Arc<Mutex<Journal>>,
}

impl Line {
    /// One stream from hello to its end, for whatever reason it ends.
    async fn attach(&self, client: &Client) {
        let (say, said) = mpsc::channel::<v1::AgentMessage>(QUEUE);
        if say
            .send(AgentMessage::Hello(Box::new(self.hello())).into())
            .await
            .is_err()
        {
            return;
        }
        let attached = client.gateway().attach(ReceiverStream::new(said)).await;
        let Ok(mut stream) = attached.map(tonic::Response::into_inner) else {
            return;
        };
        let mut beat = tokio::time::interval(Duration::from_secs(3600));
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                _ = beat.tick() => {
                    let heartbeat = AgentMessage::Heartbeat(self.heartbeat());
                    if say.send(heartbeat.into()).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Ok(Some(message)) = message else {
                return;
            };
            let answers = match CoordinatorMessage::try_from(message) {
                Ok(CoordinatorMessage::Welcome(welcome)) => {
                    beat = tokio::time::interval(welcome.heartbeat);
                    lock(&self.journal).welcomes += 1;
                    self.unacknowledged()
                }
                Ok(CoordinatorMessage::Start(start)) => self.start(&start),
                Ok(CoordinatorMessage::Acknowledged(key)) => {
                    if let Some(entry) = lock(&self.journal).entries.get_mut(&key) {
                        entry.acknowledged = true;
                    }
                    Vec::new()
                }
                Ok(CoordinatorMessage::Goodbye(goodbye)) => {
                    if goodbye.reason == GoodbyeReason::Replaced {
                        self.say_farewell(&say, &mut stream).await;
                    }
                    lock(&self.journal).goodbye = Some(goodbye);
                    return;
                }
                Ok(_) | Err(_) => Vec::new(),
            };
            for answer in answers {
                if say.send(answer.into()).await.is_err() {
                    return;
                }
            }
        }
    }

    /// As an agent does that lives: says so, and waits until that was heard.
    async fn say_farewell(
        &self,
        say: &mpsc::Sender<v1::AgentMessage>,
        stream: &mut tonic::Streaming<v1::CoordinatorMessage>,
    ) {
        let farewell = AgentMessage::Farewell(Farewell {
            incarnation: self.incarnation.clone(),
        });
        let heard = async {
            let _gone = say.send(farewell.into()).await;
            while let Ok(Some(_)) = stream.message().await {}
        };
        let _late = tokio::time::timeout(Duration::from_secs(5), heard).await;
    }

    fn hello(&self) -> Hello {
        let journal = lock(&self.journal);
        let unfinished = journal.entries.iter().filter(|(_, entry)| entry.result.is_none());
        Hello {
            protocol: self.protocol,
            version: self.version.clone(),
            host: self.name.clone(),
            incarnation: self.incarnation.clone(),
            clock: self.clock(),
            capabilities: self.capabilities.clone(),
            allow: Allow {
                drills: vec![DrillKind::Verify, DrillKind::Restore],
                ..Allow::default()
            },
            repository: None,
            repository_encrypted: false,
            probes: Vec::new(),
            tasks: unfinished.map(|(key, _)| *key).collect(),
            suspended: None,
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            clock: self.clock(),
            suspended: None,
            tasks: Vec::new(),
            oldest_pin: None,
            scratch_bytes: 0,
        }
    }

    fn clock(&self) -> Timestamp {
        now() + self.clock_ahead
    }

    /// Executes a task once, whatever is asked how often.
    fn start(&self, start: &StartTask) -> Vec<AgentMessage> {
        let behaviour = *self.behaviour.borrow();
        let mut journal = lock(&self.journal);
        let entry = journal.entries.entry(start.key).or_insert_with(|| Entry {
            start: start.clone(),
            executed: 0,
            result: None,
            acknowledged: false,
        });
        if entry.executed == 0 {
            entry.executed += 1;
            entry.result = match behaviour {
                Behaviour::End(state) => Some(result(start, state)),
                Behaviour::Wedge => None,
            };
        }
        let update = AgentMessage::Update(TaskUpdate {
            key: start.key,
            progress: Progress::default(),
        });
        let result = entry
            .result
            .clone()
            .map(|result| AgentMessage::Result(Box::new(result)));
        std::iter::once(update).chain(result).collect()
    }

    fn unacknowledged(&self) -> Vec<AgentMessage> {
        let journal = lock(&self.journal);
        let open = journal.entries.values().filter(|entry| !entry.acknowledged);
        open.filter_map(|entry| entry.result.clone())
            .map(|result| AgentMessage::Result(Box::new(result)))
            .collect()
    }
}

fn result(start: &StartTask, state: TaskState) -> TaskResult {
    let at = now();
    let (cause, message) = match state {
        TaskState::Passed => (String::new(), String::new()),
        _ => (
            "simulated".to_owned(),
            "a simulated host was told to end so".to_owned(),
        ),
    };
    TaskResult {
        key: start.key,
        outcome: TaskOutcome {
            state,
            cause,
            message,
            started: at,
            finished: at,
            document: Vec::new(),
        },
        work: start.work.clone(),
        slot: start.slot.clone(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a simulated host has a clock as a real one has"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
