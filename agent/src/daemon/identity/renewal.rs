//! The next certificate, before the last one ends.
//!
//! # Retries
//! The first try comes when two thirds of a certificate's life are over, up to a tenth of it earlier, so that a fleet
//! that was enrolled in one hour does not renew in one. A try that fails is made again after a tenth of what is left,
//! between half a minute and an hour. A coordinator that signs nothing is asked again when there are other files, or
//! a day later.
//!
//! # Cancellation
//! Dropping the future ends it at any point: what it writes is written as a whole.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::client::{self, Client};
use dr_proto::tls::{
    Address, Certificate, Change, ConnectTimeouts, Connector, Fresh, Reloading, TimeProvider,
};
use dr_proto::v1::{CertificateResponse, RenewCertificateRequest};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{sleep, timeout};
use tonic::Code;

use super::error::Error;
use super::request::{new_key, request};

/// How long the coordinator may take to sign.
const ANSWER: Duration = Duration::from_secs(30);
/// The clock is looked at this often: it may jump.
const LOOK: Duration = Duration::from_secs(300);
/// Waits after a failure.
const SHORTEST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// A coordinator that signs nothing is asked again after this.
const NO_AUTHORITY: Duration = Duration::from_secs(86_400);

/// What a renewal works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The coordinators, in order.
    pub endpoints: Vec<Address>,
    /// The clock that judges certificates.
    pub time: Arc<dyn TimeProvider>,
    /// Spreads the fleet.
    pub chance: fastrand::Rng,
}

/// Keeps the certificate of a running daemon fresh.
#[derive(Debug)]
pub struct Renewal {
    tls: Arc<Reloading>,
    options: Options,
    waits: RangeInclusive<Duration>,
}

impl Renewal {
    /// Keeps the files of `tls` fresh.
    pub fn new(tls: Arc<Reloading>, options: Options) -> Self {
        Self {
            tls,
            options,
            waits: SHORTEST_WAIT..=LONGEST_WAIT,
        }
    }

    /// Waits between these after a failure, instead of half a minute to an hour.
    #[must_use]
    pub fn waiting(mut self, waits: RangeInclusive<Duration>) -> Self {
        self.waits = waits;
        self
    }

    /// Renews whenever it is time; never ends by itself.
    pub async fn run(mut self) {
        loop {
            let certificate = self.tls.current().certificate().clone();
            let due = self.due(&certificate);
            if !self.is_due(&certificate, due).await {
                // Other files are in use: theirs is another time.
                continue;
            }
            match self.renew().await {
                Ok(not_after) => tracing::info!(%not_after, "renewed this host's certificate"),
                Err(error) => self.failed(&error, &certificate).await,
            }
        }
    }

    /// When to renew: two thirds into the life of a certificate, or up to a tenth of its life earlier.
    fn due(&mut self, certificate: &Certificate) -> Timestamp {
        let life = certificate.not_after.duration_since(certificate.not_before);
        let early = life.as_secs_f64() * 0.1 * self.options.chance.f64();
        let share = SignedDuration::from_secs_f64(life.as_secs_f64() * 2.0 / 3.0 - early);
        certificate
            .not_before
            .saturating_add(share)
            .unwrap_or(certificate.not_before)
    }

    /// Waits until then. False: by then another certificate is in use.
    async fn is_due(&self, certificate: &Certificate, due: Timestamp) -> bool {
        let mut generation = self.tls.generation();
        loop {
            if self.tls.current().certificate() != certificate {
                return false;
            }
            let left = match self.tls.now() {
                Ok(now) => Duration::try_from(due.duration_since(now)).unwrap_or_default(),
                // Nothing can be judged without a clock: look again later.
                Err(_) => LOOK,
            };
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                () = sleep(left.min(LOOK)) => {}
                // The sender lives as long as `tls`.
                _ = generation.changed() => {}
            }
        }
    }

    /// Says what went wrong, and waits before the next try or until there are other files.
    async fn failed(&mut self, error: &Error, certificate: &Certificate) {
        let wait = if signs_nothing(error) {
            tracing::warn!(
                not_after = %certificate.not_after,
                "the coordinator signs no certificates: put a new one in place before this host's ends"
            );
            NO_AUTHORITY
        } else {
            let wait = self.wait(certificate);
            tracing::error!(
                error = %crate::error::in_one_line(error),
                not_after = %certificate.not_after,
                next_try = ?wait,
                "this host's certificate could not be renewed"
            );
            wait
        };
        let mut generation = self.tls.generation();
        tokio::select! {
            () = sleep(wait) => {}
            _ = generation.changed() => {}
        }
    }

    /// A tenth of what is left, within bounds, and not the same for all.
    fn wait(&mut self, certificate: &Certificate) -> Duration {
        let left = self
            .tls
            .now()
            .map(|now| certificate.not_after.duration_since(now));
        let left = left
            .ok()
            .and_then(|left| Duration::try_from(left).ok())
            .unwrap_or_default();
        let wait = (left / 10).clamp(*self.waits.start(), *self.waits.end());
        wait.mul_f64(0.75 + self.options.chance.f64() / 2.0)
    }

    /// Asks for a certificate for a new key, and takes it into use. Says until when it is valid.
    ///
    /// # Errors
    /// When the old one stays in use.
    pub async fn renew(&self) -> Result<Timestamp, Error> {
        let key = new_key()?;
        let answer = self.ask(&key).await?;
        let (tls, time) = (self.tls.clone(), self.options.time.clone());
        let install = move || {
            let not_after = install(&tls, &key, &answer, &time)?;
            match tls.reload() {
                Ok(Change::Replaced | Change::Unchanged) => Ok(not_after),
                Err(error) => Err(Error::Answer(Box::new(error))),
            }
        };
        tokio::task::spawn_blocking(install).await?
    }

    async fn ask(&self, key: &str) -> Result<CertificateResponse, Error> {
        let connector = Connector::new(self.tls.clone(), ConnectTimeouts::default());
        let user_agent = concat!("dr-agent/", env!("CARGO_PKG_VERSION"));
        let options = client::Options::new(self.options.endpoints.clone(), user_agent);
        let client = Client::connect(&connector, &options).await?;
        let asked = RenewCertificateRequest {
            csr_pem: request(key)?,
        };
        let mut service = client.gateway();
        let answer = timeout(ANSWER, service.renew_certificate(asked))
            .await
            .map_err(|_| Error::TimedOut { limit: ANSWER })?
            .map_err(Error::status)?;
        Ok(answer.into_inner())
    }
}

fn install(
    tls: &Reloading,
    key: &str,
    answer: &CertificateResponse,
    time: &Arc<dyn TimeProvider>,
) -> Result<Timestamp, Error> {
    let fresh = Fresh {
        private_key: key,
        certificate: &answer.certificate_pem,
        trust_bundle: &answer.trust_bundle_pem,
    };
    let material = tls
        .files()
        .judge(&fresh, time)
        .map_err(|error| Error::Answer(Box::new(error)))?;
    let (new, current) = (material.certificate(), tls.current());
    let old = &current.certificate().identity;
    if new.identity != *old {
        return Err(Error::OtherIdentity {
            got: new.identity.to_string(),
            wanted: old.to_string(),
        });
    }
    tls.files().install(&fresh)?;
    Ok(new.not_after)
}

fn signs_nothing(error: &Error) -> bool {
    matches!(error, Error::Refused { status } if status.code() == Code::FailedPrecondition)
}
