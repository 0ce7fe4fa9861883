//! One table, from its head to everything beside its closure; tried again while its writer moves on.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::dir::{Dir, Identity, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout::{MEM_WAL, TREE, VERSIONS};
use crate::report::{Damage, Excluded, ExternalBase, Mode, TableStamp, TagStamp, split_branch};

use super::beside::Parts;
use super::context::Context;
use super::folder::Stability;
use super::history::Versions;
use super::refs::{Refs, Tag, unversioned};
use super::version::{Outcome, Taking};
use super::{Entries, Mark};

/// How often a table is tried while its writer moves on.
const ATTEMPTS: u32 = 16;
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
    pub(crate) folder: Dir,
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
        !same || Mark::of(&current).ok().is_none_or(|mark| mark != self.mark)
    }
}

impl Mark {
    /// Reads the head as it is now, without opening it.
    fn of(table: &Dir) -> io::Result<Self> {
        let unversioned = unversioned(table)?;
        let versions = Versions::read(table)?;
        let head = match versions.head() {
            Some(name) => Some((name.to_owned(), Identity::of(&table.stat(&join(VERSIONS, name))?))),
            None => None,
        };
        Ok(Self { head, unversioned })
    }

    /// Whether the head is still the one that was looked at.
    fn is_head(table: &Dir, seen: &(String, Identity)) -> bool {
        Self::of(table).is_ok_and(|mark| mark.head.as_ref() == Some(seen))
    }
}

/// Whether a table has any version by now.
pub(crate) fn has_head(context: &Context, path: &str) -> bool {
    context
        .root
        .sub(path)
        .and_then(|table| Mark::of(&table))
        .is_ok_and(|mark| mark.head.is_some())
}

/// One attempt at a table.
enum Attempt {
    Done(Box<TableState>),
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

/// What became of taking a table.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is in the cut.
    Whole(Box<TableState>),
    /// It has no manifest: it is being created, or its drop was interrupted.
    Headless,
    /// It is gone.
    Gone,
}

/// Takes a table.
pub(crate) fn take(
    context: &mut Context,
    path: &str,
    previous: Option<TableState>,
    others: &BTreeMap<String, TableState>,
) -> Result<Taken, Error> {
    let mut pool = previous.map(|state| state.entries).unwrap_or_default();
    pool.retain(|_, entry| entry.is_immutable());
    let mut broken: Option<((String, Identity), Vec<Damage>)> = None;
    let mut headless = false;
    for attempt in 1..=ATTEMPTS {
        context.check_cancelled()?;
        let folder = match context.root.sub(path) {
            Err(error) if is_missing(&error) => return Ok(Taken::Gone),
            folder => folder.map_err(|error| context.failed(path, error))?,
        };
        match Attempt::make(context, folder, path, &mut pool, others)? {
            Attempt::Done(state) => return Ok(Taken::Whole(state)),
            Attempt::Headless if headless => return Ok(Taken::Headless),
            Attempt::Headless => {
                headless = true;
                context.pause(attempt, CONFIRM);
            }
            Attempt::Moved => context.pause(attempt, Duration::ZERO),
            Attempt::Broken { mark, damage } => {
                let now = (mark, damage);
                if broken.as_ref() == Some(&now) {
                    if let Some(taken) = salvage(context, path, &mut pool, others, now.1)? {
                        return Ok(taken);
                    }
                    broken = None;
                    context.pause(attempt, CONFIRM);
                    continue;
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
    Err(Error::Busy {
        table: path.to_owned(),
        attempts: ATTEMPTS,
    })
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
        let unversioned = unversioned(&folder).map_err(|error| context.failed(path, error))?;
        // The write-ahead log goes first: a base that is newer than its log loses nothing, the reverse does.
        if taking.take_folder(context, MEM_WAL, &[])? == Stability::Shrunk {
            return Ok(Self::Moved);
        }
        let refs = Refs::read(context, &folder, path)?;
        let versions = Versions::list(context, &folder, path)?;
        let Some(name) = versions.head().map(str::to_owned) else {
            return Ok(Self::Headless);
        };
        taking.is_head = true;
        let (mark, damage) = match taking.take_version(context, &name)? {
            Outcome::Gone => return Ok(Self::Moved),
            Outcome::Unreadable(identity, error) => {
                let damage = Damage::unreadable(path, &name, &error);
                ((name, identity), vec![damage])
            }
            Outcome::Taken(version) if !version.problems.is_empty() => {
                ((name, version.identity), version.problems)
            }
            Outcome::Taken(version) | Outcome::Opaque(version) => {
                let mark = Mark {
                    head: Some((name, version.identity)),
                    unversioned,
                };
                let mode = if version.manifest.opaque().is_some() {
                    Mode::Opaque
                } else {
                    Mode::Exact
                };
                let parts = taking.finish(context, *version, mode, &versions, refs)?;
                return Ok(parts.map_or(Self::Moved, |parts| {
                    Self::Done(Box::new(parts.into_state(folder, mark)))
                }));
            }
        };
        // A version that was superseded meanwhile may lose its files: that is no damage.
        if Mark::is_head(&folder, &mark) {
            Ok(Self::Broken { mark, damage })
        } else {
            Ok(Self::Moved)
        }
    }
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

/// The head is damaged: takes the newest version that is whole, or else everything that is there. `None` if the table
/// is being dropped, which looks like damage while it lasts.
fn salvage(
    context: &mut Context,
    path: &str,
    pool: &mut Entries,
    others: &BTreeMap<String, TableState>,
    damage: Vec<Damage>,
) -> Result<Option<Taken>, Error> {
    tracing::warn!(
        table = path,
        problems = damage.len(),
        "the head is damaged on the source; looking for an older version that is whole"
    );
    let folder = match context.root.sub(path) {
        Err(error) if is_missing(&error) => return Ok(Some(Taken::Gone)),
        folder => folder.map_err(|error| context.failed(path, error))?,
    };
    let mark = match Mark::of(&folder) {
        Err(error) if is_missing(&error) => return Ok(None),
        mark => mark.map_err(|error| context.failed(path, error))?,
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
            return Ok(Some(Taken::Whole(Box::new(parts.into_state(folder, mark)))));
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
    Ok(Some(Taken::Whole(Box::new(parts.into_state(folder, mark)))))
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
            is_head: false,
            added: Vec::new(),
        }
    }
}

impl Context {
    /// Tags lie with the main line, for its branches too.
    pub(crate) fn tags_for(&mut self, path: &str, own: &Refs) -> Result<Vec<Tag>, Error> {
        let (owner, branch) = split_branch(path);
        if branch.is_none() {
            return Ok(own.tags.clone());
        }
        let owner = owner.to_owned();
        match self.root.sub(&owner) {
            Ok(table) => Ok(Refs::read(self, &table, &owner)?.tags),
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(self.failed(&owner, error)),
        }
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
