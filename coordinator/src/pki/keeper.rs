//! Keeps the coordinator's own certificate and bundle fresh.
//!
//! # Overview
//! A pass compares the files that the coordinator uses with the authority and acts: roots that the authority trusts
//! come into the bundle, roots that it retired go out of it; a certificate that is two thirds through its life, or that
//! another root than the signing one made, is replaced. A certificate that this authority did not make is somebody
//! else's to renew, and roots in the bundle that were never ours stay.

use std::sync::Arc;
use std::time::Duration;

use dr_proto::tls::{
    CertificateDer, Fresh, Reloading, Secrecy, fingerprint, names_issuer, other_names, read_bundle, to_pem,
    write,
};
use dr_store::SharedClock;
use jiff::{SignedDuration, Timestamp};

use super::authority::Authority;
use super::error::Error;
use super::folder::Phase;
use super::leaf::Names;

/// The shortest life that a certificate is renewed for.
const SHORTEST: Duration = Duration::from_secs(60);

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing had to be done.
    AsItWas,
    /// The bundle was brought up to date.
    Bundle,
    /// There is a new certificate, until then, and the bundle is up to date.
    Certificate(Timestamp),
}

/// Renews the coordinator's own certificate.
#[derive(Debug, Clone)]
pub struct Keeper {
    authority: Authority,
    tls: Arc<Reloading>,
    clock: SharedClock,
}

impl Keeper {
    /// Keeps the files of `tls` fresh with what `authority` says.
    pub fn new(authority: Authority, tls: Arc<Reloading>, clock: SharedClock) -> Self {
        Self {
            authority,
            tls,
            clock,
        }
    }

    /// One pass, now. It reads and writes files.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the authority cannot sign.
    pub fn pass(&self) -> Result<Kept, Error> {
        let bundle = self.bundle()?;
        if let Some(until) = self.certificate(&bundle.pem)? {
            self.tls.nudge();
            return Ok(Kept::Certificate(until));
        }
        if !bundle.changed {
            return Ok(Kept::AsItWas);
        }
        write(
            &self.tls.files().trust_bundle,
            bundle.pem.as_bytes(),
            Secrecy::Public,
        )?;
        self.tls.nudge();
        Ok(Kept::Bundle)
    }

    /// Passes every `every`; never ends by itself. Says what it did in the log.
    pub async fn run(self, every: Duration) {
        loop {
            match self.pass_in_background().await {
                Ok(Kept::AsItWas) => {}
                Ok(Kept::Bundle) => tracing::info!("the trust bundle follows the authority's roots"),
                Ok(Kept::Certificate(until)) => tracing::info!(%until, "renewed our own certificate"),
                Err(error) => {
                    let error = dr_terminal::in_one_line(&error);
                    tracing::error!(error, "our own certificate cannot be kept fresh");
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn pass_in_background(&self) -> Result<Kept, Error> {
        let this = self.clone();
        let pass = tokio::task::spawn_blocking(move || this.pass());
        pass.await.map_err(Error::Broken)?
    }

    /// The bundle as it should be.
    fn bundle(&self) -> Result<Bundle, Error> {
        let found = read_bundle(&self.tls.files().trust_bundle).map_err(Error::OwnBundle)?;
        let (ours, retired) = self.authority.trusted()?;
        let is_ours = |der: &CertificateDer<'_>| ours.contains(der) || retired.contains(&fingerprint(der));
        let foreign = found.iter().filter(|der| !is_ours(der)).cloned();
        let wanted: Vec<CertificateDer<'static>> = ours.iter().cloned().chain(foreign).collect();
        let same = found.len() == wanted.len() && wanted.iter().all(|der| found.contains(der));
        Ok(Bundle {
            pem: to_pem(&wanted),
            changed: !same,
        })
    }

    /// Replaces the certificate if it is time; says until when the new one is valid.
    fn certificate(&self, bundle_pem: &str) -> Result<Option<Timestamp>, Error> {
        let material = self.tls.current();
        let certificate = material.certificate();
        let Some(phase) = self
            .authority
            .phase_of_issuer(|root| names_issuer(material.leaf(), root))?
        else {
            return Ok(None);
        };
        let now = self.clock.now();
        let life = certificate.not_after.duration_since(certificate.not_before);
        let due = certificate.not_before + life * 2 / 3;
        if phase == Phase::Signing && now < due {
            return Ok(None);
        }
        let lifetime = Duration::try_from(life - SignedDuration::from_mins(10))
            .unwrap_or(SHORTEST)
            .max(SHORTEST);
        let (dns, ip) = other_names(material.leaf()).map_err(Error::OwnCertificate)?;
        let (issued, key) =
            self.authority
                .issue_with_key(&certificate.identity, &Names { dns, ip }, lifetime, now)?;
        self.tls.files().install(&Fresh {
            private_key: &key,
            certificate: &issued.certificate_pem,
            trust_bundle: bundle_pem,
        })?;
        Ok(Some(issued.not_after))
    }
}

struct Bundle {
    pem: String,
    changed: bool,
}
