//! Which versions of a table are there, and which of them are taken.

use std::collections::BTreeSet;

use crate::dir::{Dir, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout::{self, ManifestName, VERSION_HINT, VERSIONS};
use crate::report::{Excluded, Exclusion};

use super::History;
use super::context::Context;

/// Manifests of a table, newest first, detached ones last.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    names: Vec<(ManifestName, String)>,
    unpublished: u64,
    hint: bool,
}

impl Versions {
    /// Lists a table's manifests. A folder that is gone has none.
    pub(crate) fn list(context: &Context, table: &Dir, path: &str) -> Result<Self, Error> {
        Self::read(table).map_err(|error| context.failed(&join(path, VERSIONS), error))
    }

    pub(crate) fn read(table: &Dir) -> std::io::Result<Self> {
        let items = match table.sub(VERSIONS).and_then(|dir| dir.list()) {
            Err(error) if is_missing(&error) => return Ok(Self::default()),
            items => items?,
        };
        let mut versions = Self::default();
        for item in items {
            if let Some(name) = ManifestName::parse(&item.name) {
                versions.names.push((name, item.name));
            } else if layout::is_temporary(&item.name) {
                versions.unpublished += 1;
            } else if item.name == VERSION_HINT {
                versions.hint = true;
            }
        }
        let rank = |name: &ManifestName| (!name.is_detached(), name.version());
        versions
            .names
            .sort_by_key(|(name, _)| std::cmp::Reverse(rank(name)));
        Ok(versions)
    }

    /// The newest version's manifest.
    pub(crate) fn head(&self) -> Option<&str> {
        self.line().next().map(|(_, name)| name)
    }

    /// The versions in line, newest first, with the names of their manifests.
    pub(crate) fn line(&self) -> impl Iterator<Item = (u64, &str)> {
        let line = self.names.iter().filter(|(name, _)| !name.is_detached());
        line.map(|(name, file)| (name.version(), file.as_str()))
    }

    /// File names of all versions, newest first, detached ones last.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(_, file)| file.as_str())
    }

    /// Whether old and new names are mixed, which Lance refuses.
    pub(crate) fn are_mixed(&self) -> bool {
        let has = |wanted: fn(&ManifestName) -> bool| self.names.iter().any(|(name, _)| wanted(name));
        has(|name| matches!(name, ManifestName::V1(_))) && has(|name| matches!(name, ManifestName::V2(_)))
    }

    /// Versions besides `head` that are wanted with the file names of their manifests, newest first.
    pub(crate) fn wanted(&self, history: History, head: u64, tagged: &BTreeSet<u64>) -> Vec<(u64, &str)> {
        let wanted = |name: &ManifestName| match history {
            History::Heads => false,
            History::Tagged => !name.is_detached() && tagged.contains(&name.version()),
            History::All => true,
        };
        let others = self
            .names
            .iter()
            .filter(|(name, _)| name.is_detached() || name.version() < head);
        others
            .filter(|(name, _)| wanted(name))
            .map(|(name, file)| (name.version(), file.as_str()))
            .collect()
    }

    /// What of `_versions` is not taken, given the file names that are.
    pub(crate) fn excluded(&self, table: &str, taken: &BTreeSet<&str>) -> Vec<Excluded> {
        let left = |detached: bool| {
            let names = self
                .names
                .iter()
                .filter(|(name, file)| name.is_detached() == detached && !taken.contains(file.as_str()));
            names.count() as u64
        };
        let counts = [
            (VERSIONS.to_owned(), Exclusion::OlderVersions, left(false)),
            (VERSIONS.to_owned(), Exclusion::DetachedVersions, left(true)),
            (VERSIONS.to_owned(), Exclusion::Unpublished, self.unpublished),
            (
                join(VERSIONS, VERSION_HINT),
                Exclusion::VersionHint,
                u64::from(self.hint),
            ),
        ];
        let some = counts.into_iter().filter(|(_, _, files)| *files > 0);
        some.map(|(path, reason, files)| Excluded {
            path: join(table, &path),
            reason,
            files,
        })
        .collect()
    }
}
