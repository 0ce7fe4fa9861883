//! The folder outside the database in which reflinks, hard links and copies are kept.
//!
//! # Crash consistency
//! Each collection has a sub-folder of its own and holds a lock in it. Whatever a kill leaves behind is a
//! sub-folder whose lock is free: [`sweep`] removes those and no others.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use crate::dir::Dir;

const PREFIX: &str = "pins-";
const LOCK: &str = ".lock";

/// One collection's sub-folder; removed on drop.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    dir: Dir,
    next: AtomicU64,
    _lock: File,
}

impl Staging {
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(parent)?;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{serial}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    created?;
                    let lock = File::create(path.join(LOCK))?;
                    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
                    let dir = Dir::open(&path)?;
                    return Ok(Self {
                        path,
                        dir,
                        next: AtomicU64::new(0),
                        _lock: lock,
                    });
                }
            }
        }
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn next_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the staging folder stays behind until the next sweep");
        }
    }
}

/// Removes what killed collections left in a staging folder; returns how many sub-folders that were.
///
/// # Errors
/// When the staging folder cannot be listed or a leftover cannot be removed.
pub fn sweep(parent: &Path) -> io::Result<usize> {
    let entries = match std::fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir();
        if ours && is_abandoned(&entry.path()) {
            std::fs::remove_dir_all(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_abandoned(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
