//! The cut of one database: every table's head held still, and proof of whether any moved meanwhile.
//!
//! # Overview
//! [`collect`] finds the tables, and takes each: its manifest first, then the files that the manifest refers to,
//! each [pinned](crate::pins). The caller collects its other sources, then asks [`Collected::moved`]. An empty
//! answer proves an exact cut: all heads stood still from the last one read to the first one read again. What
//! moved is taken again by [`Collected::recollect`]; after a few rounds the caller records the window instead.
//!
//! # Consistency
//! A manifest is published after everything it refers to, and what it refers to is never changed, only deleted
//! by the application's own clean-up. So a manifest seen means that its files existed, and the only race is
//! against deletion. Folders are held open: a table dropped and re-created under its name is seen as such.
//! Version numbers of one incarnation only grow, so that an unchanged head was unchanged all along. Tags, the
//! write-ahead log of the log-structured tier and legacy full-text indices change without a new version: they are
//! compared file by file. Files that are no part of any table are taken as they stand, without such proof.
//!
//! # Retries
//! A file that is gone means that its version was superseded and cleaned up: the newest version is taken
//! instead, up to eight times, keeping the pins that both share. If the head is the same, and still misses the
//! same files a moment later, that is damage on the source: it is reported, and the newest version that is
//! whole is taken instead.
//!
//! # Cancellation
//! Checked before each table, each attempt and every few files.
//!
//! # Crash consistency
//! Descriptors vanish with the process; the staging folder is swept by [`crate::pins::sweep`].

mod bases;
mod beside;
mod context;
mod entry;
mod folder;
mod history;
mod indices;
mod refs;
mod table;
#[cfg(test)]
mod tests;
mod transactions;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::dir::{Dir, Identity};
use crate::discover;
use crate::error::Error;
use crate::pins::{PinMethod, PinSummary};
use crate::report::{Damage, Excluded, Exclusion, ExternalBase, Mode, TableStamp};

pub(crate) use bases::{Location, local_path, normal};
pub(crate) use context::Context;
pub use entry::{EntryKind, PinnedEntry};
pub(crate) use folder::Walk;
pub(crate) use history::Versions;
pub(crate) use refs::{Refs, Tag};

use table::{TableState, Taken};

/// Which versions of each table are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// The newest version.
    Heads,
    /// The newest version and all that tags point to.
    #[default]
    Tagged,
    /// Every version that is still complete.
    All,
}

/// What to take and how to hold it.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// Versions besides the heads.
    pub history: History,
    /// Pin methods in the order in which they are tried.
    pub pins: Vec<PinMethod>,
    /// Where reflinks, hard links and copies are kept; outside the database. Without it only descriptors work.
    pub staging: Option<PathBuf>,
    /// Seed of the jitter between attempts.
    pub seed: u64,
    /// Stops the collection at the next safe point.
    pub cancel: CancellationToken,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            history: History::default(),
            pins: PinMethod::DEFAULT_ORDER.to_vec(),
            staging: None,
            seed: 0,
            cancel: CancellationToken::new(),
        }
    }
}

/// Entries by path relative to the database.
pub(crate) type Entries = BTreeMap<String, Arc<PinnedEntry>>;

/// A database held still. Dropping it lets go of the pins.
#[derive(Debug)]
pub struct Collected {
    /// One stamp per table and branch, by path.
    pub tables: Vec<TableStamp>,
    /// Everything to be stored, sorted by path, folders before what is in them.
    pub entries: Vec<Arc<PinnedEntry>>,
    /// How files are held.
    pub pin: PinSummary,
    /// What lies in the folder and is not in `entries`.
    pub excluded: Vec<Excluded>,
    /// What current versions need and the source lacks.
    pub damage: Vec<Damage>,
    /// Files of tables that lie outside the database.
    pub external_bases: Vec<ExternalBase>,
    context: Context,
    states: BTreeMap<String, TableState>,
    /// Folders of tables without any manifest.
    headless: BTreeSet<String>,
}

/// Holds a database still. Blocks; call it on a thread that may.
///
/// # Errors
/// See [`Error`]. Damage on the source is none of them.
pub fn collect(db: &Path, options: &CollectOptions) -> Result<Collected, Error> {
    let context = Context::open(db, options)?;
    let mut collected = Collected {
        tables: Vec::new(),
        entries: Vec::new(),
        pin: PinSummary::default(),
        excluded: Vec::new(),
        damage: Vec::new(),
        external_bases: Vec::new(),
        context,
        states: BTreeMap::new(),
        headless: BTreeSet::new(),
    };
    let contents = discover::contents(&collected.context.root, db)?;
    let tables: Vec<&str> = contents.tables.iter().map(String::as_str).collect();
    collected.take(&tables)?;
    collected.assemble()?;
    Ok(collected)
}

