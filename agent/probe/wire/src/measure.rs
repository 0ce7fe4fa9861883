//! What a probe measured of one table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::query::Golden;
use crate::sum::Sum;

/// The content of a set of rows, whatever their order, fragments or files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest {
    /// How many rows.
    pub rows: u64,
    /// The sum of keyed BLAKE3(row) modulo 2^256.
    pub sum: Sum,
    /// The same per top-level column, to say which one differs.
    pub columns: BTreeMap<String, Sum>,
}

impl Digest {
    /// Adds the digest of other rows of the same table.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum.add(other.sum);
        for (column, sum) in &other.columns {
            self.columns.entry(column.clone()).or_default().add(*sum);
        }
    }

    /// What is left without some of its rows; `None` if they can not be some of its rows.
    pub fn without(&self, part: &Self) -> Option<Self> {
        let mut rest = self.clone();
        rest.rows = rest.rows.checked_sub(part.rows)?;
        rest.sum.subtract(part.sum);
        for (column, sum) in &part.columns {
            rest.columns.get_mut(column)?.subtract(*sum);
        }
        if rest.rows == 0 {
            // No rows have no columns either.
            return (rest.sum == Sum::ZERO).then(Self::default);
        }
        Some(rest)
    }
}

/// The digest of one fragment, valid as long as its key is the same: everything that the key names is write-once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentDigest {
    /// Hash of the fragment's id, data files, deletion file and the table's columns.
    pub key: String,
    /// Its content.
    pub digest: Digest,
}

/// What the full scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Content {
    /// The whole table.
    pub digest: Digest,
    /// By fragment; what the next job may pass as known.
    pub fragments: Vec<FragmentDigest>,
    /// Fragments of which rows are deleted, as they were before: each under the key that it has without its deletion
    /// file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeleted: Vec<FragmentDigest>,
    /// Rows that were read for it; the others came from known digests.
    pub rows_read: u64,
    /// Rewrites whose rows were compared with what was measured before them. One that lost or changed a row is a
    /// fault of the table.
    #[serde(default)]
    pub rewrites: u64,
}

/// A column as the table's schema names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as text.
    pub kind: String,
    /// For a vector column: the number of dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
}

/// One index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its kind, e.g. `IVF_PQ`, `Inverted`, `BTree`; `unknown` where this Lance cannot say.
    pub kind: String,
    /// The columns it covers.
    pub columns: Vec<String>,
    /// Unique ids of its parts.
    pub uuids: Vec<String>,
    /// Whether every file of it was read into memory: `None` when that was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prewarmed: Option<bool>,
}

/// What the write test did in a scratch copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WriteTest {
    /// Rows appended.
    pub appended: u64,
    /// Rows before and after the append.
    pub rows: (u64, u64),
    /// Rows after optimise and cleanup; must be the same as after the append.
    pub rows_after_cleanup: u64,
    /// Table version at the end.
    pub version: u64,
    /// Milliseconds for all of it.
    pub millis: u64,
}

/// What was found out about one table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TableMeasure {
    /// Its folder, relative to the database.
    pub path: String,
    /// Its name as an application would say it.
    pub name: String,
    /// Its branch, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The version that was opened; unset when it could not be opened.
    #[serde(default)]
    pub version: Option<u64>,
    /// Rows that its manifest promises.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Fragments.
    #[serde(default)]
    pub fragments: u64,
    /// Columns.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// Indices.
    #[serde(default)]
    pub indices: Vec<Index>,
    /// Whether `validate()` was asked and had no objection.
    #[serde(default)]
    pub validated: bool,
    /// The full scan, when asked for and ended.
    #[serde(default)]
    pub content: Option<Content>,
    /// Golden queries with their answers.
    #[serde(default)]
    pub golden: Vec<Golden>,
    /// The write test, when asked for and ended.
    #[serde(default)]
    pub write_test: Option<WriteTest>,
    /// What went wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What could not be asked of a table of this version or shape, and is not an error.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Milliseconds until the table was open and its first row was read.
    #[serde(default)]
    pub usable_millis: u64,
    /// Milliseconds for everything.
    #[serde(default)]
    pub millis: u64,
}
