//! Files that no version refers to: what crashed writers and skipped clean-ups leave behind.

use std::collections::BTreeSet;

use crate::closure::Closure;
use crate::collect::{Versions, Walk};
use crate::dir::Dir;
use crate::discover::join;
use crate::error::Error;
use crate::layout::{DATA, DELETIONS, INDICES, LEGACY_FULL_TEXT, TRANSACTIONS, TREE, VERSIONS};
use crate::manifest::Manifest;
use crate::pins::Figure;

use super::{Check, Warning, or_gone};

/// What the versions of a table refer to, by path below the table.
#[derive(Default)]
struct Live {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Live {
    fn add(&mut self, manifest: &Manifest) {
        let closure = Closure::of(manifest);
        let own = closure
            .files
            .into_iter()
            .filter(|reference| reference.base.is_none());
        for reference in own {
            if let Some(stem) = reference
                .path
                .strip_suffix(".lance")
                .filter(|path| path.starts_with(DATA))
            {
                self.folders.insert(format!("{stem}/"));
            }
            self.files.insert(reference.path);
        }
        self.folders.extend(
            closure
                .folders
                .into_iter()
                .filter(|folder| folder.base.is_none())
                .map(|folder| folder.path + "/"),
        );
    }

    fn holds(&self, path: &str) -> bool {
        let below = || {
            path.match_indices('/')
                .any(|(at, _)| self.folders.contains(&path[..=at]))
        };
        self.files.contains(path) || below()
    }
}

/// Whether versions are what decides if a file is needed.
fn is_governed(path: &str) -> bool {
    let legacy = LEGACY_FULL_TEXT
        .iter()
        .any(|name| path.starts_with(&format!("{INDICES}/{name}/")));
    !legacy
        && [DATA, DELETIONS, INDICES, TRANSACTIONS]
            .iter()
            .any(|folder| path.starts_with(&format!("{folder}/")))
}

impl Check<'_> {
    /// All files of a table, and those that no version refers to.
    pub(super) fn orphans(
        &self,
        table: &Dir,
        path: &str,
        versions: &Versions,
        warnings: &mut Vec<Warning>,
    ) -> Result<(Figure, Option<Figure>), Error> {
        let failed = |error| self.context.failed(path, error);
        // Walked before manifests are read: what is committed in between is not taken for an orphan.
        let walk = Walk::of(table, path, "", &[TREE]).map_err(failed)?;
        let live = self.live(table, path, versions, warnings)?;
        let (mut total, mut orphans) = (Figure::default(), Figure::default());
        for file in &walk.files {
            let len = or_gone(
                table
                    .stat(file)
                    .map(|stat| Some(u64::try_from(stat.st_size).unwrap_or(0))),
            )
            .map_err(failed)?;
            total.add(len);
            if live
                .as_ref()
                .is_some_and(|live| is_governed(file) && !live.holds(file))
            {
                orphans.add(len);
            }
        }
        Ok((total, live.map(|_| orphans)))
    }

    /// What all versions refer to; `None` if not all of them can be read.
    fn live(
        &self,
        table: &Dir,
        path: &str,
        versions: &Versions,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Live>, Error> {
        if versions.all().count() > self.options.orphans_up_to {
            return Ok(None);
        }
        let mut live = Live::default();
        let mut all_read = true;
        for name in versions.all() {
            self.context.check_cancelled()?;
            let file = join(VERSIONS, name);
            let read = table
                .file(&file)
                .and_then(|(file, stat)| Manifest::read(&file, stat.st_size as u64).map(Some));
            let Some(decoded) =
                or_gone(read).map_err(|error| self.context.failed(&join(path, &file), error))?
            else {
                continue;
            };
            match decoded {
                Ok(manifest) if manifest.opaque().is_none() => live.add(&manifest),
                Ok(_) => all_read = false,
                Err(_) => {
                    all_read = false;
                    if versions.head() != Some(name) {
                        warnings.push(Warning::UnreadableOldVersion {
                            path: join(path, &file),
                        });
                    }
                }
            }
        }
        Ok(all_read.then_some(live))
    }
}
