//! Against a coordinator of a few lines, over a real connection.

use std::net::SocketAddr;
use std::path::Path;

use dr_proto::model::{
    AgentMessage, CancelTask, CoordinatorMessage, Hello, Labels, PlanText, StartTask, Suspension, TaskKey,
    TaskResult, TaskState, Welcome,
};
use dr_proto::v1;
use dr_proto::v1::agent_gateway_server::{AgentGateway, AgentGatewayServer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::daemon::executor::{Ended, Executor};
use crate::daemon::journal::Journal;
use crate::daemon::testing::{Begun, Counting, Scripted, StandingClock, task, time};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(120);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes in time")
}

/// A call of an agent, in the hands of a test.
struct Call {
    incoming: Streaming<v1::AgentMessage>,
    answers: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
}

struct Answering(mpsc::Sender<Call>);

#[async_trait]
impl AgentGateway for Answering {
    type AttachStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (answers, stream) = mpsc::channel(16);
        let call = Call {
            incoming: request.into_inner(),
            answers,
        };
        let gone = |_| Status::unavailable("the test is over");
        self.0.send(call).await.map_err(gone)?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn renew_certificate(
        &self,
        _: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// A coordinator that a test speaks for.
struct Coordinator {
    address: SocketAddr,
    calls: mpsc::Receiver<Call>,
    serving: JoinHandle<()>,
}

impl Coordinator {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, calls) = mpsc::channel(4);
        let serving = tokio::spawn(async move {
            let service = AgentGatewayServer::new(Answering(sender));
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.expect("serve");
        });
        Self {
            address,
            calls,
            serving,
        }
    }

    /// Waits for an agent, and welcomes it.
    async fn attached(&mut self) -> (Call, Hello) {
        self.attached_with(false).await
    }

    async fn attached_with(&mut self, wants_history: bool) -> (Call, Hello) {
        self.attached_as(dr_proto::model::PROTOCOL, wants_history).await
    }

