//! File systems of a test's own: in memory, read-only, the same one in a second place. Only root can mount.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount; unmounted when dropped.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// A file system in memory at `path`; `None` where nothing can be mounted.
    pub fn memory(path: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        Self::at(path, ["-t", "tmpfs", "-o", &options, "tmpfs"].map(OsStr::new))
    }

    /// What lies at `from` in a second place.
    pub fn bind(from: &Path, path: &Path) -> Option<Self> {
        Self::at(path, [OsStr::new("--bind"), from.as_os_str()])
    }

    /// Lets nobody write there any more.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub fn make_read_only(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,ro"]).arg(&self.0);
        let done = mount.output().expect("start mount");
        assert!(done.status.success(), "{done:?}");
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn at<'a>(path: &Path, arguments: impl IntoIterator<Item = &'a OsStr>) -> Option<Self> {
        std::fs::create_dir_all(path).ok()?;
        let mut mount = Command::new("mount");
        mount.args(arguments).arg(path);
        let mounted = mount.output().ok()?.status.success();
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg(&self.0).output();
    }
}
