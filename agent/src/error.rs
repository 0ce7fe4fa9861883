//! From any error to what a person reads, what a program reads and how the process ends: one place for all commands.
//!
//! ## Overview
//! Commands use `?` on whatever error their callee has; it becomes a [`Failure`]. The chain of sources is walked
//! from the outside in, and the first error that `classify` knows decides the exit code, the stable name and the
//! hint. What nothing knows is ours: 70.

mod classify;
mod engine;

pub use dr_terminal::in_one_line;

pub use self::classify::Class;
use crate::exit::Code;
use crate::stop::{Reason, Stop};
use crate::ui::Ui;

/// Why a command did not do what it was asked.
pub type Failure = dr_terminal::Failure<Class>;

/// Answers of a command.
pub type Outcome = Result<Code, Failure>;

/// How the process ends after a failure: a cancelled command ends with the signal's code.
pub fn code(failure: &Failure, stop: &Stop) -> Code {
    match (failure.class(), stop.reason()) {
        (Class::Cancelled, Some(reason)) => reason.code(),
        (class, _) => class.code(),
    }
}

/// Says it: on stderr, as text or as one JSON document.
pub fn report(failure: &Failure, ui: &Ui, stop: &Stop) {
    let mut said = failure.said(code(failure, stop));
    said.code = told(failure.class(), stop).name();
    said.say(ui);
}

/// The class as it is told: what a busy host stopped is not simply cancelled.
fn told(class: Class, stop: &Stop) -> Class {
    match (class, stop.reason()) {
        (Class::Cancelled, Some(Reason::HostBusy)) => Class::HostBusy,
        (class, _) => class,
    }
}

/// Adds what was being done to any result that can become a failure.
pub trait Doing<T> {
    /// Adds a verb phrase ("open the repository").
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(what()))
    }
}
