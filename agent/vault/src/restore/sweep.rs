//! What restores that died have left behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::commit::roll_back;
use super::journal::{Journal, SUFFIX, State};

/// One restore that was swept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Its target.
    pub target: PathBuf,
    /// Its staging directory.
    pub staging: PathBuf,
    /// It had begun to be swapped in.
    pub swapping: bool,
}

/// Brings every restore in `directory` whose process is dead back to where it began, or to its end where the swap
/// was done: by its journal, and only if nobody holds that. Call at the start, for each directory that restores may
/// have been pointed into. Blocking.
///
/// # Errors
///
/// [`Error::Local`] with what could not be swept.
pub fn sweep(directory: &Path) -> Result<Vec<Swept>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::local("list", directory)(error)),
    };
    let mut swept = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::local("list", directory))?;
        if is_journal(&entry.file_name()) {
            let path = entry.path();
            swept.extend(sweep_one(&path).map_err(Error::local("sweep what a restore left at", &path))?);
        }
    }
    Ok(swept)
}

fn is_journal(name: &OsStr) -> bool {
    let Some(name) = name.as_bytes().strip_suffix(SUFFIX.as_bytes()) else {
        return false;
    };
    let Some(at) = name.len().checked_sub(32) else {
        return false;
    };
    let (front, id) = name.split_at(at);
    front.ends_with(b".restoring-") && id.iter().all(u8::is_ascii_hexdigit)
}

fn sweep_one(path: &Path) -> std::io::Result<Option<Swept>> {
    let Some((journal, line)) = Journal::take_over(path)? else {
        return Ok(None);
    };
    let Some(line) = line.filter(|line| Journal::path_for(&line.staging) == path) else {
        // It died while it wrote its first line, before it made anything.
        journal.remove()?;
        return Ok(None);
    };
    roll_back(&line)?;
    journal.remove()?;
    tracing::info!(staging = %line.staging.display(), "swept what an interrupted restore had left");
    let swapping = matches!(line.state, State::Swapping { .. });
    Ok(Some(Swept {
        target: line.target,
        staging: line.staging,
        swapping,
    }))
}
