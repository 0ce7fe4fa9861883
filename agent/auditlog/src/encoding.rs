//! Rotated segments as they lie on disk: plain, gzip, or something that is kept but can not be read.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

/// How a segment's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As the application wrote it.
    Plain,
    /// gzip, of one or several members.
    Gzip,
    /// zstd: kept, not read.
    Zstd,
    /// xz: kept, not read.
    Xz,
    /// bzip2: kept, not read.
    Bzip2,
}

impl Encoding {
    /// What the first bytes of a file say it is.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }

    /// Whether lines can be read out of it.
    pub const fn is_readable(self) -> bool {
        matches!(self, Self::Plain | Self::Gzip)
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// Reads a segment's lines out of its stored bytes, and knows whether an error is the store's or the data's.
pub(crate) struct Decoder<R: Read> {
    inner: Inner<R>,
    failed: Rc<Cell<bool>>,
    left: u64,
}

enum Inner<R: Read> {
    Plain(Tap<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Tap<R>>>>),
}

/// What reading stopped for.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The stored bytes could not be had.
    Store(io::Error),
    /// They are no gzip, or not all of it.
    Damage(io::Error),
    /// They expand beyond the limit.
    TooLarge,
}

/// Marks an expansion beyond the limit.
#[derive(Debug, thiserror::Error)]
#[error("expands beyond the limit")]
struct TooLarge;

impl<R: Read> Decoder<R> {
    /// Decodes at most `limit` bytes; a plain segment is not limited.
    pub(crate) fn new(encoding: Encoding, reader: R, limit: u64) -> Self {
        let failed = Rc::new(Cell::new(false));
        let tap = Tap {
            reader,
            failed: Rc::clone(&failed),
        };
        match encoding {
            Encoding::Gzip => {
                let gzip = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, tap));
                Self {
                    inner: Inner::Gzip(Box::new(gzip)),
                    failed,
                    left: limit,
                }
            }
            _ => Self {
                inner: Inner::Plain(tap),
                failed,
                left: u64::MAX,
            },
        }
    }

    /// Tells what an error that a read gave was.
    pub(crate) fn judge(failed: &Cell<bool>, error: io::Error) -> Stop {
        if error.get_ref().is_some_and(|inner| inner.is::<TooLarge>()) {
            Stop::TooLarge
        } else if failed.get() {
            Stop::Store(error)
        } else {
            Stop::Damage(error)
        }
    }

    /// Set once the store itself has failed.
    pub(crate) fn store_failed(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.failed)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.inner {
            Inner::Plain(tap) => return tap.read(into),
            Inner::Gzip(gzip) => gzip.read(into)?,
        };
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(TooLarge))?;
        Ok(read)
    }
}

/// Remembers that the reader below failed.
struct Tap<R> {
    reader: R,
    failed: Rc<Cell<bool>>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(into);
        if result
            .as_ref()
            .is_err_and(|error| error.kind() != io::ErrorKind::Interrupted)
        {
            self.failed.set(true);
        }
        result
    }
}
