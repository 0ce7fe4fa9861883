//! What went wrong while data was asked, sorted by what it means.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a fault means for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The tree answered that it cannot give the true bytes of a file: a hash did not match.
    Damaged,
    /// A file that the data needs is not in the tree.
    Missing,
    /// The bytes came, and Lance could not make sense of them (a panic of a decoder is one of these).
    Undecodable,
    /// The data contradicts itself: an index and a scan answer differently, a count does not add up.
    Contradiction,
    /// The data could not be asked: the store or the agent was away.
    Unavailable,
    /// The data was written by a newer LanceDB than the one in this probe.
    TooNew,
    /// A limit of memory, time or descriptors was reached.
    Limit,
}

impl FaultKind {
    /// Whether this disproves the data; otherwise the question could not be asked.
    pub fn disproves(self) -> bool {
        match self {
            Self::Damaged | Self::Missing | Self::Undecodable | Self::Contradiction => true,
            Self::Unavailable | Self::TooNew | Self::Limit => false,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Undecodable => "undecodable",
            Self::Contradiction => "contradiction",
            Self::Unavailable => "unavailable",
            Self::TooNew => "too new",
            Self::Limit => "limit reached",
        })
    }
}

/// What the probe was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Connecting to the database and listing its tables.
    Connect,
    /// Opening a table and reading its figures.
    Open,
    /// Lance's own `validate()`.
    Validate,
    /// Reading every file of an index into memory.
    Prewarm,
    /// The full scan.
    Scan,
    /// A golden query.
    Query,
    /// Appending, optimising and cleaning up in a scratch copy.
    WriteTest,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Open => "open",
            Self::Validate => "validate",
            Self::Prewarm => "prewarm",
            Self::Scan => "scan",
            Self::Query => "query",
            Self::WriteTest => "write test",
        })
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it means.
    pub kind: FaultKind,
    /// What the probe was doing.
    pub step: Step,
    /// The index, query or column concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The file concerned, by its path in the tree, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What Lance or the tree said, shortened.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.kind)?;
        if let Some(subject) = &self.subject {
            write!(f, " ({subject})")?;
        }
        if let Some(file) = &self.file {
            write!(f, " in {file}")?;
        }
        write!(f, ": {}", self.message)
    }
}
