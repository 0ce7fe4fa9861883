//! Does the log go on from where the previous snapshot left it?
//!
//! Each segment of the previous snapshot is looked for in the present ones by content: the hash of its first `len`
//! bytes. Names, inodes and compression may change, the bytes may not. What is not found is told apart by what is
//! there instead: the same first line means that the segment was cut or rewritten, and the marks of the previous
//! scan say where; a successor that is chained to it means that it was rotated away.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chain;
use crate::scan::Scan;
use crate::state::{LogState, SegmentState};

/// How a log follows the previous snapshot's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuity {
    /// The gravest of all segments' fates.
    pub standing: Standing,
    /// What became of each segment of the previous snapshot, oldest first.
    pub segments: Vec<SegmentFate>,
    /// Records that the previous snapshot did not have.
    pub new_records: u64,
    /// Bytes that the previous snapshot did not have.
    pub new_bytes: u64,
}

impl Continuity {
    /// Whether something that was captured is gone without leave, or altered.
    pub fn is_broken(&self) -> bool {
        self.standing.is_broken()
    }

    /// The fates that break it.
    pub fn breaks(&self) -> impl Iterator<Item = &SegmentFate> {
        self.segments
            .iter()
            .filter(|fate| fate.fate.standing().is_broken())
    }

    /// Segments of the previous snapshot that are no longer on the host, oldest first: the ones to carry forward.
    pub fn vanished(&self) -> impl Iterator<Item = &SegmentFate> {
        self.segments.iter().filter(|fate| fate.now.is_none())
    }
}

/// How a log stands to what it was, from well to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// There is nothing to compare with.
    First,
    /// Every byte is where it was; at most more follow.
    Continues,
    /// Every byte is there, some under another name.
    Rotated,
    /// Every byte is there, some compressed since.
    GzipRotated,
    /// The oldest segments were rotated away, all that follows them is there.
    AgedOut,
    /// A segment is gone while older ones are there.
    Hole,
    /// The file was emptied and what was in it is in no other segment.
    Truncated,
    /// A segment ends before where it ended.
    LostTail,
    /// Bytes that had been captured are different now.
    Rewritten,
    /// Nothing of the previous log is there: another log under the same name, or one rotated away whole.
    NewIdentity,
}

impl Standing {
    /// Whether something that was captured is gone without leave, or altered.
    pub const fn is_broken(self) -> bool {
        matches!(
            self,
            Self::Hole | Self::Truncated | Self::LostTail | Self::Rewritten | Self::NewIdentity
        )
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Continues => "continues",
            Self::Rotated => "rotated",
            Self::GzipRotated => "gzip-rotated",
            Self::AgedOut => "aged-out",
            Self::Hole => "hole",
            Self::Truncated => "truncated",
            Self::LostTail => "lost-tail",
            Self::Rewritten => "rewritten",
            Self::NewIdentity => "new-identity",
        }
    }
}

/// What became of one segment of the previous snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFate {
    /// Its name then.
    pub segment: String,
    /// Who it is whatever its name.
    pub id: String,
    /// Its name now; `None` where nothing of it is there.
    pub now: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

impl fmt::Display for SegmentFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.now.as_deref().unwrap_or(&self.segment);
        write!(f, "{}: ", self.segment)?;
        match self.fate {
            Fate::Unchanged => f.write_str("unchanged"),
            Fate::Grown { bytes } => write!(f, "grown by {bytes} bytes"),
            Fate::Renamed { bytes: 0 } => write!(f, "now {now}"),
            Fate::Renamed { bytes } => write!(f, "now {now}, grown by {bytes} bytes"),
            Fate::Compressed { .. } => write!(f, "now compressed as {now}"),
            Fate::AgedOut => f.write_str("rotated away"),
            Fate::Missing => f.write_str("gone, though older segments are there"),
            Fate::Truncated { at } => write!(f, "emptied; {now} now holds {at} other bytes"),
            Fate::LostTail { at, lost } => {
                write!(
                    f,
                    "{now} ends at byte {at}: {lost} bytes that were captured are gone"
                )
            }
            Fate::Rewritten {
                same_until,
                different_by,
            } => write!(
                f,
                "{now} was rewritten: the same up to byte {same_until}, different before byte {different_by}"
            ),
            Fate::Replaced => f.write_str("nothing of it is there: another log, or one rotated away whole"),
        }
    }
}

