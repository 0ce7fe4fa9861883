//! The selected part of a tree on its way into a staging directory: directories and links are made as the list
//! comes in, files are kept for later.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::plan::Method;
use super::selection::{Match, Matcher, Selection};
use super::site::Site;
use crate::read::spool::{Spool, SpoolWriter};
use crate::tree::{Entry, EntryKind, Record, TreePath};

/// The selected part of a tree on its way into a staging directory.
pub(super) struct Outline<'a> {
    site: &'a Site,
    matcher: Matcher,
    spool: SpoolWriter,
    by_entry: bool,
    /// Whether the file that began last is selected.
    wanted: bool,
    /// Directories above the present place that are not selected themselves, and whether they have been made.
    above: Vec<(Entry, bool)>,
    units: Vec<TreePath>,
    spool_dir: PathBuf,
}

impl<'a> Outline<'a> {
    pub(super) fn new(
        selection: &Selection,
        method: Method,
        site: &'a Site,
        spool_dir: &Path,
    ) -> Result<Self, Error> {
        let spool = SpoolWriter::new(spool_dir).map_err(Error::local("keep a file list in", spool_dir))?;
        Ok(Self {
            site,
            matcher: selection.compile()?,
            spool,
            by_entry: method == Method::Entries,
            wanted: false,
            above: Vec::new(),
            units: Vec::new(),
            spool_dir: spool_dir.to_owned(),
        })
    }

    /// Takes the next record of the list.
    pub(super) fn take(&mut self, record: Record) -> Result<(), Error> {
        let Record::Entry(entry) = record else {
            return if self.wanted { self.push(record) } else { Ok(()) };
        };
        while self
            .above
            .last()
            .is_some_and(|(above, _)| !entry.path.is_within(&above.path))
        {
            self.above.pop();
        }
        let judged = self.matcher.judge(&entry.path);
        self.wanted = judged != Match::Out;
        if !self.wanted {
            if entry.kind == EntryKind::Directory {
                self.above.push((entry, false));
            }
            return Ok(());
        }
        self.make_above()?;
        let everything = self.matcher.is_everything();
        let top = if everything {
            entry.path.parent().is_some_and(|p| p.is_root())
        } else {
            judged == Match::Top
        };
        if self.by_entry && top && !entry.path.is_root() {
            self.units.push(entry.path.clone());
        }
        self.make(&entry)?;
        self.push(Record::Entry(entry))
    }

    /// Makes the directories that lead to a selected entry.
    fn make_above(&mut self) -> Result<(), Error> {
        let pending: Vec<Entry> = self
            .above
            .iter_mut()
            .filter(|(_, made)| !made)
            .map(|(entry, made)| {
                *made = true;
                entry.clone()
            })
            .collect();
        for entry in pending {
            self.make(&entry)?;
            self.push(Record::Entry(entry))?;
        }
        Ok(())
    }

    fn make(&self, entry: &Entry) -> Result<(), Error> {
        let made = match &entry.kind {
            EntryKind::Directory if entry.path.is_root() => Ok(()),
            EntryKind::Directory => self.site.write(|site| site.create_directory(&entry.path)),
            EntryKind::Symlink { target } => self.site.write(|site| site.create_link(&entry.path, target)),
            EntryKind::File { .. } => Ok(()),
        };
        made.map_err(Error::local("create", self.site.full(&entry.path)))
    }

    fn push(&mut self, record: Record) -> Result<(), Error> {
        self.spool
            .push(record)
            .map_err(Error::local("keep a file list in", &self.spool_dir))
    }

    /// The list of what is restored, and the entries to be swapped in one by one. What an interrupted run has left
    /// and is not in the list is removed.
    pub(super) fn finish(self) -> Result<(Spool, Vec<TreePath>), Error> {
        let spool = self
            .spool
            .finish()
            .map_err(Error::local("keep a file list in", &self.spool_dir))?;
        if self.site.is_resumed() {
            prune(self.site, &spool).map_err(Error::local("clear what is left in", self.site.path()))?;
        }
        Ok((spool, self.units))
    }
}

/// Removes what is not in the list, and what is of another kind than there.
fn prune(site: &Site, spool: &Spool) -> io::Result<()> {
    let mut pending = vec![TreePath::root()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(site.full(&directory))? {
            let entry = entry?;
            let path = directory
                .join(entry.file_name().as_bytes())
                .map_err(io::Error::other)?;
            let (wanted, found) = (spool.find(&path)?, entry.file_type()?);
            match wanted.map(|node| node.entry.kind) {
                Some(EntryKind::Directory) if found.is_dir() => pending.push(path),
                Some(EntryKind::File { .. }) if found.is_file() => {}
                Some(EntryKind::Symlink { .. }) if found.is_symlink() => {}
                _ => site.write(|site| site.remove(&path))?,
            }
        }
    }
    Ok(())
}
