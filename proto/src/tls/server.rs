//! The answering side: connections whose other end is known.
//!
//! # Overview
//! [`accept`] turns a listener into a stream of [`Connection`]s for tonic's `serve_with_incoming`; each carries a
//! [`Peer`], which handlers find in the extensions of a request.
//!
//! # Limits
//! At most [`Limits::handshakes`] handshakes are under way at a time, [`Limits::handshakes_per_address`] of them with
//! one address, each within [`Limits::handshake_timeout`]. Who shows no certificate may only enrol, so at most
//! [`Limits::strangers`] such connections live at a time, each for [`Limits::stranger_lifetime`]. A connection ends when
//! the certificate that it was made with expires, or when its root is taken out of the trust bundle.
//!
//! # Cancellation
//! Dropping [`Incoming`] closes the listener and ends handshakes under way; connections handed out live on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use super::certificate::Certificate;
use super::connection::{Connection, Trust};
use super::origin::{Place, Places};
use super::refusal::Refusal;
use super::reloading::Reloading;
use crate::model::Identity;

/// After a failed `accept` (no descriptors left, say) the next is tried this much later.
const PAUSE: Duration = Duration::from_millis(200);
/// Connections that wait for tonic to take them.
const WAITING: usize = 32;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The certificate that it proved to hold; `None`: it showed none.
    pub certificate: Option<Certificate>,
}

impl Peer {
    /// Who it is; `None`: a stranger, who may only enrol.
    pub fn identity(&self) -> Option<&Identity> {
        self.certificate.as_ref().map(|certificate| &certificate.identity)
    }
}

/// Bounds of what strangers can cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way.
    pub handshakes: usize,
    /// How many of them with one address (of IPv6: one network of 64 bits). Agents behind one gateway share it; whoever
    /// is refused dials again.
    pub handshakes_per_address: usize,
    /// How many connections without a certificate may live.
    pub strangers: usize,
    /// For how long each.
    pub stranger_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            handshakes: 256,
            handshakes_per_address: 64,
            strangers: 64,
            stranger_lifetime: Duration::from_secs(60),
        }
    }
}

/// Is told of connections that were refused before they became calls: to count and to note them.
pub trait Refusals: Send + Sync + 'static {
    /// One was refused.
    fn refused(&self, address: SocketAddr, refusal: &Refusal);
}

/// Connections, ready for calls.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<Connection>,
    accepting: AbortHandle,
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections
            .poll_recv(context)
            .map(|connection| connection.map(Ok))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers on `listener` with the certificate of the moment. Must be called within a runtime.
pub fn accept(
    listener: TcpListener,
    tls: Arc<Reloading>,
    limits: Limits,
    refusals: Arc<dyn Refusals>,
) -> Incoming {
    let (sender, connections) = mpsc::channel(WAITING);
    let door = Door {
        tls,
        handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        origins: Places::new(limits.handshakes_per_address),
        strangers: Arc::new(Semaphore::new(limits.strangers)),
        limits,
        refusals,
        sender,
    };
    let accepting = tokio::spawn(door.stand(listener)).abort_handle();
    Incoming {
        connections,
        accepting,
    }
}

/// What one connection needs to get in.
#[derive(Clone)]
struct Door {
    tls: Arc<Reloading>,
    limits: Limits,
    handshakes: Arc<Semaphore>,
    origins: Places,
    strangers: Arc<Semaphore>,
    refusals: Arc<dyn Refusals>,
    sender: mpsc::Sender<Connection>,
}

impl Door {
    async fn stand(self, listener: TcpListener) {
        // Ends with this future: who is half in goes with it.
        let mut entering = JoinSet::new();
        loop {
            while entering.try_join_next().is_some() {}
            let Ok(permit) = self.handshakes.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, address)) => match self.origins.take(address.ip()) {
                    Some(place) => {
                        entering.spawn(self.clone().enter(stream, address, (permit, place)));
                    }
                    None => self.refuse(
                        address,
                        &Refusal::TooManyHandshakes {
                            limit: self.limits.handshakes_per_address,
                        },
                    ),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn refuse(&self, address: SocketAddr, refusal: &Refusal) {
        tracing::info!(%address, reason = refusal.reason(), "refused a connection: {refusal}");
        self.refusals.refused(address, refusal);
    }

    /// One handshake; `places` are what it takes of what all have.
    async fn enter(self, stream: TcpStream, address: SocketAddr, places: (OwnedSemaphorePermit, Place)) {
        match self.shake_hands(stream, address).await {
            // A closed channel: nobody serves any more.
            Ok(connection) => drop(self.sender.send(connection).await),
            Err(refusal) => self.refuse(address, &refusal),
        }
        drop(places);
    }

    async fn shake_hands(&self, stream: TcpStream, address: SocketAddr) -> Result<Connection, Refusal> {
        stream.set_nodelay(true).map_err(Refusal::handshake)?;
        // Before the material is taken: of whatever comes after that, the connection is told.
        let trust = Trust::new(self.tls.clone());
        let acceptor = TlsAcceptor::from(self.tls.current().server());
        let stream = timeout(self.limits.handshake_timeout, acceptor.accept(stream))
            .await
            .map_err(|_| Refusal::TimedOut {
                limit: self.limits.handshake_timeout,
            })?
            .map_err(Refusal::handshake)?;
        self.admit(stream, address, trust)
    }

    fn admit(
        &self,
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        mut trust: Trust,
    ) -> Result<Connection, Refusal> {
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        trust.stands_on(chain);
        let certificate = chain
            .first()
            .map(Certificate::parse)
            .transpose()
            .map_err(Refusal::Certificate)?;
        let (place, lifetime) = match &certificate {
            Some(certificate) => (None, self.remaining(certificate.not_after)?),
            None => {
                let place = self.strangers.clone().try_acquire_owned();
                (
                    Some(place.map_err(|_| Refusal::TooManyStrangers)?),
                    self.limits.stranger_lifetime,
                )
            }
        };
        let peer = Peer { address, certificate };
        Ok(Connection::new(stream, peer, lifetime, trust, place))
    }

    /// How long a certificate has to live.
    fn remaining(&self, not_after: Timestamp) -> Result<Duration, Refusal> {
        let now = self
            .tls
            .now()
            .map_err(|error| Refusal::handshake(io::Error::other(error)))?;
        Ok(not_after.duration_since(now).try_into().unwrap_or_default())
    }
}
