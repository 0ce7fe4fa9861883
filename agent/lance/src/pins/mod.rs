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
use serde::{Deserialize, Serialize};

use crate::dir::Identity;

pub use limits::DescriptorLimit;
pub(crate) use pinner::{PinError, Pinner};
pub use staging::sweep;
pub use watch::{Breach, FreeSpace, Observation, Watch};

use limits::Claim;
use staging::Staging;

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

/// Extended attributes that this user may read. A file system without them has none.
pub(crate) fn xattrs(file: &impl AsFd) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0_u8; 4096];
    let Ok(len) = rustix::fs::flistxattr(file, &mut names[..]) else {
        return Vec::new();
    };
    let names = names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let names = names.filter_map(|name| std::str::from_utf8(name).ok());
    names
        .filter_map(|name| Some((name.to_owned(), xattr(file, name)?)))
        .collect()
}

fn xattr(file: &impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; 64 * 1024];
    let len = rustix::fs::fgetxattr(file, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}
