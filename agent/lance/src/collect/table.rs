//! One table, from its head to everything beside its closure; tried again while its writer moves on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::fs::FileType;

use crate::dir::{Dir, Identity, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout::{
    self, BLOBS, COMPUTED, DATA, FRAGMENT_REUSE, INDICES, LEGACY_FULL_TEXT, MEM_WAL, TREE, VERSIONS,
};
use crate::manifest::Manifest;
use crate::report::{
    Damage, Excluded, Exclusion, ExternalBase, Mode, Problem, TableStamp, TagStamp, split_branch,
};

use super::context::Context;
use super::folder::Stability;
use super::history::Versions;
use super::refs::Refs;
use super::version::{Outcome, Taking, Version};
use super::{Entries, Mark};

/// How often a table is tried while its writer moves on.
const ATTEMPTS: u32 = 8;
/// How long the same damage must last before it is believed: a drop deletes file after file.
const CONFIRM: Duration = Duration::from_millis(150);

/// A table of the cut.
#[derive(Debug)]
pub(crate) struct TableState {
    pub(crate) stamp: TableStamp,
    pub(crate) entries: Entries,
    pub(crate) damage: Vec<Damage>,
    pub(crate) excluded: Vec<Excluded>,
    pub(crate) external: Vec<ExternalBase>,
    /// Held open, so that its inode cannot be given to another folder.
    folder: Dir,
    mark: Mark,
}

impl TableState {
    /// Whether the table is not what it was when it was taken.
    pub(crate) fn moved(&self, context: &Context) -> bool {
        let Ok(current) = context.root.sub(&self.stamp.path) else {
            return true;
        };
        let same = match (current.identity(), self.folder.identity()) {
            (Ok(current), Ok(held)) => current.same_folder(&held),
            _ => false,
        };
        !same || Mark::of(&current).is_none_or(|mark| mark != self.mark)
    }
}

impl Mark {
    /// Reads the head as it is now, without opening it; `None` if that fails.
    fn of(table: &Dir) -> Option<Self> {
        let refs = Refs::fingerprint(table).ok()?;
        let versions = Versions::read(table).ok()?;
        let head = match versions.head() {
            Some(name) => Some((
                name.to_owned(),
                Identity::of(&table.stat(&join(VERSIONS, name)).ok()?),
            )),
            None => None,
        };
        Some(Self { head, refs })
    }
}

/// One attempt at a table.
enum Attempt {
    Done(Box<TableState>),
    /// The folder is gone.
    Vanished,
    /// There is no manifest.
    Headless,
    /// The writer moved on.
    Moved,
    /// The head is incomplete or unreadable.
    Broken {
        mark: (String, Identity),
        damage: Vec<Damage>,
    },
}

/// Takes a table; `None` if it is gone.
pub(crate) fn take(
    context: &mut Context,
    path: &str,
    previous: Option<TableState>,
    others: &BTreeMap<String, TableState>,
) -> Result<Option<TableState>, Error> {
    let mut pool = previous.map(|state| state.entries).unwrap_or_default();
    pool.retain(|_, entry| entry.is_immutable());
    let mut broken: Option<((String, Identity), Vec<Damage>)> = None;
    let mut headless = false;
    for attempt in 1..=ATTEMPTS {
        context.check_cancelled()?;
        let folder = match context.root.sub(path) {
            Err(error) if is_missing(&error) => return Ok(None),
            folder => folder.map_err(|error| context.failed(path, error))?,
        };
        match Attempt::make(context, folder, path, &mut pool, others)? {
            Attempt::Done(state) => return Ok(Some(*state)),
            Attempt::Vanished => return Ok(None),
            Attempt::Headless if headless => return Ok(None),
            Attempt::Headless => {
                headless = true;
                context.pause(attempt, CONFIRM);
            }
            Attempt::Moved => context.pause(attempt, Duration::ZERO),
            Attempt::Broken { mark, damage } => {
                let now = (mark, damage);
                if broken.as_ref() == Some(&now) {
                    return salvage(context, path, &mut pool, others, now.1);
                }
                tracing::debug!(
                    table = path,
                    attempt,
                    problems = now.1.len(),
                    "the head is incomplete; looking again"
                );
                broken = Some(now);
                context.pause(attempt, CONFIRM);
            }
        }
    }
    match broken {
        Some((_, damage)) => salvage(context, path, &mut pool, others, damage),
        None => Err(Error::Busy {
            table: path.to_owned(),
            attempts: ATTEMPTS,
        }),
    }
}

impl Attempt {
    fn make(
        context: &mut Context,
        folder: Dir,
        path: &str,
        pool: &mut Entries,
        others: &BTreeMap<String, TableState>,
    ) -> Result<Self, Error> {
        let mut taking = Taking::new(&folder, path, pool, others);
        // The write-ahead log goes first: a base that is newer than its log loses nothing, the reverse does.
        if taking.take_folder(context, MEM_WAL, &[])? == Stability::Shrunk {
            return Ok(Self::Moved);
        }
        let Ok(fingerprint) = Refs::fingerprint(&folder) else {
            return Ok(Self::Vanished);
        };
        let refs = Refs::read(context, &folder, path)?;
        let versions = Versions::list(context, &folder, path)?;
        let Some(name) = versions.head().map(str::to_owned) else {
            return Ok(Self::Headless);
        };
        let version = match taking.take_version(context, &name)? {
            Outcome::Gone => return Ok(Self::Moved),
            Outcome::Unreadable(identity, error) => {
                let version = versions.line().next().map_or(0, |(version, _)| version);
                let full = join(path, &join(VERSIONS, &name));
                let problem = if identity.len == 0 {
                    Problem::Empty
                } else {
                    Problem::Manifest {
                        reason: error.to_string(),
                    }
                };
                let damage = vec![Damage {
                    table: path.to_owned(),
                    version,
                    path: full,
                    problem,
                }];
                return Ok(Self::Broken {
                    mark: (name, identity),
                    damage,
                });
            }
            Outcome::Taken(version) if !version.problems.is_empty() => {
                return Ok(Self::Broken {
                    mark: (name, version.identity),
                    damage: version.problems,
                });
            }
            Outcome::Taken(version) | Outcome::Opaque(version) => version,
        };
        let mark = Mark {
            head: Some((name, version.identity)),
            refs: fingerprint,
        };
        let mode = if version.manifest.opaque().is_some() {
            Mode::Opaque
        } else {
            Mode::Exact
        };
        match taking.finish(context, *version, mode, &versions, refs)? {
            Some(parts) => Ok(Self::Done(Box::new(parts.into_state(folder, mark)))),
            None => Ok(Self::Moved),
        }
    }
}

/// A table's parts, before its folder is given away.
struct Parts {
    stamp: TableStamp,
    entries: Entries,
    excluded: Vec<Excluded>,
    external: Vec<ExternalBase>,
    damage: Vec<Damage>,
}

impl Parts {
    fn into_state(self, folder: Dir, mark: Mark) -> TableState {
        let Self {
            stamp,
            entries,
            excluded,
            external,
            damage,
        } = self;
        TableState {
            stamp,
            entries,
            damage,
            excluded,
            external,
            folder,
            mark,
        }
    }
}

impl Taking<'_> {
    /// Adds what lies beside the closure of the version that was taken; `None` if the writer moved on.
    fn finish(
        mut self,
        context: &mut Context,
        version: Version,
        mode: Mode,
        versions: &Versions,
        refs: Refs,
    ) -> Result<Option<Parts>, Error> {
        let mut stamp = TableStamp::of(self.path, mode, &version.name, &version.manifest);
        let mut taken: BTreeSet<&str> = BTreeSet::from([version.name.as_str()]);
        let mut damage = Vec::new();
        if mode == Mode::Opaque {
            if self.take_folder(context, VERSIONS, &[])? == Stability::Shrunk
                || self.take_folder(context, "", &[TREE, MEM_WAL, VERSIONS, "_refs"])? == Stability::Shrunk
            {
                return Ok(None);
            }
            self.entries
                .remove(&join(self.path, &join(VERSIONS, layout::VERSION_HINT)));
        } else {
            let tags = context.tags_for(self.path, &refs);
            let mut stems: BTreeSet<String> = sidecar_stems(&version.manifest);
            for name in versions.wanted(
                context.options.history,
                version.manifest.version,
                &tags,
                stamp.branch.as_deref(),
            ) {
                match self.take_other(context, name)? {
                    Some(other) => {
                        taken.insert(name);
                        stamp.history.push(other.manifest.version);
                        stems.extend(sidecar_stems(&other.manifest));
                        damage.extend(other.problems);
                    }
                    None => self.exclude(&join(VERSIONS, name), Exclusion::Damaged),
                }
            }
            if !self.take_beside(context, &stems)? {
                return Ok(None);
            }
            self.excluded.extend(versions.excluded(self.path, &taken));
        }
        stamp.note_refs(&refs);
        stamp.bytes = version.bytes;
        self.entries.extend(refs.entries);
        let external = self.external_bases();
        Ok(Some(Parts {
            stamp,
            entries: self.entries,
            excluded: self.excluded,
            external,
            damage,
        }))
    }

    /// Takes a version besides the head, or none of it.
    fn take_other(&mut self, context: &mut Context, name: &str) -> Result<Option<Version>, Error> {
        let before = self.entries.clone();
        match self.take_version(context, name)? {
            Outcome::Taken(version) if version.problems.is_empty() => Ok(Some(*version)),
            outcome => {
                tracing::debug!(table = self.path, name, ?outcome, "left out of the history");
                self.entries = before;
                Ok(None)
            }
        }
    }

    /// Blob sidecars, row maps, signatures, legacy indices and folders that we do not know: manifests do not
    /// name their files. `false` if a clean-up is under way.
    fn take_beside(&mut self, context: &mut Context, stems: &BTreeSet<String>) -> Result<bool, Error> {
        let list = |folder: &str| match self.table.sub(folder).and_then(|dir| dir.list()) {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            items => items.map_err(|error| context.failed(&join(self.path, folder), error)),
        };
        let sidecars = list(DATA)?
            .into_iter()
            .filter(|item| item.kind == FileType::Directory && stems.contains(&item.name));
        let mut folders: Vec<String> = sidecars.map(|item| join(DATA, &item.name)).collect();
        let top = list("")?;
        folders.extend([BLOBS, FRAGMENT_REUSE, COMPUTED].map(str::to_owned));
        folders.extend(LEGACY_FULL_TEXT.map(|name| join(INDICES, name)));
        let unknown = top
            .iter()
            .filter(|item| !layout::KNOWN.contains(&item.name.as_str()));
        let (unknown, other): (Vec<_>, Vec<_>) = unknown.partition(|item| item.kind == FileType::Directory);
        folders.extend(unknown.into_iter().map(|item| item.name.clone()));
        for folder in folders {
            if self.take_folder(context, &folder, &[])? == Stability::Shrunk {
                return Ok(false);
            }
        }
        for item in other {
            match item.kind {
                FileType::RegularFile if layout::is_temporary(&item.name) => {
                    self.exclude(&item.name, Exclusion::Unpublished)
                }
                FileType::RegularFile => {
                    let full = join(self.path, &item.name);
                    let entry = context.read_small(self.table, &item.name, &full)?;
                    self.entries.extend(entry.map(|entry| (full, entry)));
                }
                FileType::Symlink => self.exclude(&item.name, Exclusion::SymbolicLink),
                _ => self.exclude(&item.name, Exclusion::Special),
            }
        }
        Ok(true)
    }

    fn exclude(&mut self, path: &str, reason: Exclusion) {
        self.excluded.push(Excluded {
            path: join(self.path, path),
            reason,
            files: 1,
        });
    }
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

/// The head is damaged: takes the newest version that is whole, or else everything that is there.
fn salvage(
    context: &mut Context,
    path: &str,
    pool: &mut Entries,
    others: &BTreeMap<String, TableState>,
    damage: Vec<Damage>,
) -> Result<Option<TableState>, Error> {
    tracing::warn!(
        table = path,
        problems = damage.len(),
        "the head is damaged on the source; looking for an older version that is whole"
    );
    let folder = match context.root.sub(path) {
        Err(error) if is_missing(&error) => return Ok(None),
        folder => folder.map_err(|error| context.failed(path, error))?,
    };
    let Some(mark) = Mark::of(&folder) else {
        return Ok(None);
    };
    let versions = Versions::list(context, &folder, path)?;
    let head = versions.line().next().map(|(version, _)| version);
    for (_, name) in versions.line().skip(1) {
        context.check_cancelled()?;
        let mut taking = Taking::new(&folder, path, pool, others);
        taking.take_folder(context, MEM_WAL, &[])?;
        let refs = Refs::read(context, &folder, path)?;
        let Outcome::Taken(version) = taking.take_version(context, name)? else {
            continue;
        };
        if !version.problems.is_empty() {
            continue;
        }
        if let Some(mut parts) = taking.finish(context, *version, Mode::Fallback, &versions, refs)? {
            parts.stamp.damaged_head = head;
            parts.damage.extend(damage);
            return Ok(Some(parts.into_state(folder, mark)));
        }
    }
    let mut taking = Taking::new(&folder, path, pool, others);
    taking.take_folder(context, "", &[TREE])?;
    let mut stamp = TableStamp::unread(path, Mode::Salvage);
    stamp.damaged_head = head;
    let parts = Parts {
        stamp,
        entries: taking.entries,
        excluded: taking.excluded,
        external: Vec::new(),
        damage,
    };
    Ok(Some(parts.into_state(folder, mark)))
}

impl<'a> Taking<'a> {
    fn new(
        table: &'a Dir,
        path: &'a str,
        pool: &'a mut Entries,
        others: &'a BTreeMap<String, TableState>,
    ) -> Self {
        Taking {
            table,
            path,
            entries: Entries::new(),
            pool,
            others,
            excluded: Vec::new(),
            external: BTreeMap::new(),
        }
    }
}

impl Context {
    /// Tags lie with the main line, for its branches too.
    pub(crate) fn tags_for(&mut self, path: &str, own: &Refs) -> Vec<super::refs::Tag> {
        let (owner, branch) = split_branch(path);
        if branch.is_none() {
            return own.tags.clone();
        }
        let owner = owner.to_owned();
        let Ok(table) = self.root.sub(&owner) else {
            return Vec::new();
        };
        Refs::read(self, &table, &owner)
            .map(|refs| refs.tags)
            .unwrap_or_default()
    }
}

impl TableStamp {
    pub(crate) fn note_refs(&mut self, refs: &Refs) {
        self.branches = refs.branches.clone();
        let included = |version: u64| version == self.version || self.history.contains(&version);
        let stamps = refs.tags.iter().map(|tag| TagStamp {
            name: tag.name.clone(),
            version: tag.version,
            branch: tag.branch.clone(),
            included: tag.branch.is_none() && included(tag.version),
        });
        self.tags = stamps.collect();
    }
}
