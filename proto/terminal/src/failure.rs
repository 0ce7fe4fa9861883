//! Why a command did not do what it was asked: what a person reads, what a program reads, how the process ends.
//!
//! ## Overview
//! A binary has one [`Classify`]: its kinds of failures, each with a stable name and an exit code, and which error
//! is of which kind. Commands use `?` on whatever error their callee has; it becomes a [`Failure`]. The chain of
//! sources is walked from the outside in, and the first error that is known decides.

use std::error::Error as StdError;
use std::fmt;

use dr_proto::causes::causes;
use dr_proto::model::exit::Code;
use serde::Serialize;

use crate::{Tone, Ui};

/// The kinds of failures of one binary.
pub trait Classify: fmt::Debug + Copy + Sized + 'static {
    /// Which kind this error is, by the error itself: its sources are asked after it. `None` if it is not known.
    fn known(error: &(dyn StdError + 'static)) -> Option<(Self, Vec<String>)>;
    /// What nothing knows: a mistake of ours.
    fn unknown() -> Self;
    /// The stable name: scripts and alerts go by it.
    fn name(self) -> &'static str;
    /// How the process ends.
    fn code(self) -> Code;
}

/// Why a command did not do what it was asked.
pub struct Failure<C> {
    class: C,
    context: Vec<String>,
    error: Box<dyn StdError + Send + Sync>,
    causes: Vec<String>,
    hints: Vec<String>,
}

impl<C: Classify, E: StdError + Send + Sync + 'static> From<E> for Failure<C> {
    fn from(error: E) -> Self {
        let (class, hints) = classify(&error);
        Self {
            class,
            context: Vec::new(),
            error: Box::new(error),
            causes: Vec::new(),
            hints,
        }
    }
}

/// The kind of an error by the first of its chain that is known, with what to do.
fn classify<C: Classify>(error: &(dyn StdError + 'static)) -> (C, Vec<String>) {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(known) = C::known(error) {
            return known;
        }
        next = error.source();
    }
    (C::unknown(), Vec::new())
}

/// A failure that a command states in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stated(String);

impl<C: Classify> Failure<C> {
    /// States a failure.
    pub fn new(class: C, message: impl Into<String>) -> Self {
        Self {
            class,
            context: Vec::new(),
            error: Box::new(Stated(message.into())),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds one of several reasons, each to be read by itself.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds what was being done, as a verb phrase ("open the repository").
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.context.push(doing.into());
        self
    }

    /// What kind of failure this is.
    pub fn class(&self) -> C {
        self.class
    }

    /// What to do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The message, then its causes, outermost first; neighbours that repeat each other only once.
    pub fn chain(&self) -> Vec<String> {
        let mut chain: Vec<String> = self.context.iter().rev().cloned().collect();
        for text in causes(self.error.as_ref()) {
            if chain.last() != Some(&text) {
                chain.push(text);
            }
        }
        chain.extend(self.causes.iter().cloned());
        chain
    }

    /// As it is said, for a process that ends with `code`.
    pub fn said(&self, code: Code) -> Said {
        let mut chain = self.chain().into_iter();
        Said {
            code: self.class.name(),
            exit: code.number(),
            message: chain.next().unwrap_or_else(|| "failed".to_owned()),
            causes: chain.collect(),
            hints: self.hints.clone(),
            retry_safe: code.retry_is_safe(),
            trace_id: None,
        }
    }
}

/// The message and its causes on one line.
impl<C: Classify> fmt::Display for Failure<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}

impl<C: Classify> fmt::Debug for Failure<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.chain().join(": "))
    }
}

/// A failure as it is said; as JSON, `code` is stable over versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The stable name of the kind of failure.
    pub code: &'static str,
    /// How the process ends.
    pub exit: u8,
    /// What went wrong.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// Whether the same command may simply be given again.
    pub retry_safe: bool,
    /// The trace that the command belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'a Said,
}

impl Said {
    /// Says it: on stderr, as text or as one JSON document.
    pub fn say(&self, ui: &Ui) {
        if ui.is_json() {
            let text = serde_json::to_string_pretty(&Document { error: self });
            ui.complain(&text.unwrap_or_else(|_| self.message.clone()));
            return;
        }
        ui.complain(&format!(
            "{} {}",
            ui.paint_talk(Tone::Bad, "Error:"),
            self.message
        ));
        match self.causes.as_slice() {
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
            ui.complain(&format!("{} {hint}", ui.paint_talk(Tone::Strong, "Hint:")));
        }
    }
}
