//! What a verification found: figures, findings with segment and line, and how the log follows the one before.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::continuity::Continuity;
use crate::state::{LogState, SegmentState};

/// Everything that was measured of one log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogFacts {
    /// The segments, oldest first.
    pub segments: Vec<SegmentFacts>,
    /// Lines that ended with `\n` and are records.
    pub records: u64,
    /// Bytes of whole lines, after expansion.
    pub bytes: u64,
    /// Bytes of an unterminated line at the very end: they belong to the next snapshot.
    pub unterminated: u64,
    /// What is wrong, or worth a word.
    pub findings: Findings,
    /// The hash chain, where one is configured.
    pub chain: Option<ChainFacts>,
    /// Time disorder, where a time field is configured.
    pub time: Option<TimeFacts>,
    /// How this log follows the previous snapshot's.
    pub continuity: Continuity,
    /// The order that the names gave was not the order of the chain; the chain's was taken.
    pub reordered: bool,
}

impl LogFacts {
    /// Whether nothing disproves the log: no finding that is a break, and continuity unbroken.
    pub fn is_sound(&self) -> bool {
        self.findings.breaks() == 0 && !self.continuity.is_broken()
    }

    /// Whether everything could be read: without it soundness says little.
    pub fn is_complete(&self) -> bool {
        self.findings.weighing(Weight::Unread) == 0
    }

    /// What the next verification compares with; store it with the snapshot.
    pub fn state(&self) -> LogState {
        LogState {
            format: LogState::FORMAT,
            segments: self
                .segments
                .iter()
                .map(|segment| segment.state.clone())
                .collect(),
            carried: Vec::new(),
        }
    }

    /// Adds the half line that a capture left out.
    pub(crate) fn with_unterminated(mut self, bytes: u64) -> Self {
        self.unterminated += bytes;
        self
    }

    /// The hash that the newest record states.
    pub fn head(&self) -> Option<&str> {
        self.chain.as_ref()?.head.as_deref()
    }
}

/// What was measured of one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// What the next verification compares with.
    #[serde(flatten)]
    pub state: SegmentState,
    /// Bytes after the last `\n`.
    pub unterminated: u64,
    /// Taken over from the previous verification: same file, size and modification time.
    pub reused: bool,
}

/// A log's chain as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainFacts {
    /// Records whose link or hash was checked in this verification.
    pub checked: u64,
    /// What the oldest record names as the one before it.
    pub first_previous: Option<String>,
    /// What the newest record states as its own hash.
    pub head: Option<String>,
}

/// What the records say of their times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeFacts {
    /// Records whose time could be read.
    pub read: u64,
    /// Records without a time that could be read.
    pub unread: u64,
    /// Time of the first record that has one.
    pub first: Option<Timestamp>,
    /// Time of the last record that has one.
    pub last: Option<Timestamp>,
    /// The latest time of all.
    pub latest: Option<Timestamp>,
    /// Records that are earlier than the one before them.
    pub disordered: u64,
    /// The longest step back.
    pub longest_step_back: Option<StepBack>,
}

/// A record that is earlier than the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBack {
    /// The segment.
    pub segment: String,
    /// The line of the later one, from 1.
    pub line: u64,
    /// By how much, in milliseconds.
    pub millis: i64,
}

/// One thing found at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The segment's name.
    pub segment: String,
    /// The line in it, from 1; 0 where the segment as a whole is meant.
    pub line: u64,
    /// Where the line begins, in bytes of expanded content.
    pub offset: u64,
    /// What was found.
    #[serde(flatten)]
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.segment, self.fault),
            line => write!(
                f,
                "{} line {line} (byte {}): {}",
                self.segment, self.offset, self.fault
            ),
        }
    }
}

/// What can be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// A segment that is not the log's end does not end with `\n`: the rest of a record is lost.
    TornTail {
        /// Length of what is there.
        bytes: u64,
    },
    /// A line longer than the limit.
    OverlongLine {
        /// The limit in bytes.
        limit: u64,
    },
    /// A line with nothing in it.
    BlankLine,
    /// Not JSON.
    Json {
        /// Byte within the line.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// JSON, but no object where the chain needs one.
    NotAnObject,
    /// `NaN` or `Infinity`, which JSON does not know.
    NonstandardNumber,
    /// A key twice in one object; the last one counts.
    DuplicateKey,
    /// The chain's field is missing or no string.
    ChainField {
        /// The field.
        field: String,
    },
    /// The record does not name the one before it: lines were removed, added, moved or re-chained here.
    ChainLink {
        /// Hash of the record before.
        expected: String,
        /// What this record names.
        found: String,
    },
    /// The record's hash is not the hash of the record: it was altered.
    ChainHash {
        /// Hash of the record as it stands.
        expected: String,
        /// What it states.
        found: String,
    },
    /// The canonical form can not express the record.
    Uncanonical,
    /// The oldest record does not begin the chain as configured.
    Genesis {
        /// What is configured.
        expected: String,
        /// What the record names.
        found: String,
    },
    /// A compressed segment is damaged; lines before this one were read.
    Compression {
        /// What the decoder said.
        reason: String,
        /// What is there is right, and ends too early.
        #[serde(default)]
        cut_short: bool,
    },
    /// A compressed segment expands beyond the limit; the rest was not read.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Compressed in a way that is kept but not read.
    Unreadable {
        /// The format.
        format: String,
    },
}

