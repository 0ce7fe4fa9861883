//! Databases and logs written by other versions of LanceDB, each with the facts that are true of it.
//!
//! Small ones are part of the project; larger ones are taken from the folder that `DR_FIXTURES` names, or from
//! `shared/fixtures` beside the checkout, where that exists.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;

/// An archive that can be unpacked.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// `lancedb-0.14.0 (small)`.
    pub name: String,
    archive: PathBuf,
}

/// An unpacked fixture; gone when dropped.
#[derive(Debug)]
pub struct Unpacked {
    folder: TempDir,
    /// What is true of it.
    pub facts: Facts,
}

/// What is true of a fixture, as its writer and numpy found it.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// The version that wrote it.
    pub lancedb: String,
    /// Its tables by name.
    pub tables: BTreeMap<String, TableFacts>,
    /// Questions to the table `memory` and their exact answers.
    pub golden: Vec<Golden>,
    /// The audit log.
    pub audit: AuditFacts,
}

/// What is true of one table.
#[derive(Debug, Clone, Deserialize)]
pub struct TableFacts {
    /// The head's version.
    pub version: u64,
    /// Live rows.
    pub rows: u64,
    /// Names of columns in order.
    pub columns: Vec<String>,
}

/// The exact nearest neighbours of one vector.
#[derive(Debug, Clone, Deserialize)]
pub struct Golden {
    /// Ids of the ten nearest rows.
    pub exact_top10: Vec<i64>,
    /// Their cosine distances.
    pub distances: Vec<f64>,
}

/// What is true of the audit log.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditFacts {
    /// Records over all segments.
    pub records: u64,
    /// The chain's head.
    pub head: String,
}

impl Fixture {
    /// Unpacks it into a folder of its own.
    ///
    /// # Panics
    ///
    /// If the archive is damaged.
    #[track_caller]
    pub fn unpack(&self) -> Unpacked {
        let folder = tempfile::tempdir().expect("make a folder for a fixture");
        let file = File::open(&self.archive).expect("open a fixture");
        let reader = zstd::Decoder::new(file).expect("read a fixture as zstd");
        tar::Archive::new(reader)
            .unpack(folder.path())
            .expect("unpack a fixture");
        let text = std::fs::read_to_string(folder.path().join("facts.json")).expect("read a fixture's facts");
        let facts = serde_json::from_str(&text).expect("a fixture's facts are as this type says");
        Unpacked { folder, facts }
    }
}

impl Unpacked {
    /// The LanceDB directory.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("rocketship-db")
    }

    /// The live audit log; rotated segments lie beside it.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("logs").join("audit.log")
    }

    /// The folder that holds both.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// The small fixtures that every checkout has.
pub fn small() -> Vec<Fixture> {
    archives(&crate::checkout().join("tests").join("fixtures"), " (small)")
}

/// All fixtures: the small ones, and the large ones where they are.
pub fn all() -> Vec<Fixture> {
    let elsewhere = std::env::var_os("DR_FIXTURES").map(PathBuf::from);
    let beside = crate::checkout().join("..").join("shared").join("fixtures");
    let mut fixtures = small();
    fixtures.extend(archives(&elsewhere.unwrap_or(beside), ""));
    fixtures
}

fn archives(folder: &Path, suffix: &str) -> Vec<Fixture> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut fixtures: Vec<_> = entries
        .filter_map(|entry| {
            let archive = entry.ok()?.path();
            let name = archive.file_name()?.to_str()?.strip_suffix(".tar.zst")?;
            Some(Fixture {
                name: format!("{name}{suffix}"),
                archive: archive.clone(),
            })
        })
        .collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}
