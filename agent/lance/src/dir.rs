//! Folders held open, and names resolved below them.
//!
//! Everything that a collection opens is opened relative to a descriptor of its table's folder and without
//! following symbolic links. So a table that is dropped and re-created under the same path while it is being
//! read cannot lend files of its new incarnation to the old one: the descriptor keeps naming the old folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};

/// Which file on disk a name led to. Equal identities of two moments mean the same, unreplaced file as long as
/// it is held open or write-once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) mtime_ns: i128,
    pub(crate) len: u64,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mtime_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            len: u64::try_from(stat.st_size).unwrap_or(0),
        }
    }

    /// Whether both are the same folder: times and sizes of folders change with their entries.
    pub(crate) fn same_folder(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) kind: FileType,
}

/// A folder held open.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    /// Set once the kernel refused `O_NOATIME`, which only owners may ask for.
    touches_atime: AtomicBool,
}

/// Set once the kernel turned out to lack `openat2`.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a folder by its path, whose own links are followed: where a source lies is its owner's business.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, FOLDER, Mode::empty())?;
        Ok(Self {
            fd,
            touches_atime: AtomicBool::new(false),
        })
    }

    /// Opens a folder below this one; `""` is this one again.
    pub(crate) fn sub(&self, path: &str) -> io::Result<Self> {
        let fd = if path.is_empty() {
            rustix::fs::openat(&self.fd, ".", FOLDER, Mode::empty())?
        } else {
            self.open_beneath(path, FOLDER)?
        };
        Ok(Self {
            fd,
            touches_atime: AtomicBool::new(self.touches_atime.load(Ordering::Relaxed)),
        })
    }

    /// Opens a regular file below this folder for reading, without touching its access time where that is allowed.
    pub(crate) fn file(&self, path: &str) -> io::Result<(File, Stat)> {
        let fd = self.open_for_reading(path)?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok((File::from(fd), stat))
    }

    fn open_for_reading(&self, path: &str) -> io::Result<OwnedFd> {
        if !self.touches_atime.load(Ordering::Relaxed) {
            match self.open_beneath(path, FILE | OFlags::NOATIME) {
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                    self.touches_atime.store(true, Ordering::Relaxed);
                }
                opened => return opened,
            }
        }
        self.open_beneath(path, FILE)
    }

    /// What a name below this folder is, without following it.
    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Ok(rustix::fs::statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW)?);
        };
        let parent = self.open_beneath(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// What this folder is.
    pub(crate) fn own_stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Which folder this is.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        Ok(Identity::of(&self.own_stat()?))
    }

    /// The names in this folder, sorted. Names that are not UTF-8 come with replacement characters, which no
    /// open will find: the caller reports them instead of losing them.
    pub(crate) fn list(&self) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let raw = entry.file_name().to_bytes();
            if matches!(raw, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind_of(raw)?,
                known => Some(known),
            };
            let name = OsStr::from_bytes(raw).to_string_lossy().into_owned();
            items.extend(kind.map(|kind| Item { name, kind }));
        }
        items.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(items)
    }

    /// Some file systems do not say in a listing what a name is; `None` if it is gone by now.
    fn kind_of(&self, name: &[u8]) -> io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.fd, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(fd),
                Err(rustix::io::Errno::NOSYS) => WITHOUT_OPENAT2.store(true, Ordering::Relaxed),
                // A sandbox may refuse the call with EPERM, as the kernel does for O_NOATIME: ask without it.
                Err(rustix::io::Errno::PERM | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.open_step_by_step(path, flags)
    }

    /// Where `openat2` is missing: one component after the other, none of them a link.
    fn open_step_by_step(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut at: Option<OwnedFd> = None;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let from: BorrowedFd<'_> = at.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            let flags = if last { flags | OFlags::NOFOLLOW } else { through };
            let next = rustix::fs::openat(from, part, flags, Mode::empty())?;
            at = Some(next);
        }
        at.ok_or_else(|| io::Error::from(rustix::io::Errno::NOENT))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether an error says that a name does not exist (any more).
pub(crate) fn is_missing(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [
        rustix::io::Errno::NOENT,
        rustix::io::Errno::NOTDIR,
        rustix::io::Errno::STALE,
    ]
    .iter()
    .any(|errno| code == Some(errno.raw_os_error()))
}

/// Whether an error says that a component of a path is a symbolic link.
pub(crate) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::fs::write(folder.path().join("real/file"), b"x").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        assert!(dir.file("real/file").is_ok());
        assert!(
            is_link(&dir.file("link/file").unwrap_err()) || is_missing(&dir.file("link/file").unwrap_err())
        );
        assert!(dir.open_step_by_step("link/file", FILE).is_err());
        assert!(dir.open_step_by_step("real/file", FILE).is_ok());
        assert!(is_missing(&dir.file("real/none").unwrap_err()));
    }

    #[test]
    fn a_replaced_folder_is_not_mixed_up() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("t");
        std::fs::create_dir(&table).unwrap();
        std::fs::write(table.join("old"), b"1").unwrap();
        let held = Dir::open(&table).unwrap();
        std::fs::rename(&table, folder.path().join("away")).unwrap();
        std::fs::create_dir(&table).unwrap();
        std::fs::write(table.join("new"), b"2").unwrap();
        assert!(held.file("old").is_ok());
        assert!(is_missing(&held.file("new").unwrap_err()));
        assert!(
            !held
                .identity()
                .unwrap()
                .same_folder(&Dir::open(&table).unwrap().identity().unwrap())
        );
    }
}
