//! Watching a run: as it stands, then every change, until it ends.
//!
//! # Overview
//! A watch keeps what it told last. When asked for more it waits for word of a change (or a second, for progress),
//! reads the run anew and tells the difference. So a watcher that reads slowly gets the newest state and never a queue
//! of old ones, and the end is never missed: it is told by the look that sees it.

use std::collections::HashMap;
use std::time::Duration;

use dr_proto::model::{RunId, TaskId};
use dr_store::runs::RunRecord;
use dr_store::{Change, Store};
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::super::Error;
use super::{TaskView, view};
use crate::gateway::Live;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// A look without word of a change: progress, and what another process changed.
const EVERY: Duration = Duration::from_secs(1);

/// Something of a run changed, or is told for the first time.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The run itself.
    Run(Box<RunRecord>),
    /// One of its tasks.
    Task(Box<TaskView>),
}

/// A watch of one run.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    live: Live,
    run: RunId,
    changes: broadcast::Receiver<Change>,
    ending: CancellationToken,
    told_run: Option<RunRecord>,
    told: HashMap<TaskId, TaskView>,
    looked: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    pub(super) fn new(
        store: Store,
        live: Live,
        run: RunId,
        changes: broadcast::Receiver<Change>,
        ending: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            store,
            live,
            run,
            changes,
            ending,
            told_run: None,
            told: HashMap::new(),
            looked: None,
            _place: place,
        }
    }

    /// What changed since the last call; never empty. `None`: the run has ended, and its end was told.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, Error> {
        loop {
            if self.told_run.as_ref().is_some_and(|run| run.state.is_final()) {
                return Ok(None);
            }
            if let Some(looked) = self.looked {
                self.wait(looked).await?;
            }
            let events = self.look().await?;
            self.looked = Some(Instant::now());
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
    }

    /// Until something may have changed.
    async fn wait(&mut self, looked: Instant) -> Result<(), Error> {
        let latest = looked + EVERY;
        loop {
            tokio::select! {
                () = self.ending.cancelled() => return Err(Error::Stopping),
                () = sleep_until(latest) => return Ok(()),
                change = self.changes.recv() => match change {
                    Ok(Change::Run(run) | Change::Task { run, .. }) if run == self.run => break,
                    Ok(_) => {}
                    // What was missed, the look sees.
                    Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopping),
                },
            }
        }
        sleep_until(looked + PAUSE).await;
        Ok(())
    }

    /// The run first, then its tasks: a run that has ended has no task that has not. Told the other way round, so that
    /// the end of the run is the last that a watcher hears.
    async fn look(&mut self) -> Result<Vec<Event>, Error> {
        let run = self
            .store
            .runs()
            .get(self.run)
            .await?
            .ok_or_else(|| Error::NotFound {
                kind: "run",
                name: self.run.to_string(),
            })?;
        let mut events = Vec::new();
        for record in self.store.tasks().of_run(self.run).await? {
            let task = view(&self.live, record);
            if self.told.get(&task.record.id) != Some(&task) {
                self.told.insert(task.record.id, task.clone());
                events.push(Event::Task(Box::new(task)));
            }
        }
        if self.told_run.as_ref() != Some(&run) {
            let event = Event::Run(Box::new(run.clone()));
            // The first event of all is the run, so that a watcher knows what it looks at.
            let first = if self.told_run.is_none() && !run.state.is_final() {
                0
            } else {
                events.len()
            };
            events.insert(first, event);
            self.told_run = Some(run);
        }
        Ok(events)
    }
}
