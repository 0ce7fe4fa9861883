//! What restores that were interrupted have left beside a target, and which of it another run can go on from.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::journal::{Found, Journal, Line, Origin, State, is_journal, is_ours};

/// What an interrupted run of the same restore has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Bytes that it takes on disk. How much of it is right shows when it is read.
    pub bytes: u64,
}

/// What stands around one target.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The staging directory to go on from.
    pub(super) resumes: Option<(PathBuf, Partial)>,
    /// Staging directories of other restores to the same target: in nobody's hands, and of no more use.
    pub(super) discards: Vec<PathBuf>,
}

/// Looks through the journals beside `staging`, where a restore of `origin` to `target` would be written. Blocking.
///
/// # Errors
///
/// [`Error::Busy`] while another process restores to the same target.
pub(super) fn around(target: &Path, staging: &Path, origin: &Origin) -> Result<Around, Error> {
    let mut around = Around::default();
    let Some(directory) = staging.parent() else {
        return Ok(around);
    };
    let mut usable = Vec::new();
    for path in journals(directory).map_err(Error::local("list", directory))? {
        let found = Journal::look(&path).map_err(Error::local("read the journal", &path))?;
        let (alive, line) = match found {
            Some(Found::Alive(Some(line))) => (true, line),
            Some(Found::Dead(Some(line))) => (false, line),
            _ => continue,
        };
        if line.target != target || Journal::path_for(&line.staging) != path {
            continue;
        }
        if alive {
            return Err(Error::Busy {
                target: line.target,
                staging: line.staging,
            });
        }
        if line.origin == *origin && is_partial(&line) {
            usable.push(line.staging);
        } else {
            around.discards.push(line.staging);
        }
    }
    // Ids begin with the time: the last is the newest.
    usable.sort();
    if let Some(newest) = usable.pop() {
        let partial = Partial {
            bytes: bytes_on_disk(&newest),
        };
        around.resumes = Some((newest, partial));
    }
    around.discards.append(&mut usable);
    Ok(around)
}

/// Whether another run can go on from it: it was being filled, and its directory is there and this user's.
pub(super) fn is_partial(line: &Line) -> bool {
    let there = std::fs::symlink_metadata(&line.staging);
    line.state == State::Writing && there.is_ok_and(|found| found.is_dir() && is_ours(&found))
}

/// All journals in a directory, whoever's they are; none if there is no such directory.
pub(super) fn journals(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut journals = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_journal(&entry.file_name()) {
            journals.push(entry.path());
        }
    }
    Ok(journals)
}

/// What a directory takes on disk. For an estimate of the space needed: what can not be looked at counts nothing.
fn bytes_on_disk(directory: &Path) -> u64 {
    let mut pending = vec![directory.to_owned()];
    let mut blocks = 0;
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            blocks += found.blocks();
            if found.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    blocks * 512
}
