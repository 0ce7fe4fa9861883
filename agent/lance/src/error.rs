//! What can stop a collection, one variant per failed step.

use std::io;
use std::path::PathBuf;

use crate::manifest::DecodeError;
use crate::pins::PinMethod;

/// Why a database could not be discovered, collected, checked or patched.
///
/// Damage found on the source is *not* an error: it is reported beside what could be taken
/// (see [`Damage`](crate::Damage)), for a damaged table must not keep its neighbours from being backed up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database folder itself cannot be opened.
    #[error("open the database folder {}: check that it exists and that this user may read it", path.display())]
    OpenDatabase {
        /// The folder as it was configured.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder is one table instead of a folder of tables.
    #[error("{} is a table, not a database: name the folder that it lies in", path.display())]
    IsTable {
        /// The folder as it was configured.
        path: PathBuf,
    },
    /// A folder inside the database cannot be listed.
    #[error("list {}: this user needs read and search permission on it", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file inside the database exists but cannot be read.
    #[error("read {}: this user needs read permission on it (run as the application's user or add an ACL)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A path that a table needs leads through a symbolic link.
    #[error(
        "{} is a symbolic link, and links inside a database are not followed: they may lead out of it. Make the target a source of its own or move it here",
        path.display()
    )]
    SymbolicLink {
        /// The link, or a path below it.
        path: PathBuf,
    },
    /// No pin method works for a file.
    #[error("hold {} still: {}", path.display(), describe_refusals(refused))]
    NoPinMethod {
        /// The file.
        path: PathBuf,
        /// Each configured method with the reason why it does not work.
        refused: Vec<(PinMethod, String)>,
    },
    /// The staging folder cannot be created or written.
    #[error("prepare the staging folder {}: it must be writable and outside the database", path.display())]
    Staging {
        /// The staging folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The staging folder lies inside the database.
    #[error("the staging folder {} lies inside the database {}, where nothing is ever written: choose another", staging.display(), database.display())]
    StagingInside {
        /// The staging folder.
        staging: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// The writer moved a table's head on every attempt.
    #[error(
        "table {table} moved on during each of {attempts} attempts to hold one version still: try again when its writer is less busy"
    )]
    Busy {
        /// The table's path inside the database.
        table: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A manifest cannot be decoded where that leaves nothing to do.
    #[error("decode the manifest {}", path.display())]
    Decode {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// A restored manifest cannot be written back after its base paths were patched.
    #[error("write the patched manifest {}", path.display())]
    Patch {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Whether trying again without any change would fail again.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Busy { .. } | Self::Cancelled)
    }
}

fn describe_refusals(refused: &[(PinMethod, String)]) -> String {
    if refused.is_empty() {
        return "no pin method is configured".into();
    }
    let reasons: Vec<String> = refused
        .iter()
        .map(|(method, why)| format!("{method}: {why}"))
        .collect();
    format!("no configured pin method works ({})", reasons.join("; "))
}
