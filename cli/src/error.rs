//! From any error to what a person reads, what a program reads and how the process ends: one table for all commands.

mod classify;

use dr_proto::model::exit::Code;

pub(crate) use classify::Class;

/// Why a command did not do what it was asked.
pub(crate) type Failure = dr_terminal::Failure<Class>;

/// Answers of a command.
pub(crate) type Outcome = Result<Code, Failure>;

/// Adds what was being done to any result that can become a failure.
pub(crate) trait Doing<T> {
    /// Adds a verb phrase ("read the plan").
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(what()))
    }
}
