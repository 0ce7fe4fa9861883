//! Why a task ends before it is done, and the token that ends it.

use std::sync::{Arc, OnceLock};

use crate::stop::{Reason, Stop};

/// Why a task ends before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Somebody cancelled it, for this reason.
    Cancelled(String),
    /// Its time is over.
    Deadline,
    /// Nothing may be at work on this host, for this reason.
    Suspended(String),
    /// The host's own hook says that it is too busy.
    HostBusy,
    /// The daemon ends.
    Shutdown,
}

/// Ends one task. Clones end the same one.
#[derive(Debug, Clone, Default)]
pub struct Halt {
    ending: Arc<OnceLock<Ending>>,
    stop: Stop,
}

impl Halt {
    /// Asks the work to stop; the first reason stays.
    pub fn because(&self, ending: Ending) {
        // A later reason changes nothing: the work stops already.
        let _later = self.ending.set(ending);
        self.stop.token().cancel();
    }

    /// Why it was asked to stop, if it was.
    pub fn ending(&self) -> Option<Ending> {
        // The work's own watches may have been first.
        self.ending.get().cloned().or_else(|| match self.stop.reason()? {
            Reason::Suspended => Some(Ending::Suspended("the suspend file appeared".to_owned())),
            Reason::HostBusy => Some(Ending::HostBusy),
            Reason::Interrupted | Reason::Terminated => Some(Ending::Shutdown),
        })
    }

    /// Waits until the work was asked to stop.
    pub async fn halted(&self) {
        self.stop.token().cancelled().await;
    }

    /// What the work itself watches.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}
