//! Why a coordinator does not start, or stopped.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use dr_proto::tls::MaterialError;
use tokio::task::JoinError;

/// Why a coordinator does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate, key or roots cannot be used.
    #[error("use the coordinator's certificates")]
    Certificates(#[source] MaterialError),
    /// The certificate authority cannot be used.
    #[error("open the certificate authority")]
    Authority(#[source] crate::pki::Error),
    /// The certificate authority is another fleet's.
    #[error(
        "the authority in {} is for the fleet `{authority}`, and the coordinator's certificate for `{own}`",
        dir.display()
    )]
    OtherDomain {
        /// The authority's folder.
        dir: PathBuf,
        /// The authority's fleet.
        authority: String,
        /// Ours.
        own: String,
    },
    /// The address could not be had.
    #[error("listen on {address} for agents and operators")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The endpoint for metrics could not be had.
    #[error("open the endpoint for metrics")]
    Endpoint(#[source] dr_telemetry::endpoint::Error),
    /// The store cannot be used.
    #[error("use the store")]
    Store(#[from] dr_store::Error),
    /// A metric could not be made.
    #[error("prepare metrics")]
    Metrics(#[from] crate::metrics::Error),
    /// Copies of the store can not be made as configured.
    #[error("prepare copies of the store")]
    Backup(#[source] crate::reconcile::backup::Error),
    /// Reflection could not be prepared.
    #[error("prepare reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// Serving ended by itself.
    #[error("serve agents and operators")]
    Serve(#[source] tonic::transport::Error),
    /// Serving broke off.
    #[error("serving broke off")]
    Broken(#[source] JoinError),
    /// Serving ended although nobody asked.
    #[error("serving ended although nobody asked")]
    Ended,
    /// Another coordinator began an incarnation on the same store.
    #[error(
        "another coordinator took over the store with incarnation {epoch}; this one stopped handing out work"
    )]
    TakenOver {
        /// The other's incarnation.
        epoch: u64,
    },
}

impl Error {
    /// What became of a server that ended.
    pub(super) fn served(served: Result<Result<(), tonic::transport::Error>, JoinError>) -> Self {
        match served {
            Ok(Ok(())) => Self::Ended,
            Ok(Err(error)) => Self::Serve(error),
            Err(error) => Self::Broken(error),
        }
    }
}
