//! A listing in byte order of names that holds one folder a level, never the whole repository.
//!
//! A folder sorts as its name with `/` behind it: `a.b` comes before everything in `a/`, as in an object store.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::vec;

use super::{failure, is_absent, timestamp, write};
use crate::storage::{Key, ObjectMeta, Operation, Result};

/// Folders below folders that a walk follows; ours go three deep, and links may form a loop.
pub(super) const MAX_DEPTH: usize = 8;

/// Objects given by one step.
const PAGE: usize = 1000;

/// A listing under way.
pub(super) struct Walk {
    root: Arc<Path>,
    prefix: String,
    after: Option<String>,
    levels: Vec<vec::IntoIter<String>>,
    started: bool,
}

impl Walk {
    pub(super) fn new(root: Arc<Path>, prefix: &str, after: Option<&Key>) -> Self {
        let after = after.map(|key| key.as_str().to_owned());
        Self {
            root,
            prefix: prefix.to_owned(),
            after,
            levels: Vec::new(),
            started: false,
        }
    }

    /// The next objects; none at the end.
    pub(super) fn page(&mut self) -> Result<Vec<ObjectMeta>> {
        if !self.started {
            self.started = true;
            let folder = self
                .prefix
                .rfind('/')
                .map_or("", |end| &self.prefix[..=end])
                .to_owned();
            self.enter(&folder)?;
        }
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(level) = self.levels.last_mut()
        {
            match level.next() {
                None => drop(self.levels.pop()),
                Some(name) if name.ends_with('/') => {
                    if self.may_hold_more(&name) && self.levels.len() < MAX_DEPTH {
                        self.enter(&name)?;
                    }
                }
                Some(name) => page.extend(self.object(name)?),
            }
        }
        Ok(page)
    }

    /// Reads one folder: full names, those of folders with `/` behind.
    fn enter(&mut self, folder: &str) -> Result<()> {
        let path = self.root.join(folder);
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                names.extend(name_of(folder, &entry?)?);
            }
            names.sort_unstable();
            Ok(names)
        };
        match read() {
            Ok(names) => self.levels.push(names.into_iter()),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(failure::classify(Operation::List, &self.prefix, &path, &error)),
        }
        Ok(())
    }

    fn may_hold_more(&self, folder: &str) -> bool {
        let wanted = folder.starts_with(&self.prefix) || self.prefix.starts_with(folder);
        wanted
            && self
                .after
                .as_deref()
                .is_none_or(|after| folder > after || after.starts_with(folder))
    }

    fn object(&self, name: String) -> Result<Option<ObjectMeta>> {
        if !name.starts_with(&self.prefix) || self.after.as_ref().is_some_and(|after| name <= *after) {
            return Ok(None);
        }
        let path = self.root.join(&name);
        match fs::metadata(&path).and_then(|meta| Ok((meta.len(), timestamp(meta.modified()?)?))) {
            Ok((size, modified)) => Ok(Some(ObjectMeta {
                key: Key::new(name),
                size,
                modified,
            })),
            // Removed since the folder was read.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failure::classify(Operation::List, &name, &path, &error)),
        }
    }
}

/// The name of what may be an object or a folder of objects; what can not be one of ours is left out.
fn name_of(folder: &str, entry: &fs::DirEntry) -> io::Result<Option<String>> {
    let Ok(name) = entry.file_name().into_string() else {
        return Ok(None);
    };
    if name.starts_with(write::TEMPORARY) || (folder.is_empty() && name == "lost+found") {
        return Ok(None);
    }
    let mut kind = entry.file_type()?;
    if kind.is_symlink() {
        kind = match fs::metadata(entry.path()) {
            Ok(meta) => meta.file_type(),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(match (kind.is_dir(), kind.is_file()) {
        (true, _) => Some(format!("{folder}{name}/")),
        (_, true) => Some(format!("{folder}{name}")),
        _ => None,
    })
}
