//! A connection that we dialled, and what its other end thinks of our certificate.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::trouble::certificate_trouble;

/// Why certificates were refused on the connections of one connector, the newest reason. With TLS 1.3 the other end
/// judges ours after the handshake is done for us; HTTP/2 then only tells its calls that they were cancelled, so the
/// reason is kept where it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Option<String>>>);

impl Heard {
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: &io::Error) {
        if let Some(trouble) = certificate_trouble(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
    }
}

/// A TLS connection to a coordinator.
#[derive(Debug)]
pub struct Stream {
    tls: TlsStream<TcpStream>,
    heard: Heard,
}

impl Stream {
    pub(super) fn new(tls: TlsStream<TcpStream>, heard: Heard) -> Self {
        Self { tls, heard }
    }

    fn noted<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done {
            self.heard.note(error);
        }
        done
    }

    /// A write that fails may have found the connection closed before anybody read why: the alert still waits there.
    fn heard_out<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(done, Poll::Ready(Err(_))) {
            let mut bytes = [0; 1024];
            for _ in 0..MOST_READS {
                let mut buffer = ReadBuf::new(&mut bytes);
                match Pin::new(&mut self.tls).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(Ok(())) | Poll::Pending => break,
                    Poll::Ready(Err(error)) => {
                        self.heard.note(&error);
                        break;
                    }
                }
            }
        }
        self.noted(done)
    }
}

/// The most that is read of a connection that can not be written to any more.
const MOST_READS: usize = 64;

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tls).poll_read(context, buffer);
        self.noted(read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tls).poll_write(context, bytes);
        self.heard_out(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.tls).poll_flush(context);
        self.heard_out(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.tls).poll_shutdown(context);
        self.heard_out(context, ended)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tls).poll_write_vectored(context, slices);
        self.heard_out(context, written)
    }
}
