//! What every handler takes from a call before it hands it on: who calls, and of which trace.

use dr_proto::model::HostName;
use dr_proto::tls::{Certificate, Peer};
use tonic::{Code, Request, Status};

use super::status;
use crate::access::Caller;

/// The identity that calls, as the audit log names it.
pub(super) fn actor<T>(request: &Request<T>) -> Result<String, Status> {
    caller(request).map(|caller| caller.identity().to_string())
}

/// The certificate that calls.
pub(super) fn certificate<T>(request: &Request<T>) -> Result<Certificate, Status> {
    caller(request).map(|caller| caller.0.clone())
}

/// The host that calls, and the certificate that says so.
pub(super) fn agent<T>(request: &Request<T>) -> Result<(HostName, Certificate), Status> {
    let caller = caller(request)?;
    match caller.identity().host() {
        Some(host) => Ok((host.clone(), caller.0.clone())),
        None => Err(unguarded()),
    }
}

/// Where a call comes from, without the port.
pub(super) fn address<T>(request: &Request<T>) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.address.ip().to_string())
}

fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Caller>().ok_or_else(unguarded)
}

/// A method whose rule and handler do not fit together: a mistake of ours, and closed.
fn unguarded() -> Status {
    tracing::error!("a call passed the guard without the caller that its handler wants");
    status::answer(
        Code::Internal,
        "internal",
        "who calls is not known",
        "please report this",
    )
}
