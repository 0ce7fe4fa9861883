//! What a snapshot's manifest states of each source: what it was at the cut, and how it was taken.

use std::collections::BTreeMap;

use dr_auditlog::capture::Pin;
use dr_auditlog::carry::Carried;
use dr_auditlog::{ChainConfig, Format, LogFacts, LogState, VerifyOptions};
use dr_lance::pins::PinSummary;
use dr_lance::{Damage, Excluded, Exclusion, ExternalBase, TableStamp};
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
    /// How the bytes were to be read.
    #[serde(default)]
    pub format: Format,
    /// The field with the records' time, if one was configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_field: Option<String>,
    /// Segments that the host had rotated away, kept from the snapshot before; oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// How the active file was held.
    #[serde(default = "descriptor")]
    pub held: Pin,
}

fn descriptor() -> Pin {
    Pin::Descriptor
}

impl LogStamp {
    /// What the next snapshot is compared with and carries on from.
    pub fn state(&self) -> LogState {
        LogState {
            carried: self.carried.clone(),
            ..self.facts.state()
        }
    }

    /// Names of its files in the snapshot, oldest first: carried segments, then those that were on the host.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let carried = self.carried.iter().map(|carried| carried.name.as_str());
        let here = self.facts.segments.iter();
        carried.chain(here.map(|segment| segment.state.name.as_str()))
    }

    /// How its bytes are to be read.
    pub fn verify_options(&self) -> VerifyOptions {
        VerifyOptions {
            format: self.format,
            chain: self.chain.clone(),
            time_field: self.time_field.clone(),
            ..VerifyOptions::default()
        }
    }

    /// Segments by the way they were held: those on the host, and the active file where it was copied.
    pub fn pins(&self) -> BTreeMap<String, u64> {
        let segments = self.facts.segments.len() as u64;
        let mut pins = BTreeMap::from([("descriptor".to_owned(), segments)]);
        if self.held != Pin::Descriptor && segments > 0 {
            pins.insert("descriptor".to_owned(), segments - 1);
            pins.insert(self.held.to_string(), 1);
        }
        pins.retain(|_, files| *files > 0);
        pins
    }
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

    /// What the source has not, or what of it the snapshot has not although an application would find it there.
    pub fn lacks(&self) -> Vec<String> {
        let linked = self
            .excluded
            .iter()
            .filter(|excluded| excluded.reason == Exclusion::LinkedTable);
        let linked = linked.map(|excluded| format!("{}: {}", excluded.path, excluded.reason));
        self.damage
            .iter()
            .map(ToString::to_string)
            .chain(linked)
            .collect()
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

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A table in `folder` at a version, with its rows as far as they are known.
    pub(crate) fn table(folder: &str, version: u64, rows: Option<u64>) -> TableStamp {
        let text = serde_json::json!({
            "name": folder.trim_end_matches(".lance"), "path": folder, "branch": null, "mode": "exact",
            "version": version, "damaged_head": null, "manifest": format!("{version}.manifest"), "timestamp": null,
            "rows": rows, "deleted_rows": 0, "fragments": 1, "bytes": 1000, "schema_fingerprint": "", "columns": [],
            "vectors": [], "indices": [], "writer_version": null, "data_format": null, "reader_flags": 0,
            "writer_flags": 0, "opaque": rows.is_none().then_some("an unknown flag"), "tags": [], "branches": [],
            "history": [], "base_paths": [],
        });
        serde_json::from_value(text).expect("every field is there")
    }

    pub(crate) fn database(tables: Vec<TableStamp>) -> Stamp {
        Stamp::Lancedb(Box::new(LanceStamp {
            canonical_root: "/srv/db".to_owned(),
            tables,
            pins: PinSummary::default(),
            excluded: Vec::new(),
            damage: Vec::new(),
            external_bases: Vec::new(),
        }))
    }
}
