//! One version of one table: its manifest, then everything it refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::closure::{Closure, Folder, Reference};
use crate::dir::{Dir, Identity, is_missing};
use crate::discover::join;
use crate::error::Error;
use crate::layout::{self, VERSIONS};
use crate::manifest::{DecodeError, Manifest};
use crate::report::{Damage, Excluded, ExternalBase, Problem};

use super::bases::Location;
use super::context::Context;
use super::folder::Walk;
use super::history::Versions;
use super::table::TableState;
use super::{Entries, PinnedEntry};

/// How many files are pinned between two looks at the cancellation token.
const CANCEL_EVERY: usize = 256;

/// A table in the course of being taken.
pub(crate) struct Taking<'a> {
    /// The table's folder, held open.
    pub(crate) table: &'a Dir,
    /// Its path relative to the database.
    pub(crate) path: &'a str,
    /// What is taken so far, by path relative to the database.
    pub(crate) entries: Entries,
    /// Write-once files of earlier attempts, which need not be pinned again.
    pub(crate) pool: &'a mut Entries,
    /// Tables taken before: a branch shares files with its table.
    pub(crate) others: &'a BTreeMap<String, TableState>,
    /// What is not taken.
    pub(crate) excluded: Vec<Excluded>,
    /// Roots outside the database that files lie under.
    pub(crate) external: BTreeMap<String, u64>,
    /// Whether what is being taken is the newest version as far as is known.
    pub(crate) is_head: bool,
    /// What came into `entries` since this was last cleared, so that a version can be given up.
    pub(crate) added: Vec<String>,
}

/// A version, taken.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) manifest: Manifest,
    /// Bytes of the files that it refers to, inside the database.
    pub(crate) bytes: u64,
    /// What it needs and lacks.
    pub(crate) problems: Vec<Damage>,
}

/// What became of taking a version.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Taken, possibly with problems.
    Taken(Box<Version>),
    /// Its manifest is gone.
    Gone,
    /// Its manifest cannot be decoded.
    Unreadable(Identity, DecodeError),
    /// Its manifest does not tell the whole closure.
    Opaque(Box<Version>),
}

