//! One connection that was let in.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream as _;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::server::Connected;

use super::reloading::Reloading;
use super::server::Peer;

/// Timers do not reach further than this; a certificate may.
const FAR: Duration = Duration::from_secs(365 * 86_400);

/// What a connection's certificate stands on, looked at again whenever the roots change.
pub(super) struct Trust {
    tls: Arc<Reloading>,
    chain: Vec<CertificateDer<'static>>,
    changes: WatchStream<u64>,
}

impl Trust {
    /// Hears of every change from now on.
    pub(super) fn new(tls: Arc<Reloading>) -> Self {
        let changes = WatchStream::from_changes(tls.generation());
        Self {
            tls,
            chain: Vec::new(),
            changes,
        }
    }

    /// The certificates that the other side showed; none: a stranger, whose time is short anyway.
    pub(super) fn stands_on(&mut self, chain: &[CertificateDer<'_>]) {
        self.chain = chain.iter().map(|one| one.clone().into_owned()).collect();
    }

    /// Whether a change of the roots took away what it stood on.
    fn is_gone(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(_)) = Pin::new(&mut self.changes).poll_next(context) {
            if !self.tls.trusts(&self.chain) {
                return true;
            }
        }
        false
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// A connection from somebody known, or from a stranger. It ends by itself when its time is over.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    end: Pin<Box<Sleep>>,
    trust: Trust,
    /// Why it is over, once it is.
    over: Option<&'static str>,
    /// A stranger's place among the few.
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        lifetime: Duration,
        trust: Trust,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let end = Box::pin(sleep_until(Instant::now() + lifetime.min(FAR)));
        Self {
            stream,
            peer,
            end,
            trust,
            over: None,
            _place: place,
        }
    }

    /// Why it is over; `None`: it is not.
    fn over(&mut self, context: &mut Context<'_>) -> Option<&'static str> {
        if self.over.is_none() {
            if self.end.as_mut().poll(context).is_ready() {
                self.over = Some("the certificate of this connection expired, or a stranger's time is over");
            } else if self.trust.is_gone(context) {
                tracing::info!(address = %self.peer.address, "ended a connection: its root is trusted no more");
                self.over = Some("the root that vouched for this connection is trusted no more");
            }
        }
        self.over
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(over) = self.over(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, over)));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
