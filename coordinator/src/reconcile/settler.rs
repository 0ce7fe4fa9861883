//! Ends runs whose tasks have all ended.

use std::fmt;

use async_trait::async_trait;
use dr_store::Store;

use super::driver::{Error, Reconciler};
use super::trace;

/// Ends runs whose tasks have all ended.
#[derive(Debug, Clone)]
pub struct Settler {
    store: Store,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettledRuns {
    /// Runs that ended.
    pub ended: usize,
}

impl fmt::Display for SettledRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs ended", self.ended)
    }
}

impl Settler {
    /// A settler of the runs in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Reconciler for Settler {
    type Status = SettledRuns;

    fn name(&self) -> &'static str {
        "settler"
    }

    async fn pass(&self) -> Result<SettledRuns, Error> {
        let mut done = SettledRuns::default();
        for run in self.store.runs().to_settle().await? {
            if let Some(settled) = self.store.runs().settle(run).await? {
                tracing::info!(%run, state = %settled.run.state, why = settled.run.explanation, "a run ended");
                trace::ended(&settled.run);
                done.ended += 1;
            }
        }
        Ok(done)
    }
}
