//! Reports of drills: kept as JSON in the state directory, drawn as a page for the terminal.

use std::io::Write;
use std::path::{Path, PathBuf};

use dr_proto::model::Report;

pub use dr_terminal::page;

/// Why a report could not be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written or read.
    #[error("report {}", path.display())]
    File {
        /// The report's file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is no report of a schema that this version knows.
    #[error("report {} is not readable", path.display())]
    Decode {
        /// The report's file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
}

/// Writes the report into `dir` as `<drill>.json`, whole or not at all; returns where it lies.
pub fn save(dir: &Path, report: &Report) -> Result<PathBuf, Error> {
    let path = dir.join(format!("{}.json", report.drill));
    let file = |source| Error::File {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(file)?;
    let text = serde_json::to_vec_pretty(report).map_err(|source| Error::Decode {
        path: path.clone(),
        source,
    })?;
    let unfinished = dir.join(format!(".{}.json.partial", report.drill));
    let written = std::fs::File::create(&unfinished)
        .and_then(|mut f| f.write_all(&text).and_then(|()| f.sync_all()))
        .and_then(|()| std::fs::rename(&unfinished, &path))
        .and_then(|()| std::fs::File::open(dir)?.sync_all());
    written.map_err(file)?;
    Ok(path)
}

/// Reads a report back.
pub fn load(path: &Path) -> Result<Report, Error> {
    let text = std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| Error::Decode {
        path: path.to_owned(),
        source,
    })
}
