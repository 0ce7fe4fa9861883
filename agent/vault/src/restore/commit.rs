//! From staging directory to target, and back if it can not be finished.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::Error;
use super::journal::{Inode, Journal, Line, State, Unit};
use super::plan::Method;
use super::site::sync_parent;
use crate::failpoint;
use crate::tree::TreePath;

/// A complete staging directory, about to be swapped in.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) line: Line,
    pub(super) journal: Journal,
    /// For the swap entry by entry.
    pub(super) units: Vec<TreePath>,
}

impl Swap {
    /// Swaps in; where that lies which stood there before. On an error everything is as it was, and what was staged
    /// is removed.
    pub(super) fn run(mut self) -> Result<Option<PathBuf>, Error> {
        let swapped = self.announce().and_then(|()| match self.line.method {
            Method::Rename => rename(&self.line).map(|()| None),
            Method::Exchange => exchange(&self.line).map(Some),
            Method::Entries => self.entries(),
        });
        match swapped {
            Ok(displaced) => {
                failpoint::reach("restore.swapped");
                // The swap is done and durable: a journal that stays behind is swept as finished.
                let done = self.journal.remove();
                done.map_err(Error::local("remove the journal of", &self.line.staging))?;
                failpoint::reach("restore.committed");
                Ok(displaced)
            }
            Err(error) => {
                if let Err(failure) = roll_back(&self.line).and_then(|()| self.journal.remove()) {
                    tracing::error!(staging = %self.line.staging.display(), error = %failure, "a swap was not rolled back; the next sweep does");
                }
                Err(error)
            }
        }
    }

    fn announce(&mut self) -> Result<(), Error> {
        let staging = &self.line.staging;
        let missing = |path: &Path| Error::local("find", path)(io::ErrorKind::NotFound.into());
        let mut units = Vec::with_capacity(self.units.len());
        for path in &self.units {
            let from = staging.join(path.as_path());
            let new = Inode::at(&from).ok_or_else(|| missing(&from))?;
            let existed = Inode::at(&self.line.target.join(path.as_path())).is_some();
            units.push(Unit::new(path, new, existed));
        }
        let new = Inode::at(staging).ok_or_else(|| missing(staging))?;
        self.line.state = State::Swapping { new, units };
        self.journal
            .append(&self.line)
            .map_err(Error::local("write the journal of", staging))?;
        failpoint::reach("restore.swapping");
        Ok(())
    }

    fn entries(&self) -> Result<Option<PathBuf>, Error> {
        let (target, staging) = (&self.line.target, &self.line.staging);
        let State::Swapping { units, .. } = &self.line.state else {
            return Ok(None);
        };
        let mut any = false;
        for unit in units {
            let Some(path) = unit.path() else { continue };
            let (from, to) = (staging.join(path.as_path()), target.join(path.as_path()));
            if let Some(parent) = to.parent() {
                refuse_links(target, parent)?;
                std::fs::create_dir_all(parent).map_err(Error::local("create", parent))?;
            }
            let swapped = if unit.existed {
                swap_two(&from, &to)
            } else {
                std::fs::rename(&from, &to)
            };
            swapped
                .and_then(|()| sync_parent(&to))
                .map_err(Error::local("swap in", &to))?;
            failpoint::reach("restore.entry.swapped");
            any |= unit.existed;
        }
        if any {
            std::fs::rename(staging, &self.line.displaced).map_err(Error::local("set aside", staging))?;
        } else {
            std::fs::remove_dir_all(staging).map_err(Error::local("remove", staging))?;
        }
        sync_parent(staging).map_err(Error::local("make durable", staging))?;
        Ok(any.then(|| self.line.displaced.clone()))
    }
}

