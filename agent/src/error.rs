//! From any error to what a person reads, what a program reads and how the process ends: one place for all commands.
//!
//! ## Overview
//! Commands use `?` on whatever error their callee has; it becomes a [`Failure`]. The chain of sources is walked
//! from the outside in, and the first error that `classify` knows decides the exit code, the stable name and the
//! hint. What nothing knows is ours: 70.

mod classify;
mod engine;

use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;

pub use self::classify::Class;
use crate::exit::Code;
use crate::stop::{Reason, Stop};
use crate::ui::{Tone, Ui};

/// Why a command did not do what it was asked.
pub struct Failure {
    class: Class,
    context: Vec<String>,
    error: Box<dyn StdError + Send + Sync>,
    hints: Vec<String>,
}

/// Answers of a command.
pub type Outcome = Result<Code, Failure>;

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let (class, hints) = classify::classify(&error);
        Self {
            class,
            context: Vec::new(),
            error: Box::new(error),
            hints,
        }
    }
}

/// A failure that a command states in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stated(String);

impl Failure {
    /// States a failure.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            context: Vec::new(),
            error: Box::new(Stated(message.into())),
            hints: Vec::new(),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what was being done, as a verb phrase ("open the repository").
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.context.push(doing.into());
        self
    }

    /// What kind of failure this is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What to do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The class as it is told: what a busy host stopped is not simply cancelled.
    fn told(&self, stop: &Stop) -> Class {
        match (self.class, stop.reason()) {
            (Class::Cancelled, Some(Reason::HostBusy)) => Class::HostBusy,
            (class, _) => class,
        }
    }

    /// How the process ends: a cancelled command ends with the signal's code.
    pub fn code(&self, stop: &Stop) -> Code {
        match (self.class, stop.reason()) {
            (Class::Cancelled, Some(reason)) => reason.code(),
            (class, _) => class.code(),
        }
    }

    /// The message, then its causes, outermost first; neighbours that repeat each other only once.
    fn chain(&self) -> Vec<String> {
        let mut chain: Vec<String> = self.context.iter().rev().cloned().collect();
        let mut next: Option<&(dyn StdError + 'static)> = Some(self.error.as_ref());
        while let Some(error) = next {
            let text = error.to_string();
            if chain.last() != Some(&text) {
                chain.push(text);
            }
            next = error.source();
        }
        chain
    }

    /// Says it: on stderr, as text or as one JSON document.
    pub fn report(&self, ui: &Ui, stop: &Stop) {
        let code = self.code(stop);
        let chain = self.chain();
        let (message, causes) = match chain.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("failed", &[][..]),
        };
        if ui.is_json() {
            let said = Said {
                code: self.told(stop).name(),
                exit: code.number(),
                message,
                causes,
                hints: &self.hints,
                retry_safe: code.retry_is_safe(),
            };
            let text = serde_json::to_string_pretty(&Document { error: said });
            ui.complain(&text.unwrap_or_else(|_| message.to_owned()));
            return;
        }
        ui.complain(&format!("{} {message}", ui.paint(Tone::Bad, "Error:")));
        match causes {
            [] => {}
            [cause] => ui.complain(&format!("Caused by: {cause}")),
            causes => {
                ui.complain("Caused by:");
                for (number, cause) in causes.iter().enumerate() {
                    ui.complain(&format!("  {}: {cause}", number + 1));
                }
            }
        }
        for hint in &self.hints {
            ui.complain(&format!("{} {hint}", ui.paint(Tone::Strong, "Hint:")));
        }
    }
}

/// The message and its causes on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.chain().join(": "))
    }
}

/// An error with all its causes, in one line: for findings, which have no room for more.
pub fn in_one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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

#[derive(Serialize)]
struct Document<'a> {
    error: Said<'a>,
}

/// The error as programs read it; `code` is stable over versions.
#[derive(Serialize)]
struct Said<'a> {
    code: &'static str,
    exit: u8,
    message: &'a str,
    causes: &'a [String],
    hints: &'a [String],
    retry_safe: bool,
}
