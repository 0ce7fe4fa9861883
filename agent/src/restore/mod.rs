//! Restores for keeps: a snapshot, a source, a table or some files, to where an operator wants them.
//!
//! # Overview
//! The vault plans, writes beside the target, and swaps in. What it can not know stands here: which files a table
//! is made of, and that branches and clones name their files by absolute paths, which are patched between writing
//! and swapping.
//!
//! # Cancellation · Crash consistency
//! As the vault's: until the swap nothing at the target is touched. What a cancelled or killed restore has written
//! stays beside the target, and [`plan`] and [`execute`] with the same request go on from it. A swap that a killed
//! restore had begun is ended by the next plan around that target.

use std::path::{Path, PathBuf};

use dr_vault::progress::Progress;
use dr_vault::restore::{self, Options, Place, Plan, Report, Selection, Swept};
use dr_vault::{Manifest, Repository, SnapshotId, step};
use tokio_util::sync::CancellationToken;

use crate::stamp::Stamp;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vault could not plan, write or swap in.
    #[error("restore")]
    Vault(#[from] restore::Error),
    /// No source of the snapshot has a table of that name.
    #[error("the snapshot has no table `{table}`; it has {}", known.join(", "))]
    NoTable {
        /// What was asked for.
        table: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Absolute paths inside a restored database could not be changed to its new place.
    #[error("change the absolute paths in the restored source `{name}`")]
    Patch {
        /// The source.
        name: String,
        /// What stood in the way.
        #[source]
        source: dr_lance::Error,
    },
    /// A copy in scratch could not be lost as a drill asked for.
    #[error("lose the copy of source `{name}` in scratch")]
    Loss {
        /// The source.
        name: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A worker thread ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Narrows `selection` to one table, by its name or its folder, in whatever chosen source has it.
pub fn select_table(manifest: &Manifest, mut selection: Selection, table: &str) -> Result<Selection, Error> {
    let mut known = Vec::new();
    let chosen = |name: &String| selection.sources.is_empty() || selection.sources.contains(name);
    let mut found = None;
    for source in manifest.sources.iter().filter(|source| chosen(&source.name)) {
        let Some(Stamp::Lancedb(lance)) = Stamp::read(&source.stamp) else {
            continue;
        };
        for stamp in lance.tables.iter().filter(|stamp| stamp.branch.is_none()) {
            if stamp.name == table || stamp.path == table {
                found = Some((source.name.clone(), stamp.path.clone()));
            }
            known.push(stamp.name.clone());
        }
    }
    let Some((source, path)) = found else {
        return Err(Error::NoTable {
            table: table.to_owned(),
            known,
        });
    };
    selection.sources = vec![source];
    Ok(selection.path(&path))
}

/// Works out what would be done, after ending what killed restores had begun to swap in around the targets. What they
/// had only begun to write the plan goes on from, if this is the same restore.
pub async fn plan(
    repository: &Repository,
    id: SnapshotId,
    manifest: &Manifest,
    selection: Selection,
    place: &Place,
    options: Options,
) -> Result<(Plan, Vec<Swept>), Error> {
    let parents = parents(manifest, &selection, place);
    let now = repository.clock().now();
    let swept = tokio::task::spawn_blocking(move || -> Result<Vec<Swept>, restore::Error> {
        let mut all = Vec::new();
        for parent in parents {
            all.extend(restore::sweep(&parent, now)?);
        }
        Ok(all)
    })
    .await??;
    let plan = restore::plan(repository, id, manifest, selection, place, options).await?;
    Ok((plan, swept))
}

fn parents(manifest: &Manifest, selection: &Selection, place: &Place) -> Vec<PathBuf> {
    let targets: Vec<PathBuf> = match place {
        Place::Directory(target) => vec![target.clone()],
        Place::BySource(parent) => {
            let sources = manifest.sources.iter();
            sources
                .map(|source| parent.join(source.name.trim_start_matches('/')))
                .collect()
        }
        Place::Original => {
            let chosen = |name: &String| selection.sources.is_empty() || selection.sources.contains(name);
            let sources = manifest.sources.iter().filter(|source| chosen(&source.name));
            sources.map(|source| PathBuf::from(&source.root)).collect()
        }
    };
    let mut parents: Vec<PathBuf> = targets
        .iter()
        .filter_map(|t| t.parent().map(Path::to_owned))
        .collect();
    parents.sort();
    parents.dedup();
    parents
}

/// Does what was planned: writes, patches, swaps in.
#[tracing::instrument(name = "restore", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub async fn execute(
    repository: &Repository,
    manifest: &Manifest,
    plan: Plan,
    spool: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Report, Error> {
    let done = write(repository, manifest, plan, spool, progress, cancel).await;
    if done.is_err() {
        step::failed();
    }
    done
}

async fn write(
    repository: &Repository,
    manifest: &Manifest,
    plan: Plan,
    spool: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Report, Error> {
    let targets: Vec<(String, PathBuf)> = plan
        .placements
        .iter()
        .map(|placement| (placement.source.clone(), placement.target.clone()))
        .collect();
    let staged = restore::execute(repository, manifest, plan, spool, progress, cancel).await?;
    for (name, target) in targets {
        let stamp = manifest
            .source(&name)
            .and_then(|source| Stamp::read(&source.stamp));
        let (Some(Stamp::Lancedb(lance)), Some(staging)) = (stamp, staged.path(&name)) else {
            continue;
        };
        let (staging, from) = (staging.to_owned(), PathBuf::from(&lance.canonical_root));
        let patched =
            tokio::task::spawn_blocking(move || dr_lance::patch::tree(&staging, &from, &target)).await;
        let failed = match patched {
            Ok(Ok(_)) => continue,
            Ok(Err(source)) => Error::Patch { name, source },
            Err(stopped) => stopped.into(),
        };
        staged.abort().await;
        return Err(failed);
    }
    Ok(staged.commit().await?)
}
