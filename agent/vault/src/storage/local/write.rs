//! Writing one object so that it is there whole or not at all, and removing what a crash left.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use uuid::Uuid;

use crate::storage::{PutMode, PutOutcome};

/// How the names of files begin that are still being written.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Leftovers younger than this may belong to another process that is still writing.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// One object on its way to its file.
pub(super) struct Object<'a> {
    pub(super) root: &'a Path,
    pub(super) path: &'a Path,
    pub(super) body: &'a [u8],
}

impl Object<'_> {
    pub(super) fn store(&self, mode: PutMode) -> io::Result<PutOutcome> {
        let folder = self.path.parent().unwrap_or(self.root);
        if mode == PutMode::Create && self.path.try_exists()? {
            sync_folder(folder)?;
            return Ok(PutOutcome::Exists);
        }
        let temporary = folder.join(format!("{TEMPORARY}{}", Uuid::now_v7().simple()));
        let stored = self
            .write(&temporary)
            .and_then(|()| publish(&temporary, self.path, mode));
        if !matches!(stored, Ok(PutOutcome::Stored)) {
            // Best effort: what stays is swept as a leftover.
            let _ = fs::remove_file(&temporary);
        }
        let outcome = stored?;
        sync_folder(folder)?;
        Ok(outcome)
    }

    fn write(&self, temporary: &Path) -> io::Result<()> {
        let mut file = match create(temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_folders(temporary.parent().unwrap_or(self.root))?;
                create(temporary)?
            }
            created => created?,
        };
        file.write_all(self.body)?;
        file.sync_all()
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes `folder` and what is missing above it, each durable in its parent.
fn create_folders(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(parent) = path.parent() {
            sync_folder(parent)?;
        }
    }
    Ok(())
}

fn publish(temporary: &Path, path: &Path, mode: PutMode) -> io::Result<PutOutcome> {
    if mode == PutMode::Overwrite {
        return fs::rename(temporary, path).map(|()| PutOutcome::Stored);
    }
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(PutOutcome::Stored),
        Err(Errno::EXIST) => Ok(PutOutcome::Exists),
        // A file system without that flag: a hard link refuses to replace as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => publish_by_link(temporary, path),
        Err(error) => Err(error.into()),
    }
}

fn publish_by_link(temporary: &Path, path: &Path) -> io::Result<PutOutcome> {
    match fs::hard_link(temporary, path) {
        Ok(()) => fs::remove_file(temporary).map(|()| PutOutcome::Stored),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(PutOutcome::Exists),
        Err(error) => Err(error),
    }
}

/// Removes the file and makes that durable.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems can not sync a folder and say so.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        synced => synced,
    }
}

/// Removes what crashed writers left below `root`. Ages are told against the file `just_written`, so that no clock but
/// the file system's own is asked. Best effort: what can not be removed now is tried by the next process.
pub(super) fn sweep(root: &Path, just_written: &Path) {
    let Ok(now) = fs::metadata(just_written).and_then(|meta| meta.modified()) else {
        return;
    };
    let is_leftover = |path: &Path| {
        let age = fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|then| now.duration_since(then).ok());
        age.is_some_and(|age| age > LEFTOVER_AGE)
    };
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path: PathBuf = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < super::walk::MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) && is_leftover(&path) {
                tracing::info!(path = %path.display(), "removing what an interrupted write left");
                let _ = fs::remove_file(&path);
            }
        }
    }
}
