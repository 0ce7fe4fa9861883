//! What a restore is doing, written beside its staging directory, so that whoever comes after a crash knows.
//!
//! Each state is one line of JSON, appended and made durable; the last whole line holds. As long as the process
//! lives it holds a lock on the file; a journal that nobody holds is that of a dead one. Journals of other users are
//! none of ours: in a directory that others may write to they could name anything.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::plan::Method;
use super::selection::Pattern;
use super::site::sync_directory;
use super::target::staging_id;
use crate::tree::TreePath;
use crate::{RepositoryId, SnapshotId};

/// Ends the names of journals.
pub(super) const SUFFIX: &str = ".journal";

/// Which directory or file this is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inode {
    dev: u64,
    ino: u64,
}

impl Inode {
    /// What lies at `path`, not following a link; `None` if nothing does.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().map(|found| Self {
            dev: found.dev(),
            ino: found.ino(),
        })
    }
}

/// An entry to be swapped by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    /// Bytes of its path, in hexadecimal: names need not be text.
    path: String,
    /// What was restored.
    pub(super) new: Inode,
    /// Whether something stood in its place.
    pub(super) existed: bool,
}

impl Unit {
    pub(super) fn new(path: &TreePath, new: Inode, existed: bool) -> Self {
        Self {
            path: hex::encode(path.as_bytes()),
            new,
            existed,
        }
    }

    pub(super) fn path(&self) -> Option<TreePath> {
        hex::decode(&self.path)
            .ok()
            .and_then(|bytes| TreePath::new(bytes).ok())
    }
}

/// How far a restore has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub(super) enum State {
    /// The staging directory is being filled; another run of the same restore can go on from it.
    Writing,
    /// It is complete and being swapped in.
    Swapping {
        /// The staging directory.
        new: Inode,
        /// What is swapped one after the other; empty for the other methods.
        units: Vec<Unit>,
    },
}

/// What is restored: two restores of the same to one target write the same bytes to the same places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) repository: RepositoryId,
    pub(super) snapshot: SnapshotId,
    pub(super) source: String,
    pub(super) paths: Vec<Pattern>,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) origin: Origin,
    pub(super) target: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) displaced: PathBuf,
    pub(super) method: Method,
    #[serde(flatten)]
    pub(super) state: State,
}

/// A journal as it is found beside a target.
#[derive(Debug)]
pub(super) enum Found {
    /// Its process lives; the line, if it is readable by now.
    Alive(Option<Line>),
    /// Its process is dead; the last line, unless it died while it wrote the first.
    Dead(Option<Line>),
}

/// Whether this is the name of a journal.
pub(super) fn is_journal(name: &OsStr) -> bool {
    let name = name.as_bytes().strip_suffix(SUFFIX.as_bytes());
    name.is_some_and(|name| staging_id(OsStr::from_bytes(name)).is_some())
}

/// A journal that this process holds.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// The journal that belongs to a staging directory.
    pub(super) fn path_for(staging: &Path) -> PathBuf {
        let mut name = staging.file_name().unwrap_or_default().to_owned();
        name.push(SUFFIX);
        staging.with_file_name(name)
    }

    pub(super) fn create(line: &Line) -> io::Result<Self> {
        let path = Self::path_for(&line.staging);
        let file = File::options().append(true).create_new(true).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut journal = Self { path, file };
        journal.append(line)?;
        if let Some(parent) = journal.path.parent() {
            sync_directory(parent)?;
        }
        Ok(journal)
    }

    pub(super) fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_all()
    }

    /// Takes over the journal of a dead process; `None` if its process lives, if it is another user's, or gone.
    pub(super) fn take_over(path: &Path) -> io::Result<Option<(Self, Option<Line>)>> {
        let Some(file) = open_ours(path)? else {
            return Ok(None);
        };
        // A journal removed by its owner between our opening and locking it is nobody's.
        if !lock(&file, FlockOperation::NonBlockingLockExclusive)? || !path.exists() {
            return Ok(None);
        }
        let line = last_line(&file)?;
        let path = path.to_owned();
        Ok(Some((Self { path, file }, line)))
    }

    /// Looks at a journal and leaves it as it is; `None` if it is another user's, or gone.
    pub(super) fn look(path: &Path) -> io::Result<Option<Found>> {
        let Some(file) = open_ours(path)? else {
            return Ok(None);
        };
        let dead = lock(&file, FlockOperation::NonBlockingLockShared)?;
        let line = last_line(&file)?;
        Ok(Some(if dead {
            Found::Dead(line)
        } else {
            Found::Alive(line)
        }))
    }

    /// The restore is over, in whatever way.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        self.path.parent().map_or(Ok(()), sync_directory)
    }
}

/// Opens a journal of this user's; `None` if it is another's, or gone.
fn open_ours(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = File::options()
        .read(true)
        .append(true)
        .custom_flags(flags)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let foreign = fs::symlink_metadata(path).is_ok_and(|found| !is_ours(&found));
            return if foreign { Ok(None) } else { Err(error) };
        }
    };
    Ok(is_ours(&file.metadata()?).then_some(file))
}

/// Whether this user made it.
pub(super) fn is_ours(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

/// Whether the lock was to be had.
fn lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn last_line(mut file: &File) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    Ok(whole
        .filter_map(|line| serde_json::from_slice(line).ok())
        .next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_holds_and_the_living_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let mut line = Line {
            origin: Origin {
                repository: RepositoryId::from_random([1; 16]),
                snapshot: SnapshotId::from_bytes([2; 16]),
                source: "memory".to_owned(),
                paths: vec![],
            },
            target: dir.path().join("t"),
            staging: dir.path().join("t.restoring-1"),
            displaced: dir.path().join("t.displaced-1"),
            method: Method::Exchange,
            state: State::Writing,
        };
        let mut journal = Journal::create(&line).unwrap();
        let path = Journal::path_for(&line.staging);
        assert!(
            Journal::take_over(&path).unwrap().is_none(),
            "taken from the living"
        );
        line.state = State::Swapping {
            new: Inode::at(dir.path()).unwrap(),
            units: vec![],
        };
        journal.append(&line).unwrap();
        journal.file.write_all(b"{\"half").unwrap();
        drop(journal);
        let (taken, found) = Journal::take_over(&path).unwrap().unwrap();
        assert_eq!(found, Some(line));
        taken.remove().unwrap();
        assert!(!path.exists());
    }
}
