//! The dialling side: a connector for tonic channels that knows whom it reached.
//!
//! # Overview
//! [`Connector`] is what `Endpoint::connect_with_connector` takes. It resolves, connects, and speaks TLS itself, with
//! the certificate of the moment at each connect. Give tonic an `http://` URI ([`Address::uri`] makes it): with
//! `https://` tonic asks for a TLS of its own on top, depending on how it was built.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError as TlsCertificateError, ClientConfig, Error as TlsError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;
use tower::Service;

use super::dialled::{Heard, Stream};
use super::material::{MaterialError, anonymous_config, provider};
use super::reloading::Reloading;
use super::verify::{PeerError, ServerIdentityVerifier};
use crate::model::Domain;
use crate::model::Fingerprint;

/// The port when an endpoint names none.
const DEFAULT_PORT: u16 = 7443;

/// How long the steps of a connect may take.
#[derive(Debug, Clone)]
pub struct ConnectTimeouts {
    /// Asking the resolver.
    pub resolve: Duration,
    /// TCP, for each address that a name has.
    pub connect: Duration,
    /// TLS.
    pub handshake: Duration,
}

impl Default for ConnectTimeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
        }
    }
}

/// An endpoint: `https://host[:port]`, port 7443 if it names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The URI to give to tonic.
    pub fn uri(&self) -> Uri {
        format!("http://{}:{}", self.host, self.port)
            .parse()
            .expect("host and port came out of a URI")
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseAddressError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(refused)?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.scheme_str() != Some("https") || !bare || authority.contains('@') {
            return Err(refused());
        }
        let port = match uri.port_u16() {
            Some(port) => port,
            // A port that is there and no number.
            None if authority.len() > host.len() => return Err(refused()),
            None => DEFAULT_PORT,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an endpoint: `https://host:port` is expected, without a path")]
pub struct ParseAddressError(String);

/// Whom we show ourselves as.
#[derive(Debug, Clone)]
enum Credentials {
    Identified(Arc<Reloading>),
    Stranger(Arc<ClientConfig>),
}

/// Dials coordinators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    credentials: Credentials,
    timeouts: ConnectTimeouts,
    heard: Heard,
}

impl Connector {
    /// Dials with our certificate; the coordinator must come from our bundle and our domain.
    pub fn new(tls: Arc<Reloading>, timeouts: ConnectTimeouts) -> Self {
        Self {
            credentials: Credentials::Identified(tls),
            timeouts,
            heard: Heard::default(),
        }
    }

    /// Dials without a certificate, to enrol: the coordinator must be of `domain` and send a root with one of the
    /// fingerprints `pins` along.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn stranger(
        pins: Vec<Fingerprint>,
        domain: Domain,
        time: &Arc<dyn TimeProvider>,
        timeouts: ConnectTimeouts,
    ) -> Result<Self, MaterialError> {
        let verifier = ServerIdentityVerifier::by_fingerprint(pins, domain, &provider());
        let config = anonymous_config(verifier, time)?;
        Ok(Self {
            credentials: Credentials::Stranger(Arc::new(config)),
            timeouts,
            heard: Heard::default(),
        })
    }

    /// Why the other end refused our certificate after a connection stood, the newest reason, if it ever did.
    pub fn refused(&self) -> Option<String> {
        self.heard.trouble()
    }

    async fn connect(self, uri: Uri) -> Result<Dialled, ConnectError> {
        let host = uri
            .host()
            .ok_or_else(|| ConnectError::NoHost { uri: uri.to_string() })?;
        // A literal IPv6 address stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::NoHost { uri: uri.to_string() })?;
        let stream = self.reach(host, port).await?;
        let peer = format!("{host}:{port}");
        stream
            .set_nodelay(true)
            .map_err(|source| ConnectError::Handshake {
                peer: peer.clone(),
                source,
            })?;
        let config = match &self.credentials {
            Credentials::Identified(tls) => tls.current().client(),
            Credentials::Stranger(config) => config.clone(),
        };
        let limit = self.timeouts.handshake;
        let stream = timeout(limit, TlsConnector::from(config).connect(name, stream))
            .await
            .map_err(|_| ConnectError::HandshakeTimedOut {
                peer: peer.clone(),
                limit,
            })?
            .map_err(|source| ConnectError::handshake(peer, source))?;
        Ok(TokioIo::new(Stream::new(stream, self.heard)))
    }

    /// The first of a name's addresses that answers.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let limit = self.timeouts.resolve;
        let addresses: Vec<SocketAddr> = timeout(limit, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| ConnectError::ResolveTimedOut {
                host: host.to_owned(),
                limit,
            })?
            .map_err(|source| ConnectError::Resolve {
                host: host.to_owned(),
                source,
            })?
            .take(MOST_ADDRESSES)
            .collect();
        let limit = self.timeouts.connect;
        let mut last = ConnectError::NoAddress {
            host: host.to_owned(),
        };
        for address in addresses {
            match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => last = ConnectError::Connect { address, source },
                Err(_) => last = ConnectError::ConnectTimedOut { address, limit },
            }
        }
        Err(last)
    }
}

/// More addresses than this of one name are not tried.
const MOST_ADDRESSES: usize = 16;

/// What tonic reads and writes.
pub type Dialled = TokioIo<Stream>;

impl Service<Uri> for Connector {
    type Response = Dialled;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Why a coordinator was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URI names no host.
    #[error("`{uri}` names no host")]
    NoHost {
        /// What was given.
        uri: String,
    },
    /// The resolver does not know the name.
    #[error("resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The resolver does not answer.
    #[error("resolve {host}: no answer within {limit:?}")]
    ResolveTimedOut {
        /// The name.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// Nobody listens, or nobody can be reached.
    #[error("connect to {address}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody answers.
    #[error("connect to {address}: no answer within {limit:?}")]
    ConnectTimedOut {
        /// The last address that was tried.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// TLS did not come about.
    #[error("make a TLS connection with {peer}")]
    Handshake {
        /// Who was dialled.
        peer: String,
        /// Why not.
        source: io::Error,
    },
    /// Who answered is not a coordinator of ours.
    #[error("make a TLS connection with {peer}")]
    NotBelieved {
        /// Who was dialled.
        peer: String,
        /// Why not.
        source: PeerError,
    },
    /// TLS took too long.
    #[error("make a TLS connection with {peer}: not done within {limit:?}")]
    HandshakeTimedOut {
        /// Who was dialled.
        peer: String,
        /// The limit.
        limit: Duration,
    },
}

impl ConnectError {
    /// rustls wraps our own verdict in words for programmers: here it comes out again.
    fn handshake(peer: String, error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        let verdict = match inner {
            Some(TlsError::InvalidCertificate(TlsCertificateError::Other(other))) => {
                other.0.downcast_ref::<PeerError>().cloned()
            }
            _ => None,
        };
        match verdict {
            Some(source) => Self::NotBelieved { peer, source },
            None => Self::Handshake { peer, source: error },
        }
    }
}
