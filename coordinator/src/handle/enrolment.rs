//! Certificates for agents: the first one for a token, further ones for the one before.
//!
//! # Crash consistency
//! A token is checked, then a certificate is signed, then both are committed together. A crash in between leaves a
//! signed certificate that nobody got. If the answer gets lost, the same agent with the same key may ask again.

use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{Domain, HostName, Identity, Role, Secret};
use dr_store::certificates::Certificate;
use dr_store::tokens::Applicant;
use dr_store::{SharedClock, Store};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::Error;
use crate::pki::{self, Authority, Names, Request};

/// How many signatures may be under way: strangers ask for them.
const AT_A_TIME: usize = 8;

/// Signs certificates of agents.
#[derive(Debug, Clone)]
pub struct Enrolment {
    store: Store,
    clock: SharedClock,
    authority: Option<Authority>,
    domain: Domain,
    lifetime: Duration,
    places: Arc<Semaphore>,
}

/// What an agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Roots to trust from now on, PEM.
    pub trust_bundle_pem: String,
    /// When the certificate ends.
    pub expires: Timestamp,
}

impl Enrolment {
    /// A handle that signs with `authority`.
    pub fn new(
        store: Store,
        clock: SharedClock,
        authority: Option<Authority>,
        domain: Domain,
        lifetime: Duration,
    ) -> Self {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        Self {
            store,
            clock,
            authority,
            domain,
            lifetime,
            places,
        }
    }

    /// Trades a token for a certificate.
    pub async fn enrol(&self, secret: &str, host: &str, request: &str) -> Result<Issued, Error> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| Error::Busy { what: "enrolments" })?;
        let secret: Secret = secret
            .parse()
            .map_err(|error: dr_proto::model::ParseTokenError| Error::Invalid {
                field: "token",
                reason: error.to_string(),
            })?;
        let host: HostName =
            host.parse()
                .map_err(|error: dr_proto::model::ParseHostError| Error::Invalid {
                    field: "host",
                    reason: error.to_string(),
                })?;
        let request = Request::parse(request).map_err(Error::Request)?;
        let (hash, key) = (secret.hash().to_string(), request.key_fingerprint().to_string());
        let applicant = Applicant {
            secret_hash: &hash,
            host: &host,
            key: &key,
        };
        self.store.tokens().check(&applicant).await?;
        let (issued, certificate) = self.sign(&host, request).await?;
        dr_store::failpoint::reach("enrolment.signed");
        self.store.tokens().redeem(&applicant, &certificate).await?;
        tracing::info!(%host, serial = certificate.serial, "a host enrolled");
        Ok(issued)
    }

    /// A further certificate for a host that holds one.
    pub async fn renew(&self, host: &HostName, request: &str) -> Result<Issued, Error> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| Error::Busy { what: "renewals" })?;
        let request = Request::parse(request).map_err(Error::Request)?;
        let (issued, certificate) = self.sign(host, request).await?;
        self.store
            .certificates()
            .record(&certificate, &certificate.identity)
            .await?;
        tracing::info!(%host, serial = certificate.serial, "a host renewed its certificate");
        Ok(issued)
    }

    async fn sign(&self, host: &HostName, request: Request) -> Result<(Issued, Certificate), Error> {
        let authority = self.authority.clone().ok_or(Error::NoAuthority)?;
        let identity = Identity {
            domain: self.domain.clone(),
            role: Role::Agent,
            name: host.clone(),
        };
        let (lifetime, now) = (self.lifetime, self.clock.now());
        let signing = move || authority.issue(&request, &identity, &Names::default(), lifetime, now);
        let signed = tokio::task::spawn_blocking(signing)
            .await
            .map_err(pki::Error::Broken)
            .flatten();
        let signed = signed.map_err(Error::Sign)?;
        let certificate = Certificate {
            serial: signed.serial.to_string(),
            identity: signed.identity.to_string(),
            host: Some(host.clone()),
            issued: now,
            expires: signed.not_after,
        };
        let issued = Issued {
            certificate_pem: signed.certificate_pem,
            trust_bundle_pem: signed.trust_bundle_pem,
            expires: signed.not_after,
        };
        Ok((issued, certificate))
    }
}
