//! Ends runs whose tasks have all ended.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dr_proto::model::{HostName, RunEnded, RunState};
use dr_store::Store;
use dr_store::runs::RunRecord;

use super::driver::{Error, Reconciler};
use super::gateway::Gateway;
use super::trace;

/// Ends runs whose tasks have all ended.
#[derive(Clone)]
pub struct Settler {
    store: Store,
    gateway: Arc<dyn Gateway>,
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
    pub fn new(store: Store, gateway: Arc<dyn Gateway>) -> Self {
        Self { store, gateway }
    }

    /// Tells the run's agents how it ended: what went well on one host is worth sending where another failed.
    async fn tell(&self, run: &RunRecord) -> Result<(), Error> {
        let Some(trace_id) = trace::trace_id(run) else {
            return Ok(());
        };
        let tasks = self.store.tasks().of_run(run.id).await?;
        let agents: BTreeSet<HostName> = tasks.into_iter().map(|task| task.agent).collect();
        for agent in agents {
            let ended = RunEnded {
                trace_id: trace_id.clone(),
                passed: run.state == RunState::Passed,
            };
            if let Err(error) = self.gateway.ended(&agent, ended) {
                tracing::debug!(run = %run.id, %agent, %error, "it does not learn how the run ended");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler").finish_non_exhaustive()
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
                self.tell(&settled.run).await?;
                done.ended += 1;
            }
        }
        Ok(done)
    }
}
