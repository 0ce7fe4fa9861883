//! Folders seen from outside: what is in them, byte for byte, and whether anybody touched them.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What `stat` says of one file or folder. Access times are left out: reading is no touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Size in bytes.
    pub size: u64,
    /// Mode, owner, group and number of links.
    pub ownership: (u32, u32, u32, u64),
    /// Time of the last change of content, in nanoseconds.
    pub modified: i128,
    /// Time of the last change of anything.
    pub changed: i128,
}

/// Everything below `folder` and `folder` itself, by relative path. What vanishes meanwhile is left out.
///
/// # Panics
///
/// If `folder` can not be read.
pub fn stats(folder: &Path) -> BTreeMap<PathBuf, Stat> {
    let mut found = BTreeMap::new();
    for path in walk(folder) {
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let stat = Stat {
            identity: (meta.dev(), meta.ino()),
            size: meta.size(),
            ownership: (meta.mode(), meta.uid(), meta.gid(), meta.nlink()),
            modified: nanos(meta.mtime(), meta.mtime_nsec()),
            changed: nanos(meta.ctime(), meta.ctime_nsec()),
        };
        found.insert(relative(folder, &path), stat);
    }
    found
}

/// BLAKE3 of every file below `folder`, by relative path.
///
/// # Panics
///
/// If one can not be read.
pub fn hashes(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let files = walk(folder).into_iter().filter(|path| path.is_file());
    files
        .map(|path| {
            (
                relative(folder, &path),
                blake3::hash(&std::fs::read(&path).expect("read a file")),
            )
        })
        .collect()
}

/// Files below `folder`, by relative path.
///
/// # Panics
///
/// If `folder` can not be read.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    walk(folder)
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| relative(folder, &path))
        .collect()
}

/// Copies a folder with its modes.
///
/// # Panics
///
/// If that is not possible.
pub fn copy(from: &Path, to: &Path) {
    for path in walk(from) {
        let target = to.join(relative(from, &path));
        if path.is_dir() {
            std::fs::create_dir_all(&target).expect("make a folder");
        } else {
            std::fs::copy(&path, &target).expect("copy a file");
        }
    }
}

/// Replaces a file's bytes, read-only or not.
///
/// # Panics
///
/// If that is not possible.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    let _absent = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    std::fs::write(path, bytes).expect("overwrite a file");
}

/// Puts a folder back to what `pristine` holds.
///
/// # Panics
///
/// If that is not possible.
pub fn put_back(pristine: &Path, folder: &Path) {
    std::fs::remove_dir_all(folder).expect("remove a folder");
    copy(pristine, folder);
}

/// `folder` and everything below it, in order of path.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let path = found[next].clone();
        next += 1;
        if path.is_dir() && !path.is_symlink() {
            // A folder that a writer removes while we walk is no failure.
            let Ok(entries) = std::fs::read_dir(&path) else {
                continue;
            };
            found.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
        }
    }
    found.sort();
    found
}

fn relative(folder: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(folder).map(Path::to_owned).unwrap_or_default()
}

/// Flips one bit in every 16 bytes of all files below a folder: every chunk of a pack is hit, for each ends with a tag
/// of that length, however a run has cut and packed them.
///
/// # Panics
///
/// If a file can not be read or written.
pub fn riddle(folder: &Path) {
    for file in files(folder) {
        let path = folder.join(file);
        let mut bytes = std::fs::read(&path).expect("read a file to be damaged");
        bytes.iter_mut().step_by(16).for_each(|byte| *byte ^= 1);
        std::fs::write(path, bytes).expect("damage a file");
    }
}
