//! Hands queued tasks out, and tells agents to stop what was cancelled.
//!
//! # Crash consistency
//! The fence of a task is committed before the task is sent. A crash in between leaves it offered and unsent: its
//! agent's next hello says that it never heard of it, and it is sent again under the same fence.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dr_proto::model::{CancelTask, RunId, StartTask, TaskId};
use dr_store::Store;
use dr_store::runs::RunRecord;
use dr_store::tasks::{Offer, TaskRecord};

use super::dispatch::{Caps, Situation, TOO_OLD, choose};
use super::driver::{Error, Reconciler};
use super::fleet::FleetState;
use super::gateway::Gateway;
use super::trace;

/// How many tasks one transaction hands out.
const BATCH: usize = 100;

/// Hands queued tasks out.
#[derive(Clone)]
pub struct Dispatcher {
    store: Store,
    gateway: Arc<dyn Gateway>,
    caps: Caps,
    epoch: u64,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Tasks sent.
    pub sent: usize,
    /// Tasks whose agent went away before they were sent.
    pub unsent: usize,
    /// Tasks that wait.
    pub waiting: usize,
    /// Runs stopped.
    pub stopped: usize,
    /// Tasks that ended because their agents are too old for them.
    pub beyond: usize,
    /// Agents told to stop a task.
    pub cancels: usize,
}

impl fmt::Display for Dispatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} handed out, {} waiting",
            self.sent + self.unsent,
            self.waiting
        )?;
        if self.stopped > 0 {
            write!(f, ", {} runs stopped", self.stopped)?;
        }
        if self.beyond > 0 {
            write!(f, ", {} not understood by their agents", self.beyond)?;
        }
        if self.cancels > 0 {
            write!(f, ", {} told to stop", self.cancels)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("caps", &self.caps)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A dispatcher of the incarnation `epoch`.
    pub fn new(store: Store, gateway: Arc<dyn Gateway>, caps: Caps, epoch: u64) -> Self {
        Self {
            store,
            gateway,
            caps,
            epoch,
        }
    }

    async fn cancel(&self) -> Result<usize, Error> {
        let mut told = 0;
        for task in self.store.tasks().to_cancel().await? {
            let Some(reason) = &task.cancel_reason else {
                continue;
            };
            let cancel = CancelTask {
                key: task.key(),
                reason: reason.clone(),
            };
            // Told again at each pass until it ends: an agent that is away is told when it is back.
            told += usize::from(self.gateway.cancel(&task.agent, cancel).is_ok());
        }
        Ok(told)
    }

    /// Commits the fences of some tasks and sends those that are still ours to send.
    async fn hand_out(
        &self,
        tasks: &[TaskId],
        runs: &BTreeMap<RunId, RunRecord>,
        done: &mut Dispatched,
    ) -> Result<(), Error> {
        for offer in self.store.tasks().offer(tasks, self.epoch).await? {
            let Offer::Made(task) = offer else {
                continue;
            };
            let traceparent = runs.get(&task.run).and_then(trace::traceparent);
            match self.gateway.start(&task.agent, start_message(&task, traceparent)) {
                Ok(()) => done.sent += 1,
                Err(error) => {
                    done.unsent += 1;
                    tracing::info!(task = %task.id, agent = %task.agent, %error, "it will get the task at its next hello");
                }
            }
            dr_store::failpoint::reach("dispatcher.sent");
        }
        Ok(())
    }
}

#[async_trait]
impl Reconciler for Dispatcher {
    type Status = Dispatched;

    fn name(&self) -> &'static str {
        "dispatcher"
    }

    async fn pass(&self) -> Result<Dispatched, Error> {
        if !self.store.epochs().is_newest(self.epoch).await? {
            return Err(Error::Superseded(self.epoch));
        }
        let mut done = Dispatched {
            cancels: self.cancel().await?,
            ..Dispatched::default()
        };
        let open = self.store.tasks().open().await?;
        if open.is_empty() {
            return Ok(done);
        }
        let runs = self.store.runs().active().await?;
        let runs: BTreeMap<RunId, RunRecord> = runs.into_iter().map(|run| (run.id, run)).collect();
        let waves = self.store.tasks().tallies().await?;
        let fleet = FleetState::read(&self.store).await?;
        let connected = self.gateway.connected();
        let choice = choose(&Situation {
            now: self.store.clock().now(),
            open: &open,
            runs: &runs,
            waves: &waves,
            fleet: &fleet,
            connected: &connected,
            caps: &self.caps,
        });
        for (run, why) in &choice.stop {
            self.store.runs().stop(*run, why).await?;
            done.stopped += 1;
        }
        for (key, why) in &choice.beyond {
            let ended = self.store.tasks().decline(*key, TOO_OLD, why).await?;
            done.beyond += usize::from(ended);
        }
        for batch in choice.start.chunks(BATCH) {
            self.hand_out(batch, &runs, &mut done).await?;
        }
        self.store.tasks().explain(&choice.waiting).await?;
        done.waiting = choice.waiting.len();
        Ok(done)
    }
}

/// What an agent is sent.
pub(super) fn start_message(task: &TaskRecord, traceparent: Option<String>) -> StartTask {
    StartTask {
        key: task.key(),
        work: task.work.clone(),
        deadline: task.allowance,
        slot: task.slot.clone(),
        run: task.run,
        traceparent,
    }
}
