//! Enrolment tokens: each lets one host in, once.

use std::time::Duration;

use dr_proto::model::{Domain, EnrolmentToken, Fingerprint, HostName, Labels, Secret, TokenId};
use dr_store::machines::Replacement;
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

/// What a token allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// How long it may be used; `None`: an hour.
    pub valid_for: Option<Duration>,
    /// Whether the host gets nothing to do before an operator approves it.
    pub needs_approval: bool,
}

/// A token before it is filed.
struct Coin {
    id: TokenId,
    secret: Secret,
    roots: Vec<Fingerprint>,
    valid_for: SignedDuration,
    needs_approval: bool,
}

impl Coin {
    fn new_token<'a>(
        &self,
        id: &'a str,
        secret_hash: &'a str,
        labels: &'a Labels,
        by: &'a str,
    ) -> NewToken<'a> {
        NewToken {
            id,
            secret_hash,
            host: None,
            labels,
            valid_for: self.valid_for,
            needs_approval: self.needs_approval,
            by,
        }
    }
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
        terms: Terms,
        by: &str,
    ) -> Result<Minted, Error> {
        let coin = self.coin(terms).await?;
        let (id, hash) = (coin.id.to_string(), coin.secret.hash().to_string());
        let new = NewToken {
            host,
            ..coin.new_token(&id, &hash, labels, by)
        };
        let record = self.store.tokens().create(&new).await?;
        Ok(self.minted(coin, record))
    }

    /// Refuses the machine of a host and makes a token for the one that takes its place. `serial` is that of the
    /// certificate on its live stream.
    pub async fn replace(
        &self,
        host: &HostName,
        reason: &str,
        terms: Terms,
        by: &str,
        serial: Option<&str>,
    ) -> Result<Minted, Error> {
        if reason.trim().is_empty() {
            return Err(Error::Invalid {
                field: "reason",
                reason: "a replacement wants a reason: somebody will ask".to_owned(),
            });
        }
        let coin = self.coin(terms).await?;
        let (id, hash) = (coin.id.to_string(), coin.secret.hash().to_string());
        let labels = Labels::default();
        let replacement = Replacement {
            host,
            reason,
            by,
            serial,
            token: coin.new_token(&id, &hash, &labels, by),
        };
        let record = self.store.hosts().replace(&replacement).await?;
        Ok(self.minted(coin, record))
    }

    /// A token that is not filed yet.
    async fn coin(&self, terms: Terms) -> Result<Coin, Error> {
        let valid_for = terms.valid_for.unwrap_or(USUAL);
        if valid_for < Duration::from_secs(1) || valid_for > LONGEST {
            return Err(Error::Invalid {
                field: "valid_for",
                reason: format!(
                    "{} s is not between a second and 30 days",
                    valid_for.as_secs_f64()
                ),
            });
        }
        Ok(Coin {
            roots: self.roots().await?,
            id: TokenId::new(self.clock.now()),
            secret: pki::new_secret().map_err(Error::Sign)?,
            valid_for: SignedDuration::try_from(valid_for).unwrap_or(SignedDuration::MAX),
            needs_approval: terms.needs_approval,
        })
    }

    fn minted(&self, coin: Coin, record: TokenRecord) -> Minted {
        let token = EnrolmentToken {
            id: coin.id,
            secret: coin.secret,
            endpoints: self.endpoints.clone(),
            roots: coin.roots,
            domain: self.domain.clone(),
            expires: record.expires,
        };
        Minted {
            text: token.expose(),
            record,
        }
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
