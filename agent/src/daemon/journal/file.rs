//! The file itself: lines that prove themselves.
//!
//! ## Layout
//! The first line is `drctl agent journal 1`. Every other line is 16 hex digits, a space, and one JSON record; the
//! digits are the first half of the BLAKE3 of the JSON. A crash can leave the last line torn: it is cut off, for
//! nobody was told of it. A line that does not prove itself further up is damage.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Error, Record};

const NAME: &str = "drctl agent journal ";
const VERSION: u32 = 1;
const DIGITS: usize = 16;
/// The longest line; plans may be long, documents are not in it.
const LONGEST: u64 = 16 << 20;

/// An open journal.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    length: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    /// Lines that do not prove themselves.
    pub(super) damaged: usize,
}

impl Lines {
    /// Opens and reads the journal, or begins one. A torn last line is cut off.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), Error> {
        if !path.try_exists().map_err(Error::file("look for", path))? {
            return Ok((Self::write(path, &[])?, Found::default()));
        }
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::file("open", path))?;
        let (found, whole) = read(&file, path)?;
        let length = file.metadata().map_err(Error::file("measure", path))?.len();
        if whole < length {
            tracing::info!(path = %path.display(), bytes = length - whole, "the last line was torn by a crash and is cut off");
            file.set_len(whole).map_err(Error::file("cut", path))?;
            file.sync_all().map_err(Error::file("sync", path))?;
        }
        file.seek(SeekFrom::Start(whole))
            .map_err(Error::file("seek in", path))?;
        let lines = Self {
            path: path.to_owned(),
            file,
            length: whole,
        };
        Ok((lines, found))
    }

    /// Writes a journal with these records in place of what is there.
    pub(super) fn write(path: &Path, records: &[Record]) -> Result<Self, Error> {
        let unfinished = path.with_extension("new");
        let mut text = format!("{NAME}{VERSION}\n").into_bytes();
        for record in records {
            text.extend(line(record)?);
        }
        let write = || -> io::Result<File> {
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(&text)?;
            file.sync_all()?;
            dr_vault::failpoint::reach("journal.compacting");
            std::fs::rename(&unfinished, path)?;
            if let Some(folder) = path.parent() {
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        let file = write().map_err(Error::file("write", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length: text.len() as u64,
        })
    }

    /// Adds a line; when this returns it survives a crash. After an error nothing was added.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), Error> {
        let line = line(record)?;
        let added = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = added {
            // Half a line must not stand before the next: without a way back the file is of no use.
            let restored = self
                .file
                .set_len(self.length)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(match restored {
                Ok(_) => Error::file("write", &self.path)(error),
                Err(error) => Error::file("take half a line back from", &self.path)(error),
            });
        }
        self.length += line.len() as u64;
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

fn line(record: &Record) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(record).map_err(Error::Record)?;
    let mut line = digits(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

fn digits(json: &[u8]) -> String {
    blake3::hash(json).to_hex()[..DIGITS].to_owned()
}

/// All records, and how far the file is whole.
fn read(file: &File, path: &Path) -> Result<(Found, u64), Error> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| -> Result<bool, Error> {
        line.clear();
        let read = (&mut reader)
            .take(LONGEST)
            .read_until(b'\n', line)
            .map_err(Error::file("read", path))?;
        Ok(read > 0)
    };
    next(&mut line)?;
    header(&line, path)?;
    let mut whole = line.len() as u64;
    let mut found = Found::default();
    while next(&mut line)? {
        let Some(text) = line.strip_suffix(b"\n") else {
            break;
        };
        match parse(text) {
            Some(record) => found.records.push(record),
            None => found.damaged += 1,
        }
        whole += line.len() as u64;
    }
    Ok((found, whole))
}

fn header(line: &[u8], path: &Path) -> Result<(), Error> {
    let text = String::from_utf8_lossy(line);
    let version = text
        .strip_suffix('\n')
        .and_then(|text| text.strip_prefix(NAME))
        .and_then(|version| version.parse::<u32>().ok());
    match version {
        Some(VERSION) => Ok(()),
        Some(version) => Err(Error::Newer {
            path: path.to_owned(),
            version,
        }),
        None => Err(Error::NotAJournal {
            path: path.to_owned(),
        }),
    }
}

fn parse(line: &[u8]) -> Option<Record> {
    let (sum, json) = line.split_at_checked(DIGITS)?;
    let json = json.strip_prefix(b" ")?;
    if sum != digits(json).as_bytes() {
        return None;
    }
    serde_json::from_slice(json).ok()
}
