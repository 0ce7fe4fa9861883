//! Holds the active file's bytes against `copytruncate`.
//!
//! A descriptor outlives every rotation but that one, which cuts the file it is on. A clone of its extents costs
//! nothing where the file system can; elsewhere the bytes are copied, for one segment is seldom large. The copy has no
//! name: it is gone when the agent is.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::segment::Now;
use super::{Captured, Segment};

/// How the active file is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// By its descriptor: a truncation would take its bytes.
    Descriptor,
    /// By a clone of its extents.
    Reflink,
    /// By a copy.
    Copy,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptor => "descriptor",
            Self::Reflink => "reflink",
            Self::Copy => "copy",
        })
    }
}

impl Captured {
    /// Holds the active file in `staging`, a folder of the agent's own: cloned where that can be done, else copied if
    /// it is no longer than `most`, else by its descriptor as before.
    ///
    /// Answers [`Error::Truncated`] if it was truncated meanwhile; take the capture again.
    pub fn pin(&mut self, staging: &Path, most: u64) -> Result<Pin, Error> {
        if self.held == Pin::Descriptor {
            self.held = pin(&mut self.segments, staging, most)?;
        }
        Ok(self.held)
    }
}

fn pin(segments: &mut [Segment], staging: &Path, most: u64) -> Result<Pin, Error> {
    let Some(active) = segments.iter_mut().find(|segment| segment.active) else {
        return Ok(Pin::Descriptor);
    };
    let failed = |source| Error::Pin {
        path: staging.to_owned(),
        source,
    };
    let copy = nameless(staging).map_err(failed)?;
    let pin = match rustix::fs::ioctl_ficlone(&copy, &active.file) {
        Ok(()) => Pin::Reflink,
        Err(_) if active.len > most => return Ok(Pin::Descriptor),
        Err(_) => {
            fill(&copy, active).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => Error::Truncated {
                    path: active.path.clone(),
                },
                _ => failed(source),
            })?;
            Pin::Copy
        }
    };
    if matches!(active.now()?, Now::Truncated) {
        return Err(Error::Truncated {
            path: active.path.clone(),
        });
    }
    active.file = Arc::new(copy);
    active.pinned = true;
    Ok(pin)
}

/// A file without a name in `folder`.
fn nameless(folder: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    let open = |path: &Path, create: bool, flags| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(create)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)
    };
    open(folder, false, flags).or_else(|_| {
        let path = unused_name(folder);
        let file = open(&path, true, 0)?;
        std::fs::remove_file(&path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        Ok(file)
    })
}

/// For file systems that know no nameless files.
fn unused_name(folder: &Path) -> PathBuf {
    let process = std::process::id();
    let free = |path: &PathBuf| std::fs::symlink_metadata(path).is_err();
    let names = (0u32..).map(|number| folder.join(format!("audit-log-pin-{process}-{number}")));
    names
        .into_iter()
        .find(free)
        .unwrap_or_else(|| folder.join("audit-log-pin"))
}

fn fill(copy: &File, segment: &Segment) -> io::Result<()> {
    let (mut reader, mut writer) = (segment.reader(), copy);
    let mut block = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut block)?;
        if read == 0 {
            return Ok(());
        }
        writer.write_all(&block[..read])?;
    }
}
