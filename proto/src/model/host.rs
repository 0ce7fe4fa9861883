//! A host: its name, what it protects, and the most that may be asked of it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DrillKind;

/// A host's name, as its certificate, its repository and its configuration carry it.
///
/// Letters, digits, `.`, `-` and `_`, at most 253, beginning and ending with a letter or digit: it becomes part of
/// URIs, of object names and of file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// The longest host name: that of DNS.
const LONGEST_NAME: usize = 253;

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let fits = bytes.len() <= LONGEST_NAME
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(inner)
            && !text.contains("..");
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseHostError(text.chars().take(LONGEST_NAME).collect()))
        }
    }
}

impl TryFrom<String> for HostName {
    type Error = ParseHostError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host name: letters, digits, `.`, `-` and `_` are expected, at most 253, with a letter or digit at \
     both ends"
)]
pub struct ParseHostError(String);

/// A source as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Its name in the agent's configuration.
    pub name: String,
    /// `lancedb` or `audit-log`.
    pub kind: String,
    /// Where it lies on the host.
    pub path: String,
    /// Why it can not be read, or what is wrong with what was read; `None` if nothing is known against it.
    pub problem: Option<String>,
    /// The problem is damage that work found in it; otherwise it can not be read at all.
    #[serde(default)]
    pub damaged: bool,
    /// False for a database or log that was found on the host and is not configured.
    pub configured: bool,
}

/// A committed snapshot, as far as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id, 32 hex digits.
    pub id: String,
    /// The moment of its cut.
    pub cut: Timestamp,
    /// Whether all sources stood still together at that moment.
    pub exact: bool,
    /// Why it is suspect, if it is.
    pub suspect: Option<String>,
    /// Why it was taken, if that was said.
    pub reason: Option<String>,
    /// Bytes of all sources.
    pub bytes: u64,
    /// Names of the sources in it.
    pub sources: Vec<String>,
    /// What holds it against retention; of several holds the one that ends last.
    pub hold: Option<HoldInfo>,
}

/// A hold on a snapshot, as its repository has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldInfo {
    /// Why.
    pub reason: String,
    /// When it was set.
    pub created: Timestamp,
    /// When it ends, or ended, by itself; `None`: it lasts until it is released.
    pub until: Option<Timestamp>,
}

impl HoldInfo {
    /// Whether it is over.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// What lists say of it.
    pub fn note(&self, now: Timestamp) -> String {
        match self.until {
            None => format!("held until released: {}", self.reason),
            Some(until) if self.has_ended(now) => format!("hold ended {until:.0}: {}", self.reason),
            Some(until) => format!("held until {until:.0}: {}", self.reason),
        }
    }
}

/// The most that a coordinator may ask of a host, from the host's own file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// Kinds of drills.
    pub drills: Vec<DrillKind>,
    /// Folders that a restore may write below.
    pub restore_into: Vec<PathBuf>,
    /// Hooks by name.
    pub hooks: Vec<String>,
    /// Failover drills on the live host.
    pub failover: bool,
    /// Ending holds on snapshots.
    #[serde(default)]
    pub release_holds: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_path_or_a_uri_are_refused() {
        for good in ["db-0042", "a", "db.eu-west-1.example.net", "node_7"] {
            assert_eq!(good.parse::<HostName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(254);
        for bad in ["", "..", "a/b", "a..b", "-a", "a.", "a b", "ä", "a\n", &long] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
    }
}
