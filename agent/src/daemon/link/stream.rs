//! One stream: hello, welcome, then whatever either side has to say.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_proto::model::{
    AgentMessage, CoordinatorMessage, Farewell, Goodbye, GoodbyeReason, Heartbeat, Hello, History, PROTOCOL,
    Progress, TaskKey, Welcome, capability, tolerates,
};
use dr_proto::v1;
use dr_proto::wire;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::backoff::Backoff;
use super::{DialError, Gateway, Link, Parting, Standing};
use crate::daemon::desk;

/// Messages that wait to go out. A result may have megabytes.
const QUEUE: usize = 8;
/// How long the coordinator may take to answer the call, and to say welcome.
const WELCOME: Duration = Duration::from_secs(20);
/// How long a message may take to leave.
const SEND: Duration = Duration::from_secs(30);
/// A result that was not acknowledged for this long is sent again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a farewell may take to arrive.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long acknowledgements are waited for when the daemon ends.
const DRAIN: Duration = Duration::from_secs(5);
/// Bounds of what a coordinator may ask for as heartbeat.
const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A message of history holds no more bytes of documents, unless one document alone does.
const HISTORY_BYTES: usize = 3 << 20;
/// And no more results.
const HISTORY_RESULTS: usize = 50;
/// Clocks further apart than this are worth a line in the log.
const SKEW: Duration = Duration::from_secs(30);

/// Why a stream ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint is configured.
    #[error("no endpoint is configured: name one under `[coordinator].endpoints`")]
    NoEndpoint,
    /// The endpoint was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The coordinator refused the call.
    #[error("attach at {endpoint}: {}: {}", status.code(), status.message())]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        status: Box<Status>,
    },
    /// The coordinator did not say welcome in time.
    #[error("{endpoint} did not answer within {} s", WELCOME.as_secs())]
    Silent {
        /// The endpoint.
        endpoint: String,
    },
    /// The coordinator's first message was no welcome.
    #[error("{endpoint} began with something else than a welcome: is it a coordinator of this product?")]
    NoWelcome {
        /// The endpoint.
        endpoint: String,
    },
    /// The versions are too far apart.
    #[error(
        "the coordinator {version} speaks version {theirs} of the protocol, this agent {PROTOCOL}: update the older of \
         the two"
    )]
    Version {
        /// The coordinator's version of the protocol.
        theirs: u32,
        /// The coordinator's version.
        version: String,
    },
    /// A message makes no sense.
    #[error("the coordinator sent a message that makes no sense")]
    Message(#[source] wire::Error),
    /// The stream broke.
    #[error("the stream broke: {}: {}", .0.code(), .0.message())]
    Broken(Box<Status>),
    /// The peer takes no more messages.
    #[error("the coordinator took no message for {} s", SEND.as_secs())]
    Stuck,
    /// The desk failed.
    #[error("keep what is owed")]
    Desk(#[from] desk::Error),
}

impl Error {
    /// Whether trying soon is of no use.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Version { .. } | Self::Message(_) | Self::NoWelcome { .. }
        )
    }

    /// Whether nothing was exchanged yet.
    pub(super) fn is_before_welcome(&self) -> bool {
        matches!(
            self,
            Self::Dial(_) | Self::Refused { .. } | Self::Silent { .. } | Self::NoWelcome { .. }
        )
    }
}

/// A stream under way.
struct Stream {
    out: mpsc::Sender<v1::AgentMessage>,
    incoming: Streaming<v1::CoordinatorMessage>,
    /// When each result went out on this stream.
    sent: BTreeMap<TaskKey, Instant>,
    /// What was last told of each task.
    told: BTreeMap<TaskKey, Progress>,
}

/// What the coordinator's first message is.
enum Greeting {
    Welcome(Box<(Stream, Welcome)>),
    Goodbye(Goodbye),
}

impl Link {
    /// Speaks over a connection until the stream ends.
    pub(super) async fn speak(
        &mut self,
        gateway: Gateway,
        endpoint: &str,
        backoff: &mut Backoff,
        cancel: &CancellationToken,
    ) -> Result<Parting, Error> {
        let (mut stream, welcome) = match self.greet(gateway, endpoint).await? {
            Greeting::Welcome(greeted) => *greeted,
            Greeting::Goodbye(goodbye) => return Ok(Parting::Goodbye(goodbye)),
        };
        let now = self.clock.now();
        let skew = now.duration_since(welcome.clock).unsigned_abs();
        if skew > SKEW {
            tracing::warn!(
                seconds = skew.as_secs_f64(),
                "this host's clock and the coordinator's are apart"
            );
        }
        tracing::info!(
            endpoint,
            version = welcome.version,
            epoch = welcome.epoch,
            "attached"
        );
        self.desk.contact(now).await?;
        self.desk.set_labels(welcome.labels.clone()).await?;
        self.standing
            .send_replace(Standing::Attached { epoch: welcome.epoch });
        if welcome.wants_history {
            stream.history(self).await?;
        }
        backoff.welcomed(welcome.heartbeat.clamp(HEARTBEAT.0, HEARTBEAT.1));
        let parting = self.converse(&mut stream, welcome.heartbeat, cancel).await;
        if let Ok(Parting::Goodbye(goodbye)) = &parting
            && goodbye.reason == GoodbyeReason::Replaced
        {
            stream.say_farewell(&self.introduction.incarnation).await;
        }
        self.desk.contact(self.clock.now()).await?;
        parting
    }

