//! Pins: what keeps a file's bytes within reach after its writer deletes it.
//!
//! # Overview
//! | method | needs | leaves on the host |
//! |---|---|---|
//! | reflink | a staging folder on the same, copy-on-write file system | a sub-folder there, swept after a crash |
//! | descriptor | read permission | nothing |
//! | hard link | ownership, the same mount; changes the live file's ctime, so other backup tools re-read it | as reflink |
//! | copy | space for the whole file | as reflink |
//!
//! The first configured method that works is chosen for each file system, and the reasons why earlier ones did
//! not are kept for the report. A method that gives out on the way (the descriptor limit is reached) hands over
//! to the next one. Nothing is ever written inside the database folder, and reading does not change access
//! times where the kernel allows that.

mod limits;
mod pinner;
mod staging;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::dir::Identity;

pub use limits::DescriptorLimit;
pub(crate) use pinner::{PinError, Pinner};
pub use staging::sweep;
pub use watch::{Breach, FreeSpace, Observation, Watch};

use limits::Claim;
use staging::Staging;

/// Longest list of names, and longest value, of extended attributes.
const MAX_XATTR: usize = 64 * 1024;

/// A way to hold a file still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinMethod {
    /// A copy-on-write clone in the staging folder.
    Reflink,
    /// An open descriptor.
    Descriptor,
    /// A hard link in the staging folder.
    Hardlink,
    /// A full copy in the staging folder.
    Copy,
}

impl PinMethod {
    /// The order that is tried unless one is configured. Hard links are not in it: they have to be asked for.
    pub const DEFAULT_ORDER: [Self; 3] = [Self::Reflink, Self::Descriptor, Self::Copy];
}

impl fmt::Display for PinMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reflink => "reflink",
            Self::Descriptor => "descriptor",
            Self::Hardlink => "hardlink",
            Self::Copy => "copy",
        })
    }
}

/// What the live file was like when it was pinned. A staged clone or copy has an owner and times of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Device of the live file.
    pub device: u64,
    /// Inode of the live file.
    pub inode: u64,
    /// Length.
    pub len: u64,
    /// Extended attributes that this user may read; ACLs and labels are among them.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    pub(crate) fn of(stat: &Stat, xattrs: Vec<(String, Vec<u8>)>) -> Self {
        let identity = Identity::of(stat);
        Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime_ns: identity.mtime_ns,
            device: identity.device,
            inode: identity.inode,
            len: identity.len,
            xattrs,
        }
    }
}

/// A file held still.
#[derive(Debug)]
pub struct Pin(Held);

#[derive(Debug)]
enum Held {
    Descriptor {
        file: Arc<File>,
        _claim: Claim,
    },
    Staged {
        method: PinMethod,
        name: String,
        staging: Arc<Staging>,
        open: Mutex<Weak<File>>,
    },
    Memory(Vec<u8>),
}

impl Pin {
    pub(crate) fn memory(bytes: Vec<u8>) -> Self {
        Self(Held::Memory(bytes))
    }

    /// How the file is held; `None` for a small mutable file that was read into memory.
    pub fn method(&self) -> Option<PinMethod> {
        match &self.0 {
            Held::Descriptor { .. } => Some(PinMethod::Descriptor),
            Held::Staged { method, .. } => Some(*method),
            Held::Memory(_) => None,
        }
    }

    /// The held content as an open file. A caller that reads in several steps should keep it.
    ///
    /// # Errors
    /// When the staged file cannot be opened, or no memory file can be made.
    pub fn file(&self) -> io::Result<Arc<File>> {
        match &self.0 {
            Held::Descriptor { file, .. } => Ok(Arc::clone(file)),
            Held::Staged {
                name, staging, open, ..
            } => {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(file) = open.upgrade() {
                    return Ok(file);
                }
                let (file, _) = staging.dir().file(name)?;
                let file = Arc::new(file);
                *open = Arc::downgrade(&file);
                Ok(file)
            }
            Held::Memory(bytes) => {
                let fd = rustix::fs::memfd_create("dr-pin", rustix::fs::MemfdFlags::CLOEXEC)?;
                let file = File::from(fd);
                file.write_all_at(bytes, 0)?;
                Ok(Arc::new(file))
            }
        }
    }

