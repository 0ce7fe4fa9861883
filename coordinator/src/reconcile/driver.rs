//! Runs a reconciler: every so often, and when nudged, one pass at a time.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_store::Store;
use dr_terminal::in_one_line;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The longest that one pass may take; beyond it something is wedged, and the pass is given up.
const LONGEST_PASS: Duration = Duration::from_secs(300);

/// Compares what should be with what is, and acts.
#[async_trait]
pub trait Reconciler: Send + Sync {
    /// What a pass did. Its text is what `drctl status` shows.
    type Status: Display + Send;

    /// The name in metrics and in the store.
    fn name(&self) -> &'static str;

    /// One pass.
    async fn pass(&self) -> Result<Self::Status, Error>;
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] dr_store::Error),
    /// A plan in the store can not be read by this version.
    #[error("plan `{name}` can not be read")]
    Plan {
        /// The plan.
        name: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A copy of the store could not be made.
    #[error("the store was not backed up")]
    Backup(#[from] super::backup::Error),
    /// Another coordinator was started on this store.
    #[error("a newer coordinator works on this store (this one is incarnation {0}): stop one of the two")]
    Superseded(u64),
    /// The pass did not end.
    #[error("the pass did not end within {} s and was given up", .0.as_secs())]
    Wedged(Duration),
    /// Some parts of the pass failed; the others were done.
    #[error("{failed} of {all} failed; the first: {first}")]
    Partly {
        /// How many failed.
        failed: usize,
        /// Of how many.
        all: usize,
        /// The first error, with its causes.
        first: String,
    },
}

/// Asks a driver for a pass soon. Clones ask the same driver; many nudges are one pass.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Asks for a pass.
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

/// Runs one reconciler until it is cancelled.
#[derive(Debug)]
pub struct Driver<R> {
    reconciler: R,
    store: Store,
    every: Duration,
    longest: Duration,
    nudge: Nudge,
}

impl<R: Reconciler> Driver<R> {
    /// A driver that runs `reconciler` at least every `every`.
    pub fn new(reconciler: R, store: Store, every: Duration) -> Self {
        Self {
            reconciler,
            store,
            every,
            longest: LONGEST_PASS,
            nudge: Nudge::default(),
        }
    }

    /// What asks this driver for a pass.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// The reconciler's name.
    pub fn name(&self) -> &'static str {
        self.reconciler.name()
    }

    /// Runs passes until `cancel`. A pass under way is finished, because each of its steps is whole by itself and the
    /// last one may be the one that somebody waits for.
    pub async fn run(self, cancel: CancellationToken) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.nudge.0.notified() => {}
            }
            self.pass().await;
        }
    }

    /// One pass, timed and written down.
    pub async fn pass(&self) {
        let name = self.reconciler.name();
        let span = tracing::debug_span!("reconcile", reconciler = name);
        let done = tokio::time::timeout(self.longest, self.reconciler.pass().instrument(span)).await;
        let noted = match done.unwrap_or(Err(Error::Wedged(self.longest))) {
            Ok(status) => {
                let status = status.to_string();
                tracing::debug!(reconciler = name, status, "a pass is done");
                self.store.reconcilers().succeeded(name, &status).await
            }
            Err(error) => {
                let error = in_one_line(&error);
                tracing::warn!(
                    reconciler = name,
                    error,
                    "a pass failed; the next one tries again"
                );
                self.store.reconcilers().failed(name, &error).await
            }
        };
        if let Err(error) = noted {
            // The watchdog misses the success that could not be written down.
            tracing::error!(
                reconciler = name,
                error = in_one_line(&error),
                "the pass could not be noted"
            );
        }
    }
}

#[cfg(test)]
mod tests;
