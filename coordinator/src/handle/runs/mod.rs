//! Runs: starting, looking, watching, cancelling, trying again, and what their tasks measured.

mod adhoc;
mod watch;

use std::sync::Arc;

use dr_proto::model::{HostName, Progress, RunId, TaskId};
use dr_store::events::EventRecord;
use dr_store::notes::{NewNote, NoteRecord};
use dr_store::runs::{RunFilter, RunRecord};
use dr_store::tasks::TaskRecord;
use dr_store::{SharedClock, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::adhoc::{AdHoc, Hosts, Request};
pub use self::watch::{Event, Watch};
use super::Error;
use crate::gateway::Live;
use crate::reconcile::{self, scheduler::Ask};

/// Runs that a page holds if the call does not say.
const USUAL_PAGE: u32 = 50;
/// Runs that a page holds at the most.
const LONGEST_PAGE: u32 = 1_000;
/// Watches at a time: each looks at the store when something changed.
const MOST_WATCHES: usize = 256;
/// The longest note, in bytes.
const LONGEST_NOTE: usize = 4_000;
/// The longest request id.
const LONGEST_ID: usize = 200;

/// Starts and follows runs.
#[derive(Debug, Clone)]
pub struct Runs {
    store: Store,
    clock: SharedClock,
    live: Live,
    watches: Arc<Semaphore>,
    ending: CancellationToken,
}

/// A task, with what only its stream tells.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// What the store has.
    pub record: TaskRecord,
    /// How far it is, if it is at work.
    pub progress: Option<Progress>,
}

/// What a task measured.
#[derive(Debug, Clone)]
pub struct ReportView {
    /// The task.
    pub task: TaskId,
    /// The host that was rehearsed or protected.
    pub host: HostName,
    /// `snapshot`, `drill`, `restore` or `check`.
    pub kind: String,
    /// JSON, as the agent wrote it.
    pub document: Vec<u8>,
}

/// A run with all that is known of it.
#[derive(Debug, Clone)]
pub struct Detail {
    /// The run.
    pub run: RunRecord,
    /// Its tasks.
    pub tasks: Vec<TaskView>,
    /// The steps that these took, oldest first.
    pub events: Vec<EventRecord>,
    /// What operators wrote beside it, oldest first.
    pub notes: Vec<NoteRecord>,
}

/// Which runs a page holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this plan.
    pub plan: Option<String>,
    /// With a task of, or on, this host.
    pub host: Option<HostName>,
    /// That have not ended.
    pub active_only: bool,
    /// How many; 0: as many as usual.
    pub limit: u32,
    /// Older than this run.
    pub before: Option<RunId>,
}

impl Runs {
    /// A handle on the runs in `store`. Watches end when `ending` is cancelled.
    pub fn new(store: Store, clock: SharedClock, live: Live, ending: CancellationToken) -> Self {
        let watches = Arc::new(Semaphore::new(MOST_WATCHES));
        Self {
            store,
            clock,
            live,
            watches,
            ending,
        }
    }

    /// Starts the work on the hosts; the same request id starts it once.
    pub async fn start(&self, adhoc: &AdHoc, request: &Request) -> Result<RunRecord, Error> {
        check_id(&request.id)?;
        let hosts = self.store.hosts().list().await?;
        let run = adhoc::plan(adhoc, request, &hosts, self.clock.now())?;
        Ok(self.store.runs().create(&run).await?.into_run())
    }

    /// Starts a plan now, as one more slot; the same request id starts it once.
    pub async fn start_plan(&self, plan: &str, request: &Request) -> Result<RunRecord, Error> {
        check_id(&request.id)?;
        let ask = Ask {
            request_id: &request.id,
            by: &request.by,
            traceparent: request.traceparent.as_deref(),
        };
        Ok(reconcile::start_plan(&self.store, plan, ask).await?)
    }

    /// Runs, newest first, and the id to go on from if there may be more.
    pub async fn list(&self, filter: &Filter) -> Result<(Vec<RunRecord>, Option<RunId>), Error> {
        let limit = if filter.limit == 0 {
            USUAL_PAGE
        } else {
            filter.limit.min(LONGEST_PAGE)
        };
        let runs = self
            .store
            .runs()
            .list(&RunFilter {
                plan: filter.plan.as_deref(),
                host: filter.host.as_ref(),
                active_only: filter.active_only,
                before: filter.before,
                limit,
            })
            .await?;
        let full = u32::try_from(runs.len()).unwrap_or(u32::MAX) >= limit;
        let next = runs.last().map(|run| run.id).filter(|_| full);
        Ok((runs, next))
    }