    async fn attached_as(&mut self, protocol: u32, wants_history: bool) -> (Call, Hello) {
        let mut call = soon(self.calls.recv()).await.expect("an agent calls");
        let AgentMessage::Hello(hello) = call.receive().await else {
            panic!("the first message is a hello");
        };
        call.send(CoordinatorMessage::Welcome(Welcome {
            protocol,
            version: "0.1.0".to_owned(),
            epoch: 1,
            heartbeat: Duration::from_secs(1),
            clock: time("2026-01-02T03:00:00Z"),
            labels: Labels::parse(["env=prod"]).expect("labels"),
            wants_history,
        }))
        .await;
        (call, *hello)
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Call {
    async fn send(&self, message: CoordinatorMessage) {
        self.answers
            .send(Ok(message.into()))
            .await
            .expect("the agent listens");
    }

    async fn start(&self, task: &StartTask) {
        self.send(CoordinatorMessage::Start(Box::new(task.clone()))).await;
    }

    async fn receive(&mut self) -> AgentMessage {
        let message = soon(self.incoming.message()).await.expect("the stream lives");
        AgentMessage::try_from(message.expect("a message")).expect("it makes sense")
    }

    /// The next result; everything before it is passed over.
    async fn result(&mut self) -> TaskResult {
        loop {
            if let AgentMessage::Result(result) = self.receive().await {
                return *result;
            }
        }
    }

    /// Passes over everything up to an update of that task.
    async fn update(&mut self, key: TaskKey) {
        loop {
            match self.receive().await {
                AgentMessage::Update(update) if update.key == key => return,
                _ => {}
            }
        }
    }

    /// How many results come until two more heartbeats have come.
    async fn results_within_two_beats(&mut self) -> Vec<TaskResult> {
        let (mut beats, mut results) = (0, Vec::new());
        while beats < 2 {
            match self.receive().await {
                AgentMessage::Heartbeat(_) => beats += 1,
                AgentMessage::Result(result) => results.push(*result),
                _ => {}
            }
        }
        results
    }
}

struct Plain;

#[async_trait]
impl Dial for Plain {
    async fn dial(&self, endpoint: &str) -> Result<Gateway, DialError> {
        let failed = |source: tonic::transport::Error| DialError {
            endpoint: endpoint.to_owned(),
            source: source.into(),
        };
        let target = tonic::transport::Endpoint::from_shared(endpoint.to_owned()).map_err(failed)?;
        Ok(Gateway::new(target.connect().await.map_err(failed)?))
    }
}

/// An agent in a folder: everything but the jobs is real.
struct Agent {
    desk: Desk,
    begun: mpsc::UnboundedReceiver<Begun>,
    standing: watch::Receiver<Standing>,
    _inventory: watch::Sender<Option<Inventory>>,
    executor: JoinHandle<()>,
    link: JoinHandle<Result<(), Error>>,
    linked: CancellationToken,
}

impl Agent {
    fn start(folder: &Path, endpoints: &[String]) -> Self {
        let clock = StandingClock::new();
        let journal = Journal::open(folder).expect("open the journal");
        let desk = Desk::open(journal, time("2026-01-02T03:00:00Z")).expect("open the desk");
        let gate = Gate::new(folder.join("SUSPEND"));
        let (jobs, begun) = Scripted::new(true);
        let executor = Executor {
            desk: desk.clone(),
            jobs,
            observer: Arc::new(Counting::default()),
            gate: gate.clone(),
            clock: clock.clone(),
        };
        let (inventory, seen) = watch::channel(None);
        let standing = watch::Sender::new(Standing::Away {
            since: time("2026-01-02T03:00:00Z"),
            reason: None,
        });
        let watched = standing.subscribe();
        let link = Link {
            endpoints: endpoints.to_vec(),
            dial: Arc::new(Plain),
            introduction: Introduction {
                host: "host-1".parse().expect("a host"),
                incarnation: "one".to_owned(),
                allow: Allow::default(),
                repository: None,
                encrypted: false,
                probes: Vec::new(),
            },
            desk: desk.clone(),
            gate,
            inventory: seen,
            vitals: Vitals::default(),
            standing,
            clock,
            chance: fastrand::Rng::with_seed(7),
        };
        let linked = CancellationToken::new();
        Self {
            executor: tokio::spawn(async move {
                executor.run(CancellationToken::new()).await.expect("no panic");
            }),
            link: tokio::spawn(link.run(linked.clone())),
            desk,
            begun,
            standing: watched,
            _inventory: inventory,
            linked,
        }
    }

    async fn begun(&mut self) -> Begun {
        soon(self.begun.recv()).await.expect("a job begins")
    }

    /// As `kill -9` does it: nothing is told to anybody. Returns when the journal is closed.
    async fn kill(self) {
        self.executor.abort();
        self.link.abort();
        let gone = |ended: Result<(), tokio::task::JoinError>| {
            assert!(ended.is_err_and(|error| error.is_cancelled()))
        };
        gone(self.executor.await);
        gone(self.link.await.map(|_| ()));
    }
}

fn endpoint(coordinator: &Coordinator) -> Vec<String> {
    vec![format!("http://{}", coordinator.address)]
}

async fn world() -> (TempDir, Coordinator, Agent) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(dir.path(), &endpoint(&coordinator));
    (dir, coordinator, agent)
}

fn passed(document: &str) -> Ended {
    let mut ended = Ended::passed();
    ended.document = document.as_bytes().to_vec();
    ended
}

#[tokio::test]
async fn a_task_comes_in_is_confirmed_and_its_result_goes_out_until_it_is_acknowledged() {
    let (_dir, mut coordinator, mut agent) = world().await;
    let (mut call, hello) = coordinator.attached().await;
    assert_eq!((hello.host.as_str(), hello.tasks.len()), ("host-1", 0));
    let task = task();
    call.start(&task).await;
    call.update(task.key).await;
    agent.begun().await.end(passed("{\"rows\":7}"));
    let result = call.result().await;
    assert_eq!((result.key, result.outcome.state), (task.key, TaskState::Passed));
    assert_eq!(result.outcome.document, b"{\"rows\":7}");
    // Not acknowledged: it goes out again on the next stream.
    drop(call);
    let (mut call, hello) = coordinator.attached().await;
    assert_eq!(hello.tasks, [], "it has ended");
    assert_eq!(call.result().await, result);
    call.send(CoordinatorMessage::Acknowledged(task.key)).await;
    drop(call);
    let (mut call, _) = coordinator.attached().await;
    assert_eq!(call.results_within_two_beats().await, []);
}

#[tokio::test]
async fn a_task_that_is_handed_out_again_is_not_executed_again() {
    let (_dir, mut coordinator, mut agent) = world().await;
    let (call, _) = coordinator.attached().await;
    let task = task();
    call.start(&task).await;
    let begun = agent.begun().await;
    drop(call);
    let (mut call, hello) = coordinator.attached().await;
    assert_eq!(hello.tasks, [task.key], "it is at work");
    call.start(&task).await;
    call.update(task.key).await;
    begun.end(passed("{}"));
    let result = call.result().await;
    call.send(CoordinatorMessage::Acknowledged(task.key)).await;
    call.start(&task).await;
    assert_eq!(call.result().await, result, "answered from what is remembered");
    assert!(agent.begun.try_recv().is_err());
}

#[tokio::test]
async fn an_agent_that_was_killed_in_the_middle_of_a_task_answers_it_as_interrupted() {
    let (dir, mut coordinator, mut agent) = world().await;
    let (call, _) = coordinator.attached().await;
    let task = task();
    call.start(&task).await;
    agent.begun().await;
    agent.kill().await;
    drop(call);
    let mut agent = Agent::start(dir.path(), &endpoint(&coordinator));
    let (mut call, hello) = coordinator.attached().await;
    assert_eq!(hello.tasks, []);
    let result = call.result().await;
    assert_eq!(
        (result.key, result.outcome.state),
        (task.key, TaskState::Inconclusive)
    );
    assert_eq!(result.outcome.cause, "interrupted");
    call.start(&task).await;
    assert_eq!(call.result().await, result);
    assert!(agent.begun.try_recv().is_err(), "never executed twice");
}

#[tokio::test]
async fn a_cancel_reaches_the_work() {
    let (_dir, mut coordinator, mut agent) = world().await;
    let (mut call, _) = coordinator.attached().await;
    let task = task();
    call.start(&task).await;
    agent.begun().await;
    let cancel = CancelTask {
        key: task.key,
        reason: "by ana".to_owned(),
    };
    call.send(CoordinatorMessage::Cancel(cancel)).await;
    let result = call.result().await;
    assert_eq!(
        (result.outcome.state, result.outcome.cause.as_str()),
        (TaskState::Cancelled, "cancelled")
    );
    assert!(result.outcome.message.contains("by ana"));
}

#[tokio::test]
async fn what_ended_while_no_coordinator_answered_is_told_to_the_next_that_does() {
    let (dir, mut coordinator, mut agent) = world().await;
    let (call, _) = coordinator.attached().await;
    let task = task();
    call.start(&task).await;
    let begun = agent.begun().await;
    drop((call, coordinator));
    let away = |standing: &Standing| matches!(standing, Standing::Away { reason: Some(_), .. });
    soon(agent.standing.wait_for(away)).await.expect("the link lives");
    begun.end(passed("{}"));
    crate::daemon::testing::until_owed(&agent.desk, 1).await;
    agent.kill().await;
    let mut next = Coordinator::start().await;
    let _agent = Agent::start(dir.path(), &endpoint(&next));
    let (mut call, _) = next.attached().await;
    assert_eq!(call.result().await.key, task.key);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_passed_over() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut coordinator = Coordinator::start().await;
    // Held, so that no other test gets it, and nobody listens there.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let closed = held.local_addr().expect("an address");
    let endpoints = [vec![format!("http://{closed}")], endpoint(&coordinator)].concat();
    let mut agent = Agent::start(dir.path(), &endpoints);
    // Held: the standing is another once the call has ended.
    let _call = coordinator.attached().await;
    let attached = |standing: &Standing| *standing == Standing::Attached { epoch: 1 };
    soon(agent.standing.wait_for(attached))
        .await
        .expect("the link lives");
}

#[tokio::test]
async fn an_agent_that_was_replaced_or_revoked_does_not_come_back() {
    for (reason, revoked) in [(GoodbyeReason::Replaced, false), (GoodbyeReason::Revoked, true)] {
        let (_dir, mut coordinator, agent) = world().await;
        let (call, _) = coordinator.attached().await;
        let message = "told so".to_owned();
        call.send(CoordinatorMessage::Goodbye(Goodbye { reason, message }))
            .await;
        let error = soon(agent.link).await.expect("no panic").expect_err("it ends");
        assert_eq!(matches!(error, Error::Revoked { .. }), revoked);
        assert!(error.to_string().contains("told so"));
    }
}

#[tokio::test]
async fn an_agent_that_is_replaced_says_that_it_lives() {
    let (_dir, mut coordinator, agent) = world().await;
    let (mut call, hello) = coordinator.attached().await;
    let goodbye = Goodbye {
        reason: GoodbyeReason::Replaced,
        message: "another one came".to_owned(),
    };
    call.send(CoordinatorMessage::Goodbye(goodbye)).await;
    let farewell = loop {
        if let AgentMessage::Farewell(farewell) = call.receive().await {
            break farewell;
        }
    };
    assert_eq!(farewell.incarnation, hello.incarnation);
    drop(call);
    let error = soon(agent.link).await.expect("no panic").expect_err("it ends");
    assert!(matches!(error, Error::Replaced { .. }));
}

/// Minor versions may lie two apart in either direction.
#[tokio::test]
async fn a_coordinator_of_a_near_version_is_worked_with_and_one_of_a_far_version_is_not() {
    use dr_proto::model::{PROTOCOL, TOLERATED_SKEW};
    for (protocol, works) in [
        (PROTOCOL - TOLERATED_SKEW, true),
        (PROTOCOL + TOLERATED_SKEW, true),
        (PROTOCOL + TOLERATED_SKEW + 1, false),
    ] {
        let (_dir, mut coordinator, mut agent) = world().await;
        let (_call, _) = coordinator.attached_as(protocol, false).await;
        let decided = |standing: &Standing| match standing {
            Standing::Attached { .. } => true,
            Standing::Away { reason, .. } => reason.is_some(),
        };
        let standing = soon(agent.standing.wait_for(decided))
            .await
            .expect("the link lives");
        match &*standing {
            Standing::Attached { .. } => assert!(works, "{protocol}"),
            Standing::Away { reason, .. } => {
                assert!(!works, "{protocol}: {reason:?}");
                let why = reason.clone().unwrap_or_default();
                assert!(why.contains("update the older of the two"), "{why}");
            }
        }
    }
}

#[tokio::test]
async fn after_a_shutdown_the_agent_comes_back() {
    let (_dir, mut coordinator, _agent) = world().await;
    let (call, _) = coordinator.attached().await;
    let goodbye = Goodbye {
        reason: GoodbyeReason::Shutdown,
        message: "upgrade".to_owned(),
    };
    call.send(CoordinatorMessage::Goodbye(goodbye)).await;
    coordinator.attached().await;
}

#[tokio::test]
async fn what_the_coordinator_says_is_remembered_and_told_to_one_that_forgot() {
    let (_dir, mut coordinator, mut agent) = world().await;
    let (mut call, _) = coordinator.attached().await;
    let plans = vec![PlanText {
        name: "nightly".to_owned(),
        text: "schema = 1".to_owned(),
        hash: dr_proto::model::plan::hash_of("schema = 1"),
    }];
    call.send(CoordinatorMessage::Plans(plans.clone())).await;
    let suspension = Suspension {
        reason: Some("upgrade".to_owned()),
        until: Some(time("2026-01-03T00:00:00Z")),
    };
    call.send(CoordinatorMessage::Suspension(suspension.clone()))
        .await;
    let task = task();
    call.start(&task).await;
    agent.begun().await.end(passed("{\"n\":1}"));
    let result = call.result().await;
    call.send(CoordinatorMessage::Acknowledged(task.key)).await;
    drop(call);
    let (mut call, _) = coordinator.attached_with(true).await;
    let history = loop {
        if let AgentMessage::History(history) = call.receive().await {
            break history;
        }
    };
    assert_eq!((history.plans, history.results), (plans, vec![result]));
    let kept = agent
        .desk
        .recall(|memory| memory.suspension().clone())
        .await
        .expect("no panic");
    assert_eq!(kept, suspension);
}

#[tokio::test]
async fn when_the_daemon_ends_what_is_owed_is_still_sent() {
    let (_dir, mut coordinator, mut agent) = world().await;
    let (mut call, _) = coordinator.attached().await;
    let task = task();
    call.start(&task).await;
    agent.begun().await.end(passed("{}"));
    crate::daemon::testing::until_owed(&agent.desk, 1).await;
    agent.linked.cancel();
    assert_eq!(call.result().await.key, task.key);
    call.send(CoordinatorMessage::Acknowledged(task.key)).await;
    soon(agent.link)
        .await
        .expect("no panic")
        .expect("it ends in order");
}
