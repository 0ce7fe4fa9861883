//! From plan to staging directory: directories and links first, files in windows, then what closes them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fill::Fill;
use super::keep::Kept;
use super::outline::Outline;
use super::plan::{Placement, Plan};
use super::report::{PlacedSource, Report, Unrestored};
use super::site::Site;
use super::sites::{Open, Sites};
use super::{Error, Options};
use crate::failpoint;
use crate::progress::{Phase, Progress};
use crate::read::spool::Spool;
use crate::tree::{EntryKind, TreePath, TreeStream, content_hasher};
use crate::{Manifest, Repository, SourceRecord};

/// Directories whose metadata is put back in one step.
const DIRECTORIES: u64 = 1024;

/// Writes everything that `plan` names to its staging directories, verified and durable. Nothing is swapped in yet.
///
/// # Errors
///
/// [`Error::Interrupted`] if the caller cancelled or the store went away: the staging directories stay, and the same
/// restore, planned and executed again, goes on from them. After any other [`Error`] they are removed.
pub async fn execute(
    repository: &Repository,
    manifest: &Manifest,
    plan: Plan,
    spool_dir: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Staged, Error> {
    let begun = Instant::now();
    let fetched_before = progress.figures().bytes_stored;
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
        resumed: Arc::default(),
    };
    progress.enter(Phase::Restoring);
    let mut sites = Sites::default();
    let filled = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        filled = work.fill(&mut sites) => filled,
    };
    if let Err(error) = filled {
        return Err(sites.end(error).await);
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
        files_resumed: work.resumed.files.load(Ordering::Relaxed),
        bytes_resumed: work.resumed.bytes.load(Ordering::Relaxed),
        bytes_fetched: progress.figures().bytes_stored - fetched_before,
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
    resumed: Arc<Kept>,
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
            sites.open(placement, self.plan, self.repository.id())?;
            failpoint::reach("restore.staging.created");
            let Some(open) = sites.list.last_mut() else {
                continue;
            };
            let (units, fill) = self.fill_for(placement, record, &open.site).await?;
            open.swap.units = units;
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
        let mut outline = Outline::new(&self.plan.selection, placement.method, site, self.spool_dir)?;
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
        let (spool, units) = outline.finish()?;
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
            resumed: Arc::clone(&self.resumed),
        };
        Ok((units, fill))
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

/// Staging directories that are complete: verified, durable, not yet swapped in.
///
/// Dropped, they stay for the next run of the same restore: end them with [`Staged::commit`] or [`Staged::abort`].
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
            mut sites,
            mut report,
            ..
        } = self;
        let committed = tokio::task::spawn_blocking(move || {
            let mut open = std::mem::take(&mut sites.list).into_iter();
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