    async fn greet(&self, mut gateway: Gateway, endpoint: &str) -> Result<Greeting, Error> {
        let (out, outgoing) = mpsc::channel(QUEUE);
        let hello = AgentMessage::Hello(Box::new(self.hello().await?));
        let silent = || Error::Silent {
            endpoint: endpoint.to_owned(),
        };
        // The queue is empty: the first message fits.
        out.try_send(hello.into()).map_err(|_| Error::Stuck)?;
        let attach = gateway.attach(ReceiverStream::new(outgoing));
        let answer = timeout(WELCOME, attach).await.map_err(|_| silent())?;
        let refused = |status| Error::Refused {
            endpoint: endpoint.to_owned(),
            status: Box::new(status),
        };
        let mut incoming = answer.map_err(refused)?.into_inner();
        let first = timeout(WELCOME, incoming.message()).await.map_err(|_| silent())?;
        let first = first
            .map_err(refused)?
            .map(CoordinatorMessage::try_from)
            .transpose();
        let welcome = match first.map_err(Error::Message)? {
            Some(CoordinatorMessage::Welcome(welcome)) => welcome,
            Some(CoordinatorMessage::Goodbye(goodbye)) => return Ok(Greeting::Goodbye(goodbye)),
            _ => {
                return Err(Error::NoWelcome {
                    endpoint: endpoint.to_owned(),
                });
            }
        };
        if !tolerates(welcome.protocol) {
            return Err(Error::Version {
                theirs: welcome.protocol,
                version: welcome.version,
            });
        }
        let stream = Stream {
            out,
            incoming,
            sent: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        Ok(Greeting::Welcome(Box::new((stream, welcome))))
    }

    async fn hello(&self) -> Result<Hello, Error> {
        let about = self.introduction.clone();
        let tasks = self.desk.tasks().await?;
        Ok(Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: about.host,
            incarnation: about.incarnation,
            clock: self.clock.now(),
            capabilities: capability::ALL.iter().map(|&name| name.to_owned()).collect(),
            allow: about.allow,
            repository: about.repository,
            repository_encrypted: about.encrypted,
            probes: about.probes,
            tasks: tasks.into_iter().map(|task| task.key).collect(),
            suspended: self.suspended().await?,
        })
    }

    /// Why nothing starts here, by the host's own switch.
    async fn suspended(&self) -> Result<Option<String>, desk::Error> {
        let gate = self.gate.clone();
        Ok(tokio::task::spawn_blocking(move || gate.closed()).await?)
    }

    async fn converse(
        &mut self,
        stream: &mut Stream,
        heartbeat: Duration,
        cancel: &CancellationToken,
    ) -> Result<Parting, Error> {
        let mut beat = tokio::time::interval(heartbeat.clamp(HEARTBEAT.0, HEARTBEAT.1));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = tokio::time::interval(AGAIN);
        let mut outgoing = self.desk.outgoing();
        outgoing.mark_changed();
        self.inventory.mark_changed();
        let mut drain = None;
        loop {
            if drain.is_some() && self.desk.owed().await?.is_empty() {
                return Ok(Parting::Drained);
            }
            tokio::select! {
                biased;
                message = stream.incoming.message() => match message {
                    Ok(Some(message)) => if let Some(parting) = self.take(stream, message).await? {
                        return Ok(parting);
                    },
                    Ok(None) => return Ok(Parting::Closed),
                    Err(status) => return Err(Error::Broken(Box::new(status))),
                },
                () = cancel.cancelled(), if drain.is_none() => drain = Some(Instant::now() + DRAIN),
                () = until(drain), if drain.is_some() => return Ok(Parting::Drained),
                _ = outgoing.changed() => stream.tell(self).await?,
                _ = again.tick() => stream.results(self).await?,
                _ = beat.tick() => stream.beat(self).await?,
                Ok(()) = self.inventory.changed() => {
                    let inventory = self.inventory.borrow_and_update().clone();
                    if let Some(inventory) = inventory {
                        stream.send(AgentMessage::Inventory(inventory)).await?;
                    }
                }
            }
        }
    }

