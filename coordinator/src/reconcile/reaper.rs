//! Ends what would otherwise never end: tasks past their deadline, tasks that were not handed out in their window,
//! tasks that their agent came back without.
//!
//! # Overview
//! An agent that is not heard of loses nothing by that alone: it may be working behind a broken network, and its
//! result counts when it comes. Its tasks end when it says hello without them, or at their deadline.
//!
//! # Cancellation
//! An expired task is over for the coordinator at once, so that it blocks nobody; its agent is told to stop as well.
//! If the agent answers after all, the answer is noted and changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_proto::model::{CancelTask, TaskState};
use dr_store::Store;
use dr_store::tasks::{Requeued, TaskRecord};
use jiff::{SignedDuration, Timestamp};

use super::driver::{Error, Reconciler};
use super::gateway::Gateway;

/// Ends what would otherwise never end.
#[derive(Clone)]
pub struct Reaper {
    store: Store,
    gateway: Arc<dyn Gateway>,
    grace: Duration,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Tasks that had not ended by their deadline.
    pub expired: usize,
    /// Tasks that were not handed out in their window.
    pub unstarted: usize,
    /// Tasks that their agent came back without, and no result came.
    pub lost: usize,
    /// Of all these, queued again.
    pub again: usize,
}

impl fmt::Display for Reaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} expired, {} not started in their window, {} lost, {} queued again",
            self.expired, self.unstarted, self.lost, self.again
        )
    }
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper")
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

impl Reaper {
    /// A reaper that waits `grace` for the result of a task that its agent came back without.
    pub fn new(store: Store, gateway: Arc<dyn Gateway>, grace: Duration) -> Self {
        Self {
            store,
            gateway,
            grace,
        }
    }

    async fn expire(&self, task: &TaskRecord, reaped: &mut Reaped) -> Result<(), Error> {
        if task.state == TaskState::Queued {
            let why = format!("not handed out by the end of its window: {}", task.explanation);
            let done = self.store.tasks().expire(task.key(), "window_over", &why).await?;
            reaped.unstarted += usize::from(done != Requeued::Moved);
            return Ok(());
        }
        let why = format!(
            "no end within {} from when it was handed out",
            spoken(task.allowance)
        );
        match self.store.tasks().expire(task.key(), "deadline", &why).await? {
            Requeued::Moved => return Ok(()),
            Requeued::Again => reaped.again += 1,
            Requeued::Ended => {}
        }
        reaped.expired += 1;
        let cancel = CancelTask {
            key: task.key(),
            reason: why,
        };
        if let Err(error) = self.gateway.cancel(&task.agent, cancel) {
            tracing::info!(task = %task.id, agent = %task.agent, %error, "it will be told to stop at its next hello");
        }
        Ok(())
    }

    async fn lose(&self, now: Timestamp, reaped: &mut Reaped) -> Result<(), Error> {
        let grace = SignedDuration::try_from(self.grace).unwrap_or(SignedDuration::MAX);
        let since = now.saturating_sub(grace).unwrap_or(Timestamp::MIN);
        for task in self.store.tasks().missing(since).await? {
            let why = "its agent came back without it and sent no result";
            match self.store.tasks().lose(task.key(), why).await? {
                Requeued::Again => {
                    reaped.lost += 1;
                    reaped.again += 1;
                }
                Requeued::Ended => reaped.lost += 1,
                Requeued::Moved => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Reconciler for Reaper {
    type Status = Reaped;

    fn name(&self) -> &'static str {
        "reaper"
    }

    async fn pass(&self) -> Result<Reaped, Error> {
        let now = self.store.clock().now();
        let mut reaped = Reaped::default();
        for task in self.store.tasks().overdue(now).await? {
            self.expire(&task, &mut reaped).await?;
        }
        self.lose(now, &mut reaped).await?;
        Ok(reaped)
    }
}

/// `4h`, `90s`.
pub(super) fn spoken(length: Duration) -> String {
    SignedDuration::try_from(length).map_or_else(|_| "ever".to_owned(), |length| format!("{length:#}"))
}
