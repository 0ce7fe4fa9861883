//! The layer in front of all services.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use dr_proto::model::{Domain, Identity};
use dr_proto::tls::{Certificate, Peer};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::refusals::{Reason, Refusal, Refusals};
use super::revocations::Revocations;
use super::rules::{Rule, rule};
use crate::service::status;

/// Who calls, for whatever handles the call. Only there where a certificate was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Certificate);

impl Caller {
    /// The identity in the certificate.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }
}

/// Lets a call through or refuses it. A clone guards the same.
#[derive(Debug, Clone)]
pub struct Guard {
    domain: Domain,
    revocations: Revocations,
    refusals: Refusals,
}

impl Guard {
    /// A guard for the fleet of `domain`.
    pub fn new(domain: Domain, revocations: Revocations, refusals: Refusals) -> Self {
        Self {
            domain,
            revocations,
            refusals,
        }
    }

    /// Who calls, if they may.
    fn judge(&self, path: &str, peer: Option<&Peer>) -> Result<Option<Caller>, Refused> {
        let Some(rule) = rule(path) else {
            return Err(Refused::new(
                Reason::UnknownMethod,
                format!("{path} is no method of this coordinator"),
            ));
        };
        if rule == Rule::Open {
            return Ok(None);
        }
        let Some(certificate) = peer.and_then(|peer| peer.certificate.as_ref()) else {
            let message = format!("this method wants the certificate of {}", rule.wanted());
            return Err(Refused::new(Reason::NoCertificate, message));
        };
        let identity = &certificate.identity;
        if identity.domain != self.domain {
            let message = format!("`{identity}` does not belong to the fleet `{}`", self.domain);
            return Err(Refused::new(Reason::OtherDomain, message));
        }
        if self.revocations.refuse(certificate) {
            return Err(Refused::new(
                Reason::Revoked,
                format!("the certificate of `{identity}` was revoked"),
            ));
        }
        if !rule.admits(identity.role) {
            let message = format!("`{identity}` is not {}", rule.wanted());
            return Err(Refused::new(Reason::Role, message));
        }
        Ok(Some(Caller(certificate.clone())))
    }
}

/// A call that may not be.
struct Refused {
    reason: Reason,
    message: String,
}

impl Refused {
    fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }

    fn status(&self) -> Status {
        let hint = match self.reason {
            Reason::NoCertificate => "log in with `drctl login`, or name a certificate and its key",
            Reason::Role => "use the certificate of another role; `dr-coordinator pki issue` makes one",
            Reason::Revoked => "ask an operator for a new certificate or a new token",
            Reason::OtherDomain => "this is the coordinator of another fleet: check the endpoint",
            Reason::UnknownMethod => "the client may be newer than the coordinator",
            Reason::WrongHost | Reason::Token => "",
        };
        status::refused(self.reason, &self.message, hint)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: self.clone(),
            inner,
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned();
        match self.guard.judge(request.uri().path(), peer.as_ref()) {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Box::pin(self.inner.call(request))
            }
            Err(refused) => {
                self.guard.refusals.record(Refusal {
                    reason: refused.reason.word(),
                    actor: actor(peer.as_ref()),
                    subject: request.uri().path().to_owned(),
                });
                let answer = refused.status().into_http();
                Box::pin(async move { Ok(answer) })
            }
        }
    }
}

/// Who it was, as far as that is known: the identity, else the address without the port.
fn actor(peer: Option<&Peer>) -> String {
    match peer.map(|peer| (peer, peer.identity())) {
        Some((_, Some(identity))) => identity.to_string(),
        Some((peer, None)) => peer.address.ip().to_string(),
        None => "unknown".to_owned(),
    }
}