impl Taking<'_> {
    /// Takes a version by the file name of its manifest.
    pub(crate) fn take_version(&mut self, context: &mut Context, name: &str) -> Result<Outcome, Error> {
        let path = join(VERSIONS, name);
        let full = join(self.path, &path);
        let Some(entry) = context.pin(self.table, &path, &full, false)? else {
            return Ok(Outcome::Gone);
        };
        let identity = identity(&entry);
        let manifest = match decode(context, &entry)? {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Outcome::Unreadable(identity, error)),
        };
        self.insert(full, &entry);
        let mut version = Version {
            name: name.to_owned(),
            identity,
            manifest,
            bytes: 0,
            problems: Vec::new(),
        };
        if version.manifest.opaque().is_some() {
            return Ok(Outcome::Opaque(Box::new(version)));
        }
        let closure = Closure::of(&version.manifest);
        for (count, reference) in closure.files.iter().enumerate() {
            if count % CANCEL_EVERY == 0 {
                context.check_cancelled()?;
            }
            let whole = version.problems.is_empty();
            self.take_reference(context, &mut version, reference)?;
            // No need to take the rest of a version that was superseded and is being cleaned up.
            if whole && !version.problems.is_empty() && self.is_superseded(name) {
                return Ok(Outcome::Gone);
            }
        }
        for folder in &closure.folders {
            self.take_listed_folder(context, &mut version, folder)?;
        }
        Ok(Outcome::Taken(Box::new(version)))
    }

    fn take_reference(
        &mut self,
        context: &mut Context,
        version: &mut Version,
        reference: &Reference,
    ) -> Result<(), Error> {
        let entry = match self.resolve(context, &version.manifest, reference.base) {
            None => {
                let entry = self.take_own(context, &reference.path)?;
                entry.ok_or_else(|| join(self.path, &reference.path))
            }
            Some((_, Location::Inside(base))) => {
                let full = join(&base, &reference.path);
                self.take_foreign(context, &full)?.ok_or(full)
            }
            Some((spelled, Location::Outside)) => {
                *self.external.entry(spelled).or_default() += 1;
                return Ok(());
            }
        };
        let len = entry.as_ref().ok().map(|entry| entry.len());
        version.bytes = version.bytes.saturating_add(len.unwrap_or(0));
        let Some(problem) = reference.problem(len) else {
            return Ok(());
        };
        let path = entry.map_or_else(|path| path, |entry| entry.path.clone());
        version.note(self.path, path, problem);
        Ok(())
    }

    /// An index whose files are not listed in the manifest: its whole folder.
    fn take_listed_folder(
        &mut self,
        context: &mut Context,
        version: &mut Version,
        folder: &Folder,
    ) -> Result<(), Error> {
        let (base, path) = match self.resolve(context, &version.manifest, folder.base) {
            None => (self.path.to_owned(), folder.path.clone()),
            Some((_, Location::Inside(base))) => (base, folder.path.clone()),
            Some((spelled, Location::Outside)) => {
                *self.external.entry(spelled).or_default() += 1;
                return Ok(());
            }
        };
        let root = match folder.base {
            None => self.table.sub(""),
            Some(_) => context.root.sub(&base),
        };
        let walk = match root.and_then(|root| Walk::of(&root, &base, &path, &[])) {
            Err(error) if is_missing(&error) => Walk::default(),
            walk => walk.map_err(|error| context.failed(&join(&base, &path), error))?,
        };
        if walk.files.is_empty() && folder.required {
            version.note(self.path, join(&base, &path), Problem::Missing);
        }
        for file in &walk.files {
            let reference = Reference {
                base: folder.base,
                path: file.clone(),
                size: None,
                required: folder.required,
            };
            self.take_reference(context, version, &reference)?;
        }
        self.excluded.extend(walk.excluded);
        Ok(())
    }

    /// Whether a newer version than the one that is taken for the head has come.
    fn is_superseded(&self, name: &str) -> bool {
        let is_current = |versions: &Versions| versions.head() == Some(name);
        self.is_head && !Versions::read(self.table).is_ok_and(|versions| is_current(&versions))
    }

    fn resolve(
        &self,
        context: &Context,
        manifest: &Manifest,
        base: Option<u32>,
    ) -> Option<(String, Location)> {
        let base = manifest.base(base?)?;
        Some((base.path.clone(), context.locate_base(&base.path)))
    }

    /// Takes a file of this table; whether it was there.
    pub(crate) fn take_file(&mut self, context: &mut Context, path: &str) -> Result<bool, Error> {
        Ok(self.take_own(context, path)?.is_some())
    }

    fn take_own(&mut self, context: &mut Context, path: &str) -> Result<Option<Arc<PinnedEntry>>, Error> {
        let full = join(self.path, path);
        if let Some(entry) = self.known(&full) {
            return Ok(Some(entry));
        }
        let entry = context.pin(self.table, path, &full, layout::is_immutable(path))?;
        Ok(entry.inspect(|entry| self.keep(full, entry)))
    }

    /// Takes a file that lies in the database but under another table's folder.
    fn take_foreign(&mut self, context: &mut Context, full: &str) -> Result<Option<Arc<PinnedEntry>>, Error> {
        if let Some(entry) = self.known(full) {
            return Ok(Some(entry));
        }
        let entry = context.pin_from_root(full)?;
        Ok(entry.inspect(|entry| self.keep(full.to_owned(), entry)))
    }

    /// A write-once file that is pinned already, by this attempt, an earlier one or another table.
    fn known(&mut self, full: &str) -> Option<Arc<PinnedEntry>> {
        if let Some(entry) = self.entries.get(full) {
            return Some(Arc::clone(entry));
        }
        let pooled = self.pool.get(full).or_else(|| {
            let owners = full.match_indices('/').map(|(at, _)| &full[..at]);
            owners
                .filter_map(|owner| self.others.get(owner))
                .find_map(|state| state.entries.get(full))
        });
        let entry = Arc::clone(pooled.filter(|entry| entry.is_immutable())?);
        self.insert(full.to_owned(), &entry);
        Some(entry)
    }

    fn keep(&mut self, full: String, entry: &Arc<PinnedEntry>) {
        if entry.is_immutable() {
            self.pool.insert(full.clone(), Arc::clone(entry));
        }
        self.insert(full, entry);
    }

    fn insert(&mut self, full: String, entry: &Arc<PinnedEntry>) {
        self.added.push(full.clone());
        self.entries.insert(full, Arc::clone(entry));
    }

    pub(crate) fn external_bases(&self) -> Vec<ExternalBase> {
        let bases = self.external.iter();
        bases
            .map(|(path, files)| ExternalBase {
                table: self.path.to_owned(),
                path: path.clone(),
                files: *files,
            })
            .collect()
    }
}

impl Version {
    fn note(&mut self, table: &str, path: String, problem: Problem) {
        let version = self.manifest.version;
        self.problems.push(Damage {
            table: table.to_owned(),
            version,
            path,
            problem,
        });
    }
}

fn identity(entry: &PinnedEntry) -> Identity {
    let attributes = &entry.attributes;
    Identity {
        device: attributes.device,
        inode: attributes.inode,
        mtime_ns: attributes.mtime_ns,
        len: attributes.len,
    }
}

/// Reads a pinned manifest. The outer error is ours, the inner one says what is wrong with the bytes.
fn decode(context: &Context, entry: &PinnedEntry) -> Result<Result<Manifest, DecodeError>, Error> {
    match entry.file() {
        Ok(Some(file)) => Manifest::read(&file, entry.len()),
        Ok(None) => Ok(Err(DecodeError::Empty)),
        Err(error) => Err(error),
    }
    .map_err(|error| context.failed(&entry.path, error))
}
