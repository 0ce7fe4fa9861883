//! One file of a log, held open.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::error::Error;
use crate::encoding::Encoding;
use crate::state::FileIdentity;
use crate::time;
use crate::{json, prefix};

/// As much of a segment's beginning as is looked at.
const START: usize = 64 << 10;
/// One segment of a captured log.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its file name, or its path below the log's folder where segments are rotated into another.
    pub name: String,
    /// Where it was at the cut.
    pub path: PathBuf,
    /// The descriptor that its bytes are read from: the host's file, or a copy of our own.
    pub file: Arc<File>,
    /// The host's file: for what it says of owner and mode.
    pub live: Arc<File>,
    /// Bytes of it that belong to the cut.
    pub len: u64,
    /// Bytes of a half line after them.
    pub unterminated: u64,
    /// How it is stored.
    pub encoding: Encoding,
    /// Who it is whatever its name: from its first line. Empty while it has none.
    pub id: String,
    /// The file at the cut.
    pub identity: FileIdentity,
    /// Whether the application writes it, as far as its name says.
    pub active: bool,
    /// `file` is a copy of our own, which nobody truncates.
    pub(super) pinned: bool,
}

impl Segment {
    /// Reads stored bytes of the cut. Fewer than asked for only at its end; an error if the file was truncated.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let wanted = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut read = 0;
        while read < wanted {
            match self.file.read_at(&mut into[read..wanted], offset + read as u64) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!(
                            "{} was truncated at byte {} while it was read",
                            self.path.display(),
                            offset + read as u64
                        ),
                    ));
                }
                Ok(some) => read += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// A reader of the stored bytes of the cut; any number may read at once.
    pub fn reader(&self) -> SegmentReader<'_> {
        SegmentReader { segment: self, at: 0 }
    }

    /// Whether nobody but the writer can still change it: it is rotated.
    pub const fn is_immutable(&self) -> bool {
        !self.active
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        (self.identity.device, self.identity.inode)
    }

    /// Whether the name still leads to the file.
    pub(super) fn is_still_named(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.inode())
    }

    /// What is under the descriptor now. A file that was truncated and has grown again begins with another line.
    pub(super) fn now(&self) -> Result<Now, Error> {
        if self.pinned {
            return Ok(Now::Holds { grown: 0 });
        }
        let failed = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let now = identity(&self.file).map_err(failed)?;
        if now.size < self.len {
            return Ok(Now::Truncated);
        }
        if now != self.identity && !self.id.is_empty() {
            let (_, id, _) = beginning(&self.file, None).map_err(failed)?;
            if id != self.id {
                return Ok(Now::Truncated);
            }
        }
        Ok(Now::Holds {
            grown: now.size.saturating_sub(self.identity.size),
        })
    }
}

/// What a descriptor holds of a captured segment.
pub(super) enum Now {
    /// Not all of it.
    Truncated,
    /// All of it, and so much more.
    Holds { grown: u64 },
}

/// Reads a segment's stored bytes from the front.
#[derive(Debug)]
pub struct SegmentReader<'a> {
    segment: &'a Segment,
    at: u64,
}

impl Read for SegmentReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.segment.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file that was opened and may become a segment.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) identity: FileIdentity,
    pub(super) encoding: Encoding,
    pub(super) id: String,
    /// Time of its first record, in nanoseconds.
    pub(super) first_time: Option<i128>,
}

/// What stands at a path instead of a readable regular file.
pub(super) enum Refused {
    Gone,
    Other(&'static str),
    Failed(Error),
}

impl Opened {
    /// The active file, or `None` if it is not there.
    pub(super) fn active(path: &Path) -> Result<Option<Self>, Error> {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match Self::open(path.to_owned(), name, None) {
            Ok(opened) => Ok(Some(opened)),
            Err(Refused::Gone) => Ok(None),
            Err(Refused::Other(found)) => Err(Error::NotAFile {
                path: path.to_owned(),
                found,
            }),
            Err(Refused::Failed(error)) => Err(error),
        }
    }

