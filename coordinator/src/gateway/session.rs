//! The life of one agent's stream.
//!
//! # Overview
//! The first message must be a hello that names the host in the certificate. The store is brought in line with the
//! tasks that the agent has, the agent gets its welcome, and from then on messages flow in both directions. One task
//! owns the stream: it takes in what the agent sends, passes on what is queued for it, and notices silence.
//!
//! # Cancellation
//! A stream ends when either side closes it, when it is told to end (replaced, revoked, shutdown, slow), when nothing
//! was heard for `lost_after`, or when the agent breaks the protocol. Whatever was queued and not sent is dropped: the
//! agent's next hello says what it has.

mod greet;
mod take;
mod weigh;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{
    AgentMessage, CoordinatorMessage, Goodbye, GoodbyeReason, HostName, PROTOCOL, TOLERATED_SKEW,
};
use dr_proto::tls::Certificate;
use dr_proto::{v1, wire};
use dr_store::{SharedClock, Store};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use self::greet::Greeted;
use super::live::{Attached, Duplicate, Live};
use crate::access::refusals::Refusals;
use crate::access::revocations::Revocations;
use crate::metrics::Metrics;
use crate::reconcile::Nudge;

/// How long an agent may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// How long an agent that was replaced may take to say farewell.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a goodbye may take to go out.
const GOODBYE: Duration = Duration::from_secs(2);
/// Messages that may wait between a session and the connection; the queue proper is the one in [`Live`].
const WAITING: usize = 4;

/// What an agent is sent, as tonic takes it.
pub(crate) type Answers = mpsc::Receiver<Result<v1::CoordinatorMessage, Status>>;
type Sender = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) live: Live,
    pub(crate) refusals: Refusals,
    pub(crate) revocations: Revocations,
    pub(crate) metrics: Metrics,
    /// Nudged when a stream takes tasks from then on.
    pub(crate) opened: Nudge,
    /// The incarnation of the coordinator.
    pub(crate) epoch: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) lost_after: Duration,
}

/// One agent's stream.
pub(crate) struct Session {
    desk: Arc<Desk>,
    certificate: Certificate,
    host: HostName,
    incoming: Streaming<v1::AgentMessage>,
    out: Sender,
    /// The agent has begun to tell what it remembers.
    history_came: bool,
    /// The agent's process, once its hello came.
    incarnation: String,
    /// Told that a newer stream took over, it says farewell if it lives.
    says_farewell: bool,
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// The agent closed it, or the connection broke.
    Closed,
    /// We end it, and say why.
    Told(Goodbye),
    /// It was refused.
    Refused(Box<Status>),
}

impl End {
    fn protocol(message: impl Into<String>) -> Self {
        Self::Told(Goodbye {
            reason: GoodbyeReason::Protocol,
            message: message.into(),
        })
    }

    /// The label of `dr_agent_streams_total`.
    fn word(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Refused(_) => "refused",
            Self::Told(goodbye) => match goodbye.reason {
                GoodbyeReason::Replaced => "replaced",
                GoodbyeReason::Revoked => "revoked",
                GoodbyeReason::Shutdown => "shutdown",
                GoodbyeReason::Version => "version",
                GoodbyeReason::Protocol => "protocol",
            },
        }
    }
}

impl Session {
    /// Begins a session of the agent that holds `certificate`; what it is sent comes out of the receiver.
    pub(crate) fn begin(
        desk: Arc<Desk>,
        certificate: Certificate,
        host: HostName,
        incoming: Streaming<v1::AgentMessage>,
    ) -> (Self, Answers) {
        let (out, answers) = mpsc::channel(WAITING);
        let session = Self {
            desk,
            certificate,
            host,
            incoming,
            out,
            history_came: false,
            incarnation: String::new(),
            says_farewell: false,
        };
        (session, answers)
    }

    /// Lives through it.
    pub(crate) async fn run(mut self) {
        let end = match self.greet().await {
            Ok(greeted) => self.converse(greeted).await,
            Err(end) => end,
        };
        self.desk.metrics.stream_ended(end.word());
        tracing::info!(host = %self.host, end = end.word(), "an agent's stream ended");
        let mut replaced = false;
        let last = match end {
            End::Closed => return,
            End::Told(goodbye) => {
                replaced = goodbye.reason == GoodbyeReason::Replaced && self.says_farewell;
                Ok(CoordinatorMessage::Goodbye(goodbye).into())
            }
            End::Refused(status) => Err(*status),
        };
        // An agent that does not even take the goodbye sees the stream end without one.
        if timeout(GOODBYE, self.out.send(last)).await.is_err() {
            tracing::debug!(host = %self.host, "the goodbye did not go out");
        } else if replaced {
            self.hear_farewell().await;
        }
    }

