//! Enrolment tokens: each lets one host in, once.

use std::time::Duration;

use dr_proto::model::{Domain, EnrolmentToken, Fingerprint, HostName, Labels, TokenId};
use dr_store::tokens::{NewToken, TokenRecord};
use dr_store::{SharedClock, Store};
use jiff::SignedDuration;

use super::Error;
use crate::pki::{self, Authority};

/// How long a token may be used if nobody says.
const USUAL: Duration = Duration::from_secs(3_600);
/// How long it may be used at the most.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Makes and withdraws tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
    clock: SharedClock,
    authority: Option<Authority>,
    domain: Domain,
    endpoints: Vec<String>,
}

/// A token, and the text of it that is shown once.
#[derive(Debug)]
pub struct Minted {
    /// What is kept.
    pub record: TokenRecord,
    /// What `dr-agent enroll` takes.
    pub text: String,
}

impl Tokens {
    /// A handle on those in `store`. Tokens name `endpoints`, and the roots of `authority`.
    pub fn new(
        store: Store,
        clock: SharedClock,
        authority: Option<Authority>,
        domain: Domain,
        endpoints: Vec<String>,
    ) -> Self {
        Self {
            store,
            clock,
            authority,
            domain,
            endpoints,
        }
    }

    /// Makes a token.
    pub async fn create(
        &self,
        host: Option<&HostName>,
        labels: &Labels,
        valid_for: Option<Duration>,
        by: &str,
    ) -> Result<Minted, Error> {
        let valid_for = valid_for.unwrap_or(USUAL);
        if valid_for < Duration::from_secs(1) || valid_for > LONGEST {
            return Err(Error::Invalid {
                field: "valid_for",
                reason: format!(
                    "{} s is not between a second and 30 days",
                    valid_for.as_secs_f64()
                ),
            });
        }
        let roots = self.roots().await?;
        let id = TokenId::new(self.clock.now());
        let secret = pki::new_secret().map_err(Error::Sign)?;
        let record = self
            .store
            .tokens()
            .create(&NewToken {
                id: &id.to_string(),
                secret_hash: &secret.hash().to_string(),
                host,
                labels,
                valid_for: SignedDuration::try_from(valid_for).unwrap_or(SignedDuration::MAX),
                by,
            })
            .await?;
        let token = EnrolmentToken {
            id,
            secret,
            endpoints: self.endpoints.clone(),
            roots,
            domain: self.domain.clone(),
            expires: record.expires,
        };
        Ok(Minted {
            text: token.expose(),
            record,
        })
    }

    async fn roots(&self) -> Result<Vec<Fingerprint>, Error> {
        let authority = self.authority.clone().ok_or(Error::NoAuthority)?;
        let read = tokio::task::spawn_blocking(move || authority.fingerprints()).await;
        read.map_err(pki::Error::Broken).flatten().map_err(Error::Sign)
    }

    /// Those whose time is not long over, newest first.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, Error> {
        Ok(self.store.tokens().list().await?)
    }

    /// Makes one useless.
    pub async fn withdraw(&self, id: &str, by: &str) -> Result<(), Error> {
        Ok(self.store.tokens().withdraw(id, by).await?)
    }
}
