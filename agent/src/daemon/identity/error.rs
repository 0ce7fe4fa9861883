//! Why there is no certificate, or no new one.

use std::path::PathBuf;

use dr_proto::client;
use dr_proto::tls::{InstallError, MaterialError, ParseAddressError, certificate_trouble};
use jiff::Timestamp;
use tonic::Code;

use crate::error::Class;

/// Why there is no certificate, or no new one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token's time is over.
    #[error("the token ended at {expired}, and it is {now} on this host")]
    TokenExpired {
        /// When it ended.
        expired: Timestamp,
        /// The time on this host.
        now: Timestamp,
    },
    /// The host has a certificate already.
    #[error("this host has a certificate already: {} is there", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// An endpoint is not one.
    #[error("use the endpoints of the coordinator")]
    Address(#[from] ParseAddressError),
    /// A key or a request cannot be made.
    #[error("make a key and a request for a certificate")]
    Request(#[from] rcgen::Error),
    /// The key of an enrolment that was cut short cannot be used.
    #[error("use the key of an earlier try in {}", path.display())]
    Pending {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: dr_proto::tls::FileError,
    },
    /// A file or folder cannot be made, looked for or removed.
    #[error("{doing} {}", path.display())]
    Io {
        /// A verb phrase.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// TLS cannot be configured.
    #[error("prepare to dial")]
    Tls(#[source] Box<MaterialError>),
    /// No coordinator was reached.
    #[error("reach the coordinator")]
    Connect(#[from] client::Error),
    /// The coordinator refused, or failed.
    #[error("ask the coordinator for a certificate: {}", status.message())]
    Refused {
        /// What it said.
        status: Box<tonic::Status>,
    },
    /// The coordinator did not answer in time.
    #[error("ask the coordinator for a certificate: no answer within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: std::time::Duration,
    },
    /// What the coordinator answered cannot be used.
    #[error("use the certificate that the coordinator sent")]
    Answer(#[source] Box<MaterialError>),
    /// The coordinator sent somebody else's certificate.
    #[error("the coordinator sent the certificate of {got}, and {wanted} was asked for")]
    OtherIdentity {
        /// Whose it is.
        got: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The coordinator sent roots that the token does not know.
    #[error("the coordinator sent a trust bundle without a root that the token names")]
    OtherRoots,
    /// The files cannot be written.
    #[error("install the certificate")]
    Install(#[from] InstallError),
    /// A blocking step broke off.
    #[error("a step of the enrolment broke off")]
    Broken(#[from] tokio::task::JoinError),
}

impl Error {
    /// The coordinator said no, or could not say.
    pub(super) fn status(status: tonic::Status) -> Self {
        Self::Refused {
            status: Box::new(status),
        }
    }

    /// Which kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            Self::TokenExpired { .. } => Class::Denied,
            Self::Exists { .. } => Class::Exists,
            Self::Address(_) | Self::Pending { .. } | Self::Tls(_) => Class::Configuration,
            Self::OtherIdentity { .. } | Self::OtherRoots | Self::Answer(_) => Class::Denied,
            Self::Refused { status } => match status.code() {
                Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => Class::Denied,
                Code::FailedPrecondition => Class::Configuration,
                _ => Class::CoordinatorUnavailable,
            },
            Self::Connect(error) if certificate_trouble(error).is_some() => Class::Denied,
            Self::Connect(_) | Self::TimedOut { .. } => Class::CoordinatorUnavailable,
            Self::Io { source, .. } | Self::Install(InstallError::Write { source, .. }) => by_io(source),
            Self::Install(InstallError::Old(_)) => Class::Configuration,
            Self::Request(_) | Self::Broken(_) => Class::Internal,
        }
    }

    /// What to do about it.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::TokenExpired { .. } => "`drctl agent token` makes a new one; compare this host's clock",
            Self::Exists { .. } => {
                "it renews itself while the daemon runs; --replace puts a new one in its place"
            }
            Self::Pending { .. } => {
                "remove the file and give the command again, with a new token if this one is used"
            }
            Self::Refused { status } => return refused(status),
            Self::Connect(error) => match certificate_trouble(error) {
                Some(_) => {
                    "something else answers at this endpoint, or the coordinator's root is not the one that the token names"
                }
                None => {
                    "is the coordinator running, and is its port open from here? The same token may be used again"
                }
            },
            Self::TimedOut { .. } => {
                "give the command again: the same token works with the key that was kept"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// What the coordinator itself says to do comes first.
fn refused(status: &tonic::Status) -> Vec<String> {
    let said = status
        .metadata()
        .get("drctl-hint")
        .and_then(|hint| hint.to_str().ok());
    let ours = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            Some("`drctl agent token` makes a new token; `drctl agent show HOST` tells how the host stands")
        }
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
            Some("give the command again: the same token works with the key that was kept")
        }
        _ => None,
    };
    said.or(ours).map(ToOwned::to_owned).into_iter().collect()
}

fn by_io(error: &std::io::Error) -> Class {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => Class::Denied,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Class::NoSpace,
        std::io::ErrorKind::NotFound => Class::NotFound,
        _ => Class::Io,
    }
}
