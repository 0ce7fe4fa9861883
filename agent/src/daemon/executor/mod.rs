//! Executes one task after the other.
//!
//! # Overview
//! [`Executor::run`] takes tasks off the [`Desk`], lets [`Jobs`] do them, and hands in how they ended. Every task has
//! a ceiling in time from its receipt on; a task that waited beyond it is not begun.
//!
//! # Cancellation
//! A cancel, the deadline, the suspend file and the end of the daemon all use the token that the work watches: it
//! stops at its next safe point and cleans up. Work that does not come to a safe point in [`SAFE_POINT`] is given up:
//! its answer says so, and the state lock keeps anything else from beginning beside it.
//!
//! # Crash consistency
//! See the [`desk`].

mod answer;
mod halt;
mod meter;
mod work;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_proto::model::{StartTask, TaskKey, TaskOutcome, TaskState};
use dr_vault::clock::SharedClock;
use dr_vault::progress::Progress;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::desk::{self, Desk};
use super::gate::Gate;
use super::journal::Accepted;

pub use answer::Ended;
#[cfg(test)]
pub(crate) use answer::failed;
pub use halt::{Ending, Halt};
pub use work::HostJobs;

/// How long work that was told to stop may take to its next safe point.
pub const SAFE_POINT: Duration = Duration::from_secs(120);

/// Points at which a development build can be killed.
pub const FAILPOINTS: &[&str] = &["task.begun", "task.ended"];

/// What can be asked of this host.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// Does it. Ends early, at a safe point, when `halt` says so.
    async fn run(&self, task: &StartTask, halt: &Halt, progress: &Progress) -> Ended;
}

/// Takes note of how tasks end: metrics.
pub trait Observer: Send + Sync + 'static {
    /// A task ended.
    fn ended(&self, task: &StartTask, ended: &Ended, at: Timestamp);
}

/// Executes tasks.
pub struct Executor {
    /// Where tasks come from and results go.
    pub desk: Desk,
    /// Does them.
    pub jobs: Arc<dyn Jobs>,
    /// Takes note of how they end.
    pub observer: Arc<dyn Observer>,
    /// The host's own switch.
    pub gate: Gate,
    /// Tells the time.
    pub clock: SharedClock,
}

impl Executor {
    /// Executes until cancelled. Then what is at work is stopped at a safe point, and what waits is answered.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), desk::Error> {
        let mut incoming = self.desk.incoming();
        loop {
            incoming.mark_unchanged();
            let halt = Halt::default();
            if cancel.is_cancelled() {
                halt.because(Ending::Shutdown);
            }
            match self.desk.next(&halt).await? {
                Some(accepted) => self.execute(accepted, halt, &cancel).await?,
                None if cancel.is_cancelled() => return Ok(()),
                None => tokio::select! {
                    () = cancel.cancelled() => {}
                    _ = incoming.changed() => {}
                },
            }
        }
    }

    async fn execute(
        &self,
        accepted: Accepted,
        halt: Halt,
        cancel: &CancellationToken,
    ) -> Result<(), desk::Error> {
        let Accepted { task, at } = accepted;
        let span = tracing::info_span!(
            "task", task = %task.key.task, fence = %task.key.fence, work = %task.work, otel.name = %task.work
        );
        if let Some(parent) = &task.traceparent {
            dr_telemetry::propagation::continue_from(&span, parent);
        }
        let started = self.clock.now();
        let ended = self
            .bounded(&task, at, started, &halt, cancel)
            .instrument(span.clone())
            .await;
        let finished = self.clock.now();
        dr_vault::failpoint::reach("task.ended");
        span.in_scope(|| tell(&task, &ended, finished.duration_since(started)));
        self.observer.ended(&task, &ended, finished);
        let outcome = TaskOutcome {
            state: ended.state,
            cause: ended.cause,
            message: ended.message,
            started,
            finished,
            document: ended.document,
        };
        self.desk.finish(task, outcome).await
    }

    /// Does a task within its time.
    async fn bounded(
        &self,
        task: &StartTask,
        received: Timestamp,
        now: Timestamp,
        halt: &Halt,
        cancel: &CancellationToken,
    ) -> Ended {
        let waited = Duration::try_from(now.duration_since(received)).unwrap_or_default();
        let left = task.deadline.saturating_sub(waited);
        if left.is_zero() {
            return Ended::because(&Ending::Deadline, "it had not begun by then");
        }
        if let Some(reason) = self.gate.closed() {
            return Ended::because(&Ending::Suspended(reason), "it was not begun");
        }
        if let Some(ending) = halt.ending() {
            return Ended::because(&ending, "it was not begun");
        }
        dr_vault::failpoint::reach("task.begun");
        let progress = Progress::new();
        let work = self.jobs.run(task, halt, &progress);
        let watch = self.watch(left, halt, cancel);
        let measure = meter::measure(&self.desk, task.key, &progress);
        tokio::pin!(work, watch, measure);
        loop {
            tokio::select! {
                biased;
                ended = &mut work => return ended.halted(halt),
                () = &mut watch => break,
                () = &mut measure => {}
            }
        }
        // The work was told to stop and did not come to a safe point in time.
        let ending = halt.ending().unwrap_or(Ending::Deadline);
        Ended::because(
            &ending,
            &format!(
                "it did not come to a safe point within {} s and was given up",
                SAFE_POINT.as_secs()
            ),
        )
    }

    /// Tells the work to stop when its time is over, when the host is suspended, and when the daemon ends; returns
    /// when it did not in time.
    async fn watch(&self, left: Duration, halt: &Halt, cancel: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(left) => halt.because(Ending::Deadline),
            reason = self.gate.until_closed() => halt.because(Ending::Suspended(reason)),
            () = cancel.cancelled() => halt.because(Ending::Shutdown),
            () = halt.halted() => {}
        }
        tokio::time::sleep(SAFE_POINT).await;
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}

fn tell(task: &StartTask, ended: &Ended, took: SignedDuration) {
    let key: &TaskKey = &task.key;
    let seconds = took.as_secs_f64();
    match ended.state {
        TaskState::Passed => tracing::info!(task = %key.task, work = %task.work, seconds, "passed"),
        TaskState::Failed => {
            tracing::error!(task = %key.task, work = %task.work, seconds, cause = ended.cause, reason = ended.message, "failed");
        }
        state => {
            tracing::warn!(task = %key.task, work = %task.work, seconds, %state, cause = ended.cause, reason = ended.message, "did not pass");
        }
    }
}

#[cfg(test)]
mod tests;
