//! The ladder of questions, and how deep a pass went.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A rung of the ladder: one kind of question, each proving more than the one below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Every object that the snapshot needs is there, with its size.
    Objects,
    /// Chunks read, opened and hashed.
    Bytes,
    /// Tables opened straight from the repository; versions and rows as stamped.
    Tables,
    /// A full scan gives the digest recorded at the cut.
    Content,
    /// The live index's answers recorded at the cut come back.
    Queries,
    /// Audit logs: framing, records, chain, continuity.
    Audit,
    /// Really restored, opened there by stock LanceDB, and written to.
    Restore,
    /// The application's own probes.
    Application,
}

impl Rung {
    /// All rungs, lowest first.
    pub const ALL: [Self; 8] = [
        Self::Objects,
        Self::Bytes,
        Self::Tables,
        Self::Content,
        Self::Queries,
        Self::Audit,
        Self::Restore,
        Self::Application,
    ];

    /// The rung's number in the documentation: 1 to 8.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Objects => "objects",
            Self::Bytes => "bytes",
            Self::Tables => "tables",
            Self::Content => "content",
            Self::Queries => "queries",
            Self::Audit => "audit",
            Self::Restore => "restore",
            Self::Application => "application",
        })
    }
}

/// How deep a pass went. Nothing is claimed beyond the deepest rung that passed with all rungs below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofLevel {
    /// Nothing was proved.
    None,
    /// The bytes are all there and unchanged.
    Bytes,
    /// The engine opens them and every row reads as it did at the cut.
    Engine,
    /// Indices answer as they did at the cut.
    Queries,
    /// Restored for real; the copy answers and takes writes.
    Restored,
    /// The live host ran on the restored copy.
    Failover,
}

impl fmt::Display for ProofLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bytes => "bytes",
            Self::Engine => "engine",
            Self::Queries => "queries",
            Self::Restored => "restored",
            Self::Failover => "failover",
        })
    }
}
