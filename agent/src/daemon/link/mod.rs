//! The link to the coordinator: dialled from here, one stream, again and again.
//!
//! # Overview
//! [`Link::run`] tries the endpoints in order, speaks on the first that answers until the stream ends, and waits
//! before it tries again. `stream` is one such stream. Everybody else sees the [`Standing`].
//!
//! # Retries
//! Waits double up to a minute, with jitter; they begin anew after a stream that was welcomed and lived for a few
//! heartbeats. A coordinator that says goodbye is obeyed: replaced and revoked agents do not come back. One that is
//! replaced says farewell first, so that the coordinator knows of two processes that live.
//!
//! # Cancellation
//! When the daemon ends, results that are owed are still sent, and acknowledgements waited for, for a few seconds.
//! What is not acknowledged by then is sent after the next start.

mod backoff;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_proto::model::{Allow, Goodbye, GoodbyeReason, HostName, Inventory};
use dr_proto::v1::agent_gateway_client::AgentGatewayClient;
use dr_vault::clock::SharedClock;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::desk::{self, Desk};
use super::gate::Gate;
use super::vitals::Vitals;
use backoff::Backoff;

pub use stream::Error as StreamError;

/// After a coordinator that is too old or too new for us, or that we do not understand, this long.
const LATER: Duration = Duration::from_secs(300);

/// A connection to a coordinator.
pub type Gateway = AgentGatewayClient<Channel>;

/// Opens connections to coordinators.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A connection to one endpoint, with mutual TLS.
    async fn dial(&self, endpoint: &str) -> Result<Gateway, DialError>;
}

/// Why an endpoint was not reached.
#[derive(Debug, thiserror::Error)]
#[error("reach the coordinator at {endpoint}")]
pub struct DialError {
    /// The endpoint.
    pub endpoint: String,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What the agent says of itself in each hello.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// The host.
    pub host: HostName,
    /// Random, new with each start.
    pub incarnation: String,
    /// The most that may be asked of it.
    pub allow: Allow,
    /// Where its repository is, without secrets.
    pub repository: Option<String>,
    /// Whether that is encrypted.
    pub encrypted: bool,
    /// Versions of installed probes.
    pub probes: Vec<String>,
}

/// How the agent stands to a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// None answers.
    Away {
        /// Since when.
        since: Timestamp,
        /// Why not, if a try failed.
        reason: Option<String>,
    },
    /// One answers.
    Attached {
        /// Its incarnation.
        epoch: u64,
    },
}

/// Why the link ended for good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent attached as this host.
    #[error("another agent attached as {host}: {message}")]
    Replaced {
        /// The host.
        host: HostName,
        /// What the coordinator said.
        message: String,
    },
    /// The host's certificate was revoked, or the host retired.
    #[error("the coordinator revoked {host}: {message}")]
    Revoked {
        /// The host.
        host: HostName,
        /// What the coordinator said.
        message: String,
    },
    /// The desk failed.
    #[error("keep what is owed")]
    Desk(#[from] desk::Error),
}

/// The link.
pub struct Link {
    /// `https://host:port`, tried in order.
    pub endpoints: Vec<String>,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// What the agent says of itself.
    pub introduction: Introduction,
    /// Where tasks go and results come from.
    pub desk: Desk,
    /// The host's own switch.
    pub gate: Gate,
    /// What the host protects, as it was last seen.
    pub inventory: watch::Receiver<Option<Inventory>>,
    /// What heartbeats say of the host.
    pub vitals: Vitals,
    /// How the agent stands to a coordinator.
    pub standing: watch::Sender<Standing>,
    /// Tells the time.
    pub clock: SharedClock,
    /// Decides on jitter.
    pub chance: fastrand::Rng,
}

impl Link {
    /// Speaks with coordinators until `cancel`, then until what is owed is acknowledged or a few seconds have passed.
    ///
    /// # Errors
    /// When a coordinator said that this agent must not come back.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.chance.fork());
        while !cancel.is_cancelled() {
            let parting = self.attach(&mut backoff, &cancel).await;
            backoff.parted();
            let wait = match parting {
                Ok(Parting::Drained) => return Ok(()),
                Ok(Parting::Goodbye(goodbye)) => self.obey(goodbye, &mut backoff)?,
                Ok(Parting::Closed) => {
                    tracing::info!("the coordinator closed the stream");
                    self.away(Some("the coordinator closed the stream".to_owned()));
                    backoff.next()
                }
                Err(stream::Error::Desk(error)) => return Err(error.into()),
                Err(error) => {
                    let reason = crate::error::in_one_line(&error);
                    let wait = if error.is_lasting() { LATER } else { backoff.next() };
                    tracing::warn!(reason, wait = wait.as_secs_f64(), "no coordinator is attached");
                    self.away(Some(reason));
                    wait
                }
            };
            cancel.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
        Ok(())
    }

    /// What a goodbye asks for: how long to stay away, or for good.
    fn obey(&self, goodbye: Goodbye, backoff: &mut Backoff) -> Result<Duration, Error> {
        let Goodbye { reason, message } = goodbye;
        let host = self.introduction.host.clone();
        tracing::info!(?reason, message, "the coordinator ended the stream");
        self.away(Some(message.clone()));
        match reason {
            GoodbyeReason::Replaced => Err(Error::Replaced { host, message }),
            GoodbyeReason::Revoked => Err(Error::Revoked { host, message }),
            GoodbyeReason::Shutdown => Ok(backoff.next()),
            GoodbyeReason::Version | GoodbyeReason::Protocol => {
                tracing::error!(
                    ?reason,
                    message,
                    "this agent and the coordinator do not understand each other"
                );
                Ok(LATER)
            }
        }
    }

    fn away(&self, reason: Option<String>) {
        let now = self.clock.now();
        self.standing.send_if_modified(|standing| {
            let since = match standing {
                Standing::Away { since, .. } => *since,
                Standing::Attached { .. } => now,
            };
            let next = Standing::Away { since, reason };
            let changed = *standing != next;
            *standing = next;
            changed
        });
    }

    /// One stream over the first endpoint that answers.
    async fn attach(
        &mut self,
        backoff: &mut Backoff,
        cancel: &CancellationToken,
    ) -> Result<Parting, stream::Error> {
        let mut last = None;
        for endpoint in self.endpoints.clone() {
            let dialled = tokio::select! {
                () = cancel.cancelled() => return Ok(Parting::Drained),
                dialled = self.dial.dial(&endpoint) => dialled,
            };
            match dialled {
                Ok(gateway) => {
                    match self.speak(gateway, &endpoint, backoff, cancel).await {
                        // It did not get as far as a welcome: the next endpoint may.
                        Err(error) if error.is_before_welcome() => last = Some(error),
                        parting => return parting,
                    }
                }
                Err(error) => last = Some(error.into()),
            }
        }
        Err(last.unwrap_or(stream::Error::NoEndpoint))
    }
}

/// How a stream ended.
#[derive(Debug)]
enum Parting {
    /// The coordinator closed it.
    Closed,
    /// The coordinator said why.
    Goodbye(Goodbye),
    /// We end, and what was owed is acknowledged, or is sent another time.
    Drained,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
