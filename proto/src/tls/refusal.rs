//! Why a connection was refused, in words that can be counted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError as TlsCertificateError, Error as TlsError};

use super::certificate::CertificateError;
use super::verify::PeerError;

/// Why somebody who dialled us did not get in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The certificate is of another authority.
    #[error("the certificate was issued by an authority that is not trusted here")]
    UnknownAuthority,
    /// The certificate has expired.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate is not valid yet.
    #[error("the certificate is not valid yet: clocks differ")]
    NotYetValid,
    /// The certificate names nobody of our fleet.
    #[error("{0}")]
    Peer(Arc<PeerError>),
    /// The certificate can not be read.
    #[error("the certificate names nobody")]
    Certificate(#[source] CertificateError),
    /// The certificate is wrong in another way: its signature, its purpose.
    #[error("the certificate is not acceptable: {0}")]
    Unacceptable(TlsCertificateError),
    /// The handshake took too long.
    #[error("the handshake was not done after {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// One address has its limit.
    #[error("{limit} handshakes with this address are under way already")]
    TooManyHandshakes {
        /// The limit.
        limit: usize,
    },
    /// Strangers have their limit.
    #[error("too many connections without a certificate")]
    TooManyStrangers,
    /// No TLS 1.3 with HTTP/2 came about.
    #[error("no TLS handshake came about")]
    Handshake(#[source] io::Error),
}

impl Refusal {
    /// All words of [`Refusal::reason`].
    pub const REASONS: [&str; 9] = [
        "unknown_authority",
        "expired",
        "not_yet_valid",
        "bad_identity",
        "bad_certificate",
        "handshake_timeout",
        "too_many_handshakes",
        "too_many_strangers",
        "handshake",
    ];

    /// The stable word, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Peer(_) | Self::Certificate(_) => "bad_identity",
            Self::Unacceptable(_) => "bad_certificate",
            Self::TimedOut { .. } => "handshake_timeout",
            Self::TooManyHandshakes { .. } => "too_many_handshakes",
            Self::TooManyStrangers => "too_many_strangers",
            Self::Handshake(_) => "handshake",
        }
    }

    /// From what the handshake came to.
    pub(super) fn handshake(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match inner {
            Some(TlsError::InvalidCertificate(reason)) => Self::of_certificate(reason.clone()),
            _ => Self::Handshake(error),
        }
    }

    fn of_certificate(reason: TlsCertificateError) -> Self {
        match reason {
            TlsCertificateError::UnknownIssuer | TlsCertificateError::BadSignature => Self::UnknownAuthority,
            TlsCertificateError::Expired | TlsCertificateError::ExpiredContext { .. } => Self::Expired,
            TlsCertificateError::NotValidYet | TlsCertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            TlsCertificateError::Other(other) => match other.0.downcast_ref::<PeerError>() {
                Some(error) => Self::Peer(Arc::new(error.clone())),
                None => Self::Unacceptable(TlsCertificateError::Other(other)),
            },
            other => Self::Unacceptable(other),
        }
    }
}
