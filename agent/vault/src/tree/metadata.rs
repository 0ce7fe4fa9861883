//! Owner, mode, times and extended attributes: read at the cut, put back as privileges allow.
//!
//! Access control lists and SELinux labels are extended attributes to the kernel (`system.posix_acl_access`,
//! `security.selinux`), so that nothing here knows their inner form.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Gid, Mode, RawMode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Most bytes of extended attributes that one file may carry through a backup.
pub const MAX_XATTRS: usize = 1 << 20;

const PERMISSIONS: u32 = 0o7777;
const SET_ID: u32 = 0o6000;
const NANOS: i64 = 1_000_000_000;

/// What a file is beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with set-id and sticky, without the file type.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Extended attributes in order of name, access control lists and security labels included.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Name with its namespace, as `user.comment`.
    pub name: Vec<u8>,
    /// Value as the kernel gives it.
    pub value: Vec<u8>,
}

/// What tells an unchanged immutable file without reading it. No ctime: a hard link made by anyone changes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub inode: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Length in bytes.
    pub len: u64,
}

impl Identity {
    /// The identity of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = fs::fstat(file)?;
        Ok(Self {
            dev: stat.st_dev,
            inode: stat.st_ino,
            mtime_ns: mtime_ns(&stat),
            len: u64::try_from(stat.st_size).unwrap_or(0),
        })
    }
}

/// A piece of metadata that could not be put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unapplied {
    /// Which: `owner`, `mode`, `mtime` or the attribute's name.
    pub what: String,
    /// The system's reason.
    pub reason: String,
}

impl fmt::Display for Unapplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl Metadata {
    /// Reads the metadata of an open file or directory.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = fs::fstat(file)?;
        let xattrs = read_xattrs(
            |buffer| fs::flistxattr(file, buffer),
            |name, buffer| fs::fgetxattr(file, name, buffer),
        )?;
        Ok(Self::from_stat(&stat, xattrs))
    }

    /// Reads the metadata of what lies at `path`, not following a symbolic link.
    pub fn of_link(path: &Path) -> io::Result<Self> {
        let stat = fs::lstat(path)?;
        let xattrs = read_xattrs(
            |buffer| fs::llistxattr(path, buffer),
            |name, buffer| fs::lgetxattr(path, name, buffer),
        )?;
        Ok(Self::from_stat(&stat, xattrs))
    }

    fn from_stat(stat: &Stat, xattrs: Vec<Xattr>) -> Self {
        Self {
            mode: stat.st_mode & PERMISSIONS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime_ns: mtime_ns(stat),
            xattrs,
        }
    }

    /// Puts this metadata on an open file or directory; what the system refused is returned, never an error.
    ///
    /// Owner first (a change of owner clears set-id bits), times last. Where the owner can not be put back, set-id
    /// bits are not either: they would lend the wrong user's rights.
    pub fn apply(&self, file: impl AsFd) -> Vec<Unapplied> {
        let fd = file.as_fd();
        let mut unapplied = Vec::new();
        let mut note = |what: &str, result: Result<(), Errno>| {
            if let Err(errno) = result {
                unapplied.push(Unapplied {
                    what: what.to_owned(),
                    reason: errno.to_string(),
                });
                return false;
            }
            true
        };
        let owned = note("owner", self.apply_owner(&fd));
        let mode = if owned { self.mode } else { self.mode & !SET_ID };
        note(
            "mode",
            fs::fchmod(fd, Mode::from_raw_mode(mode as RawMode & PERMISSIONS)),
        );
        for xattr in &self.xattrs {
            let name = String::from_utf8_lossy(&xattr.name).into_owned();
            note(&name, apply_xattr(&fd, xattr));
        }
        note("mtime", fs::futimens(fd, &self.times()));
        unapplied
    }

    fn apply_owner(&self, fd: &impl AsFd) -> Result<(), Errno> {
        let stat = fs::fstat(fd)?;
        if (stat.st_uid, stat.st_gid) == (self.uid, self.gid) {
            return Ok(());
        }
        // All bits set means "leave as it is" to the kernel: such an id can not be put back.
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        fs::fchown(fd, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    /// Puts owner and time on the symbolic link `name` in the open directory `dir`.
    pub fn apply_to_link(&self, dir: impl AsFd, name: &Path) -> Vec<Unapplied> {
        let dir = dir.as_fd();
        let mut unapplied = Vec::new();
        let mut note = |what: &str, result: Result<(), Errno>| {
            if let Err(errno) = result {
                unapplied.push(Unapplied {
                    what: what.to_owned(),
                    reason: errno.to_string(),
                });
            }
        };
        let owner = match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if (stat.st_uid, stat.st_gid) == (self.uid, self.gid) => Ok(()),
            Ok(_) if self.uid == u32::MAX || self.gid == u32::MAX => Err(Errno::INVAL),
            Ok(_) => {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            }
            Err(errno) => Err(errno),
        };
        note("owner", owner);
        note(
            "mtime",
            fs::utimensat(dir, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW),
        );
        unapplied
    }

    fn times(&self) -> Timestamps {
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: fs::UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: self.mtime_ns.div_euclid(NANOS),
                tv_nsec: self.mtime_ns.rem_euclid(NANOS),
            },
        }
    }
}