    /// Opens a regular file, and nothing that a link leads to.
    pub(super) fn open(path: PathBuf, name: String, time_field: Option<&str>) -> Result<Self, Refused> {
        // NONBLOCK: a pipe in the log's place must not hold the agent up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(rustix::io::Errno::NOENT) => return Err(Refused::Gone),
            Err(rustix::io::Errno::LOOP) => return Err(Refused::Other("a symbolic link")),
            Err(rustix::io::Errno::NXIO) => return Err(Refused::Other("a socket")),
            Err(errno) => return Err(Refused::Failed(Error::opening(path, errno.into()))),
        };
        let reading = |source| {
            Refused::Failed(Error::Read {
                path: path.clone(),
                source,
            })
        };
        let identity = identity(&file).map_err(reading)?;
        let kind = file.metadata().map_err(reading)?.file_type();
        if !kind.is_file() {
            return Err(Refused::Other(if kind.is_dir() {
                "a folder"
            } else {
                "no regular file"
            }));
        }
        let (encoding, id, first_time) = beginning(&file, time_field).map_err(reading)?;
        Ok(Self {
            name,
            path,
            file,
            identity,
            encoding,
            id,
            first_time,
        })
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        (self.identity.device, self.identity.inode)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.identity.size == 0
    }

    /// Whether both begin with the same line.
    pub(super) fn is_akin(&self, other: &Self) -> bool {
        !self.id.is_empty() && self.id == other.id
    }

    /// The same file under the name it has now.
    pub(super) fn renamed(mut self, path: PathBuf, name: String) -> Result<Self, Error> {
        (self.path, self.name) = (path, name);
        self.measure()?;
        Ok(self)
    }

    /// Takes the length anew. Answers whether what was there when it was opened still is.
    pub(super) fn measure(&mut self) -> Result<bool, Error> {
        let failed = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let before = self.identity;
        self.identity = identity(&self.file).map_err(failed)?;
        if self.identity == before {
            return Ok(true);
        }
        let (encoding, id, _) = beginning(&self.file, None).map_err(failed)?;
        let same = self.identity.size >= before.size && (self.id.is_empty() || self.id == id);
        (self.encoding, self.id) = (encoding, id);
        Ok(same)
    }

    /// Bytes up to and with the last newline, and bytes after it.
    pub(super) fn whole_lines(&self) -> Result<(u64, u64), Error> {
        let size = self.identity.size;
        let mut block = vec![0; START];
        let mut end = size;
        while end > 0 {
            let start = end.saturating_sub(START as u64);
            let part = &mut block[..(end - start) as usize];
            self.file
                .read_exact_at(part, start)
                .map_err(|source| Error::Read {
                    path: self.path.clone(),
                    source,
                })?;
            if let Some(newline) = memchr::memrchr(b'\n', part) {
                let len = start + newline as u64 + 1;
                return Ok((len, size - len));
            }
            end = start;
        }
        Ok((0, size))
    }

    /// A reader of its lines, expanded.
    pub(super) fn lines(&self) -> Box<dyn Read + '_> {
        let stored = FromStart {
            file: &self.file,
            at: 0,
            left: self.identity.size,
        };
        match self.encoding {
            Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stored)),
            _ => Box::new(stored),
        }
    }
}

pub(super) fn identity(file: &File) -> io::Result<FileIdentity> {
    let metadata = file.metadata()?;
    Ok(FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        mtime_ns: metadata
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(metadata.mtime_nsec()),
    })
}

/// How a file is stored, who it is, and the time of its first record.
fn beginning(file: &File, time_field: Option<&str>) -> io::Result<(Encoding, String, Option<i128>)> {
    let mut stored = Vec::new();
    FromStart {
        file,
        at: 0,
        left: START as u64,
    }
    .read_to_end(&mut stored)?;
    let encoding = Encoding::detect(&stored);
    let mut text = Vec::new();
    match encoding {
        Encoding::Plain => text = stored,
        Encoding::Gzip => {
            // The beginning of what may still be written: an error only ends it.
            let decoder = flate2::read::MultiGzDecoder::new(stored.as_slice());
            let _ended = decoder.take(START as u64).read_to_end(&mut text);
        }
        Encoding::Zstd | Encoding::Xz | Encoding::Bzip2 => {}
    }
    let whole = text.len() == START;
    let id = if whole || text.contains(&b'\n') {
        prefix::identity(&text)
    } else {
        String::new()
    };
    Ok((encoding, id, first_time(&text, time_field)))
}

fn first_time(text: &[u8], field: Option<&str>) -> Option<i128> {
    let line = &text[..memchr::memchr(b'\n', text)?];
    let mut members = Vec::new();
    json::scan(line, &mut members).ok()?;
    let named = |name: &str| {
        members
            .iter()
            .find(|member| &line[member.key.clone()] == name.as_bytes())
    };
    let names = field.into_iter().chain(time::FIELDS);
    let value = names
        .filter_map(named)
        .find_map(|member| time::parse(&line[member.value.clone()]))?;
    Some(value.as_nanosecond())
}

/// Reads a file by position, so that descriptors can be shared.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut into[..wanted], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
