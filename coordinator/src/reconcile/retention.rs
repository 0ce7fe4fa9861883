//! Forgets what is older than its retention time.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use dr_store::{Pruned, Store};
use jiff::{SignedDuration, Timestamp};

use super::driver::{Error, Reconciler};

/// Forgets what is older than its retention time.
#[derive(Debug, Clone)]
pub struct Retention {
    store: Store,
    keep: Keep,
}

/// How long the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Ended runs, with their tasks and reports.
    pub runs: Duration,
    /// Entries of the audit log.
    pub audit: Duration,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten(pub Pruned);

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pruned {
            runs,
            proofs,
            entries,
            audit,
        } = self.0;
        write!(
            f,
            "forgot {runs} runs, {proofs} measurements, {entries} ended entries, {audit} audit entries"
        )
    }
}

impl Retention {
    /// A retention of the history in `store`.
    pub fn new(store: Store, keep: Keep) -> Self {
        Self { store, keep }
    }
}

#[async_trait]
impl Reconciler for Retention {
    type Status = Forgotten;

    fn name(&self) -> &'static str {
        "retention"
    }

    async fn pass(&self) -> Result<Forgotten, Error> {
        let now = self.store.clock().now();
        let before = |keep: Duration| {
            let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
            now.saturating_sub(keep).unwrap_or(Timestamp::MIN)
        };
        let pruned = self
            .store
            .prune(before(self.keep.runs), before(self.keep.audit))
            .await?;
        Ok(Forgotten(pruned))
    }
}
