//! What a snapshot's manifest states of each source: what it was at the cut, and how it was taken.

use dr_auditlog::{ChainConfig, LogFacts};
use dr_lance::pins::PinSummary;
use dr_lance::{Damage, Excluded, ExternalBase, TableStamp};
use serde::{Deserialize, Serialize};

/// The stamp of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stamp {
    /// A LanceDB database.
    Lancedb(Box<LanceStamp>),
    /// An audit log.
    AuditLog(Box<LogStamp>),
}

/// A database at the cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanceStamp {
    /// The database's folder with all links resolved: branches and clones name their files by it.
    pub canonical_root: String,
    /// Tables and branches.
    pub tables: Vec<TableStamp>,
    /// How files were held.
    pub pins: PinSummary,
    /// What lies in the folder and is not in the snapshot.
    pub excluded: Vec<Excluded>,
    /// What the source lacked.
    pub damage: Vec<Damage>,
    /// Files outside the folder, not in the snapshot.
    pub external_bases: Vec<ExternalBase>,
}

/// An audit log at the cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogStamp {
    /// The name of the file that is appended to.
    pub active: String,
    /// What verification found, with the state that the next snapshot is compared with.
    pub facts: LogFacts,
    /// The chain that was configured.
    pub chain: Option<ChainConfig>,
}

impl Stamp {
    /// Reads a stamp out of a manifest; `None` if it is of a kind or shape that this version does not know.
    pub fn read(value: &serde_json::Value) -> Option<Self> {
        Stamp::deserialize(value).ok()
    }
}

impl LanceStamp {
    /// Rows over all tables, as far as manifests tell.
    pub fn rows(&self) -> u64 {
        self.tables.iter().filter_map(|table| table.rows).sum()
    }

    /// The newest Lance version that wrote any table, e.g. `13.0.0`.
    pub fn newest_writer(&self) -> Option<&str> {
        let version = |text: &str| -> Vec<u64> {
            text.split(['.', '-', '+'])
                .map_while(|part| part.parse().ok())
                .collect()
        };
        self.tables
            .iter()
            .filter_map(|table| table.writer_version.as_deref()?.split_whitespace().last())
            .max_by_key(|text| version(text))
    }
}
