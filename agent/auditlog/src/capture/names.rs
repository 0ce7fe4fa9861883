//! Where rotated segments lie, and whether the names have changed hands.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Note;
use super::attempt::Held;
use super::error::Error;
use super::segment::{Opened, Refused};
use crate::options::LogOptions;

/// Names that no rotation gives a segment it has finished.
const PASSING: [&str; 8] = [".tmp", ".temp", ".lock", ".swp", ".swo", ".part", "~", ".pid"];

/// The folder of rotated segments and the glob over it.
#[derive(Debug)]
pub(super) struct Place {
    active: PathBuf,
    folder: PathBuf,
    /// What stands before a segment's file name in its name.
    prefix: String,
    glob: Option<glob::Pattern>,
    time_field: Option<String>,
}

/// What a matched name led to.
pub(super) enum Found {
    Segment(Box<Opened>),
    /// Something that is no segment, and why.
    Other(String),
    Gone,
}

impl Place {
    pub(super) fn of(options: &LogOptions) -> Result<Self, Error> {
        let beside = options.path.parent().unwrap_or(Path::new("")).to_owned();
        let mut place = Self {
            active: options.path.clone(),
            folder: beside,
            prefix: String::new(),
            glob: None,
            time_field: options.time_field.clone(),
        };
        if let Some(pattern) = &options.rotated {
            let (folder, names) = pattern.rsplit_once('/').unwrap_or(("", pattern));
            check(pattern, folder, names)?;
            let glob = glob::Pattern::new(names).map_err(|source| Error::Pattern {
                pattern: pattern.clone(),
                source,
            })?;
            if !folder.is_empty() {
                place.folder.push(folder);
                place.prefix = below(folder);
            }
            place.glob = Some(glob);
        }
        if place.folder.as_os_str().is_empty() {
            place.folder.push(".");
        }
        Ok(place)
    }

    /// File names that the glob matches, the active file's excepted, sorted.
    pub(super) fn candidates(&self) -> Result<Vec<OsString>, Error> {
        let Some(glob) = &self.glob else {
            return Ok(Vec::new());
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Denied {
                path: self.folder.clone(),
                source,
            },
            _ => Error::List {
                path: self.folder.clone(),
                source,
            },
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if glob.matches(&name.to_string_lossy()) && self.folder.join(&name) != self.active {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a name, or takes what is held of the file that it leads to.
    pub(super) fn open(&self, name: &OsStr, held: &mut Held) -> Result<Found, Error> {
        let shown = name.to_string_lossy();
        if let Some(end) = PASSING.iter().find(|end| shown.ends_with(**end)) {
            return Ok(Found::Other(format!(
                "its name ends with {end}, as passing files do"
            )));
        }
        let segment_name = format!("{}{shown}", self.prefix);
        let path = self.folder.join(name);
        if let Some(opened) = leads_to(&path).and_then(|inode| held.take(inode)) {
            return Ok(Found::Segment(Box::new(opened.renamed(path, segment_name)?)));
        }
        match Opened::open(path, segment_name, self.time_field.as_deref()) {
            Ok(opened) => Ok(Found::Segment(Box::new(opened))),
            Err(Refused::Gone) => Ok(Found::Gone),
            Err(Refused::Other(what)) => Ok(Found::Other(format!("it is {what}"))),
            Err(Refused::Failed(error)) => Err(error),
        }
    }

    /// Whether the names still lead to the files that were opened, and each file has one name.
    pub(super) fn is_settled(
        &self,
        names: &[OsString],
        rotated: &[Opened],
        active: Option<&Opened>,
    ) -> Result<bool, Error> {
        let mut seen = HashSet::new();
        let mut one_name = rotated
            .iter()
            .chain(active)
            .map(|opened| seen.insert(opened.inode()));
        if !one_name.all(|new| new) || self.candidates()? != names {
            return Ok(false);
        }
        let same = |opened: &Opened| leads_to(&opened.path) == Some(opened.inode());
        Ok(rotated.iter().all(same)
            && match active {
                Some(active) => same(active),
                None => leads_to(&self.active).is_none(),
            })
    }

    /// Whether a name leads to a file that is not `held` and was not left out.
    pub(super) fn is_new(&self, name: &OsStr, held: &[(u64, u64)], notes: &[Note]) -> bool {
        let shown = format!("{}{}", self.prefix, name.to_string_lossy());
        let left_out = |note: &Note| match note {
            Note::LeftOut { name, .. } | Note::Duplicate { name, .. } | Note::Unfinished { name } => {
                *name == shown
            }
            Note::ActiveMissing { .. } | Note::OrderGuessed => false,
        };
        let path = self.folder.join(name);
        let empty = std::fs::symlink_metadata(&path).is_ok_and(|now| now.size() == 0);
        !empty && !notes.iter().any(left_out) && leads_to(&path).is_some_and(|inode| !held.contains(&inode))
    }
}

/// Refuses globs that could lead astray.
fn check(pattern: &str, folder: &str, names: &str) -> Result<(), Error> {
    let refuse = |reason| {
        Err(Error::PatternPlace {
            pattern: pattern.into(),
            reason,
        })
    };
    if folder.contains(['*', '?', '[']) {
        return refuse("has a wildcard in its folder: only file names may have one");
    }
    if folder.split('/').any(|part| part == "..") {
        return refuse("leads out of the log's folder by `..`: write the folder out in full");
    }
    if names.is_empty() {
        return refuse("ends with a slash: name the files, as in `archive/audit.log.*`");
    }
    if names == "*" {
        return refuse("matches every file of the folder: begin it with the log's name, as in `audit.log.*`");
    }
    Ok(())
}

/// A folder as it stands in front of a segment's name: relative, whatever was configured.
fn below(folder: &str) -> String {
    folder
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .map(|part| format!("{part}/"))
        .collect()
}

fn leads_to(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}