/// What becomes of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// The same bytes under the same name.
    Unchanged,
    /// The same bytes, and more.
    Grown {
        /// How many more.
        bytes: u64,
    },
    /// The same bytes under another name.
    Renamed {
        /// How many more.
        bytes: u64,
    },
    /// The same bytes, compressed since.
    Compressed {
        /// How many more.
        bytes: u64,
    },
    /// Gone, with all that is older.
    AgedOut,
    /// Gone, though older ones are there.
    Missing,
    /// The same file, emptied.
    Truncated {
        /// What it holds now.
        at: u64,
    },
    /// The same beginning, and an end before where it was.
    LostTail {
        /// Where it ends.
        at: u64,
        /// How many bytes are gone.
        lost: u64,
    },
    /// The same beginning, then something else.
    Rewritten {
        /// Up to here it is known to be the same.
        same_until: u64,
        /// Before here it differs.
        different_by: u64,
    },
    /// Nothing of it, or of any other segment, is there.
    Replaced,
}

impl Fate {
    /// How a log stands of which this is the gravest.
    pub const fn standing(self) -> Standing {
        match self {
            Self::Unchanged | Self::Grown { .. } => Standing::Continues,
            Self::Renamed { .. } => Standing::Rotated,
            Self::Compressed { .. } => Standing::GzipRotated,
            Self::AgedOut => Standing::AgedOut,
            Self::Missing => Standing::Hole,
            Self::Truncated { .. } => Standing::Truncated,
            Self::LostTail { .. } => Standing::LostTail,
            Self::Rewritten { .. } => Standing::Rewritten,
            Self::Replaced => Standing::NewIdentity,
        }
    }
}

/// Compares what was scanned with what was there before.
pub(crate) fn judge(previous: Option<&LogState>, scans: &[Scan]) -> Continuity {
    let records = scans.iter().map(|scan| scan.state.records).sum::<u64>();
    let bytes = scans.iter().map(|scan| scan.state.len).sum::<u64>();
    let Some(previous) = previous.filter(|previous| previous.bytes() > 0) else {
        return Continuity {
            standing: Standing::First,
            segments: Vec::new(),
            new_records: records,
            new_bytes: bytes,
        };
    };
    let mut known = (0, 0);
    let mut fates = Vec::new();
    for then in previous.segments.iter().filter(|then| then.len > 0) {
        let (now, fate) = match held(then, scans) {
            Some(scan) => {
                known = (known.0 + then.records, known.1 + then.len);
                (Some(scan), kept(then, scan))
            }
            None => lost(previous, then, scans),
        };
        fates.push(SegmentFate {
            segment: then.name.clone(),
            id: then.id.clone(),
            now: now.map(|scan| scan.state.name.clone()),
            fate,
        });
    }
    settle(previous, scans, &mut fates);
    Continuity {
        standing: fates
            .iter()
            .map(|fate| fate.fate.standing())
            .max()
            .unwrap_or(Standing::Continues),
        segments: fates,
        new_records: records.saturating_sub(known.0),
        new_bytes: bytes.saturating_sub(known.1),
    }
}

/// The segment that begins with all of `then`; of several the one of the same name.
fn held<'a>(then: &SegmentState, scans: &'a [Scan]) -> Option<&'a Scan> {
    let holding = || scans.iter().filter(|scan| holds(then, scan));
    holding()
        .find(|scan| scan.state.name == then.name)
        .or_else(|| holding().next())
}

fn kept(then: &SegmentState, now: &Scan) -> Fate {
    let bytes = now.state.len - then.len;
    if then.encoding != now.state.encoding {
        Fate::Compressed { bytes }
    } else if then.name != now.state.name {
        Fate::Renamed { bytes }
    } else if bytes > 0 {
        Fate::Grown { bytes }
    } else {
        Fate::Unchanged
    }
}

