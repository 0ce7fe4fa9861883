//! Runs all reconcilers, and nudges those that a change concerns.

use std::sync::Arc;
use std::time::Duration;

use dr_store::{Change, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backup::{self, Backup};
use super::dispatch::Caps;
use super::dispatcher::Dispatcher;
use super::driver::{Driver, Nudge, Reconciler};
use super::gateway::Gateway;
use super::reaper::Reaper;
use super::retention::{Keep, Retention};
use super::scheduler::Scheduler;
use super::settler::Settler;

/// How often the reconcilers that hosts wait for run unasked.
const OFTEN: Duration = Duration::from_secs(5);
/// How often the scheduler looks at the clock.
const SCHEDULE: Duration = Duration::from_secs(10);
/// How often housekeeping runs: often enough that one that fails is missed soon.
const SELDOM: Duration = Duration::from_secs(120);

/// How the reconcilers work.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many tasks may be at work.
    pub caps: Caps,
    /// How long a result may be on the way after its agent came back without the task.
    pub grace: Duration,
    /// How long the past is kept.
    pub keep: Keep,
    /// How the store is backed up; `None`: it is not.
    pub backup: Option<backup::Options>,
}

/// All reconcilers.
pub struct Service {
    store: Store,
    scheduler: Driver<Scheduler>,
    dispatcher: Driver<Dispatcher>,
    reaper: Driver<Reaper>,
    settler: Driver<Settler>,
    retention: Driver<Retention>,
    backup: Option<Driver<Backup>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("store", &self.store.path())
            .finish_non_exhaustive()
    }
}

/// What is nudged when something changes.
#[derive(Debug, Clone)]
struct Nudges {
    scheduler: Nudge,
    dispatcher: Nudge,
    settler: Nudge,
}

impl Service {
    /// The reconcilers of the incarnation `epoch`.
    ///
    /// # Errors
    /// When a recipient of backups is none.
    pub fn new(
        store: &Store,
        gateway: &Arc<dyn Gateway>,
        epoch: u64,
        options: Options,
    ) -> Result<Self, backup::Error> {
        let backup = match options.backup {
            Some(wanted) => Some(Driver::new(
                Backup::new(store.clone(), wanted)?,
                store.clone(),
                SELDOM,
            )),
            None => None,
        };
        let dispatcher = Dispatcher::new(store.clone(), Arc::clone(gateway), options.caps, epoch);
        let reaper = Reaper::new(store.clone(), Arc::clone(gateway), options.grace);
        Ok(Self {
            scheduler: Driver::new(Scheduler::new(store.clone()), store.clone(), SCHEDULE),
            dispatcher: Driver::new(dispatcher, store.clone(), OFTEN),
            reaper: Driver::new(reaper, store.clone(), OFTEN),
            settler: Driver::new(
                Settler::new(store.clone(), Arc::clone(gateway)),
                store.clone(),
                OFTEN,
            ),
            retention: Driver::new(Retention::new(store.clone(), options.keep), store.clone(), SELDOM),
            backup,
            store: store.clone(),
        })
    }

    /// What asks the dispatcher for a pass: an agent that has attached waits for its tasks.
    pub fn dispatcher(&self) -> Nudge {
        self.dispatcher.nudge()
    }

    /// Runs until `cancel`; passes under way are finished.
    ///
    /// # Errors
    /// When the reconcilers can not be registered in the store.
    pub async fn run(self, cancel: CancellationToken) -> dr_store::Result<()> {
        self.register().await?;
        let nudges = Nudges {
            scheduler: self.scheduler.nudge(),
            dispatcher: self.dispatcher.nudge(),
            settler: self.settler.nudge(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(nudge(self.store.clone(), nudges, cancel.clone()));
        drive(&mut tasks, self.scheduler, &cancel);
        drive(&mut tasks, self.dispatcher, &cancel);
        drive(&mut tasks, self.reaper, &cancel);
        drive(&mut tasks, self.settler, &cancel);
        drive(&mut tasks, self.retention, &cancel);
        if let Some(backup) = self.backup {
            drive(&mut tasks, backup, &cancel);
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                // The watchdog misses its success; the others go on.
                tracing::error!(%error, "a reconciler died");
            }
        }
        Ok(())
    }

    /// From now on each of them is missed if it does not succeed; one that is switched off is not.
    async fn register(&self) -> dr_store::Result<()> {
        let mut names = vec![
            self.scheduler.name(),
            self.dispatcher.name(),
            self.reaper.name(),
            self.settler.name(),
            self.retention.name(),
        ];
        names.extend(self.backup.as_ref().map(Driver::name));
        self.store.reconcilers().register(&names).await
    }
}

fn drive<R: Reconciler + 'static>(tasks: &mut JoinSet<()>, driver: Driver<R>, cancel: &CancellationToken) {
    tasks.spawn(driver.run(cancel.clone()));
}

/// Nudges whom a change concerns. A nudge that comes while a pass runs is one more pass after it.
async fn nudge(store: Store, nudges: Nudges, cancel: CancellationToken) {
    let mut changes = store.changes();
    loop {
        let change = tokio::select! {
            () = cancel.cancelled() => return,
            change = changes.recv() => change,
        };
        match change {
            Ok(Change::Run(_) | Change::Task { .. }) => {
                nudges.settler.nudge();
                nudges.dispatcher.nudge();
            }
            Ok(Change::Plans) => nudges.scheduler.nudge(),
            Ok(Change::Suspensions | Change::Hosts) => nudges.dispatcher.nudge(),
            Ok(Change::Revocations) => {}
            Err(RecvError::Lagged(_)) => {
                nudges.scheduler.nudge();
                nudges.settler.nudge();
                nudges.dispatcher.nudge();
            }
            Err(RecvError::Closed) => return,
        }
    }
}
