//! What the agent wants to know.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::measure::FragmentDigest;
use crate::query::Query;

/// One job for one probe process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// [`crate::PROTOCOL`] of the agent.
    pub protocol: u32,
    /// Where the database is.
    pub location: Location,
    /// Folders of the tables to ask, relative to the database; unset: all that are found.
    #[serde(default)]
    pub tables: Option<Vec<String>>,
    /// Call `validate()`.
    #[serde(default)]
    pub validate: bool,
    /// Read every file of every index into memory.
    #[serde(default)]
    pub prewarm: bool,
    /// Scan everything and compute digests.
    #[serde(default)]
    pub content: Option<ContentJob>,
    /// Ask golden queries.
    #[serde(default)]
    pub queries: Option<Queries>,
    /// Append, optimise and clean up; refused unless the location is a directory.
    #[serde(default)]
    pub write_test: bool,
    /// What the probe may use.
    #[serde(default)]
    pub limits: Limits,
}

impl Job {
    /// A job that opens every table and nothing more.
    pub fn open(location: Location) -> Self {
        Self {
            protocol: crate::PROTOCOL,
            location,
            tables: None,
            validate: false,
            prewarm: false,
            content: None,
            queries: None,
            write_test: false,
            limits: Limits::default(),
        }
    }
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// Behind the socket; nothing else can be reached, so what can be read is complete.
    Tree {
        /// The absolute path that the database had when it was cut: branches and clones name their files by it.
        origin: Option<String>,
    },
    /// A folder of this host, opened by stock LanceDB as an application would.
    Directory {
        /// The folder.
        path: PathBuf,
    },
}

/// How to scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentJob {
    /// Key of the row hashes. The same for every measurement that shall be compared; it opens nothing.
    pub key: RowKey,
    /// Digests of fragments that need not be read again. Empty: everything is read.
    #[serde(default)]
    pub known: Vec<KnownTable>,
    /// Measure also what fragments hold whose rows were deleted in part, deleted rows included: so that a later job
    /// subtracts the rows that are deleted by then instead of reading the fragment again.
    #[serde(default)]
    pub undeleted: bool,
}

/// Digests of fragments of one table, from an earlier measurement with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTable {
    /// The table's folder.
    pub path: String,
    /// What is known.
    pub fragments: Vec<FragmentDigest>,
}

/// A key of row hashes: derived by the agent, so that sums say nothing to someone without the repository's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RowKey(pub [u8; 32]);

impl Serialize for RowKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for RowKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut key = [0; 32];
        hex::decode_to_slice(String::deserialize(from)?, &mut key).map_err(serde::de::Error::custom)?;
        Ok(Self(key))
    }
}

impl std::fmt::Debug for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowKey(\"...\")")
    }
}

/// Which golden queries to ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queries {
    /// Choose them from the data, the same for the same data and seed.
    Choose {
        /// Seed of the choice.
        seed: u64,
        /// How many per column.
        count: u32,
        /// How many rows each asks for.
        k: u32,
    },
    /// Ask what was asked at the cut.
    Replay(Vec<TableQueries>),
}

/// The queries of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableQueries {
    /// The table's folder.
    pub path: String,
    /// What to ask.
    pub queries: Vec<Query>,
}

/// What a probe may use. It sets these for itself; the agent watches over time on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Resident memory in bytes.
    pub memory: u64,
    /// CPU seconds.
    pub cpu_seconds: u64,
    /// Threads that decode.
    pub threads: u32,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            cpu_seconds: 3600,
            threads: 2,
            descriptors: 1024,
        }
    }
}
