//! The staging directory: everything is reached from its open handle, and never through a link.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::journal::is_ours;
use crate::tree::TreePath;

/// A directory being filled. Cheap to clone; closed for all clones at once.
#[derive(Debug, Clone)]
pub(super) struct Site {
    path: PathBuf,
    root: Arc<File>,
    /// An interrupted restore has left something in it.
    resumed: bool,
    /// Writers hold it shared; whoever removes the directory takes it and says that it is over.
    closed: Arc<RwLock<bool>>,
}

impl Site {
    /// Makes the directory; it must not exist. Nobody else may look inside until it is complete.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        fs::mkdir(path, Mode::RWXU)?;
        Self::at(path, false)
    }

    /// Opens a directory that an interrupted restore has left; it must be this user's own.
    pub(super) fn resume(path: &Path) -> io::Result<Self> {
        let site = Self::at(path, true)?;
        if !is_ours(&site.root.metadata()?) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        fs::fchmod(&*site.root, Mode::RWXU)?;
        Ok(site)
    }

    fn at(path: &Path, resumed: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = File::from(fs::open(path, flags, Mode::empty())?);
        Ok(Self {
            path: path.to_owned(),
            root: Arc::new(root),
            resumed,
            closed: Arc::default(),
        })
    }

    /// Whether an interrupted restore has left something in it.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn full(&self, path: &TreePath) -> PathBuf {
        if path.is_root() {
            self.path.clone()
        } else {
            self.path.join(path.as_path())
        }
    }

    /// Does `write` unless the site has been closed.
    pub(super) fn write<T>(&self, write: impl FnOnce(&Self) -> io::Result<T>) -> io::Result<T> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            Err(io::ErrorKind::Interrupted.into())
        } else {
            write(self)
        }
    }

    /// Waits for those who write, and lets nobody write after them.
    pub(super) fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Whether nothing more will be written: long work looks now and then.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn create_directory(&self, path: &TreePath) -> io::Result<()> {
        let parent = self.open_parent(path)?;
        match fs::mkdirat(&parent, path.name(), Mode::RWXU) {
            Err(Errno::EXIST) if self.resumed => {}
            made => return Ok(made?),
        }
        if let Ok(directory) = self.open_directory(path) {
            // It may have got its own mode already.
            return Ok(fs::fchmod(&directory, Mode::RWXU)?);
        }
        self.remove(path)?;
        Ok(fs::mkdirat(&parent, path.name(), Mode::RWXU)?)
    }

    pub(super) fn create_link(&self, path: &TreePath, target: &[u8]) -> io::Result<()> {
        let parent = self.open_parent(path)?;
        match fs::symlinkat(target, &parent, path.name()) {
            Err(Errno::EXIST) if self.resumed => {}
            made => return Ok(made?),
        }
        self.remove(path)?;
        Ok(fs::symlinkat(target, &parent, path.name())?)
    }

    /// Removes whatever lies there, a directory with all that is in it.
    pub(super) fn remove(&self, path: &TreePath) -> io::Result<()> {
        let parent = self.open_parent(path)?;
        match fs::unlinkat(&parent, path.name(), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => std::fs::remove_dir_all(self.full(path)),
            removed => Ok(removed?),
        }
    }

    /// The file that an interrupted restore has left there, to be read; `None` if there is none.
    pub(super) fn left_file(&self, path: &TreePath) -> io::Result<Option<File>> {
        if !self.resumed {
            return Ok(None);
        }
        match self.open(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the file if it is not there.
    pub(super) fn create_file(&self, path: &TreePath) -> io::Result<File> {
        self.open(path, OFlags::CREATE | OFlags::RDWR)
    }

    pub(super) fn write_at(&self, path: &TreePath, pieces: &[(u64, bytes::Bytes)]) -> io::Result<()> {
        let file = self.create_file(path)?;
        for (offset, bytes) in pieces {
            file.write_all_at(bytes, *offset)?;
        }
        Ok(())
    }

    pub(super) fn open_directory(&self, path: &TreePath) -> io::Result<File> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The open directory that holds `path`.
    pub(super) fn open_parent(&self, path: &TreePath) -> io::Result<File> {
        match path.parent() {
            Some(parent) => self.open_directory(&parent),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn open(&self, path: &TreePath, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = if flags.contains(OFlags::CREATE) {
            Mode::RUSR | Mode::WUSR
        } else {
            Mode::empty()
        };
        let name: &Path = if path.is_root() {
            Path::new(".")
        } else {
            path.as_path()
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match fs::openat2(&*self.root, name, flags, mode, resolve) {
            // A kernel before 5.6 or a filter: the path is normal and its parents are directories that we made.
            Err(Errno::NOSYS | Errno::PERM) => fs::openat(&*self.root, name, flags, mode),
            other => other,
        };
        Ok(File::from(opened.map_err(io::Error::from)? as OwnedFd))
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory's parent durable, if it has one.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_reached_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let site = Site::create(&dir.path().join("site")).unwrap();
        site.create_link(&path("way-out"), b"../outside").unwrap();
        assert!(
            site.write_at(&path("way-out/file"), &[(0, bytes::Bytes::from_static(b"x"))])
                .is_err()
        );
        assert!(site.create_directory(&path("way-out/dir")).is_err());
        assert!(site.create_file(&path("way-out")).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn what_is_left_is_taken_over_and_what_is_of_another_kind_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("site");
        let first = Site::create(&at).unwrap();
        first.create_directory(&path("d")).unwrap();
        first
            .write_at(&path("d/file"), &[(0, bytes::Bytes::from_static(b"x"))])
            .unwrap();
        first.create_directory(&path("was-directory")).unwrap();
        first
            .write_at(&path("was-file"), &[(0, bytes::Bytes::from_static(b"x"))])
            .unwrap();
        assert!(
            first.create_directory(&path("d")).is_err(),
            "a new site takes nothing over"
        );
        fs::chmod(at.join("d"), Mode::RUSR | Mode::XUSR).unwrap();
        let site = Site::resume(&at).unwrap();
        site.create_directory(&path("d")).unwrap();
        site.create_file(&path("d/other")).unwrap();
        assert!(site.left_file(&path("d/file")).unwrap().is_some());
        assert!(site.left_file(&path("d/absent")).unwrap().is_none());
        site.create_link(&path("was-directory"), b"elsewhere").unwrap();
        site.create_directory(&path("was-file")).unwrap();
        assert!(at.join("was-directory").is_symlink());
        assert!(at.join("was-file").is_dir());
    }

    #[test]
    fn a_closed_site_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::create(&dir.path().join("site")).unwrap();
        site.clone().close();
        assert!(site.write(|site| site.create_directory(&path("late"))).is_err());
    }
}
