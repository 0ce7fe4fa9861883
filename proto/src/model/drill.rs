//! A drill's name and kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A drill's id: a UUID of version 7, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DrillId(Uuid);

impl DrillId {
    /// A new id for a drill that starts at `at`.
    pub fn new(at: jiff::Timestamp) -> Self {
        let seconds = at.as_second().max(0).unsigned_abs();
        let nanos = at.subsec_nanosecond().max(0).unsigned_abs();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            seconds,
            nanos,
        )))
    }
}

impl fmt::Display for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DrillId {
    type Err = ParseDrillError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseDrillError::Id(text.to_owned()))
    }
}

/// What kind of rehearsal this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillKind {
    /// Rungs 1 to 6, straight from the repository; nothing is restored.
    Verify,
    /// All rungs, restored into scratch.
    Restore,
    /// On the live host, with the application.
    Failover,
    /// Seeded damage, which must turn the drill red.
    Negative,
}

impl fmt::Display for DrillKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Failover => "failover",
            Self::Negative => "negative",
        })
    }
}

impl FromStr for DrillKind {
    type Err = ParseDrillError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "verify" => Ok(Self::Verify),
            "restore" => Ok(Self::Restore),
            "failover" => Ok(Self::Failover),
            "negative" => Ok(Self::Negative),
            _ => Err(ParseDrillError::Kind(text.to_owned())),
        }
    }
}

/// How the data was lost that a restore drill brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// It lies elsewhere, under another name; nothing is where it belongs.
    Moved,
    /// It is gone.
    Deleted,
    /// Its files are cut short.
    Truncated,
    /// Bits of its files are flipped.
    Corrupted,
}

impl Loss {
    /// All of them, with the word for each.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("moved", Self::Moved),
        ("deleted", Self::Deleted),
        ("truncated", Self::Truncated),
        ("corrupted", Self::Corrupted),
    ];
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moved => "moved",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
            Self::Corrupted => "corrupted",
        })
    }
}

impl FromStr for Loss {
    type Err = ParseDrillError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, loss)| *loss)
            .ok_or_else(|| ParseDrillError::Loss(text.to_owned()))
    }
}

/// A text that names no drill, no kind of drill or no loss.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDrillError {
    /// Not a drill id.
    #[error("`{0}` is not a drill id: a UUID such as 0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3 is expected")]
    Id(String),
    /// Not a kind of drill.
    #[error("`{0}` is not a kind of drill: verify, restore, failover or negative is expected")]
    Kind(String),
    /// Not a loss.
    #[error("`{0}` is not a loss: moved, deleted, truncated or corrupted is expected")]
    Loss(String),
}