    /// A run by its id or the start of it, or by one of its tasks, with all that is known of it.
    pub async fn get(&self, id: &str) -> Result<Detail, Error> {
        let (run, _) = self.named(id).await?;
        let run = self.store.runs().find(&run.to_string()).await?;
        let tasks = self.store.tasks().of_run(run.id).await?;
        Ok(Detail {
            events: self.store.events().of_run(run.id).await?,
            notes: self.store.notes().of_run(run.id).await?,
            tasks: tasks.into_iter().map(|record| view(&self.live, record)).collect(),
            run,
        })
    }

    /// The run that an id names, and the task if it is that of one.
    async fn named(&self, id: &str) -> Result<(RunId, Option<TaskId>), Error> {
        let task = match id.parse::<TaskId>() {
            Ok(task) => self.store.tasks().get(task).await?,
            Err(_) => None,
        };
        match task {
            Some(task) => Ok((task.run, Some(task.id))),
            None => Ok((self.store.runs().find(id).await?.id, None)),
        }
    }

    /// Puts a note beside a run, or beside the task that the id names.
    pub async fn note(&self, id: &str, text: &str, request_id: &str, by: &str) -> Result<NoteRecord, Error> {
        let text = text.trim();
        check_id(request_id)?;
        check_note(text)?;
        let (run, task) = self.named(id).await?;
        let note = NewNote {
            run,
            task,
            text,
            by,
            request_id,
        };
        Ok(self.store.notes().add(&note).await?)
    }

    /// The run as it stands, then every change until it ends.
    pub async fn watch(&self, id: &str) -> Result<Watch, Error> {
        let place = self
            .watches
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::Busy { what: "watches" })?;
        // Before the first look, so that no change falls between the two.
        let changes = self.store.changes();
        let run = self.store.runs().find(id).await?.id;
        Ok(Watch::new(
            self.store.clone(),
            self.live.clone(),
            run,
            changes,
            self.ending.clone(),
            place,
        ))
    }

    /// Cancels a run; one that has ended stays as it is.
    pub async fn cancel(&self, id: &str, reason: &str, by: &str) -> Result<RunRecord, Error> {
        let run = self.store.runs().find(id).await?.id;
        let reason = if reason.trim().is_empty() {
            "no reason was given"
        } else {
            reason
        };
        Ok(self.store.runs().cancel(run, reason, by).await?)
    }

    /// Asks again for what did not pass.
    pub async fn retry(&self, id: &str, by: &str) -> Result<RunRecord, Error> {
        let run = self.store.runs().find(id).await?.id;
        Ok(self.store.runs().retry(run, by).await?)
    }

    /// What a task measured; by the task's id, or that of a run with one task.
    pub async fn report(&self, id: &str) -> Result<ReportView, Error> {
        let task = self.task(id).await?;
        let document = self
            .store
            .results()
            .document(task.id)
            .await?
            .ok_or_else(|| Error::NoReport {
                task: task.id.to_string(),
                reason: format!("it is {}: {}", task.state, task.explanation),
            })?;
        Ok(ReportView {
            task: task.id,
            host: task.host,
            kind: document.kind,
            document: document.document,
        })
    }

    async fn task(&self, id: &str) -> Result<TaskRecord, Error> {
        if let Ok(task) = id.parse::<TaskId>()
            && let Some(task) = self.store.tasks().get(task).await?
        {
            return Ok(task);
        }
        let run = self.store.runs().find(id).await?;
        let mut tasks = self.store.tasks().of_run(run.id).await?;
        match (tasks.pop(), tasks.len()) {
            (Some(only), 0) => Ok(only),
            (last, rest) => Err(Error::SeveralTasks {
                run: run.id.to_string(),
                tasks: rest + usize::from(last.is_some()),
            }),
        }
    }
}

/// A task and its progress; one that is not at work has none.
fn view(live: &Live, record: TaskRecord) -> TaskView {
    let at_work = !record.state.is_final();
    let progress = at_work.then(|| live.progress(&record.agent, record.id)).flatten();
    TaskView { record, progress }
}

/// A note is a remark that terminals and pages show: short, and nothing that moves a cursor.
fn check_note(text: &str) -> Result<(), Error> {
    let reason = if text.is_empty() {
        "it says nothing".to_owned()
    } else if text.len() > LONGEST_NOTE {
        format!("it has {} bytes, at most {LONGEST_NOTE} are taken", text.len())
    } else if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\n') {
        format!("{control:?} is in it: of control characters only line feeds are taken")
    } else {
        return Ok(());
    };
    Err(Error::Invalid {
        field: "text",
        reason,
    })
}

fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > LONGEST_ID {
        return Err(Error::Invalid {
            field: "request_id",
            reason: format!(
                "an id of 1 to {LONGEST_ID} bytes is expected: it keeps a repeated request from starting twice"
            ),
        });
    }
    Ok(())
}