/// What is there instead of `then`. Whether one that is gone was rotated away is settled with all of them in view.
fn lost<'a>(previous: &LogState, then: &SegmentState, scans: &'a [Scan]) -> (Option<&'a Scan>, Fate) {
    let akin = |scan: &&Scan| !scan.state.id.is_empty() && scan.state.id == then.id;
    if let Some(scan) = scans
        .iter()
        .filter(akin)
        .max_by_key(|scan| same_until(then, scan))
    {
        return (Some(scan), altered(then, scan));
    }
    if scans.iter().any(|scan| follows(then, scan)) {
        return (None, Fate::AgedOut);
    }
    match scans.iter().find(|scan| replaces(previous, then, scan)) {
        Some(scan) if scan.state.len < then.len => (Some(scan), Fate::Truncated { at: scan.state.len }),
        Some(scan) => (
            Some(scan),
            Fate::Rewritten {
                same_until: 0,
                different_by: different_by(then, 0),
            },
        ),
        None => (None, Fate::Missing),
    }
}

/// Whether `scan` is the file that `then` was, holding other bytes. An inode alone does not say so, for file systems
/// give those of removed files out again; nor does a name, for rotation hands names on.
fn replaces(previous: &LogState, then: &SegmentState, scan: &Scan) -> bool {
    let same_file = match (then.file, scan.state.file) {
        (Some(before), Some(after)) => before.is_same_file(&after),
        _ => false,
    };
    scan.state.name == then.name
        && scan.state.encoding == then.encoding
        && (same_file || scan.state.len == then.len)
        && !previous
            .segments
            .iter()
            .any(|other| other.len > 0 && holds(other, scan))
}

/// Whether `scan` begins with all of `then`.
fn holds(then: &SegmentState, scan: &Scan) -> bool {
    scan.hashes
        .get(&then.len)
        .is_some_and(|hash| hex::encode(hash).eq_ignore_ascii_case(&then.hash))
}

/// The last position up to which both are known to be the same.
fn same_until(then: &SegmentState, now: &Scan) -> u64 {
    let agrees = |at: &u64, hash: &str| {
        now.hashes
            .get(at)
            .is_some_and(|found| hex::encode(&found[..8]).eq_ignore_ascii_case(hash))
    };
    then.marks
        .iter()
        .filter(|mark| agrees(&mark.at, &mark.hash))
        .map(|mark| mark.at)
        .max()
        .unwrap_or(0)
}

fn different_by(then: &SegmentState, same_until: u64) -> u64 {
    then.marks
        .iter()
        .map(|mark| mark.at)
        .find(|&at| at > same_until)
        .unwrap_or(then.len)
}

/// The same first line, but not the same bytes.
fn altered(then: &SegmentState, now: &Scan) -> Fate {
    let same_until = same_until(then, now);
    let different_by = different_by(then, same_until);
    if now.state.len < then.len && different_by > now.state.len {
        Fate::LostTail {
            at: now.state.len,
            lost: then.len - now.state.len,
        }
    } else {
        Fate::Rewritten {
            same_until,
            different_by,
        }
    }
}

/// Whether `scan` is chained to the end of `then`.
fn follows(then: &SegmentState, scan: &Scan) -> bool {
    match (&then.head, &scan.state.first_previous) {
        (Some(head), Some(previous)) => chain::same(head, previous),
        _ => false,
    }
}

/// Segments that are gone were rotated away if nothing older is left and something newer is.
fn settle(previous: &LogState, scans: &[Scan], fates: &mut [SegmentFate]) {
    let there = |fate: &SegmentFate| fate.now.is_some();
    let chained = fates.iter().rposition(|fate| fate.fate == Fate::AgedOut);
    let newest = fates.iter().rposition(there).max(chained);
    let oldest = fates.iter().position(there);
    for (number, fate) in fates
        .iter_mut()
        .enumerate()
        .filter(|(_, fate)| fate.fate == Fate::Missing)
    {
        fate.fate = match (oldest, newest) {
            (Some(oldest), _) if oldest < number => Fate::Missing,
            (_, Some(newest)) if number < newest => Fate::AgedOut,
            _ => Fate::Replaced,
        };
    }
    let vanished = fates.iter().any(|fate| fate.fate == Fate::Replaced);
    if vanished {
        tracing::debug!(
            then = previous.segments.len(),
            now = scans.len(),
            "nothing of the previous log is there"
        );
    }
}

#[cfg(test)]
mod tests;
