//! What restores that died have left behind.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Error;
use super::commit::roll_back;
use super::journal::{Found, Journal, State};
use super::resume::{is_partial, journals};

/// How long a half filled staging directory is kept for a run that goes on from it.
const KEEP: SignedDuration = SignedDuration::from_hours(7 * 24);

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
/// was done: by its journal, and only if nobody holds that. What is half filled stays for a week, so that the same
/// restore can go on from it. Call at the start, for each directory that restores may have been pointed into.
/// Blocking.
///
/// # Errors
///
/// [`Error::Local`] with what could not be swept.
pub fn sweep(directory: &Path, now: Timestamp) -> Result<Vec<Swept>, Error> {
    let mut swept = Vec::new();
    for path in journals(directory).map_err(Error::local("list", directory))? {
        let sweep = || {
            if can_be_gone_on_from(&path, now)? {
                Ok(None)
            } else {
                sweep_one(&path)
            }
        };
        swept.extend(sweep().map_err(Error::local("sweep what a restore left at", &path))?);
    }
    Ok(swept)
}

fn can_be_gone_on_from(journal: &Path, now: Timestamp) -> std::io::Result<bool> {
    let Some(Found::Dead(Some(line))) = Journal::look(journal)? else {
        return Ok(false);
    };
    let written = std::fs::metadata(journal)?.modified()?;
    let written = Timestamp::try_from(written).map_err(std::io::Error::other)?;
    Ok(is_partial(&line) && now.duration_since(written) < KEEP)
}

/// Undoes or finishes one restore, if its process is dead.
pub(super) fn sweep_one(path: &Path) -> std::io::Result<Option<Swept>> {
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
