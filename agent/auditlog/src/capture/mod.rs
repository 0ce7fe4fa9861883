//! Opens a log and its rotated segments as they are at one moment.
//!
//! # Overview
//! The active file and every rotated one are opened, then looked at again: a rotation in between shows as another
//! inode under a name, a name that came or went, or one file under two names, and the capture is taken again. Lengths
//! are read last. A half line at the end of the log is left for the next snapshot.
//!
//! # Consistency
//! Descriptors outlive renames and removals, so a rotation after the capture changes nothing. Truncation does: with
//! `copytruncate` the bytes under a descriptor can vanish while they are read. [`Captured::moved`] tells; ask it after
//! reading, and take the capture again; or hold the active file's bytes first with [`Captured::pin`].
//!
//! A copy that `copytruncate` or gzip is still making begins with the same line as its original; of the two the
//! fuller one is taken. What can not be told from its beginning is told by time, once it was read:
//! [`Captured::settle`].
//!
//! # Retries
//! [`CaptureLimits::attempts`](crate::CaptureLimits) times after a short pause; then [`Error::Unstable`].

mod attempt;
mod error;
mod names;
mod order;
mod pin;
mod segment;
mod unfinished;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use pin::Pin;
pub use segment::{Segment, SegmentReader};

use crate::facts::LogFacts;
use crate::options::{LogOptions, VerifyOptions};
use crate::state::LogState;
use crate::verify::{self, Verifier};
use attempt::{Held, Moved, Patience};
use names::Place;
use segment::Opened;

/// A log as it was at one moment, held by open descriptors.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The segments, oldest first; the last is the active file, if it was there.
    pub segments: Vec<Segment>,
    /// What was met and how it was dealt with.
    pub notes: Vec<Note>,
    /// How often the capture was taken, rotations met.
    pub attempts: u32,
    /// How the active file is held.
    pub held: Pin,
    options: LogOptions,
}

/// A copy of a large log takes longer than it is worth to wait for.
const COPY_ATTEMPTS: u32 = 4;

/// What a capture met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// The active file was not there; its segments were.
    ActiveMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file that the glob matches was left out.
    LeftOut {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A copy or compression of another segment, whole or still being made, was left out.
    Duplicate {
        /// Its name.
        name: String,
        /// The segment that holds the same.
        of: String,
    },
    /// A compression that was still being made was left to the next snapshot.
    Unfinished {
        /// Its name.
        name: String,
    },
    /// The names do not say which segment is older; times in the records or of the files were taken.
    OrderGuessed,
}

/// What happened to a log since it was captured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// Bytes appended to captured files.
    pub grown: u64,
    /// Names changed hands: harmless, for descriptors are held.
    pub rotated: bool,
    /// Captured bytes are gone from under a descriptor, in these segments: the capture must be taken again.
    pub truncated: Vec<String>,
}

impl Movement {
    /// Nothing happened at all.
    pub fn is_still(&self) -> bool {
        *self == Self::default()
    }

    /// What was captured can no longer be read.
    pub fn invalidates(&self) -> bool {
        !self.truncated.is_empty()
    }
}

/// Captures a log.
///
/// Blocking, and brief: it reads the first line of each segment, and more only of copies that are being made.
pub fn capture(options: &LogOptions) -> Result<Captured, Error> {
    let place = Place::of(options)?;
    let attempts = options.limits.attempts.max(1);
    let (mut held, mut moved) = (Held::default(), Moved::Listing);
    for attempt in 1..=attempts {
        if attempt > 1 {
            std::thread::sleep(options.limits.pause);
        }
        let patience = Patience {
            away: attempt < attempts,
            copying: attempt < attempts.min(COPY_ATTEMPTS),
        };
        match attempt::take(&place, options, patience, &mut held)? {
            Ok((segments, notes)) => {
                return Ok(Captured {
                    segments,
                    notes,
                    attempts: attempt,
                    held: Pin::Descriptor,
                    options: options.clone(),
                });
            }
            Err(reason) => moved = reason,
        }
        tracing::debug!(path = %options.path.display(), attempt, ?moved, "the log moved while it was captured");
    }
    Err(match moved {
        Moved::NothingThere => Error::Missing {
            path: options.path.clone(),
        },
        _ => Error::Unstable {
            path: options.path.clone(),
            attempts,
        },
    })
}

/// Opens a file for discovery: `None` if it is not there or is no regular file.
pub(crate) fn open_regular(path: &Path) -> Result<Option<File>, Error> {
    match Opened::open(path.to_owned(), String::new(), None) {
        Ok(opened) => Ok(Some(opened.file)),
        Err(segment::Refused::Gone | segment::Refused::Other(_)) => Ok(None),
        Err(segment::Refused::Failed(error)) => Err(error),
    }
}

impl Captured {
    /// What happened since, in the log's folder and under the descriptors.
    pub fn moved(&self) -> Result<Movement, Error> {
        let mut movement = Movement::default();
        for segment in &self.segments {
            match segment.now()? {
                segment::Now::Truncated => movement.truncated.push(segment.name.clone()),
                segment::Now::Holds { grown } => movement.grown += grown,
            }
        }
        let place = Place::of(&self.options)?;
        let held: Vec<(u64, u64)> = self.segments.iter().map(Segment::inode).collect();
        movement.rotated = self.segments.iter().any(|segment| !segment.is_still_named())
            || place
                .candidates()?
                .iter()
                .any(|name| place.is_new(name, &held, &self.notes));
        Ok(movement)
    }

    /// Bytes to store: of whole lines in plain segments, all of the others.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// Reads and verifies everything that was captured.
    pub fn verify(
        &self,
        options: &VerifyOptions,
        previous: Option<&LogState>,
        cancel: &CancellationToken,
    ) -> Result<LogFacts, verify::Error> {
        let mut verifier = Verifier::new(options, previous, cancel.clone());
        for segment in &self.segments {
            verifier.file(&segment.name, Some(segment.identity), segment.reader())?;
        }
        Ok(verifier.finish().with_unterminated(self.unterminated()))
    }

    /// The same, without reading rotated segments that are unchanged, by identity, size and modification time, since
    /// `previous` found them sound. For a quick look, not for a snapshot: it sees no change that hides its time.
    pub fn verify_changed(
        &self,
        options: &VerifyOptions,
        previous: &LogState,
        cancel: &CancellationToken,
    ) -> Result<LogFacts, verify::Error> {
        let mut verifier = Verifier::new(options, Some(previous), cancel.clone());
        for segment in &self.segments {
            let unchanged = previous
                .segments
                .iter()
                .find(|then| then.sound && then.file == Some(segment.identity) && segment.unterminated == 0);
            match unchanged {
                Some(then) => verifier.reuse(&segment.name, segment.identity, then),
                None => {
                    verifier.file(&segment.name, Some(segment.identity), segment.reader())?;
                }
            }
        }
        Ok(verifier.finish().with_unterminated(self.unterminated()))
    }

    fn unterminated(&self) -> u64 {
        self.segments.iter().map(|segment| segment.unterminated).sum()
    }
}

#[cfg(test)]
mod tests;
