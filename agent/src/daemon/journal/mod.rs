//! What the daemon owes and remembers, on disk: tasks taken on, results not acknowledged, the last plans.
//!
//! # Overview
//! [`Journal`] appends a [`Record`] before anybody is told of what it says, and keeps the [`Memory`] that all records
//! amount to. [`Journal::open`] reads it back.
//!
//! # Layout
//! ```text
//! <state_dir>/daemon/
//!   lock         held while the daemon lives
//!   journal      lines that prove themselves; rewritten when most of them say what is past
//!   documents/   documents of results, one file each
//! ```
//! # Crash consistency
//! A task is written down before it is confirmed, and its result before it is sent. So after a crash at any moment:
//! a task that was confirmed is here, with a result or without. Without one it was in the middle, and its result
//! becomes inconclusive{interrupted}: it is never executed a second time under its key. A document is written before
//! the result that names it; one that nobody names is swept. A line torn by the crash was never acted on.
//!
//! # Damage
//! A line that does not prove itself was changed on the disk. What the others say is kept, the file as it was is set
//! aside beside it, and a warning says so: a host whose agent refuses to start would take no snapshots.

mod documents;
mod file;
mod record;

use std::path::{Path, PathBuf};

pub use documents::{DocumentId, LARGEST};
pub use record::{Accepted, Answer, HISTORY, Memory, Record};

use documents::Documents;
use dr_proto::model::TaskResult;
use file::Lines;

/// Points at which a development build can be killed.
pub const FAILPOINTS: &[&str] = &[
    "journal.accepted",
    "journal.document",
    "journal.finished",
    "journal.acknowledged",
    "journal.compacting",
];

/// A journal shorter than this is not worth rewriting.
const SMALL: u64 = 1 << 20;

/// Why the journal can not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of it can not be used.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A record can not be written as JSON.
    #[error("write a record as JSON")]
    Record(#[source] serde_json::Error),
    /// The file was written by a later version.
    #[error(
        "{} has format {version}, which this version does not know: install the newer dr-agent again, or move the \
         file away and lose what the agent remembers",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The file is something else.
    #[error("{} is not a journal of dr-agent: move it away", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A document is not what was kept.
    #[error("the document {} was changed on the disk", path.display())]
    Document {
        /// Its file.
        path: PathBuf,
    },
    /// The state folder can not be used.
    #[error("use the state folder")]
    State(#[from] crate::state::Error),
    /// A worker thread ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

impl Error {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// The journal and what it amounts to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    lines: Lines,
    documents: Documents,
    memory: Memory,
    /// Length after the last rewriting.
    compact: u64,
}

impl Journal {
    /// Opens the journal in `folder`, or begins one.
    ///
    /// # Errors
    /// When the folder can not be used, or the journal is newer than this version.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        crate::state::private_dir(folder)?;
        let path = folder.join("journal");
        let documents = Documents::open(folder.join("documents"))?;
        let (mut lines, found) = Lines::open(&path)?;
        let mut memory = Memory::default();
        found.records.into_iter().for_each(|record| memory.apply(record));
        if found.damaged > 0 {
            let aside = folder.join("journal.damaged");
            std::fs::copy(&path, &aside).map_err(Error::file("copy the damaged journal to", &aside))?;
            tracing::error!(
                path = %path.display(), aside = %aside.display(), lines = found.damaged,
                "lines of the journal were changed on the disk: what the others say is kept; look at the disk"
            );
            lines = Lines::write(&path, &memory.records())?;
        }
        documents.sweep(memory.documents())?;
        let compact = lines.length();
        Ok(Self {
            path,
            lines,
            documents,
            memory,
            compact,
        })
    }

    /// What is remembered.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Writes something down; when this returns it survives a crash.
    ///
    /// # Errors
    /// When it could not be written: nothing is then remembered of it.
    pub fn record(&mut self, record: Record) -> Result<(), Error> {
        self.lines.append(&record)?;
        dr_vault::failpoint::reach(match &record {
            Record::Accepted { .. } => "journal.accepted",
            Record::Finished(_) => "journal.finished",
            Record::Acknowledged { .. } => "journal.acknowledged",
            _ => "journal.other",
        });
        self.memory.apply(record);
        if self.lines.length() > SMALL.max(4 * self.compact)
            && let Err(error) = self.compact()
        {
            // The record itself is written: a long journal is no reason to deny it.
            tracing::warn!(error = %crate::error::in_one_line(&error), "the journal can not be rewritten and grows");
        }
        Ok(())
    }

    /// Writes down a result with its document.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn finish(&mut self, mut result: TaskResult) -> Result<(), Error> {
        let bytes = std::mem::take(&mut result.outcome.document);
        let document = (!bytes.is_empty())
            .then(|| self.documents.put(&bytes))
            .transpose()?;
        dr_vault::failpoint::reach("journal.document");
        self.record(Record::Finished(Box::new(Answer { result, document })))
    }

    /// A result with its document, as it is sent.
    ///
    /// # Errors
    /// When the document can not be read.
    pub fn complete(&self, answer: &Answer) -> Result<TaskResult, Error> {
        let mut result = answer.result.clone();
        if let Some(document) = &answer.document {
            result.outcome.document = self.documents.get(document)?;
        }
        Ok(result)
    }

    fn compact(&mut self) -> Result<(), Error> {
        self.lines = Lines::write(&self.path, &self.memory.records())?;
        self.compact = self.lines.length();
        self.documents.sweep(self.memory.documents())
    }
}

#[cfg(test)]
mod tests;
