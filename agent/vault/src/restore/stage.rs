//! From plan to staging directory: directories and links first, files in windows, then what closes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::commit::Swap;
use super::fill::{Fill, Kept};
use super::journal::{Journal, Line, State};
use super::plan::{Method, Placement, Plan};
use super::report::{PlacedSource, Report, Unrestored};
use super::selection::Match;
use super::site::{Site, sync_directory};
use super::{Error, Options};
use crate::failpoint;
use crate::progress::{Phase, Progress};
use crate::read::spool::{Spool, SpoolWriter};
use crate::tree::{Entry, EntryKind, Record, TreePath, TreeStream, content_hasher};
use crate::{Manifest, Repository, SourceRecord};

/// Directories whose metadata is put back in one step.
const DIRECTORIES: u64 = 1024;

/// Writes everything that `plan` names to its staging directories, verified and durable. Nothing is swapped in yet.
///
/// # Errors
///
/// [`Error`]; the staging directories are removed then.
pub async fn execute(
    repository: &Repository,
    manifest: &Manifest,
    plan: Plan,
    spool_dir: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Staged, Error> {
    let begun = Instant::now();
    progress.enter(Phase::Preparing);
    plan.check_space()?;
    progress.expect(plan.files, plan.bytes);
    let work = Work {
        repository,
        manifest,
        options: plan.options.clone(),
        plan: &plan,
        spool_dir,
        progress,
        unrestored: Arc::default(),
        kept: Arc::default(),
    };
    progress.enter(Phase::Restoring);
    let mut sites = Sites::default();
    let filled = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        filled = work.fill(&mut sites) => filled,
    };
    if let Err(error) = filled {
        sites.remove().await;
        return Err(error);
    }
    failpoint::reach("restore.staged");
    let (metadata_missing, metadata_missing_count) = work.unrestored.list();
    let report = Report {
        snapshot: plan.snapshot,
        placed: Vec::new(),
        files: plan.files,
        bytes: plan.bytes,
        files_kept: work.kept.files.load(Ordering::Relaxed),
        bytes_kept: work.kept.bytes.load(Ordering::Relaxed),
        bytes_fetched: progress.figures().bytes_stored,
        metadata_missing,
        metadata_missing_count,
        millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    progress.enter(Phase::Committing);
    Ok(Staged { plan, sites, report })
}

struct Work<'a> {
    repository: &'a Repository,
    manifest: &'a Manifest,
    plan: &'a Plan,
    options: Options,
    spool_dir: &'a Path,
    progress: &'a Progress,
    unrestored: Arc<Unrestored>,
    kept: Arc<Kept>,
}