    /// Reads from an offset, as `pread` does: 0 at the end.
    ///
    /// # Errors
    /// What the system said.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.0 {
            Held::Memory(bytes) => {
                let rest = usize::try_from(offset)
                    .ok()
                    .and_then(|offset| bytes.get(offset..))
                    .unwrap_or_default();
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
            _ => self.file()?.read_at(buffer, offset),
        }
    }

    /// Bytes on disk that are kept only by this pin: its live name is gone.
    pub(crate) fn held_bytes(&self, len: u64) -> u64 {
        match &self.0 {
            Held::Descriptor { file, .. } => match rustix::fs::fstat(file) {
                Ok(stat) if stat.st_nlink == 0 => u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
                _ => 0,
            },
            Held::Staged {
                method: PinMethod::Hardlink,
                name,
                staging,
                ..
            } => match staging.dir().stat(name) {
                Ok(stat) if stat.st_nlink == 1 => len,
                _ => 0,
            },
            Held::Staged {
                method: PinMethod::Copy,
                ..
            } => len,
            // A clone shares its blocks with the live file for as long as that exists: see `Watch`.
            Held::Staged { .. } | Held::Memory(_) => 0,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Staged { name, staging, .. } = self
            && let Err(error) = rustix::fs::unlinkat(staging.dir(), name.as_str(), AtFlags::empty())
        {
            tracing::debug!(%error, name, "a staged pin stays until its folder is removed");
        }
    }
}

/// How the files of one file system were held, and what was tried before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileSystemPins {
    /// Device number of the file system.
    pub device: u64,
    /// Files and bytes by method.
    pub held: BTreeMap<PinMethod, Figure>,
    /// Methods that were configured and did not work, with the reason.
    pub refused: Vec<Refused>,
}

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figure {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A pin method that did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The method.
    pub method: PinMethod,
    /// Why.
    pub reason: String,
}

/// What `doctor` and the snapshot say about pins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PinSummary {
    /// One record per file system.
    pub file_systems: Vec<FileSystemPins>,
    /// Limit of descriptors; `None` where none were asked for.
    pub descriptors: Option<DescriptorLimit>,
}

impl PinSummary {
    /// The method that holds most files; `None` if nothing is held.
    pub fn main_method(&self) -> Option<PinMethod> {
        let mut totals: BTreeMap<PinMethod, u64> = BTreeMap::new();
        for (method, figure) in self.file_systems.iter().flat_map(|pins| &pins.held) {
            *totals.entry(*method).or_default() += figure.files;
        }
        totals
            .into_iter()
            .max_by_key(|(_, files)| *files)
            .map(|(method, _)| method)
    }
}

/// Extended attributes that this user may read. A file system without them has none; what can not be read otherwise
/// is logged: the content is worth more than they are.
pub(crate) fn xattrs(file: &impl AsFd, path: &str) -> Vec<(String, Vec<u8>)> {
    let names = match sized(|buffer| rustix::fs::flistxattr(file, buffer)) {
        Ok(names) => names,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Vec::new(),
        Err(error) => {
            tracing::warn!(path, %error, "the extended attributes can not be listed and are not backed up");
            return Vec::new();
        }
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.filter_map(|name| xattr(file, path, name)).collect()
}

fn xattr(file: &impl AsFd, path: &str, name: &[u8]) -> Option<(String, Vec<u8>)> {
    let Ok(name) = std::str::from_utf8(name) else {
        let name = name.escape_ascii();
        tracing::warn!(path, %name, "an extended attribute with a name that is no UTF-8 is not backed up");
        return None;
    };
    match sized(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
        Ok(value) => Some((name.to_owned(), value)),
        // Gone since the listing, or not for this user.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => None,
        Err(error) => {
            tracing::warn!(path, name, %error, "an extended attribute can not be read and is not backed up");
            None
        }
    }
}

/// Calls with a growing buffer until the answer fits; the kernel has no more than 64 KiB.
fn sized(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < MAX_XATTR => buffer.resize(buffer.len() * 16, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_any_length_is_read_whole() {
        for len in [0, 256, 257, 5_000, MAX_XATTR] {
            let read = sized(|buffer| match buffer.get_mut(..len) {
                Some(part) => {
                    part.fill(7);
                    Ok(len)
                }
                None => Err(Errno::RANGE),
            });
            assert_eq!(read, Ok(vec![7; len]));
        }
        assert_eq!(sized(|_| Err(Errno::RANGE)), Err(Errno::RANGE));
    }

    #[test]
    fn extended_attributes_come_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("data")).unwrap();
        // As many as the file system takes.
        let set = (0..300).take_while(|number| {
            let name = format!("user.note-{number:03}-of-an-application");
            rustix::fs::fsetxattr(&file, name, b"kept", rustix::fs::XattrFlags::empty()).is_ok()
        });
        let set = set.count();
        let read = xattrs(&file, "data");
        let notes = read.iter().filter(|(name, _)| name.starts_with("user.note-"));
        assert_eq!(notes.clone().count(), set);
        assert!(notes.into_iter().all(|(_, value)| value == b"kept"));
    }
}
