//! Where tables are.
//!
//! A table is any folder with `_versions/` in it. Names do not tell: tables of child namespaces and the catalog
//! `__manifest` lack the suffix `.lance`, and branches lie under `tree/` of their table.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::dir::{Dir, is_missing};
use crate::error::Error;
use crate::layout::{self, TABLE_SUFFIX, TREE, VERSIONS};
use crate::report::{Excluded, Exclusion};

/// How deep folders of one database are searched.
const MAX_DEPTH: usize = 16;

/// What `fsck` finds; only root may look into it, and a database may fill a file system of its own.
const LOST_AND_FOUND: &str = "lost+found";

/// A folder that holds tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The database folder.
    pub path: PathBuf,
    /// Folders of its tables, relative to it, branches included.
    pub tables: Vec<String>,
}

/// Finds databases in `dir` and at most `max_depth` folders below it. Folders that this user cannot read are
/// skipped with a warning in the log; symbolic links below `dir` are not followed.
///
/// # Errors
/// When `dir` itself cannot be read.
pub fn discover(dir: &Path, max_depth: usize) -> Result<Vec<Found>, Error> {
    discover_while(dir, max_depth, &mut |_| true)
}

/// [`discover`] as long as `go_on` says so; it is told how many entries the folder holds that was just listed. What was
/// found until then counts.
///
/// # Errors
/// When `dir` itself cannot be read.
pub fn discover_while(
    dir: &Path,
    max_depth: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<Found>, Error> {
    let open = |source| Error::OpenDatabase {
        path: dir.to_owned(),
        source,
    };
    let root = Dir::open(dir).map_err(open)?;
    root.list().map_err(open)?;
    if is_table(&root) {
        let path = dir.canonicalize().map_err(open)?;
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            return Ok(vec![Found {
                path: parent.to_owned(),
                tables: vec![name.to_string_lossy().into_owned()],
            }]);
        }
    }
    let mut found = Vec::new();
    search(&root, dir, max_depth, go_on, &mut found);
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

/// False: `go_on` said that it is enough.
fn search(
    dir: &Dir,
    path: &Path,
    depth: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
    found: &mut Vec<Found>,
) -> bool {
    let items = match dir.list() {
        Ok(items) => items,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "skipped while looking for databases");
            return true;
        }
    };
    if !go_on(items.len()) {
        return false;
    }
    let folders: Vec<_> = items
        .into_iter()
        .filter(|item| item.kind == FileType::Directory)
        .collect();
    if folders
        .iter()
        .any(|item| dir.sub(&item.name).is_ok_and(|folder| is_table(&folder)))
    {
        match contents(dir, path) {
            Ok(contents) => found.push(Found {
                path: path.to_owned(),
                tables: contents.tables,
            }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "skipped while looking for databases")
            }
        }
        return true;
    }
    if depth == 0 {
        return true;
    }
    for item in folders {
        let below = path.join(&item.name);
        let pseudo = ["/proc", "/sys", "/dev"]
            .iter()
            .any(|name| below == Path::new(name));
        if let (false, Ok(folder)) = (pseudo, dir.sub(&item.name))
            && !search(&folder, &below, depth - 1, go_on, found)
        {
            return false;
        }
    }
    true
}

pub(crate) fn is_table(dir: &Dir) -> bool {
    dir.stat(VERSIONS)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// What a database folder holds, tables not opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Folders of tables and branches, sorted.
    pub(crate) tables: Vec<String>,
    /// Files outside of tables: namespace markers and whatever else lies there.
    pub(crate) loose: Vec<String>,
    /// What will not be taken.
    pub(crate) excluded: Vec<Excluded>,
}

/// Looks through a database folder. `shown` is only for messages.
pub(crate) fn contents(root: &Dir, shown: &Path) -> Result<Contents, Error> {
    let mut contents = Contents::default();
    Visit {
        root,
        shown,
        contents: &mut contents,
    }
    .folder("", 0)?;
    contents.tables.sort_unstable();
    Ok(contents)
}

struct Visit<'a> {
    root: &'a Dir,
    shown: &'a Path,
    contents: &'a mut Contents,
}

