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

use dr_lance::manifest::DecodeError;
use dr_vault::progress::Progress;
use dr_vault::restore::{
    self, MAX_EXAMPLES, MissingMetadata, Options, Pattern, Place, Plan, Report, Selection, Swept,
};
use dr_vault::{Manifest, Repository, SnapshotId, step};
use tokio_util::sync::CancellationToken;

use crate::stamp::{LanceStamp, Stamp};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vault could not plan, write or swap in.
    #[error("restore")]
    Vault(#[from] restore::Error),
    /// No source of the snapshot has a table of that name.
    #[error(
        "the snapshot has no table `{table}` among what was chosen of it; it has {}",
        listed(known)
    )]
    NoTable {
        /// What was asked for.
        table: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The snapshot has no source of that name.
    #[error("the snapshot has no source {name}, but {}", listed(known))]
    NoSource {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Several tables fit: which one was meant is not for us to say.
    #[error("{} tables are called `{table}`: {}; choose by source, or give the table's folder", found.len(), listed(found))]
    TableAmbiguous {
        /// What was asked for.
        table: String,
        /// Source and folder of each.
        found: Vec<String>,
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
    /// The configured ceiling of scratch does not hold it.
    #[error(
        "scratch.max leaves {room} bytes, the restored copy needs {needed}: raise it, or remove what failed drills have left there"
    )]
    Ceiling {
        /// Bytes left.
        room: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// A worker thread ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// The first of many names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    let shown = names.iter().take(MOST).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        len if len > MOST => format!("{shown} and {} more", len - MOST),
        _ => shown,
    }
}

/// Narrows `selection` to one table, by its folder or its name, in whatever chosen source has it.
///
/// # Errors
/// When no chosen source has it, or several tables fit.
pub fn select_table(manifest: &Manifest, mut selection: Selection, table: &str) -> Result<Selection, Error> {
    if let Some(name) = selection
        .sources
        .iter()
        .find(|name| manifest.source(name).is_none())
    {
        return Err(Error::NoSource {
            name: name.clone(),
            known: manifest
                .sources
                .iter()
                .map(|source| source.name.clone())
                .collect(),
        });
    }
    let mut known = Vec::new();
    let chosen = |name: &String| selection.sources.is_empty() || selection.sources.contains(name);
    let (mut by_folder, mut by_name) = (Vec::new(), Vec::new());
    for source in manifest.sources.iter().filter(|source| chosen(&source.name)) {
        let Some(Stamp::Lancedb(lance)) = Stamp::read(&source.stamp) else {
            continue;
        };
        for stamp in lance.tables.iter().filter(|stamp| stamp.branch.is_none()) {
            let found = (source.name.clone(), stamp.path.clone());
            if stamp.path == table {
                by_folder.push(found);
            } else if stamp.name == table {
                by_name.push(found);
            }
            known.push(stamp.name.clone());
        }
    }
    let mut found = if by_folder.is_empty() { by_name } else { by_folder };
    match (found.pop(), found.is_empty()) {
        (Some((source, path)), true) => {
            let stamp = manifest
                .source(&source)
                .and_then(|source| Stamp::read(&source.stamp));
            let paths = match &stamp {
                Some(Stamp::Lancedb(lance)) => with_bases(lance, path),
                _ => vec![path],
            };
            selection.sources = vec![source];
            selection.paths.extend(paths.into_iter().map(Pattern::Prefix));
            Ok(selection)
        }
        (Some(last), false) => {
            found.push(last);
            let named = found
                .iter()
                .map(|(source, path)| format!("{path} of source {source}"));
            Err(Error::TableAmbiguous {
                table: table.to_owned(),
                found: named.collect(),
            })
        }
        (None, _) => Err(Error::NoTable {
            table: table.to_owned(),
            known,
        }),
    }
}