    /// Does what a message says.
    async fn take(
        &self,
        stream: &mut Stream,
        message: v1::CoordinatorMessage,
    ) -> Result<Option<Parting>, Error> {
        let now = self.clock.now();
        let message = match CoordinatorMessage::try_from(message) {
            Ok(message) => message,
            Err(error) if error.is_unknown() => {
                tracing::warn!(%error, "a message of a newer coordinator is left out");
                return Ok(None);
            }
            Err(error) => return Err(Error::Message(error)),
        };
        match message {
            CoordinatorMessage::Welcome(_) => tracing::debug!("the coordinator said welcome twice"),
            CoordinatorMessage::Start(task) => {
                // Asked again: whatever went out before on this stream goes out once more.
                stream.sent.remove(&task.key);
                stream.told.remove(&task.key);
                self.desk.start(*task, now).await?;
            }
            CoordinatorMessage::Cancel(cancel) => {
                stream.sent.remove(&cancel.key);
                self.desk.cancel(cancel, now).await?;
            }
            CoordinatorMessage::Acknowledged(key) => {
                stream.sent.remove(&key);
                stream.told.remove(&key);
                self.kept(self.desk.acknowledge(key).await)?;
            }
            CoordinatorMessage::Plans(plans) => self.kept(self.desk.set_plans(plans).await)?,
            CoordinatorMessage::Suspension(suspension) => {
                self.kept(self.desk.set_suspension(suspension).await)?;
            }
            CoordinatorMessage::Goodbye(goodbye) => return Ok(Some(Parting::Goodbye(goodbye))),
            CoordinatorMessage::RunEnded(ended) => {
                dr_telemetry::sampling::judge(&ended.trace_id, !ended.passed);
            }
        }
        Ok(None)
    }

    /// A journal that can not be written must not end the stream: results that wait are still to be sent.
    fn kept(&self, done: Result<(), desk::Error>) -> Result<(), desk::Error> {
        match done {
            Err(desk::Error::Journal(error)) => {
                tracing::error!(error = %crate::error::in_one_line(&error), "what the coordinator said is not written down");
                Ok(())
            }
            other => other,
        }
    }
}

impl Stream {
    async fn send(&self, message: AgentMessage) -> Result<(), Error> {
        match timeout(SEND, self.out.send(message.into())).await {
            // A closed stream says why when it is read.
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_) => Err(Error::Stuck),
        }
    }

    /// Answers that we live although another stream took over, and waits a moment for the coordinator to hear it: a
    /// stream that is dropped at once may take its last message along.
    async fn say_farewell(&mut self, incarnation: &str) {
        let farewell = AgentMessage::Farewell(Farewell {
            incarnation: incarnation.to_owned(),
        });
        if let Err(error) = self.send(farewell).await {
            tracing::debug!(%error, "the coordinator does not hear the farewell");
            return;
        }
        let heard = async { while let Ok(Some(_)) = self.incoming.message().await {} };
        if timeout(FAREWELL, heard).await.is_err() {
            tracing::debug!("the coordinator did not end the stream after the farewell");
        }
    }

    /// Everything that changed since the last time.
    async fn tell(&mut self, link: &Link) -> Result<(), Error> {
        for update in link.desk.tasks().await? {
            if self.told.get(&update.key) != Some(&update.progress) {
                self.told.insert(update.key, update.progress.clone());
                self.send(AgentMessage::Update(update)).await?;
            }
        }
        self.results(link).await
    }

    /// Results that are owed and did not go out lately.
    async fn results(&mut self, link: &Link) -> Result<(), Error> {
        for key in link.desk.owed().await? {
            if self.sent.get(&key).is_some_and(|at| at.elapsed() < AGAIN) {
                continue;
            }
            if let Some(result) = link.desk.result(key).await? {
                self.send(AgentMessage::Result(Box::new(result))).await?;
                self.sent.insert(key, Instant::now());
            }
        }
        Ok(())
    }

    async fn beat(&mut self, link: &Link) -> Result<(), Error> {
        let now = link.clock.now();
        link.kept(link.desk.contact(now).await)?;
        let heartbeat = Heartbeat {
            clock: now,
            suspended: link.suspended().await?,
            tasks: link.desk.tasks().await?,
            oldest_pin: link.vitals.oldest_pin(),
            scratch_bytes: link.vitals.scratch_bytes(),
        };
        self.send(AgentMessage::Heartbeat(heartbeat)).await
    }

    /// All that is remembered, in messages of bounded size; the plans are in the first.
    async fn history(&mut self, link: &Link) -> Result<(), Error> {
        let plans = link
            .desk
            .recall(|memory| memory.plans_to_recall().to_vec())
            .await?;
        let mut batch = History {
            results: Vec::new(),
            plans,
        };
        let mut bytes = 0;
        for key in link.desk.history().await? {
            let Some(result) = link.desk.result(key).await? else {
                continue;
            };
            let size = result.outcome.document.len();
            let full = bytes + size > HISTORY_BYTES || batch.results.len() >= HISTORY_RESULTS;
            if full && !batch.results.is_empty() {
                self.send(AgentMessage::History(std::mem::take(&mut batch)))
                    .await?;
                bytes = 0;
            }
            bytes += size;
            batch.results.push(result);
        }
        self.send(AgentMessage::History(batch)).await
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
