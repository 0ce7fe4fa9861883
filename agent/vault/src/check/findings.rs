//! What a check found: which object is wrong, how, and which files of which snapshots suffer.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::storage::Key;
use crate::{ChunkId, SnapshotId, layout};

/// Most files that one finding lists.
pub const MAX_AFFECTED: usize = 100;
/// Most findings that a report lists.
pub const MAX_FINDINGS: usize = 10_000;
/// Most files that a description names.
const MAX_DESCRIBED: usize = 8;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is lost: leftovers of an interrupted backup.
    Note,
    /// Nothing is lost, and somebody should look: names that are none of ours.
    Warning,
    /// Could not be asked for: says nothing about the data.
    Unavailable,
    /// The repository is disproved: something is damaged or gone.
    Damage,
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Its bytes are not what was written.
    Damaged,
    /// It should be there and is not.
    Missing,
    /// It has another size than it was written with.
    WrongSize,
    /// It is sound and contradicts others.
    Inconsistent,
    /// No index names this pack.
    NotIndexed,
    /// Its name is none of this format.
    Strange,
    /// An older state of the repository was put back.
    RolledBack,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The object.
    pub object: Key,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of thing is wrong.
    pub problem: Problem,
    /// What was found and what was expected.
    pub what: String,
    /// What suffers; the first [`MAX_AFFECTED`].
    pub affected: Vec<Affected>,
    /// How many there are.
    pub affected_count: u64,
}

impl Finding {
    /// Whether `source` suffers; what names no sufferers concerns all.
    pub fn hits(&self, source: &str) -> bool {
        let concerns = |affected: &Affected| affected.source.as_deref().is_none_or(|name| name == source);
        self.affected.is_empty()
            || self.affected.iter().any(concerns)
            || self.affected_count > MAX_AFFECTED as u64
    }

    /// What is wrong, with the files and chunks of `source` that suffer: one line, bounded.
    pub fn describe(&self, source: &str) -> String {
        let of_source = self
            .affected
            .iter()
            .filter(|affected| affected.source.as_deref() == Some(source));
        let mut names: Vec<String> = of_source.map(Affected::describe).collect();
        names.dedup();
        let hidden = names.len().saturating_sub(MAX_DESCRIBED);
        names.truncate(MAX_DESCRIBED);
        let mut text = self.what.clone();
        if !names.is_empty() {
            text.push_str("; it hits ");
            text.push_str(&names.join(", "));
        }
        if hidden > 0 {
            text.push_str(&format!(" and {hidden} more"));
        }
        text
    }
}

/// A piece of a snapshot that can not be restored as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The source; absent if the whole snapshot suffers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The file; absent if the whole source suffers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<ChunkId>,
    /// Where in the file the chunk begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl Affected {
    fn describe(&self) -> String {
        let place = self.path.clone().unwrap_or_else(|| "the file list".to_owned());
        match &self.chunk {
            Some(chunk) => format!("{place} (chunk {})", chunk.short()),
            None => place,
        }
    }
}

/// Gathers findings: one for each object and problem.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    by_object: HashMap<(Key, Problem), usize>,
    not_listed: u64,
}

impl Findings {
    /// Notes a problem; what is already known of the same object stays.
    pub(super) fn note(&mut self, object: &Key, problem: Problem, what: impl Into<String>) {
        let severity = match problem {
            Problem::NotIndexed => Severity::Note,
            Problem::Strange => Severity::Warning,
            _ => Severity::Damage,
        };
        self.entry(object, severity, problem, what);
    }

    /// Notes what an error of the repository says of an object, if it disproves one; else gives the error back.
    pub(super) fn note_error(&mut self, error: crate::Error, fallback: &Key) -> Result<(), crate::Error> {
        let problem = match &error {
            crate::Error::Missing { .. } => Problem::Missing,
            crate::Error::ForeignRepository { .. } | crate::Error::Damaged { .. } => Problem::Damaged,
            other if other.is_damage() => Problem::Damaged,
            _ => return Err(error),
        };
        let object = error.object().unwrap_or(fallback).clone();
        self.note(&object, problem, error.to_string());
        Ok(())
    }

    /// Notes that something suffers from a problem of an object.
    pub(super) fn affect(&mut self, object: &Key, problem: Problem, what: &str, affected: Affected) {
        let Some(finding) = self.entry(object, Severity::Damage, problem, what) else {
            return;
        };
        finding.severity = Severity::Damage;
        finding.affected_count += 1;
        if finding.affected.len() < MAX_AFFECTED {
            finding.affected.push(affected);
        }
    }

    /// Notes that index objects which are gone are not missed, unless a chunk is that no other names. For when every
    /// list has been walked.
    pub(super) fn relieve_indexes(&mut self) {
        let unnamed = |finding: &Finding| {
            finding.problem == Problem::NotIndexed && finding.severity == Severity::Damage
        };
        if self.list.iter().any(unnamed) {
            return;
        }
        let gone = |finding: &&mut Finding| {
            finding.problem == Problem::Missing && finding.object.as_str().starts_with(layout::INDEX)
        };
        for finding in self.list.iter_mut().filter(gone) {
            finding.severity = Severity::Warning;
            finding.what.push_str("; others name what it named");
        }
    }

    /// Notes that nothing suffers from a problem of an object, unless something does.
    pub(super) fn relieve(&mut self, object: &Key, problem: Problem) {
        let found = self.by_object.get(&(object.clone(), problem)).copied();
        let Some(finding) = found.and_then(|at| self.list.get_mut(at)) else {
            return;
        };
        if finding.affected_count == 0 {
            finding.severity = Severity::Warning;
            finding.what.push_str("; no snapshot needs it");
        }
    }

    fn entry(
        &mut self,
        object: &Key,
        severity: Severity,
        problem: Problem,
        what: impl Into<String>,
    ) -> Option<&mut Finding> {
        let key = (object.clone(), problem);
        if !self.by_object.contains_key(&key) {
            if self.list.len() >= MAX_FINDINGS {
                self.not_listed += 1;
                return None;
            }
            self.by_object.insert(key.clone(), self.list.len());
            let (object, what) = (object.clone(), what.into());
            self.list.push(Finding {
                object,
                severity,
                problem,
                what,
                affected: Vec::new(),
                affected_count: 0,
            });
        }
        self.by_object.get(&key).and_then(|at| self.list.get_mut(*at))
    }

    /// The worst first.
    pub(super) fn finish(mut self) -> (Vec<Finding>, u64) {
        self.list
            .sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.object.cmp(&b.object)));
        (self.list, self.not_listed)
    }
}