/// A table's folder, and those of the tables that it reads files of: a clone without its base can not be read.
fn with_bases(lance: &LanceStamp, folder: String) -> Vec<String> {
    let root = Path::new(&lance.canonical_root);
    let mut wanted = vec![folder];
    let mut at = 0;
    while let Some(folder) = wanted.get(at).cloned() {
        at += 1;
        // Its branches lie in its folder.
        let own = lance
            .tables
            .iter()
            .filter(|table| Path::new(&table.path).starts_with(&folder));
        let bases = own.flat_map(|table| &table.base_paths);
        for base in bases.filter_map(|spelled| dr_lance::patch::inside(spelled, root)) {
            let tables = lance.tables.iter().filter(|table| table.branch.is_none());
            let bases = tables
                .filter(|table| base.starts_with(&table.path))
                .map(|table| &table.path);
            if let Some(base) = bases.max_by_key(|path| path.len())
                && !wanted.contains(base)
            {
                wanted.push(base.clone());
            }
        }
    }
    wanted
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
    let mut undecodable = Vec::new();
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
            Ok(Ok(patched)) => {
                undecodable.extend(
                    patched
                        .undecodable
                        .into_iter()
                        .map(|found| unpatched(&name, found)),
                );
                continue;
            }
            Ok(Err(source)) => Error::Patch { name, source },
            Err(stopped) => stopped.into(),
        };
        staged.abort().await;
        return Err(failed);
    }
    let mut report = staged.commit().await?;
    report.metadata_missing_count += undecodable.len() as u64;
    report.metadata_missing.extend(undecodable);
    report.metadata_missing.truncate(MAX_EXAMPLES);
    Ok(report)
}

/// A manifest that came back as it was captured, and that no reader can open.
fn unpatched(source: &str, (path, error): (String, DecodeError)) -> MissingMetadata {
    MissingMetadata {
        source: source.to_owned(),
        path,
        what: "absolute paths, if any,".to_owned(),
        reason: format!("it came back as it was at the cut, and cannot be decoded: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use dr_vault::{Digest, SourceRecord, TreeRef};

    use super::*;
    use crate::stamp::testing::{database, table};

    fn source(name: &str, folders: &[&str]) -> SourceRecord {
        let tables = folders.iter().map(|folder| table(folder, 1, Some(1))).collect();
        SourceRecord {
            name: name.to_owned(),
            kind: "lancedb".to_owned(),
            root: format!("/srv/{name}"),
            tree: TreeRef {
                chunks: Vec::new(),
                len: 0,
                hash: Digest::of(b""),
            },
            files: 1,
            bytes: 1,
            stamp: serde_json::to_value(database(tables)).expect("a stamp"),
            suspect: None,
        }
    }

    #[test]
    fn a_table_is_chosen_only_if_one_is_meant() {
        let mut manifest = Manifest::new(jiff::Timestamp::UNIX_EPOCH, "host", "test");
        manifest.sources = vec![
            source("left", &["memory.lance", "context.lance"]),
            source("right", &["memory.lance", "memory"]),
        ];
        let choose = |sources: &[&str], table: &str| {
            let selection = Selection {
                sources: sources.iter().map(|name| (*name).to_owned()).collect(),
                paths: Vec::new(),
            };
            select_table(&manifest, selection, table).map(|chosen| (chosen.sources, chosen.paths))
        };
        let chosen =
            |source: &str, path: &str| (vec![source.to_owned()], vec![Pattern::Prefix(path.to_owned())]);
        assert_eq!(choose(&[], "context").unwrap(), chosen("left", "context.lance"));
        assert_eq!(
            choose(&["left"], "memory").unwrap(),
            chosen("left", "memory.lance")
        );
        assert_eq!(
            choose(&["right"], "memory").unwrap(),
            chosen("right", "memory"),
            "by its folder"
        );
        let twice = choose(&[], "memory.lance").unwrap_err().to_string();
        assert!(
            twice.contains("source left") && twice.contains("source right"),
            "{twice}"
        );
        let unknown = choose(&["middle"], "memory").unwrap_err().to_string();
        assert!(
            unknown.contains("middle") && unknown.contains("left, right"),
            "{unknown}"
        );
        assert!(matches!(choose(&["left"], "none"), Err(Error::NoTable { .. })));
    }

    #[test]
    fn a_clone_comes_with_the_tables_that_it_reads() {
        let based = |folder: &str, on: &[&str]| {
            let mut stamp = table(folder, 1, Some(1));
            stamp.base_paths = on.iter().map(|base| (*base).to_owned()).collect();
            stamp
        };
        let Stamp::Lancedb(lance) = database(vec![
            based("base.lance", &[]),
            based("middle.lance", &["/srv/db/base.lance", "/elsewhere/x.lance"]),
            based("top.lance", &["file:///srv/db/middle.lance", "db/top.lance"]),
        ]) else {
            unreachable!("it is a database")
        };
        let wanted = |folder: &str| with_bases(&lance, folder.to_owned());
        assert_eq!(wanted("base.lance"), ["base.lance"]);
        assert_eq!(wanted("top.lance"), ["top.lance", "middle.lance", "base.lance"]);
    }
}
