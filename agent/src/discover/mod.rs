//! Finds what is worth protecting: LanceDB databases and audit logs below given folders, by what is in the files.
//!
//! ## Overview
//! Databases are folders with tables (`_versions/`); logs are files of JSON lines whose times do not go back or whose
//! records are chained. What merely looks like one is named, not taken: a wrong source is alarming noise for years.
//! Everything is read-only and bounded in depth; the caller bounds the time with the token.

mod write;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dr_auditlog::{ChainConfig, Confidence, sniff};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use self::write::{Preset, configuration};

use crate::config::SourceKind;

/// Endings of files that are looked into.
const LOG_ENDINGS: [&str; 4] = ["log", "jsonl", "ndjson", "audit"];
/// Folders that hold neither databases nor logs of applications.
const PSEUDO: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// A source that could be protected.
#[derive(Debug, Clone, Serialize)]
pub struct Suggestion {
    /// A name for it, unique among the suggestions.
    pub name: String,
    /// What it is.
    #[serde(serialize_with = "kind_name")]
    pub kind: SourceKind,
    /// Where it is.
    pub path: PathBuf,
    /// How that was told.
    pub why: String,
    /// Glob of a log's rotated segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated: Option<String>,
    /// A log's chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainConfig>,
    /// The field with a log's times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_field: Option<String>,
}

fn kind_name<S: serde::Serializer>(kind: &SourceKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// What could be protected.
    pub sources: Vec<Suggestion>,
    /// What was looked at and not taken, and why.
    pub passed_over: Vec<(PathBuf, String)>,
    /// Not everything was looked at: the bounds of the search were reached.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
}

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many folders down.
    pub depth: usize,
    /// Entries of folders that are looked at in all.
    pub entries: usize,
    /// Files whose beginnings are read.
    pub files: usize,
}

/// What is left of the bounds.
struct Budget<'a> {
    entries: Cell<usize>,
    files: Cell<usize>,
    cancel: &'a CancellationToken,
}

impl<'a> Budget<'a> {
    fn new(bounds: Bounds, cancel: &'a CancellationToken) -> Self {
        Self {
            entries: Cell::new(bounds.entries),
            files: Cell::new(bounds.files),
            cancel,
        }
    }

    /// Takes some; false if there are not so many left, or somebody ended the search.
    fn take(&self, from: &Cell<usize>, count: usize) -> bool {
        let left = from.get().checked_sub(count);
        from.set(left.unwrap_or(0));
        left.is_some() && !self.cancel.is_cancelled()
    }
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder to search cannot be used.
    #[error("search {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Looking for databases failed.
    #[error("look for databases below {}", path.display())]
    Databases {
        /// The folder.
        path: PathBuf,
        /// What stood in the way.
        source: dr_lance::Error,
    },
    /// The token was cancelled.
    #[error("the search was ended before it was complete")]
    Cancelled,
}

/// Searches `folders`, at most `depth` folders down. Blocking.
///
/// # Errors
/// When one of `folders` cannot be read, or the token is cancelled; folders below are skipped with a note.
pub fn search(folders: &[PathBuf], depth: usize, cancel: &CancellationToken) -> Result<Found, Error> {
    let bounds = Bounds {
        depth,
        entries: usize::MAX,
        files: usize::MAX,
    };
    match survey(folders, bounds, cancel)? {
        found if found.cut_short => Err(Error::Cancelled),
        found => Ok(found),
    }
}

/// Searches `folders` within bounds; what was found until they were reached, or the token was cancelled, counts.
/// Blocking.
///
/// # Errors
/// When one of `folders` cannot be read; folders below are skipped with a note.
pub fn survey(folders: &[PathBuf], bounds: Bounds, cancel: &CancellationToken) -> Result<Found, Error> {
    let budget = Budget::new(bounds, cancel);
    let depth = bounds.depth;
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for folder in folders {
        let complain = |source| Error::Folder {
            path: folder.clone(),
            source,
        };
        let folder = folder.canonicalize().map_err(complain)?;
        let mut databases = BTreeSet::new();
        let mut go_on = |entries| budget.take(&budget.entries, entries);
        let all = dr_lance::discover_while(&folder, depth, &mut go_on);
        let all = all.map_err(|source| Error::Databases {
            path: folder.clone(),
            source,
        })?;
        for database in all {
            databases.insert(database.path.clone());
            if seen.insert(database.path.clone()) {
                found.sources.push(database_of(database));
            }
        }
        let mut logs = Logs {
            databases: &databases,
            seen: &mut seen,
            found: &mut found,
            budget: &budget,
        };
        match logs.walk(&folder, depth) {
            Ok(()) => {}
            Err(Stop::Enough) => {
                found.cut_short = true;
                break;
            }
            Err(Stop::Unreadable(source)) => {
                return Err(Error::Folder {
                    path: folder.clone(),
                    source,
                });
            }
        }
    }
    name_apart(&mut found.sources);
    Ok(found)
}

