//! What is asked of a log: where it is, how it is framed, how its records are chained, and the bounds within
//! which all that is read.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One log on this host: the file that is written now, and its rotated segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The file that the application appends to.
    pub path: PathBuf,
    /// Glob of the rotated segments' file names, with a folder in front where `olddir` is used
    /// (`audit.log.*`, `archive/audit-*.log.gz`). Relative to the log's folder. `None`: the log is never rotated.
    pub rotated: Option<String>,
    /// Field that holds a record's time; used to order segments whose names do not say.
    pub time_field: Option<String>,
    /// What bounds a capture.
    pub limits: CaptureLimits,
}

impl LogOptions {
    /// A log at `path` with no rotated segments and the usual bounds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            rotated: None,
            time_field: None,
            limits: CaptureLimits::default(),
        }
    }

    /// The same log with rotated segments named by `pattern`.
    #[must_use]
    pub fn rotated(mut self, pattern: impl Into<String>) -> Self {
        self.rotated = Some(pattern.into());
        self
    }
}

/// What bounds a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureLimits {
    /// More segments than this are refused: each holds a descriptor.
    pub segments: usize,
    /// How often a capture that met a rotation is taken again.
    pub attempts: u32,
    /// Pause between two attempts.
    pub pause: Duration,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self {
            segments: 4096,
            attempts: 12,
            pause: Duration::from_millis(25),
        }
    }
}

/// How the log's bytes are to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON value a line.
    #[default]
    JsonLines,
    /// Lines of any text: only framing and continuity are judged.
    Lines,
}

/// What a verification asks of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// How the bytes are to be read.
    pub format: Format,
    /// How records are chained; `None` where they are not.
    pub chain: Option<ChainConfig>,
    /// The field that holds a record's time; `None`: disorder is not measured.
    pub time_field: Option<String>,
    /// What bounds the reading.
    pub limits: ReadLimits,
}

/// What bounds the reading of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLimits {
    /// A longer line is reported and skipped; also the most memory that one line takes. At least 64 KiB.
    pub line: usize,
    /// A compressed segment that expands beyond this is reported and left.
    pub expanded: u64,
    /// Findings kept in full; those beyond are counted.
    pub findings: usize,
}

impl ReadLimits {
    /// No less than what tells who a segment is.
    pub(crate) fn longest_line(&self) -> usize {
        self.line.max(crate::prefix::ID_BYTES)
    }
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            line: 16 << 20,
            expanded: 256 << 30,
            findings: 100,
        }
    }
}

/// How each record vouches for the one before it.
///
/// `hash = algorithm(previous ‖ separator ‖ canonical(record without hash and previous))`, or with
/// [`Input::Record`] `hash = algorithm(canonical(record without hash))`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// The hash function.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The field that holds the record's own hash, in hexadecimal.
    #[serde(default = "default_hash")]
    pub hash: String,
    /// The field that holds the hash of the record before.
    #[serde(default = "default_previous")]
    pub previous: String,
    /// The bytes that stand for a record.
    #[serde(default)]
    pub canonical: Canonical,
    /// What is hashed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub input: Input,
    /// What stands between the previous hash and the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub separator: String,
    /// What the first record of all gives as its previous hash. `None`: anything, for the oldest segment that is
    /// left is seldom the log's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<String>,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            hash: default_hash(),
            previous: default_previous(),
            canonical: Canonical::default(),
            input: Input::default(),
            separator: String::new(),
            genesis: None,
        }
    }
}

fn default_hash() -> String {
    "hash".into()
}

fn default_previous() -> String {
    "prev_hash".into()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Hash functions of chains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE3, 32 bytes.
    Blake3,
}

impl Algorithm {
    /// All of them, the likeliest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Blake3];

    /// Its name in configuration, and before the colon of a value such as `sha256:9f86…`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// Length of its digest in hexadecimal digits.
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The bytes that stand for a record when it is hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canonical {
    /// Keys sorted by code point, no blanks, everything beyond printable ASCII escaped: Python's
    /// `json.dumps(record, sort_keys=True, separators=(",", ":"))`.
    #[default]
    JsonSortedCompact,
    /// The same with characters beyond ASCII as they are: `ensure_ascii=False`, and what most other languages write.
    JsonSortedCompactUtf8,
    /// Keys sorted, a blank after each comma and colon: Python's `json.dumps(record, sort_keys=True)`.
    JsonSorted,
    /// The line as it was written, with the members that the hash does not cover cut out.
    RawWithoutHash,
    /// The canonical form is not known: only that each record names the hash of the one before is checked.
    LinksOnly,
}

impl Canonical {
    /// Those that can be computed, the likeliest first.
    pub const COMPUTED: [Self; 4] = [
        Self::JsonSortedCompact,
        Self::JsonSortedCompactUtf8,
        Self::JsonSorted,
        Self::RawWithoutHash,
    ];
}

/// What goes into a record's hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// The previous hash as text, then the record without both fields.
    #[default]
    PreviousThenRecord,
    /// The record without its own hash; the previous hash is one of its members.
    Record,
}