impl Visit<'_> {
    /// Visits a folder that is no table. Returns whether any table lies in it.
    fn folder(&mut self, path: &str, depth: usize) -> Result<bool, Error> {
        let Some(items) = self.list(path)? else {
            return Ok(false);
        };
        let mut any = false;
        let mut files = Vec::new();
        for item in items {
            let below = join(path, &item.name);
            match item.kind {
                _ if item.name.contains(char::REPLACEMENT_CHARACTER) => {
                    self.exclude(below, Exclusion::Unnameable, 1);
                }
                FileType::Directory if item.name == LOST_AND_FOUND => {
                    self.exclude(below, Exclusion::Foreign, 0)
                }
                FileType::Directory if layout::is_of_a_restore(&item.name) => {
                    self.exclude(below, Exclusion::OfARestore, 0);
                }
                FileType::Directory => any |= self.table_or_folder(&below, depth + 1)?,
                FileType::RegularFile => files.push(below),
                FileType::Symlink => self.link(below),
                _ => self.exclude(below, Exclusion::Special, 1),
            }
        }
        if any || depth == 0 || files.iter().any(|file| is_marker(file)) {
            self.contents.loose.append(&mut files);
        }
        Ok(any)
    }

    /// A link is not followed. One that leads a reader to a table that lies elsewhere is told apart: that table exists
    /// for the application, and for no snapshot.
    fn link(&mut self, path: String) {
        let leads = self.shown.join(&path);
        let is_table = std::fs::metadata(leads.join(VERSIONS)).is_ok_and(|found| found.is_dir());
        let inside = match (leads.canonicalize(), self.shown.canonicalize()) {
            (Ok(leads), Ok(root)) => leads.starts_with(root),
            _ => false,
        };
        let reason = if is_table && !inside {
            Exclusion::LinkedTable
        } else {
            Exclusion::SymbolicLink
        };
        self.exclude(path, reason, 1);
    }

    fn table_or_folder(&mut self, path: &str, depth: usize) -> Result<bool, Error> {
        let folder = match self.root.sub(path) {
            Ok(folder) => folder,
            Err(error) if is_missing(&error) => return Ok(false),
            Err(source) => return Err(self.failed(path, source)),
        };
        if is_table(&folder) {
            self.contents.tables.push(path.to_owned());
            self.branches(path, &join(path, TREE), depth)?;
            return Ok(true);
        }
        if depth >= MAX_DEPTH {
            self.exclude(path.to_owned(), Exclusion::Foreign, 0);
            return Ok(false);
        }
        if is_half_dropped(path, &folder) {
            self.exclude(path.to_owned(), Exclusion::HalfDropped, 0);
            return Ok(false);
        }
        let any = self.folder(path, depth)?;
        if !any
            && !self
                .contents
                .loose
                .iter()
                .any(|file| file.starts_with(&format!("{path}/")))
        {
            self.exclude(path.to_owned(), Exclusion::Foreign, 0);
        }
        Ok(any)
    }

    /// Branch names may hold slashes, so that a branch may lie inside the folder of another.
    fn branches(&mut self, table: &str, path: &str, depth: usize) -> Result<(), Error> {
        let Some(items) = self.list(path)? else {
            return Ok(());
        };
        let is_branch = path != join(table, TREE);
        for item in items {
            let below = join(path, &item.name);
            if item.kind != FileType::Directory || (is_branch && layout::KNOWN.contains(&item.name.as_str()))
            {
                continue;
            }
            if depth >= MAX_DEPTH {
                self.exclude(below, Exclusion::Foreign, 0);
                continue;
            }
            if self.root.sub(&below).is_ok_and(|folder| is_table(&folder)) {
                self.contents.tables.push(below.clone());
            }
            self.branches(table, &below, depth + 1)?;
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Option<Vec<crate::dir::Item>>, Error> {
        match self.root.sub(path).and_then(|dir| dir.list()) {
            Ok(items) => Ok(Some(items)),
            Err(error) if is_missing(&error) && !path.is_empty() => Ok(None),
            Err(source) => Err(self.failed(path, source)),
        }
    }

    fn exclude(&mut self, path: String, reason: Exclusion, files: u64) {
        self.contents.excluded.push(Excluded { path, reason, files });
    }

    fn failed(&self, path: &str, source: io::Error) -> Error {
        Error::List {
            path: self.shown.join(path),
            source,
        }
    }
}

/// Namespace bookkeeping: `.lance-reserved`, `.lance-deregistered`.
fn is_marker(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with(".lance-"))
}

/// A folder that looks like a table but has no manifests, and no marker that says why.
fn is_half_dropped(path: &str, folder: &Dir) -> bool {
    let Ok(items) = folder.list() else { return false };
    let named = path.ends_with(TABLE_SUFFIX) && !items.iter().any(|item| is_marker(&item.name));
    let shaped = [
        layout::DATA,
        layout::DELETIONS,
        layout::INDICES,
        layout::TRANSACTIONS,
    ];
    named
        || items
            .iter()
            .filter(|item| shaped.contains(&item.name.as_str()))
            .count()
            >= 2
}

pub(crate) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}