impl Collected {
    /// Reads all heads again: folders of the tables whose head, tags or folder changed, or that came or went
    /// since they were taken. Empty proves that the database stood still.
    ///
    /// # Errors
    /// When the database folder cannot be read any more.
    pub fn moved(&self) -> Result<Vec<String>, Error> {
        let current = Dir::open(&self.context.path).map_err(|source| self.context.lost(source))?;
        if !self.context.is_root(&current)? {
            return Ok(self
                .states
                .keys()
                .cloned()
                .chain(discover::contents(&current, &self.context.path)?.tables)
                .collect());
        }
        let now: BTreeSet<String> = discover::contents(&current, &self.context.path)?
            .tables
            .into_iter()
            .collect();
        let is_new = |path: &&String| match self.states.get(*path) {
            Some(state) => state.moved(&self.context),
            None => !self.headless.contains(*path) || table::has_head(&self.context, path),
        };
        let mut changed: BTreeSet<String> = now.iter().filter(is_new).cloned().collect();
        changed.extend(self.states.keys().filter(|path| !now.contains(*path)).cloned());
        Ok(changed.into_iter().collect())
    }

    /// Takes the named tables again; those that are gone leave the cut.
    ///
    /// # Errors
    /// As [`collect`]. The cut is unusable after an error.
    pub fn recollect(&mut self, tables: &[String]) -> Result<(), Error> {
        self.context.reopen_root()?;
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        self.take(&tables)?;
        self.assemble()
    }

    /// Bytes of files that the application has deleted and that take space only because they are held.
    pub fn held_bytes(&self) -> u64 {
        let files = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry, entry.content()?)));
        files.fold(0, |sum, (entry, pin)| {
            let held = match pin.method() {
                Some(PinMethod::Reflink) if !self.context.is_live(entry) => entry.len(),
                _ => pin.held_bytes(entry.len()),
            };
            sum.saturating_add(held)
        })
    }

    /// Whether something other than the heads' full closures had to be taken.
    pub fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
            || self
                .tables
                .iter()
                .any(|table| matches!(table.mode, Mode::Fallback | Mode::Salvage))
    }

    /// The folder of the database as it was given.
    pub fn path(&self) -> &Path {
        &self.context.path
    }

    /// The folder of the database with all links resolved.
    pub fn canonical_path(&self) -> &Path {
        &self.context.canonical
    }

    fn take(&mut self, tables: &[&str]) -> Result<(), Error> {
        for path in tables {
            self.context.check_cancelled()?;
            let previous = self.states.remove(*path);
            self.headless.remove(*path);
            match table::take(&mut self.context, path, previous, &self.states)? {
                Taken::Whole(state) => drop(self.states.insert((*path).to_owned(), *state)),
                Taken::Headless => drop(self.headless.insert((*path).to_owned())),
                Taken::Gone => {}
            }
        }
        Ok(())
    }

    /// Puts the tables' parts together with what lies outside of tables.
    fn assemble(&mut self) -> Result<(), Error> {
        let contents = discover::contents(&self.context.root, &self.context.path)?;
        let mut files = Entries::new();
        for state in self.states.values() {
            files.extend(
                state
                    .entries
                    .iter()
                    .map(|(path, entry)| (path.clone(), Arc::clone(entry))),
            );
        }
        for path in &contents.loose {
            files.extend(self.context.take_loose(path)?.map(|entry| (path.clone(), entry)));
        }
        self.context.pinner.reset_figures();
        for entry in files.values() {
            if let Some(pin) = entry.content() {
                self.context.pinner.count(&entry.attributes, pin);
            }
        }
        self.pin = self.context.pinner.summary();
        let states = self.states.values();
        self.tables = states.clone().map(|state| state.stamp.clone()).collect();
        self.damage = states
            .clone()
            .flat_map(|state| state.damage.iter().cloned())
            .collect();
        self.external_bases = states
            .clone()
            .flat_map(|state| state.external.iter().cloned())
            .collect();
        self.excluded = states
            .flat_map(|state| state.excluded.iter().cloned())
            .chain(contents.excluded)
            .collect();
        self.excluded.extend(self.headless.iter().map(|path| Excluded {
            path: path.clone(),
            reason: Exclusion::HalfDropped,
            files: 0,
        }));
        self.excluded.sort_unstable();
        self.excluded.dedup();
        self.entries = self.context.with_folders(files);
        Ok(())
    }
}

/// What a table's head looked like when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// File name and identity of the head's manifest; `None` where there is none.
    pub(crate) head: Option<(String, Identity)>,
    /// Fingerprint of what changes without a new version.
    pub(crate) unversioned: blake3::Hash,
}

/// Tries pin methods on a database without keeping anything: what `doctor` shows.
///
/// # Errors
/// As [`collect`].
pub fn try_pins(db: &Path, options: &CollectOptions) -> Result<PinSummary, Error> {
    let mut context = Context::open(db, options)?;
    let contents = discover::contents(&context.root, db)?;
    for table in &contents.tables {
        let folder = format!("{table}/{}", crate::layout::VERSIONS);
        let items = context
            .root
            .sub(&folder)
            .and_then(|dir| dir.list())
            .unwrap_or_default();
        for item in items
            .iter()
            .filter(|item| crate::layout::ManifestName::parse(&item.name).is_some())
            .take(1)
        {
            if let Some(entry) = context.pin_from_root(&format!("{folder}/{}", item.name))?
                && let Some(pin) = entry.content()
            {
                context.pinner.count(&entry.attributes, pin);
            }
        }
    }
    Ok(context.pinner.summary())
}