impl Work<'_> {
    async fn fill(&self, sites: &mut Sites) -> Result<(), Error> {
        let synced = self.repository.sync_index().await;
        synced.map_err(|source| Error::Repository {
            step: "bring the index up to date",
            source,
        })?;
        for placement in &self.plan.placements {
            let record = self
                .manifest
                .source(&placement.source)
                .ok_or_else(|| Error::NoSource {
                    name: placement.source.clone(),
                    sources: self
                        .manifest
                        .sources
                        .iter()
                        .map(|source| source.name.clone())
                        .collect(),
                })?;
            sites.open(placement, &self.plan.id)?;
            failpoint::reach("restore.staging.created");
            let Some(open) = sites.list.last_mut() else {
                continue;
            };
            let fill = self.fill_for(placement, record, &open.site).await?;
            open.swap.units = fill.0;
            let fill = fill.1;
            fill.files().await?;
            failpoint::reach("restore.files.written");
            self.close_directories(&fill).await?;
        }
        Ok(())
    }

    /// Makes directories and links, and keeps the list of files for the rest.
    async fn fill_for(
        &self,
        placement: &Placement,
        record: &SourceRecord,
        site: &Site,
    ) -> Result<(Vec<TreePath>, Fill), Error> {
        let mut outline = Outline::new(self, placement, site)?;
        let mut stream = TreeStream::open(self.repository, &record.tree);
        loop {
            let next = stream.next().await;
            match next.map_err(|source| Error::List {
                origin: record.name.clone(),
                source: Box::new(source),
            })? {
                Some(record) => outline.take(record)?,
                None => break,
            }
        }
        let spool = outline
            .spool
            .finish()
            .map_err(Error::local("keep a file list in", self.spool_dir))?;
        let fill = Fill {
            repository: self.repository.clone(),
            source: Arc::from(record.name.as_str()),
            site: site.clone(),
            spool: Arc::new(spool),
            options: self.options.clone(),
            hasher: content_hasher(self.repository),
            progress: self.progress.clone(),
            unrestored: Arc::clone(&self.unrestored),
            reuse_from: (self.options.keep_right_files && placement.target.is_dir())
                .then(|| placement.target.clone()),
            kept: Arc::clone(&self.kept),
        };
        Ok((outline.units, fill))
    }

    /// Puts metadata on directories and links, from the bottom up, and makes directories durable.
    async fn close_directories(&self, fill: &Fill) -> Result<(), Error> {
        let ranges = (0..fill.spool.len().div_ceil(DIRECTORIES)).rev();
        for range in ranges.map(|at| at * DIRECTORIES..((at + 1) * DIRECTORIES).min(fill.spool.len())) {
            let (inner, spool) = (fill.clone(), Arc::clone(&fill.spool));
            fill.blocking("close directories below", move || {
                for index in range.rev() {
                    inner.close_entry(&spool, index)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

impl Fill {
    fn close_entry(&self, spool: &Spool, index: u64) -> std::io::Result<()> {
        let entry = spool.node(index)?.entry;
        match entry.kind {
            EntryKind::File { .. } => Ok(()),
            EntryKind::Symlink { .. } => self.site.write(|site| {
                let parent = site.open_parent(&entry.path)?;
                let name = TreePath::new(entry.path.name()).map_err(std::io::Error::other)?;
                let unapplied = entry.metadata.apply_to_link(parent, name.as_path());
                self.unrestored.note(&self.source, &entry.path, unapplied);
                Ok(())
            }),
            EntryKind::Directory => self.site.write(|site| {
                let directory = site.open_directory(&entry.path)?;
                self.unrestored
                    .note(&self.source, &entry.path, entry.metadata.apply(&directory));
                if self.options.durable {
                    directory.sync_all()
                } else {
                    Ok(())
                }
            }),
        }
    }
}

/// The selected part of a tree on its way into a staging directory.
struct Outline<'a> {
    site: &'a Site,
    matcher: super::selection::Matcher,
    spool: SpoolWriter,
    by_entry: bool,
    /// Whether the file that began last is selected.
    wanted: bool,
    /// Directories above the present place that are not selected themselves, and whether they have been made.
    above: Vec<(Entry, bool)>,
    units: Vec<TreePath>,
    spool_dir: PathBuf,
}

impl<'a> Outline<'a> {
    fn new(work: &Work<'_>, placement: &Placement, site: &'a Site) -> Result<Self, Error> {
        let spool =
            SpoolWriter::new(work.spool_dir).map_err(Error::local("keep a file list in", work.spool_dir))?;
        Ok(Self {
            site,
            matcher: work.plan.selection.compile()?,
            spool,
            by_entry: placement.method == Method::Entries,
            wanted: false,
            above: Vec::new(),
            units: Vec::new(),
            spool_dir: work.spool_dir.to_owned(),
        })
    }

    fn take(&mut self, record: Record) -> Result<(), Error> {
        let Record::Entry(entry) = record else {
            return if self.wanted { self.push(record) } else { Ok(()) };
        };
        while self
            .above
            .last()
            .is_some_and(|(above, _)| !entry.path.is_within(&above.path))
        {
            self.above.pop();
        }
        let judged = self.matcher.judge(&entry.path);
        self.wanted = judged != Match::Out;
        if !self.wanted {
            if entry.kind == EntryKind::Directory {
                self.above.push((entry, false));
            }
            return Ok(());
        }
        self.make_above()?;
        let everything = self.matcher.is_everything();
        let top = if everything {
            entry.path.parent().is_some_and(|p| p.is_root())
        } else {
            judged == Match::Top
        };
        if self.by_entry && top && !entry.path.is_root() {
            self.units.push(entry.path.clone());
        }
        self.make(&entry)?;
        self.push(Record::Entry(entry))
    }

    /// Makes the directories that lead to a selected entry.
    fn make_above(&mut self) -> Result<(), Error> {
        let pending: Vec<Entry> = self
            .above
            .iter_mut()
            .filter(|(_, made)| !made)
            .map(|(entry, made)| {
                *made = true;
                entry.clone()
            })
            .collect();
        for entry in pending {
            self.make(&entry)?;
            self.push(Record::Entry(entry))?;
        }
        Ok(())
    }

    fn make(&self, entry: &Entry) -> Result<(), Error> {
        let made = match &entry.kind {
            EntryKind::Directory if entry.path.is_root() => Ok(()),
            EntryKind::Directory => self.site.write(|site| site.create_directory(&entry.path)),
            EntryKind::Symlink { target } => self.site.write(|site| site.create_link(&entry.path, target)),
            EntryKind::File { .. } => Ok(()),
        };
        made.map_err(Error::local("create", self.site.full(&entry.path)))
    }

    fn push(&mut self, record: Record) -> Result<(), Error> {
        self.spool
            .push(record)
            .map_err(Error::local("keep a file list in", &self.spool_dir))
    }
}

/// Staging directories that are open.
#[derive(Debug, Default)]
pub(super) struct Sites {
    list: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    source: String,
    site: Site,
    swap: Swap,
}

impl Sites {
    /// Journal first, directory second: no directory without a journal that tells whose it is.
    fn open(&mut self, placement: &Placement, id: &str) -> Result<(), Error> {
        let staging = &placement.staging;
        if let Some(parent) = staging.parent() {
            std::fs::create_dir_all(parent).map_err(Error::local("create", parent))?;
        }
        let mut displaced = placement.target.file_name().unwrap_or_default().to_owned();
        displaced.push(format!(".displaced-{id}"));
        let line = Line {
            target: placement.target.clone(),
            staging: staging.clone(),
            displaced: staging.with_file_name(displaced),
            method: placement.method,
            state: State::Writing,
        };
        let journal = Journal::create(&line).map_err(Error::local("write the journal of", staging))?;
        failpoint::reach("restore.journal.written");
        let site = match Site::create(staging) {
            Ok(site) => site,
            Err(error) => {
                journal
                    .remove()
                    .map_err(Error::local("remove the journal of", staging))?;
                return Err(Error::local("create", staging)(error));
            }
        };
        let swap = Swap {
            line,
            journal,
            units: Vec::new(),
        };
        self.list.push(Open {
            source: placement.source.clone(),
            site,
            swap,
        });
        Ok(())
    }

    /// Removes what has been written; what can not be removed is left to the sweep.
    async fn remove(self) {
        let removed = tokio::task::spawn_blocking(move || self.list.into_iter().for_each(Open::remove)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "a staging directory was not removed; the next sweep does");
        }
    }
}

impl Open {
    fn remove(self) {
        self.site.close();
        let removed = std::fs::remove_dir_all(self.site.path()).and_then(|()| self.swap.journal.remove());
        if let Err(error) = removed {
            tracing::warn!(path = %self.site.path().display(), %error, "a staging directory was not removed; the next sweep does");
        }
    }
}

/// Staging directories that are complete: verified, durable, not yet swapped in.
///
/// Dropped, they stay until the next [`sweep()`](super::sweep()): end them with [`Staged::commit`] or [`Staged::abort`].
#[derive(Debug)]
pub struct Staged {
    plan: Plan,
    sites: Sites,
    report: Report,
}

impl Staged {
    /// The plan that was executed.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where a source has been written, for what has to be patched before it is swapped in.
    pub fn path(&self, source: &str) -> Option<&Path> {
        self.sites
            .list
            .iter()
            .find(|open| open.source == source)
            .map(|open| open.site.path())
    }

    /// Figures so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Swaps everything in. What stood at a target lies beside it afterwards.
    ///
    /// # Errors
    ///
    /// The first placement that could not be swapped in; those before it are, it and those after it are as they
    /// were, and their staging directories are removed.
    pub async fn commit(self) -> Result<Report, Error> {
        let Self {
            sites, mut report, ..
        } = self;
        let committed = tokio::task::spawn_blocking(move || {
            let mut open = sites.list.into_iter();
            while let Some(Open { source, site, swap }) = open.next() {
                site.close();
                let (target, method) = (swap.line.target.clone(), swap.line.method);
                match swap.run() {
                    Ok(displaced) => report.placed.push(PlacedSource {
                        source,
                        target,
                        method,
                        displaced,
                    }),
                    Err(error) => {
                        open.for_each(Open::remove);
                        return Err(error);
                    }
                }
            }
            Ok(report)
        });
        committed
            .await
            .map_err(|error| Error::Internal(format!("the swap panicked: {error}")))?
    }

    /// Removes everything that was written.
    pub async fn abort(self) {
        self.sites.remove().await;
    }
}

/// Makes a directory's parent durable, if it has one.
pub(super) fn sync_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}
