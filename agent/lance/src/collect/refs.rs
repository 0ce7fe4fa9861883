//! Tags and branch records: small JSON files that are replaced by rename.

use rustix::fs::FileType;
use serde::Deserialize;

use crate::dir::{Dir, Identity, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout::{self, INDICES, LEGACY_FULL_TEXT, MEM_WAL, REFS};
use crate::report::{Damage, Problem};

use super::bases::percent_decoded;
use super::context::Context;
use super::{Entries, PinnedEntry};

/// A tag as its file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) branch: Option<String>,
}

#[derive(Deserialize)]
struct TagFile {
    version: u64,
    #[serde(default)]
    branch: Option<String>,
}

/// Everything under `_refs`.
#[derive(Debug, Default)]
pub(crate) struct Refs {
    pub(crate) entries: Entries,
    pub(crate) tags: Vec<Tag>,
    pub(crate) branches: Vec<String>,
    /// Tags that cannot be read.
    pub(crate) damage: Vec<Damage>,
}

impl Refs {
    /// Reads the refs of a table. `path` is the table's folder relative to the database.
    pub(crate) fn read(context: &mut Context, table: &Dir, path: &str) -> Result<Self, Error> {
        let mut refs = Self::default();
        for name in files_below(table, REFS, 0).map_err(|error| context.failed(&join(path, REFS), error))? {
            let full = join(path, &name);
            let Some(entry) = context.read_small(table, &name, &full)? else {
                continue;
            };
            refs.note(path, &name, &entry);
            refs.entries.insert(full, entry);
        }
        Ok(refs)
    }

    fn note(&mut self, table: &str, name: &str, entry: &PinnedEntry) {
        let stem = |folder: &str| {
            name.strip_prefix(folder)
                .and_then(|name| name.strip_suffix(".json"))
        };
        if let Some(stem) = stem("_refs/branches/") {
            self.branches.push(percent_decoded(stem));
        }
        let Some(stem) = stem("_refs/tags/") else { return };
        let mut bytes = vec![0; usize::try_from(entry.len()).unwrap_or(0)];
        let read = entry.read_at(&mut bytes, 0).map_err(|error| error.to_string());
        match read.and_then(|_| serde_json::from_slice::<TagFile>(&bytes).map_err(|error| error.to_string()))
        {
            Ok(tag) => self.tags.push(Tag {
                name: stem.to_owned(),
                version: tag.version,
                branch: tag.branch,
            }),
            Err(reason) => self.damage.push(Damage {
                table: table.to_owned(),
                version: 0,
                path: entry.path.clone(),
                problem: Problem::Tag { reason },
            }),
        }
    }
}

/// What changes without a new version: refs, the write-ahead log in front of the table, legacy full-text indices.
const UNVERSIONED: [&str; 2] = [REFS, MEM_WAL];

/// Changes when any file outside the line of versions is added, removed or replaced.
pub(crate) fn unversioned(table: &Dir) -> std::io::Result<blake3::Hash> {
    let legacy = LEGACY_FULL_TEXT.map(|name| join(INDICES, name));
    let mut hasher = blake3::Hasher::new();
    let folders = UNVERSIONED.into_iter().chain(legacy.iter().map(String::as_str));
    let files: Vec<_> = folders
        .map(|folder| files_below(table, folder, 0))
        .collect::<Result<_, _>>()?;
    for name in files.into_iter().flatten() {
        let stat = match table.stat(&name) {
            Err(error) if is_missing(&error) => continue,
            stat => stat?,
        };
        let identity = Identity::of(&stat);
        hasher.update(
            format!(
                "{name}\0{}\0{}\0{}\n",
                identity.inode, identity.mtime_ns, identity.len
            )
            .as_bytes(),
        );
    }
    Ok(hasher.finalize())
}

/// Published files below a folder of the table; none if the folder is missing.
fn files_below(table: &Dir, folder: &str, depth: usize) -> std::io::Result<Vec<String>> {
    let items = match table.sub(folder).and_then(|dir| dir.list()) {
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        items => items?,
    };
    let mut files = Vec::new();
    for item in items {
        let path = join(folder, &item.name);
        match item.kind {
            FileType::Directory if depth < 8 => files.extend(files_below(table, &path, depth + 1)?),
            FileType::RegularFile if !layout::is_temporary(&item.name) => files.push(path),
            _ => {}
        }
    }
    Ok(files)
}
