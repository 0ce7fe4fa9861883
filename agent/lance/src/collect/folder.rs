//! Folders taken whole: what manifests do not list file by file.

use std::collections::BTreeSet;
use std::io;

use rustix::fs::FileType;

use crate::dir::{Dir, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout;
use crate::report::{Excluded, Exclusion};

use super::context::Context;
use super::version::Taking;

/// Deeper folders are no layout of Lance's.
const MAX_DEPTH: usize = 16;

/// The files of a folder at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Paths relative to the table, sorted.
    pub(crate) files: BTreeSet<String>,
    /// What is not taken.
    pub(crate) excluded: Vec<Excluded>,
}

impl Walk {
    /// Walks a folder of a table (`""` for all of it). A folder that is gone is empty. `skip` are paths that
    /// are not entered. `table_path` is only for what is excluded.
    pub(crate) fn of(table: &Dir, table_path: &str, folder: &str, skip: &[&str]) -> io::Result<Self> {
        let mut walk = Self::default();
        walk.visit(table, table_path, folder, skip, 0)?;
        Ok(walk)
    }

    fn visit(
        &mut self,
        table: &Dir,
        table_path: &str,
        folder: &str,
        skip: &[&str],
        depth: usize,
    ) -> io::Result<()> {
        let items = match table.sub(folder).and_then(|dir| dir.list()) {
            Err(error) if is_missing(&error) => return Ok(()),
            items => items?,
        };
        let mut unpublished = 0;
        for item in items {
            let path = join(folder, &item.name);
            if skip.contains(&path.as_str()) {
                continue;
            }
            match item.kind {
                FileType::Directory if depth < MAX_DEPTH => {
                    self.visit(table, table_path, &path, skip, depth + 1)?
                }
                FileType::RegularFile if layout::is_temporary(&item.name) => unpublished += 1,
                FileType::RegularFile if item.name.contains('\u{fffd}') => {
                    self.exclude(table_path, &path, Exclusion::Unnameable, 1)
                }
                FileType::RegularFile => {
                    self.files.insert(path);
                }
                FileType::Symlink => self.exclude(table_path, &path, Exclusion::SymbolicLink, 1),
                _ => self.exclude(table_path, &path, Exclusion::Special, 1),
            }
        }
        if unpublished > 0 {
            self.exclude(table_path, folder, Exclusion::Unpublished, unpublished);
        }
        Ok(())
    }

    fn exclude(&mut self, table_path: &str, path: &str, reason: Exclusion, files: u64) {
        let path = if path.is_empty() {
            table_path.to_owned()
        } else {
            join(table_path, path)
        };
        self.excluded.push(Excluded { path, reason, files });
    }
}

/// What became of taking a whole folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stability {
    /// Nothing that was seen disappeared while it was taken.
    Stable,
    /// Something did: a clean-up is under way.
    Shrunk,
}

impl Taking<'_> {
    /// Pins every file of a folder, then looks again: files may have come, but if one of those seen first is
    /// gone, what was pinned may mix two states.
    pub(crate) fn take_folder(
        &mut self,
        context: &mut Context,
        folder: &str,
        skip: &[&str],
    ) -> Result<Stability, Error> {
        let failed = |context: &Context, error| context.failed(&join(self.path, folder), error);
        let first = Walk::of(self.table, self.path, folder, skip).map_err(|error| failed(context, error))?;
        let mut gone = false;
        for file in &first.files {
            gone |= !self.take_file(context, file)?;
        }
        let again = Walk::of(self.table, self.path, folder, skip).map_err(|error| failed(context, error))?;
        let shrunk = gone || !first.files.is_subset(&again.files);
        self.excluded.extend(first.excluded);
        Ok(if shrunk {
            Stability::Shrunk
        } else {
            Stability::Stable
        })
    }
}
