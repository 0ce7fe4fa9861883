//! Where tasks come in and results go out: everything that the daemon owes, in one place.
//!
//! # Overview
//! The link hands in what the coordinator says, the offline schedule what is due without it; the executor takes one
//! task after the other and hands in how it ended; the link takes results until they are acknowledged. [`Desk`] is
//! the cheap handle that all of them hold.
//!
//! # Consistency
//! A task is known by its key (task, epoch, attempt). A key that is known is never executed again: it is answered
//! with where it stands, or with its result. A slot of a plan that was done here while no coordinator answered, and
//! that a coordinator hands out afterwards, is answered with the result that there is.
//!
//! # Crash consistency
//! The [`journal`] is written before anything is confirmed. What was taken on and not answered when
//! the process died ends as inconclusive{interrupted} at the next start. Where the journal can not be written, a task
//! is not taken on; a result that can not be written down is sent all the same.

mod book;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dr_proto::model::{
    CancelTask, Labels, PlanText, Progress, Slot, StartTask, Suspension, TaskKey, TaskOutcome, TaskResult,
    TaskUpdate,
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::executor::{Ending, Halt};
use super::journal::{self, Journal};
use book::Book;

/// More tasks than this do not wait here: the coordinator keeps the rest.
pub const MOST_QUEUED: usize = 64;

/// The epoch of tasks that no coordinator handed out: the agent's own, of plans while it was offline.
pub const OFFLINE_EPOCH: u64 = 0;

/// Why the desk can not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal failed.
    #[error("keep the journal")]
    Journal(#[from] journal::Error),
    /// A worker thread ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// What is at work.
#[derive(Debug, Clone)]
struct Working {
    key: TaskKey,
    progress: Progress,
    halt: Halt,
}

/// Everything that the daemon owes. Clones are the same desk.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    working: Mutex<Option<Working>>,
    /// Counts what the link may want to send.
    outgoing: watch::Sender<u64>,
    /// Counts what the executor may want to begin.
    incoming: watch::Sender<u64>,
}

impl Shared {
    fn working(&self) -> MutexGuard<'_, Option<Working>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// A desk over what the journal says. Tasks that were in the middle are answered as interrupted.
    ///
    /// # Errors
    /// When the journal can not be written.
    pub fn open(journal: Journal, now: Timestamp) -> Result<Self, Error> {
        let mut book = Book::new(journal);
        book.interrupt_open(now)?;
        Ok(Self(Arc::new(Shared {
            book: Mutex::new(book),
            working: Mutex::new(None),
            outgoing: watch::Sender::new(0),
            incoming: watch::Sender::new(0),
        })))
    }

    /// Runs `work` on the book, on a thread that may block: it syncs to disk.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Book) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.with_shared(|book, _| work(book)).await
    }

