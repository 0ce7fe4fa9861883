//! The manifest of a snapshot: what was cut, where its file lists are, and what the repository looked like when it
//! was committed. It is written last and never changed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cipher::Cipher;
use crate::id::{ChunkId, Digest, IndexId, KeyId, RepositoryId, SnapshotId};

/// One committed cut.
///
/// The fields of the chain (`format`, `repository`, `cipher`, `listed`, `previous`, `keys`, `records`) are filled by
/// [`Repository::commit`](crate::Repository::commit), whatever stands in them before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The repository's format.
    pub format: u32,
    /// The repository.
    pub repository: RepositoryId,
    /// The moment of the cut.
    pub created: Timestamp,
    /// The moment in the object's name: `created`, or a second after the snapshot before if that was not earlier.
    pub listed: Timestamp,
    /// The host whose sources these are.
    pub host: String,
    /// The program that wrote this, with its version.
    pub tool: String,
    /// How the repository is sealed.
    pub cipher: Cipher,
    /// The snapshot that was the newest when this one was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The key objects that stood in the repository at the commit.
    #[serde(default)]
    pub keys: Vec<KeyId>,
    /// The index objects that the run of this snapshot wrote.
    #[serde(default)]
    pub indexes: Vec<IndexId>,
    /// Facts, holds, drills and ledger entries that stood in the repository at the commit: object names.
    #[serde(default)]
    pub records: Vec<String>,
    /// What was cut.
    pub sources: Vec<SourceRecord>,
    /// When the cut was taken, and how exact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The machine that wrote this: an id that the agent makes once in its state folder. A rebuilt host has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// Why this cut was suspect before somebody said that it is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Why this cut is not to be trusted as a whole: kept, alarmed, never `latest`, never counted by retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<String>,
    /// Why the snapshot was taken, in the words of who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Figures of the run that wrote it.
    #[serde(default)]
    pub stats: serde_json::Value,
}

impl Manifest {
    /// A manifest without sources yet; the fields of the chain are filled at the commit.
    pub fn new(created: Timestamp, host: impl Into<String>, tool: impl Into<String>) -> Self {
        Self {
            format: crate::FORMAT_VERSION,
            repository: RepositoryId::from_bytes([0; 16]),
            created,
            listed: created,
            host: host.into(),
            tool: tool.into(),
            cipher: Cipher::Aes256Gcm,
            previous: None,
            keys: Vec::new(),
            indexes: Vec::new(),
            records: Vec::new(),
            sources: Vec::new(),
            window: None,
            writer: None,
            accepted: None,
            suspect: None,
            reason: None,
            tags: Vec::new(),
            stats: serde_json::Value::Null,
        }
    }

    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&SourceRecord> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// A link of the chain of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The snapshot before.
    pub id: SnapshotId,
    /// BLAKE3 of its whole sealed manifest.
    pub hash: Digest,
}

/// The moment of a cut is a window when something moved meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When capturing began.
    pub from: Timestamp,
    /// When the last source was proved unchanged.
    pub to: Timestamp,
    /// All sources stood still between: one moment holds for all of them.
    pub exact: bool,
}

/// One source of a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The source's configured name.
    pub name: String,
    /// What it is, for example `lancedb` or `audit-log`.
    pub kind: String,
    /// Its absolute path on the host.
    pub root: String,
    /// Its file list.
    pub tree: TreeRef,
    /// How many files the list holds.
    pub files: u64,
    /// How many bytes these files have.
    pub bytes: u64,
    /// What the reader of this kind of source stamped; opaque here.
    #[serde(default)]
    pub stamp: serde_json::Value,
    /// Why this source is not to be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<String>,
}

/// Where a file list is: a stream of records, cut into chunks like any file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRef {
    /// Its chunks in order.
    pub chunks: Vec<ChunkId>,
    /// Its length in bytes.
    pub len: u64,
    /// BLAKE3 of all its bytes.
    pub hash: Digest,
}
