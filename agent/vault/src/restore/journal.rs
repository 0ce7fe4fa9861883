//! What a restore is doing, written beside its staging directory, so that whoever comes after a crash knows.
//!
//! Each state is one line of JSON, appended and made durable; the last whole line holds. As long as the process
//! lives it holds a lock on the file; a journal that nobody holds is that of a dead one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::plan::Method;
use super::site::sync_directory;
use crate::tree::TreePath;

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
    /// The staging directory is being filled: it is of no use to anybody else.
    Writing,
    /// It is complete and being swapped in.
    Swapping {
        /// The staging directory.
        new: Inode,
        /// What is swapped one after the other; empty for the other methods.
        units: Vec<Unit>,
    },
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) target: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) displaced: PathBuf,
    pub(super) method: Method,
    #[serde(flatten)]
    pub(super) state: State,
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

    /// Takes over the journal of a dead process; `None` if its process lives.
    pub(super) fn take_over(path: &Path) -> io::Result<Option<(Self, Option<Line>)>> {
        let file = File::options().read(true).append(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // Removed by its owner between our opening and locking it.
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(path)?;
        let whole = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b"\n"));
        let line = whole
            .filter_map(|line| serde_json::from_slice(line).ok())
            .next_back();
        Ok(Some((
            Self {
                path: path.to_owned(),
                file,
            },
            line,
        )))
    }

    /// The restore is over, in whatever way.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        self.path.parent().map_or(Ok(()), sync_directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_holds_and_the_living_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let mut line = Line {
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