/// A [`Fault`] without its particulars, to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the variant of `Fault` of that name")]
pub enum FaultKind {
    TornTail,
    OverlongLine,
    BlankLine,
    Json,
    NotAnObject,
    NonstandardNumber,
    DuplicateKey,
    ChainField,
    ChainLink,
    ChainHash,
    Uncanonical,
    Genesis,
    Compression,
    TooLarge,
    Unreadable,
}

/// What a finding says of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// The log is worth what it was; a reader may stumble here.
    Word,
    /// What lies here was not read, so that nothing is known of it.
    Unread,
    /// The log is disproved.
    Break,
}

impl FaultKind {
    /// What it says of the log.
    pub const fn weight(self) -> Weight {
        match self {
            Self::BlankLine | Self::NonstandardNumber | Self::DuplicateKey => Weight::Word,
            Self::OverlongLine | Self::TooLarge | Self::Unreadable => Weight::Unread,
            _ => Weight::Break,
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TornTail => "torn-tail",
            Self::OverlongLine => "overlong-line",
            Self::BlankLine => "blank-line",
            Self::Json => "json",
            Self::NotAnObject => "not-an-object",
            Self::NonstandardNumber => "nonstandard-number",
            Self::DuplicateKey => "duplicate-key",
            Self::ChainField => "chain-field",
            Self::ChainLink => "chain-link",
            Self::ChainHash => "chain-hash",
            Self::Uncanonical => "uncanonical",
            Self::Genesis => "genesis",
            Self::Compression => "compression",
            Self::TooLarge => "too-large",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Fault {
    /// What kind it is.
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::TornTail { .. } => FaultKind::TornTail,
            Self::OverlongLine { .. } => FaultKind::OverlongLine,
            Self::BlankLine => FaultKind::BlankLine,
            Self::Json { .. } => FaultKind::Json,
            Self::NotAnObject => FaultKind::NotAnObject,
            Self::NonstandardNumber => FaultKind::NonstandardNumber,
            Self::DuplicateKey => FaultKind::DuplicateKey,
            Self::ChainField { .. } => FaultKind::ChainField,
            Self::ChainLink { .. } => FaultKind::ChainLink,
            Self::ChainHash { .. } => FaultKind::ChainHash,
            Self::Uncanonical => FaultKind::Uncanonical,
            Self::Genesis { .. } => FaultKind::Genesis,
            Self::Compression { .. } => FaultKind::Compression,
            Self::TooLarge { .. } => FaultKind::TooLarge,
            Self::Unreadable { .. } => FaultKind::Unreadable,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { bytes } => {
                write!(
                    f,
                    "the segment ends within a line, {bytes} bytes after the last newline"
                )
            }
            Self::OverlongLine { limit } => {
                write!(f, "the line is longer than {limit} bytes and was not read")
            }
            Self::BlankLine => f.write_str("the line is blank"),
            Self::Json { at, reason } => write!(f, "not JSON at byte {at} of the line: {reason}"),
            Self::NotAnObject => f.write_str("no JSON object, so it has no place in the chain"),
            Self::NonstandardNumber => f.write_str("NaN or Infinity, which JSON does not know"),
            Self::DuplicateKey => f.write_str("a key occurs twice; the last one counts"),
            Self::ChainField { field } => write!(f, "the chain's field {field:?} is missing or no string"),
            Self::ChainLink { expected, found } => write!(
                f,
                "the chain is broken: the record before has hash {expected}, this one names {found}; lines were \
                 removed, added or moved here"
            ),
            Self::ChainHash { expected, found } => {
                write!(
                    f,
                    "the record was altered: its hash is {expected}, it states {found}"
                )
            }
            Self::Uncanonical => {
                f.write_str("half of a surrogate pair, which the chain's canonical form can not express")
            }
            Self::Genesis { expected, found } => {
                write!(
                    f,
                    "the chain should begin after {expected}, its first record names {found}"
                )
            }
            Self::Compression { reason, .. } => write!(f, "the compressed segment is damaged: {reason}"),
            Self::TooLarge { limit } => write!(f, "the compressed segment expands beyond {limit} bytes"),
            Self::Unreadable { format } => {
                write!(
                    f,
                    "compressed with {format}: its bytes are kept, its lines are not read"
                )
            }
        }
    }
}

/// Findings: each kind counted, the first of them kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    counts: BTreeMap<FaultKind, u64>,
    kept: Vec<Finding>,
}

impl Findings {
    /// Counts a finding, and keeps it while fewer than `most` of its weight are kept: words never push out breaks.
    pub(crate) fn add(&mut self, finding: Finding, most: usize) {
        *self.counts.entry(finding.fault.kind()).or_default() += 1;
        self.keep(finding, most);
    }

    /// Appends those of a later segment.
    pub(crate) fn append(&mut self, other: Self, most: usize) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        for finding in other.kept {
            self.keep(finding, most);
        }
    }

    fn keep(&mut self, finding: Finding, most: usize) {
        if self.of(finding.fault.kind().weight()).count() < most {
            self.kept.push(finding);
        }
    }

    /// How many of one kind.
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many that disprove the log.
    pub fn breaks(&self) -> u64 {
        self.weighing(Weight::Break)
    }

    /// How many of one weight.
    pub fn weighing(&self, weight: Weight) -> u64 {
        self.counts
            .iter()
            .filter(|(kind, _)| kind.weight() == weight)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Counts by kind.
    pub fn counts(&self) -> impl Iterator<Item = (FaultKind, u64)> + '_ {
        self.counts.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The first of them, in the order of the log.
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// The first of one weight, in the order of the log.
    pub fn of(&self, weight: Weight) -> impl Iterator<Item = &Finding> {
        self.kept
            .iter()
            .filter(move |finding| finding.fault.kind().weight() == weight)
    }
}