fn database_of(database: dr_lance::Found) -> Suggestion {
    let count = database.tables.len();
    let some: Vec<&str> = database.tables.iter().take(3).map(String::as_str).collect();
    let more = if count > some.len() { ", …" } else { "" };
    Suggestion {
        name: name_of(&database.path),
        kind: SourceKind::Lancedb,
        why: format!(
            "{count} table{}: {}{more}",
            if count == 1 { "" } else { "s" },
            some.join(", ")
        ),
        path: database.path,
        rotated: None,
        chain: None,
        time_field: None,
    }
}

enum Stop {
    /// The bounds are reached, or somebody ended the search.
    Enough,
    Unreadable(std::io::Error),
}

struct Logs<'a> {
    databases: &'a BTreeSet<PathBuf>,
    seen: &'a mut BTreeSet<PathBuf>,
    found: &'a mut Found,
    budget: &'a Budget<'a>,
}

impl Logs<'_> {
    fn walk(&mut self, folder: &Path, depth: usize) -> Result<(), Stop> {
        if self.databases.contains(folder) || PSEUDO.iter().any(|pseudo| folder == Path::new(pseudo)) {
            return Ok(());
        }
        let (mut entries, mut cut) = (Vec::new(), None);
        for entry in std::fs::read_dir(folder).map_err(Stop::Unreadable)? {
            match entry {
                Ok(entry) => entries.push(entry),
                Err(error) => cut = Some(error),
            }
        }
        if let Some(error) = cut {
            let why = format!("cannot be listed whole: {error}");
            self.found.passed_over.push((folder.to_owned(), why));
        }
        if !self.budget.take(&self.budget.entries, entries.len()) {
            return Err(Stop::Enough);
        }
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() && depth > 0 {
                match self.walk(&path, depth - 1) {
                    Err(Stop::Unreadable(error)) => {
                        self.found
                            .passed_over
                            .push((path, format!("cannot be listed: {error}")));
                    }
                    other => other?,
                }
            } else if kind.is_file() && is_log_name(&path) && self.seen.insert(path.clone()) {
                if !self.budget.take(&self.budget.files, 1) {
                    return Err(Stop::Enough);
                }
                self.look_into(path);
            }
        }
        Ok(())
    }

    fn look_into(&mut self, path: PathBuf) {
        let sniffed = match sniff(&path) {
            Ok(Some(sniffed)) => sniffed,
            Ok(None) => return,
            Err(error) => {
                self.found
                    .passed_over
                    .push((path, format!("cannot be read: {error}")));
                return;
            }
        };
        if sniffed.confidence == Confidence::Low {
            let why = "lines of JSON without a chain and without times in order: may be any data set";
            self.found.passed_over.push((path, why.to_owned()));
            return;
        }
        let order = match &sniffed.time_field {
            Some(field) => format!("times in `{field}` in order"),
            None => "no field with times".to_owned(),
        };
        let chain = match &sniffed.chain {
            Some(chain) => format!("chained by `{}`", chain.previous),
            None => "not chained".to_owned(),
        };
        self.found.sources.push(Suggestion {
            name: name_of(&path),
            kind: SourceKind::AuditLog,
            why: format!(
                "JSON lines, {order}, {chain}, {} rotated",
                sniffed.segments.saturating_sub(1)
            ),
            path,
            rotated: Some(sniffed.rotated),
            chain: sniffed.chain,
            time_field: sniffed.time_field,
        });
    }
}

fn is_log_name(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| LOG_ENDINGS.contains(&ending.as_str()))
        || path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().to_ascii_lowercase().contains("audit"))
}

/// The file's stem, with what a name may not have replaced.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = stem.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "source".to_owned()
    } else {
        name.to_owned()
    }
}

/// Sources of one name become `name`, `name-2`, `name-3` in order of path.
fn name_apart(sources: &mut [Suggestion]) {
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    let mut taken = BTreeSet::new();
    for source in sources {
        let base = source.name.clone();
        let mut number = 2;
        while !taken.insert(source.name.clone()) {
            source.name = format!("{base}-{number}");
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests;