/// The directories on the way to an entry must be directories: not links that lead elsewhere.
fn refuse_links(target: &Path, parent: &Path) -> Result<(), Error> {
    let below = parent.strip_prefix(target).unwrap_or(Path::new(""));
    let mut at = target.to_owned();
    for name in below {
        at.push(name);
        match std::fs::symlink_metadata(&at) {
            Ok(found) if !found.is_dir() => {
                let reason = format!("{} on the way to it is no directory", at.display());
                return Err(Error::Swap {
                    target: parent.to_owned(),
                    reason,
                });
            }
            // What is not there is made a directory; what can not be looked at fails there.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// One rename; replaces nothing but an empty directory.
fn rename(line: &Line) -> Result<(), Error> {
    std::fs::rename(&line.staging, &line.target)
        .and_then(|()| sync_parent(&line.target))
        .map_err(Error::local("move the restored directory to", &line.target))
}

fn exchange(line: &Line) -> Result<PathBuf, Error> {
    swap_two(&line.staging, &line.target).map_err(Error::local("exchange", &line.target))?;
    failpoint::reach("restore.exchanged");
    std::fs::rename(&line.staging, &line.displaced)
        .and_then(|()| sync_parent(&line.target))
        .map_err(Error::local("set aside", &line.target))?;
    Ok(line.displaced.clone())
}

/// Exchanges two entries of one file system in one step, or, where that can not be done, in three.
fn swap_two(ours: &Path, theirs: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match renameat_with(CWD, ours, CWD, theirs, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let aside = aside(ours);
            std::fs::rename(theirs, &aside)?;
            std::fs::rename(ours, theirs)?;
            std::fs::rename(&aside, ours)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Where an entry waits while two are exchanged in three steps.
fn aside(ours: &Path) -> PathBuf {
    let mut name = ours.file_name().unwrap_or_default().to_owned();
    name.push(".aside");
    ours.with_file_name(name)
}

/// Brings a swap that was not finished back to where it began, and removes what was staged.
///
/// What lies where is told by inodes: nothing is removed but what the journal names as restored, and nothing that is
/// in use is touched twice.
pub(super) fn roll_back(line: &Line) -> io::Result<()> {
    let State::Swapping { new, units } = &line.state else {
        return remove_if_there(&line.staging);
    };
    match line.method {
        Method::Rename => {}
        Method::Exchange => {
            restore_aside(&line.staging, &line.target)?;
            if Inode::at(&line.target) == Some(*new) {
                // Exchanged: complete but for the old directory's name.
                return set_aside(line);
            }
        }
        Method::Entries => {
            if Inode::at(&line.staging).is_none() {
                return Ok(());
            }
            for unit in units.iter().rev() {
                roll_back_unit(line, unit)?;
            }
        }
    }
    if Inode::at(&line.staging) == Some(*new) {
        remove_if_there(&line.staging)
    } else {
        Ok(())
    }
}

fn roll_back_unit(line: &Line, unit: &Unit) -> io::Result<()> {
    let Some(path) = unit.path() else { return Ok(()) };
    let (ours, theirs) = (
        line.staging.join(path.as_path()),
        line.target.join(path.as_path()),
    );
    restore_aside(&ours, &theirs)?;
    if Inode::at(&theirs) != Some(unit.new) {
        return Ok(());
    }
    if unit.existed {
        swap_two(&ours, &theirs)?
    } else {
        std::fs::rename(&theirs, &ours)?
    }
    sync_parent(&theirs)
}

/// Finishes or undoes an exchange in three steps that broke off.
fn restore_aside(ours: &Path, theirs: &Path) -> io::Result<()> {
    let aside = aside(ours);
    match (Inode::at(&aside), Inode::at(theirs), Inode::at(ours)) {
        (Some(_), None, _) => std::fs::rename(&aside, theirs),
        (Some(_), Some(_), None) => std::fs::rename(&aside, ours),
        _ => Ok(()),
    }
}

fn set_aside(line: &Line) -> io::Result<()> {
    if Inode::at(&line.staging).is_some() {
        std::fs::rename(&line.staging, &line.displaced)?;
    }
    sync_parent(&line.target)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
