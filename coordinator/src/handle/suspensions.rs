//! Holding up work: of the fleet, of hosts with labels, of one host. Every suspension ends by itself.

use std::time::Duration;

use dr_store::Store;
use dr_store::suspensions::SuspensionRecord;
use jiff::SignedDuration;

use super::Error;
use crate::scope::Scope;

/// How long a suspension lasts if nobody says.
const USUAL: Duration = Duration::from_secs(4 * 3_600);
/// How long it lasts at the most.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Begins and ends suspensions.
#[derive(Debug, Clone)]
pub struct Suspensions {
    store: Store,
}

impl Suspensions {
    /// A handle on those in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Suspends `scope`. What runs goes on.
    pub async fn begin(
        &self,
        scope: &str,
        reason: &str,
        lasts: Option<Duration>,
        by: &str,
    ) -> Result<SuspensionRecord, Error> {
        let scope = parse(scope)?;
        if reason.trim().is_empty() {
            return Err(Error::Invalid {
                field: "reason",
                reason: "a suspension wants a reason: somebody will ask".to_owned(),
            });
        }
        let lasts = lasts.unwrap_or(USUAL);
        if lasts.is_zero() || lasts > LONGEST {
            return Err(Error::Invalid {
                field: "duration",
                reason: format!("{} s is not between a moment and 30 days", lasts.as_secs()),
            });
        }
        let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
        Ok(self
            .store
            .suspensions()
            .begin(&scope.to_string(), reason, lasts, by)
            .await?)
    }

    /// Ends the suspension of that scope or id; how many there were.
    pub async fn end(&self, scope_or_id: &str, by: &str) -> Result<u32, Error> {
        let normal = scope_or_id
            .parse::<Scope>()
            .map_or_else(|_| scope_or_id.to_owned(), |scope| scope.to_string());
        let ended = self.store.suspensions().end(&normal, by).await?;
        if ended == 0 {
            return Err(Error::NotFound {
                kind: "suspension",
                name: scope_or_id.to_owned(),
            });
        }
        Ok(ended)
    }

    /// Those in force.
    pub async fn active(&self) -> Result<Vec<SuspensionRecord>, Error> {
        Ok(self.store.suspensions().active().await?)
    }
}

fn parse(scope: &str) -> Result<Scope, Error> {
    if scope.trim().is_empty() {
        return Err(Error::Invalid {
            field: "scope",
            reason: "nothing is named; `fleet`, `host=NAME` or a label selector is expected".to_owned(),
        });
    }
    scope
        .parse()
        .map_err(|error: dr_proto::model::SelectorError| Error::Invalid {
            field: "scope",
            reason: error.to_string(),
        })
}
