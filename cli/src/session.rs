//! What a command has at hand: the terminal, the clock, signals, and the way to the coordinator.

use std::path::PathBuf;
use std::time::Duration;

use dr_terminal::Ui;
use jiff::Timestamp;
use serde::Serialize;

use crate::contexts::{self, Contexts, Resolved, Wanted};
use crate::coordinator::Coordinator;
use crate::error::{Class, Failure};
use crate::interrupt::Interrupt;

/// What a command has at hand.
#[derive(Debug)]
pub(crate) struct Session {
    /// The terminal.
    pub(crate) ui: Ui,
    /// Tells the time.
    pub(crate) now: fn() -> Timestamp,
    /// Ends the command.
    pub(crate) interrupt: Interrupt,
    /// What flags and variables say of the coordinator.
    pub(crate) wanted: Wanted,
    /// How long one call may take.
    pub(crate) timeout: Duration,
    /// The trace that the command is the root of, or continues.
    pub(crate) trace_id: Option<String>,
}

/// A result as programs read it.
#[derive(Serialize)]
struct Answer<'a, T> {
    #[serde(flatten)]
    result: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

impl Session {
    /// Where the file with contexts lies.
    pub(crate) fn config(&self) -> Result<PathBuf, contexts::Error> {
        contexts::locate(&self.wanted, |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })
    }

    /// Which coordinator, and with which certificate.
    pub(crate) fn resolve(&self) -> Result<Resolved, contexts::Error> {
        let path = self.config()?;
        contexts::resolve(&self.wanted, &Contexts::load(&path)?, &path)
    }

    /// Dials the coordinator.
    pub(crate) async fn coordinator(&self) -> Result<Coordinator, Failure> {
        let resolved = self.resolve()?;
        self.until_interrupted(Coordinator::connect(&resolved, self.timeout))
            .await
    }

    /// Prints a result for programs, with the command's trace.
    pub(crate) fn answer<T: Serialize>(&self, result: &T) -> std::io::Result<()> {
        self.ui.json(&Answer {
            result,
            trace_id: self.trace_id.as_deref(),
        })
    }

    /// Lets a signal end what may be ended at any time.
    pub(crate) async fn until_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = self.interrupt.wait() => Err(Failure::new(Class::Interrupted, "interrupted")),
        }
    }
}
