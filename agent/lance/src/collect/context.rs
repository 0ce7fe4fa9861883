//! What all tables of one collection share: the database folder, the pins, chance.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;

use crate::dir::{Dir, Identity, is_link, is_missing};
use crate::discover::is_table;
use crate::error::Error;
use crate::layout;
use crate::pins::{Attributes, Pin, PinError, Pinner, xattrs};

use super::{CollectOptions, Entries, EntryKind, PinnedEntry};

/// Small files that may be replaced are read into memory.
const MEMORY_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) path: PathBuf,
    pub(crate) canonical: PathBuf,
    pub(crate) root: Dir,
    pub(crate) options: CollectOptions,
    pub(crate) pinner: Pinner,
    chance: u64,
}

impl Context {
    pub(crate) fn open(path: &Path, options: &CollectOptions) -> Result<Self, Error> {
        let failed = |source| Error::OpenDatabase {
            path: path.to_owned(),
            source,
        };
        let root = Dir::open(path).map_err(failed)?;
        if is_table(&root) {
            return Err(Error::IsTable {
                path: path.to_owned(),
            });
        }
        let canonical = path.canonicalize().map_err(failed)?;
        let pinner = Pinner::new(&options.pins, options.staging.as_deref(), path)?;
        Ok(Self {
            path: std::path::absolute(path).map_err(failed)?,
            canonical,
            root,
            options: options.clone(),
            pinner,
            chance: options.seed ^ 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// Whether the path still leads to the folder that is held open.
    pub(crate) fn is_root(&self, current: &Dir) -> Result<bool, Error> {
        let held = self.root.identity().map_err(|source| self.lost(source))?;
        Ok(current
            .identity()
            .map_err(|source| self.lost(source))?
            .same_folder(&held))
    }

    /// Follows the path to the folder that it leads to by now.
    pub(crate) fn reopen_root(&mut self) -> Result<(), Error> {
        let current = Dir::open(&self.path).map_err(|source| self.lost(source))?;
        if !self.is_root(&current)? {
            self.root = current;
            self.canonical = self.path.canonicalize().map_err(|source| self.lost(source))?;
        }
        Ok(())
    }

    pub(crate) fn lost(&self, source: io::Error) -> Error {
        Error::OpenDatabase {
            path: self.path.clone(),
            source,
        }
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), Error> {
        if self.options.cancel.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Waits before attempt `attempt` (from 1), at least `least`: up to 2, 4, 8 … 256 ms.
    pub(crate) fn pause(&mut self, attempt: u32, least: Duration) {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let ceiling = 1_000_u64 << attempt.min(8);
        std::thread::sleep(least + Duration::from_micros(self.chance % ceiling));
    }

    /// Turns the error of a file or folder below the database into ours.
    pub(crate) fn failed(&self, path: &str, source: io::Error) -> Error {
        let path = self.path.join(path);
        if is_link(&source) {
            Error::SymbolicLink { path }
        } else {
            Error::Read { path, source }
        }
    }

    /// Pins `path` of `dir`, shown as `full` relative to the database; `None` if it is gone.
    pub(crate) fn pin(
        &mut self,
        dir: &Dir,
        path: &str,
        full: &str,
        immutable: bool,
    ) -> Result<Option<Arc<PinnedEntry>>, Error> {
        match self.pinner.pin(dir, path) {
            Ok((attributes, pin)) => Ok(Some(PinnedEntry::held(
                full.to_owned(),
                attributes.len,
                immutable,
                attributes,
                pin,
            ))),
            Err(PinError::File(error)) if is_missing(&error) => Ok(None),
            Err(PinError::File(error)) => Err(self.failed(full, error)),
            Err(PinError::NoMethod(refused)) => Err(Error::NoPinMethod {
                path: self.path.join(full),
                refused,
            }),
        }
    }

    /// Pins a file by its path from the database folder.
    pub(crate) fn pin_from_root(&mut self, path: &str) -> Result<Option<Arc<PinnedEntry>>, Error> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.root.sub(parent) {
            Ok(dir) => {
                let (_, relative) = split_table(path);
                self.pin(&dir, name, path, layout::is_immutable(relative))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// Reads a small file that may be replaced at any time; larger ones are pinned. `None` if it is gone.
    pub(crate) fn read_small(
        &mut self,
        dir: &Dir,
        path: &str,
        full: &str,
    ) -> Result<Option<Arc<PinnedEntry>>, Error> {
        let (file, stat) = match dir.file(path) {
            Ok(opened) => opened,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.failed(full, error)),
        };
        let mut attributes = Attributes::of(&stat, xattrs(&file, full));
        if attributes.len > MEMORY_MAX {
            return self.pin(dir, path, full, false);
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(&file, MEMORY_MAX), &mut bytes)
            .map_err(|error| self.failed(full, error))?;
        attributes.len = bytes.len() as u64;
        Ok(Some(PinnedEntry::held(
            full.to_owned(),
            attributes.len,
            false,
            attributes,
            Pin::memory(bytes),
        )))
    }

    /// A file outside of tables.
    pub(crate) fn take_loose(&mut self, path: &str) -> Result<Option<Arc<PinnedEntry>>, Error> {
        let root = self.root.sub("").map_err(|source| self.lost(source))?;
        self.read_small(&root, path, path)
    }

    /// Whether the live file behind an entry is still the one that was pinned.
    pub(crate) fn is_live(&self, entry: &PinnedEntry) -> bool {
        self.root.stat(&entry.path).is_ok_and(|stat| {
            let now = Identity::of(&stat);
            (now.device, now.inode) == (entry.attributes.device, entry.attributes.inode)
        })
    }

    /// Adds the folders that the files lie in, each before its content.
    pub(crate) fn with_folders(&self, files: Entries) -> Vec<Arc<PinnedEntry>> {
        let mut all: BTreeMap<String, Arc<PinnedEntry>> = BTreeMap::new();
        for path in files.keys() {
            let mut at = path.as_str();
            while let Some((parent, _)) = at.rsplit_once('/') {
                if all.contains_key(parent) {
                    break;
                }
                all.insert(parent.to_owned(), Arc::new(self.folder(parent)));
                at = parent;
            }
        }
        all.extend(files);
        all.into_values().collect()
    }

    fn folder(&self, path: &str) -> PinnedEntry {
        let folder = self.root.sub(path).ok();
        let stat = folder.as_ref().and_then(|folder| folder.own_stat().ok());
        // A folder that is gone by now gets what the database folder has.
        let attributes = match (stat, folder) {
            (Some(stat), Some(folder)) => Attributes::of(&stat, xattrs(&folder, path)),
            _ => self
                .root
                .own_stat()
                .map(|stat| Attributes::of(&stat, Vec::new()))
                .unwrap_or_else(|_| unknown_folder()),
        };
        PinnedEntry {
            path: path.to_owned(),
            kind: EntryKind::Directory,
            attributes,
            pin: None,
        }
    }
}

fn unknown_folder() -> Attributes {
    let mode = FileType::Directory.as_raw_mode() | 0o755;
    Attributes {
        mode,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        device: 0,
        inode: 0,
        len: 0,
        xattrs: Vec::new(),
    }
}

/// Folder of the table that a path from the database folder lies in, and the rest: cut before the first part
/// that only tables have.
pub(crate) fn split_table(path: &str) -> (&str, &str) {
    let mut at = 0;
    for part in path.split('/') {
        if layout::KNOWN.contains(&part) && part != layout::TREE {
            return (path[..at].trim_end_matches('/'), &path[at..]);
        }
        at += part.len() + 1;
    }
    ("", path)
}