    /// As [`Desk::with`], for what looks at the task at work while nobody else changes the book.
    async fn with_shared<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Book, &Shared) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let mut book = shared.book.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut book, &shared)
        });
        Ok(done.await?)
    }

    fn working(&self) -> Option<Working> {
        self.0.working().clone()
    }

    fn changed_outgoing(&self) {
        self.0.outgoing.send_modify(|count| *count += 1);
    }

    fn changed_incoming(&self) {
        self.0.incoming.send_modify(|count| *count += 1);
    }

    /// Wakes whenever there may be something to send.
    pub fn outgoing(&self) -> watch::Receiver<u64> {
        self.0.outgoing.subscribe()
    }

    /// Wakes whenever there may be something to begin.
    pub fn incoming(&self) -> watch::Receiver<u64> {
        self.0.incoming.subscribe()
    }

    /// Takes a task on, unless its key is known: then it is answered with what is known.
    ///
    /// # Errors
    /// When a worker thread died; a journal that can not be written makes the task inconclusive instead.
    pub async fn start(&self, task: StartTask, now: Timestamp) -> Result<(), Error> {
        self.with(move |book| book.start(task, now)).await?;
        self.changed_incoming();
        self.changed_outgoing();
        Ok(())
    }

    /// Answers a task without taking it on.
    ///
    /// # Errors
    /// As [`Desk::start`].
    pub async fn answer(&self, task: StartTask, outcome: TaskOutcome) -> Result<(), Error> {
        self.with(move |book| book.answer(task, outcome)).await?;
        self.changed_outgoing();
        Ok(())
    }

    /// Stops a task at its next safe point, or takes it off the queue.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn cancel(&self, cancel: CancelTask, now: Timestamp) -> Result<(), Error> {
        self.with_shared(move |book, shared| match &*shared.working() {
            Some(working) if working.key == cancel.key => {
                working.halt.because(Ending::Cancelled(cancel.reason));
            }
            _ => book.cancel(&cancel, now),
        })
        .await?;
        self.changed_outgoing();
        Ok(())
    }

    /// The coordinator has a result.
    ///
    /// # Errors
    /// When the journal can not be written: the result is then sent again after the next start.
    pub async fn acknowledge(&self, key: TaskKey) -> Result<(), Error> {
        Ok(self.with(move |book| book.acknowledge(key)).await??)
    }

    /// The plans that cover this host.
    ///
    /// # Errors
    /// When the journal can not be written; the last plans then stay.
    pub async fn set_plans(&self, plans: Vec<PlanText>) -> Result<(), Error> {
        Ok(self.with(move |book| book.set_plans(plans)).await??)
    }

    /// The labels of this host.
    ///
    /// # Errors
    /// When the journal can not be written.
    pub async fn set_labels(&self, labels: Labels) -> Result<(), Error> {
        Ok(self.with(move |book| book.set_labels(labels)).await??)
    }

    /// What the coordinator says of suspension.
    ///
    /// # Errors
    /// When the journal can not be written.
    pub async fn set_suspension(&self, suspension: Suspension) -> Result<(), Error> {
        Ok(self.with(move |book| book.set_suspension(suspension)).await??)
    }

    /// The coordinator is there.
    ///
    /// # Errors
    /// When the journal can not be written.
    pub async fn contact(&self, at: Timestamp) -> Result<(), Error> {
        Ok(self.with(move |book| book.contact(at)).await??)
    }

    /// Something read from what is remembered.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn recall<T: Send + 'static>(
        &self,
        read: impl FnOnce(&journal::Memory) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.with(move |book| read(book.memory())).await
    }

    /// The next task to begin. From here on it is at work until [`Desk::finish`].
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn next(&self, halt: &Halt) -> Result<Option<journal::Accepted>, Error> {
        let halt = halt.clone();
        let next = self.with_shared(move |book, shared| {
            let next = book.next()?;
            *shared.working() = Some(Working {
                key: next.task.key,
                progress: Progress::default(),
                halt,
            });
            Some(next)
        });
        let next = next.await?;
        self.changed_outgoing();
        Ok(next)
    }

    /// How far the task at work is.
    pub fn progress(&self, key: TaskKey, progress: Progress) {
        let mut working = self.0.working();
        let Some(working) = working.as_mut().filter(|working| working.key == key) else {
            return;
        };
        if working.progress != progress {
            working.progress = progress;
            self.changed_outgoing();
        }
    }

    /// A task ended. When this returns its result survives a crash, unless the journal can not be written; it is
    /// sent in either case.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn finish(&self, task: StartTask, outcome: TaskOutcome) -> Result<(), Error> {
        self.with_shared(move |book, shared| {
            book.answer(task, outcome);
            *shared.working() = None;
        })
        .await?;
        self.changed_outgoing();
        Ok(())
    }

    /// Tasks taken on and not ended, and how far each is.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn tasks(&self) -> Result<Vec<TaskUpdate>, Error> {
        let working = self.working();
        let keys = self.with(|book| book.open_keys()).await?;
        let update = |key: TaskKey| TaskUpdate {
            key,
            progress: match &working {
                Some(working) if working.key == key => working.progress.clone(),
                _ => Progress {
                    phase: "queued".to_owned(),
                    ..Progress::default()
                },
            },
        };
        Ok(keys.into_iter().map(update).collect())
    }

    /// Whether anything is at work.
    pub fn is_working(&self) -> bool {
        self.working().is_some()
    }

    /// Stops what is at work.
    pub fn halt(&self, ending: Ending) {
        if let Some(working) = self.working() {
            working.halt.because(ending);
        }
    }

    /// Keys of results that are to be sent, oldest first: those that are owed, and those that were asked for again.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn owed(&self) -> Result<Vec<TaskKey>, Error> {
        self.with(|book| book.owed()).await
    }

    /// A result as it is sent. `None` if it is no longer owed.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn result(&self, key: TaskKey) -> Result<Option<TaskResult>, Error> {
        self.with(move |book| book.result(key)).await
    }

    /// Results that were acknowledged, oldest first, without their documents.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn history(&self) -> Result<Vec<TaskKey>, Error> {
        self.recall(|memory| memory.history().map(|answer| answer.result.key).collect())
            .await
    }

    /// Whether a slot of a plan was done here, or is being done.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn knows_slot(&self, slot: Slot) -> Result<bool, Error> {
        self.recall(move |memory| memory.knows_slot(&slot)).await
    }
}

#[cfg(test)]
mod tests;