fn mtime_ns(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(NANOS).saturating_add(nanos)
}

fn apply_xattr(fd: &impl AsFd, xattr: &Xattr) -> Result<(), Errno> {
    let name = xattr.name.as_slice();
    let mut present = Vec::with_capacity(xattr.value.len() + 1);
    // Putting an equal label again may need a right that leaving it does not.
    if fs::fgetxattr(fd, name, rustix::buffer::spare_capacity(&mut present)).is_ok() && present == xattr.value
    {
        return Ok(());
    }
    fs::fsetxattr(fd, name, &xattr.value, XattrFlags::empty())
}

/// Reads all extended attributes through the two calls given; file systems without any have none.
fn read_xattrs(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Vec<Xattr>> {
    let names = match sized(&list) {
        Ok(names) => names,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = match sized(|buffer| get(name, buffer)) {
            Ok(value) => value,
            // Gone since the listing, or not for us to read (trusted.*): neither can be put back.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => continue,
            Err(errno) => return Err(errno.into()),
        };
        total += name.len() + value.len();
        if total > MAX_XATTRS {
            return Err(io::Error::other(format!(
                "more than {MAX_XATTRS} bytes of extended attributes"
            )));
        }
        xattrs.push(Xattr {
            name: name.to_vec(),
            value,
        });
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Calls with a growing buffer until the answer fits.
fn sized(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < MAX_XATTRS => buffer.resize(buffer.len() * 8, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let original = File::create(&a).unwrap();
        fs::fchmod(&original, Mode::from_raw_mode(0o640)).unwrap();
        let xattr = fs::fsetxattr(&original, "user.note", b"kept", XattrFlags::empty());
        let times = Metadata {
            mtime_ns: -1_500_000_001,
            ..Metadata::default()
        }
        .times();
        fs::futimens(&original, &times).unwrap();
        let taken = Metadata::of(&original).unwrap();
        assert_eq!((taken.mode, taken.mtime_ns), (0o640, -1_500_000_001));
        assert_eq!(taken.xattrs.iter().any(|x| x.name == b"user.note"), xattr.is_ok());

        let copy = File::create(&b).unwrap();
        assert_eq!(taken.apply(&copy), vec![]);
        assert_eq!(Metadata::of(&copy).unwrap(), taken);
        assert_eq!(Metadata::of_link(&b).unwrap(), taken);
    }

    #[test]
    fn an_impossible_owner_is_reported_and_takes_set_id_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("a")).unwrap();
        let wanted = Metadata {
            mode: 0o4755,
            uid: u32::MAX,
            ..Metadata::of(&file).unwrap()
        };
        let unapplied = wanted.apply(&file);
        assert_eq!(unapplied.first().map(|u| u.what.as_str()), Some("owner"));
        assert_eq!(Metadata::of(&file).unwrap().mode, 0o755);
    }

    #[test]
    fn links_get_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let wanted = Metadata {
            mtime_ns: 5,
            ..Metadata::of_link(&link).unwrap()
        };
        let handle = File::open(dir.path()).unwrap();
        assert_eq!(wanted.apply_to_link(&handle, Path::new("link")), vec![]);
        assert_eq!(Metadata::of_link(&link).unwrap().mtime_ns, 5);
    }
}
