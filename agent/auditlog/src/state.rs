//! What is remembered of a log from one snapshot to the next, so that the next can prove that it goes on from here.
//!
//! A sequence number does not see a lost tail and a chain does not see one either: only the length and the hash of
//! what was there do. Hashes are over expanded whole lines, so that a renamed or compressed segment is known again.

use serde::{Deserialize, Serialize};

use crate::carry::Carried;
use crate::encoding::Encoding;

/// One log as it was at a cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Version of this record.
    pub format: u32,
    /// The segments, oldest first.
    pub segments: Vec<SegmentState>,
    /// Segments that were no longer on the host and were carried over from the snapshot before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
}

impl LogState {
    /// The version written now.
    pub const FORMAT: u32 = 1;

    /// Records in all segments on the host.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// Bytes of whole lines in all segments on the host.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// The hash that the newest record states.
    pub fn head(&self) -> Option<&str> {
        self.segments
            .iter()
            .rev()
            .find_map(|segment| segment.head.as_deref())
    }
}

/// One segment as it was at a cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentState {
    /// Its file name.
    pub name: String,
    /// Who it is whatever its name: from its first line, 16 hexadecimal digits; empty while it has none.
    pub id: String,
    /// How it was stored.
    pub encoding: Encoding,
    /// Bytes of whole lines, expanded.
    pub len: u64,
    /// BLAKE3 of these bytes, in hexadecimal.
    pub hash: String,
    /// Lines that are records.
    pub records: u64,
    /// Lines of any kind.
    pub lines: u64,
    /// What the first record names as the one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_previous: Option<String>,
    /// What the last record states as its own hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Hashes on the way, to say where a rewritten segment differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// The file on the host, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileIdentity>,
    /// Whether nothing was wrong with it: only then it need not be read again while the file is unchanged.
    pub sound: bool,
}

/// The hash of everything before a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The position, in expanded bytes.
    pub at: u64,
    /// The first 16 hexadecimal digits of the BLAKE3 of what comes before it.
    pub hash: String,
}

/// What a host's file system says of a file. The inode's change time is not part of it, for hard links move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl FileIdentity {
    /// Whether both are the same file, whatever was written to it since.
    pub const fn is_same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }
}
