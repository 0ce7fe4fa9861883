//! What belongs to a table beside its head's closure: older versions, blob sidecars, refs, whatever manifests
//! do not name.

use std::collections::BTreeSet;

use rustix::fs::FileType;

use crate::dir::is_missing;
use crate::discover::join;
use crate::error::Error;
use crate::layout::{
    self, BLOBS, COMPUTED, DATA, FRAGMENT_REUSE, INDICES, LEGACY_FULL_TEXT, LEGACY_LATEST, MEM_WAL, REFS,
    TREE, VERSION_HINT, VERSIONS,
};
use crate::manifest::Manifest;
use crate::report::{Damage, Excluded, Exclusion, ExternalBase, Mode, TableStamp};

use super::Entries;
use super::context::Context;
use super::folder::Stability;
use super::history::Versions;
use super::refs::{Refs, Tag};
use super::version::{Outcome, Taking, Version};

/// A table's parts, before its folder is given away.
pub(crate) struct Parts {
    pub(crate) stamp: TableStamp,
    pub(crate) entries: Entries,
    pub(crate) excluded: Vec<Excluded>,
    pub(crate) external: Vec<ExternalBase>,
    pub(crate) damage: Vec<Damage>,
}

impl Taking<'_> {
    /// Adds what lies beside the closure of the version that was taken; `None` if the writer moved on.
    pub(crate) fn finish(
        mut self,
        context: &mut Context,
        version: Version,
        mode: Mode,
        versions: &Versions,
        refs: Refs,
    ) -> Result<Option<Parts>, Error> {
        let mut stamp = TableStamp::of(self.path, mode, &version.name, &version.manifest);
        let mut damage = Vec::new();
        let stable = if mode == Mode::Opaque {
            self.take_everything(context)?
        } else {
            let mut stems = sidecar_stems(&version.manifest);
            self.take_history(
                context,
                &version,
                versions,
                &refs,
                &mut Past {
                    stamp: &mut stamp,
                    stems: &mut stems,
                    damage: &mut damage,
                },
            )?;
            self.take_beside(context, &stems)?
        };
        if stable == Stability::Shrunk {
            return Ok(None);
        }
        stamp.note_refs(&refs);
        stamp.complete_indices(&self.entries);
        stamp.bytes = version.bytes;
        damage.extend(refs.damage);
        self.entries.extend(refs.entries);
        let external: Vec<ExternalBase> = self.external_bases();
        Ok(Some(Parts {
            stamp,
            entries: self.entries,
            excluded: self.excluded,
            external,
            damage,
        }))
    }

    /// All of the folder but branches, which are tables of their own, and what was taken before.
    fn take_everything(&mut self, context: &mut Context) -> Result<Stability, Error> {
        for (folder, skip) in [(VERSIONS, &[][..]), ("", &[TREE, MEM_WAL, VERSIONS, REFS])] {
            if self.take_folder(context, folder, skip)? == Stability::Shrunk {
                return Ok(Stability::Shrunk);
            }
        }
        let hint = join(VERSIONS, VERSION_HINT);
        if self.entries.remove(&join(self.path, &hint)).is_some() {
            self.exclude(&hint, Exclusion::VersionHint);
        }
        Ok(Stability::Stable)
    }

    /// Other versions as far as they are wanted, and names for those that are not.
    fn take_history(
        &mut self,
        context: &mut Context,
        version: &Version,
        versions: &Versions,
        refs: &Refs,
        past: &mut Past<'_>,
    ) -> Result<(), Error> {
        let number = version.manifest.version;
        let tagged = tagged_versions(&context.tags_for(self.path, refs)?, past.stamp.branch.as_deref());
        let mut named: BTreeSet<&str> = BTreeSet::from([version.name.as_str()]);
        for (other, name) in versions.wanted(context.options.history, number, &tagged) {
            named.insert(name);
            match self.take_other(context, name)? {
                Ok(version) => {
                    past.stamp.history.push(other);
                    past.stems.extend(sidecar_stems(&version.manifest));
                }
                Err(problems) => {
                    self.exclude(&join(VERSIONS, name), Exclusion::Damaged);
                    // Versions that no tag protects may be on their way out.
                    past.damage
                        .extend(problems.into_iter().filter(|_| tagged.contains(&other)));
                }
            }
        }
        // Above the version that is taken lies only a damaged head.
        for (_, name) in versions.line().filter(|(other, _)| *other > number) {
            named.insert(name);
            self.exclude(&join(VERSIONS, name), Exclusion::Damaged);
        }
        self.excluded.extend(versions.excluded(self.path, &named));
        Ok(())
    }

    /// Takes a version besides the head, or none of it, and then says what is wrong with it.
    fn take_other(
        &mut self,
        context: &mut Context,
        name: &str,
    ) -> Result<Result<Version, Vec<Damage>>, Error> {
        self.added.clear();
        self.is_head = false;
        let problems = match self.take_version(context, name)? {
            Outcome::Taken(version) if version.problems.is_empty() => return Ok(Ok(*version)),
            Outcome::Taken(version) => version.problems,
            Outcome::Unreadable(_, error) => vec![Damage::unreadable(self.path, name, &error)],
            Outcome::Gone | Outcome::Opaque(_) => Vec::new(),
        };
        for path in std::mem::take(&mut self.added) {
            self.entries.remove(&path);
        }
        Ok(Err(problems))
    }

    /// Blob sidecars, row maps, signatures, legacy indices and folders that we do not know.
    fn take_beside(&mut self, context: &mut Context, stems: &BTreeSet<String>) -> Result<Stability, Error> {
        let list = |folder: &str| match self.table.sub(folder).and_then(|dir| dir.list()) {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            items => items.map_err(|error| context.failed(&join(self.path, folder), error)),
        };
        let sidecars = list(DATA)?
            .into_iter()
            .filter(|item| item.kind == FileType::Directory && stems.contains(&item.name));
        let mut folders: Vec<String> = sidecars.map(|item| join(DATA, &item.name)).collect();
        folders.extend([BLOBS, FRAGMENT_REUSE, COMPUTED].map(str::to_owned));
        folders.extend(LEGACY_FULL_TEXT.map(|name| join(INDICES, name)));
        let (unknown, loose): (Vec<_>, Vec<_>) = list("")?
            .into_iter()
            .filter(|item| !layout::KNOWN.contains(&item.name.as_str()))
            .partition(|item| item.kind == FileType::Directory);
        folders.extend(unknown.into_iter().map(|item| item.name));
        for folder in folders {
            if self.take_folder(context, &folder, &[])? == Stability::Shrunk {
                return Ok(Stability::Shrunk);
            }
        }
        for item in loose {
            self.take_loose(context, &item.name, item.kind)?;
        }
        Ok(Stability::Stable)
    }

    /// A file that lies directly in the table's folder, such as a marker of its namespace.
    fn take_loose(&mut self, context: &mut Context, name: &str, kind: FileType) -> Result<(), Error> {
        match kind {
            FileType::RegularFile if layout::is_temporary(name) => self.exclude(name, Exclusion::Unpublished),
            FileType::RegularFile if name == LEGACY_LATEST => self.exclude(name, Exclusion::VersionHint),
            FileType::RegularFile => {
                let full = join(self.path, name);
                let entry = context.read_small(self.table, name, &full)?;
                self.entries.extend(entry.map(|entry| (full, entry)));
            }
            FileType::Symlink => self.exclude(name, Exclusion::SymbolicLink),
            _ => self.exclude(name, Exclusion::Special),
        }
        Ok(())
    }

    fn exclude(&mut self, path: &str, reason: Exclusion) {
        self.excluded.push(Excluded {
            path: join(self.path, path),
            reason,
            files: 1,
        });
    }
}

/// What versions besides the head add to.
struct Past<'a> {
    stamp: &'a mut TableStamp,
    stems: &'a mut BTreeSet<String>,
    damage: &'a mut Vec<Damage>,
}

fn tagged_versions(tags: &[Tag], branch: Option<&str>) -> BTreeSet<u64> {
    tags.iter()
        .filter(|tag| tag.branch.as_deref() == branch)
        .map(|tag| tag.version)
        .collect()
}

/// Blob sidecars lie in a folder named like their data file.
fn sidecar_stems(manifest: &Manifest) -> BTreeSet<String> {
    let files = manifest
        .fragments
        .iter()
        .flat_map(|fragment| &fragment.files)
        .filter(|file| file.base.is_none());
    files
        .filter_map(|file| file.path.strip_suffix(".lance").map(str::to_owned))
        .collect()
}