    /// A process that was replaced and says farewell lives, and so does the one that took its place. One that was
    /// killed, or sits behind a connection that is half gone, says nothing.
    async fn hear_farewell(&mut self) {
        let farewell = async {
            while let Some(Ok(message)) = self.incoming.next().await {
                if let Ok(AgentMessage::Farewell(farewell)) = AgentMessage::try_from(message) {
                    return Some(farewell);
                }
            }
            None
        };
        let Ok(Some(farewell)) = timeout(FAREWELL, farewell).await else {
            return;
        };
        let newer = self.desk.live.facts(&self.host).map(|facts| facts.incarnation);
        if farewell.incarnation != self.incarnation || newer.as_ref() == Some(&self.incarnation) {
            return;
        }
        let duplicate = Duplicate {
            at: self.desk.clock.now(),
            older: farewell.incarnation,
            newer: newer.unwrap_or_else(|| "gone since".to_owned()),
        };
        let serial = self.certificate.serial.to_string();
        if let Err(error) = self.report_duplicate(duplicate, &serial).await {
            let error = dr_terminal::in_one_line(&error);
            tracing::error!(host = %self.host, %error, "a second process of one identity is not in the audit log");
        }
    }

    /// Takes in and passes on until the end.
    async fn converse(&mut self, greeted: Greeted) -> End {
        let Greeted { stream, mut queue } = greeted;
        let out = self.out.clone();
        let mut next = None;
        let mut silent_at = Instant::now() + self.desk.lost_after;
        loop {
            let mut ended = pin!(stream.ending.ended());
            tokio::select! {
                biased;
                goodbye = &mut ended => return End::Told(goodbye),
                () = out.closed() => return End::Closed,
                () = sleep_until(silent_at) => return End::Told(self.silent()),
                permit = out.reserve(), if next.is_some() => match (permit, next.take()) {
                    (Ok(permit), Some(message)) => permit.send(Ok(message)),
                    _ => return End::Closed,
                },
                message = queue.recv(), if next.is_none() => match message {
                    Some(message) => next = Some(v1::CoordinatorMessage::from(message)),
                    None => return End::Closed,
                },
                message = self.incoming.next() => {
                    silent_at = Instant::now() + self.desk.lost_after;
                    match self.read(message) {
                        Ok(Some(message)) => {
                            if let Err(end) = self.take(&stream, message).await {
                                return end;
                            }
                        }
                        Ok(None) => stream.heard(self.desk.clock.now()),
                        Err(end) => return end,
                    }
                }
            }
        }
    }

    fn silent(&self) -> Goodbye {
        Goodbye {
            reason: GoodbyeReason::Shutdown,
            message: format!(
                "nothing was heard for {} s; attach again",
                self.desk.lost_after.as_secs()
            ),
        }
    }

    /// What came, validated; `None`: something that this version does not know, left alone.
    fn read(&self, message: Option<Result<v1::AgentMessage, Status>>) -> Result<Option<AgentMessage>, End> {
        let message = match message {
            None => return Err(End::Closed),
            Some(Err(status)) => {
                tracing::debug!(host = %self.host, %status, "an agent's stream broke");
                return Err(End::Closed);
            }
            Some(Ok(message)) => message,
        };
        match AgentMessage::try_from(message) {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_unknown() => {
                tracing::debug!(host = %self.host, %error, "an agent says something that this version does not know");
                Ok(None)
            }
            Err(error) => Err(broken(&error)),
        }
    }
}

/// A message that can not be read.
fn broken(error: &wire::Error) -> End {
    End::protocol(format!(
        "a message can not be read: {}",
        dr_terminal::in_one_line(error)
    ))
}

/// Versions are too far apart.
fn too_far(theirs: u32) -> End {
    let (older, newer) = if theirs < PROTOCOL {
        ("agent", "coordinator")
    } else {
        ("coordinator", "agent")
    };
    End::Told(Goodbye {
        reason: GoodbyeReason::Version,
        message: format!(
            "the agent speaks protocol {theirs}, the coordinator {PROTOCOL}, and no more than {TOLERATED_SKEW} may lie \
             between: the {older} is too old for this {newer}; upgrade it"
        ),
    })
}

/// Whether a stream is still its host's.
fn replaced(stream: &Attached) -> bool {
    !stream.is_current()
}
