//! Manifests, and the chain that they form.

use std::collections::HashMap;

use super::findings::{Affected, Findings, Problem};
use crate::heads::Freshness;
use crate::storage::Key;
use crate::{Digest, IndexId, Manifest, Repository, SnapshotId, SnapshotInfo, layout};

/// The snapshots that are listed, with the manifests that open.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Oldest first.
    pub(super) snapshots: Vec<(SnapshotInfo, Option<Manifest>)>,
}

impl Chain {
    /// Opens all manifests. Those that are damaged are found, and affect their snapshot.
    pub(super) async fn open(repository: &Repository, findings: &mut Findings) -> Result<Self, crate::Error> {
        let mut chain = Self::default();
        for info in repository.snapshots().await? {
            let manifest = match repository.manifest_of(&info).await {
                Ok(manifest) => Some(manifest),
                Err(error) => {
                    let what = error.to_string();
                    findings.note_error(error, &info.object)?;
                    let affected = Affected {
                        snapshot: info.id,
                        source: None,
                        path: None,
                        chunk: None,
                        offset: None,
                    };
                    findings.affect(&info.object, Problem::Damaged, &what, affected);
                    None
                }
            };
            chain.snapshots.push((info, manifest));
        }
        Ok(chain)
    }

    /// The newest manifest that opens.
    pub(super) fn newest(&self) -> Option<&Manifest> {
        self.snapshots
            .iter()
            .rev()
            .find_map(|(_, manifest)| manifest.as_ref())
    }

    /// The index objects that the snapshots' backups wrote.
    pub(super) fn indexes(&self) -> impl Iterator<Item = IndexId> + '_ {
        let manifests = self
            .snapshots
            .iter()
            .filter_map(|(_, manifest)| manifest.as_ref());
        manifests.flat_map(|manifest| manifest.indexes.iter().copied())
    }

    /// Whether each snapshot's predecessor is there, is what it was, and stands before it.
    pub(super) async fn links(
        &self,
        repository: &Repository,
        findings: &mut Findings,
    ) -> Result<(), crate::Error> {
        let places: HashMap<SnapshotId, usize> = self
            .snapshots
            .iter()
            .enumerate()
            .map(|(at, (info, _))| (info.id, at))
            .collect();
        let mut first = true;
        for (at, (info, manifest)) in self.snapshots.iter().enumerate() {
            let Some(manifest) = manifest else { continue };
            match &manifest.previous {
                None if !first => {
                    let what = "it says that it is the first snapshot, and older ones are listed: it belongs elsewhere";
                    findings.note(&info.object, Problem::Inconsistent, what);
                }
                None => {}
                Some(previous) => match places.get(&previous.id) {
                    Some(before) if *before < at => {
                        let object = self.snapshots.get(*before).map(|(info, _)| &info.object);
                        check_hash(repository, object, &previous.hash, findings).await?;
                    }
                    Some(_) => {
                        findings.note(
                            &info.object,
                            Problem::Inconsistent,
                            "its predecessor is listed after it",
                        );
                    }
                    None => missing(info, &previous.id, findings),
                },
            }
            first = false;
        }
        self.freshness(repository, findings).await
    }

    async fn freshness(&self, repository: &Repository, findings: &mut Findings) -> Result<(), crate::Error> {
        let fresh = match repository.freshness().await {
            Ok(fresh) => fresh,
            Err(error) => return findings.note_error(error, &Key::new(layout::SNAPSHOTS)),
        };
        if let Freshness::RolledBack { expected, found } = fresh {
            let newest = found.map_or_else(|| "there is none".to_owned(), |id| format!("the newest is {id}"));
            let what = format!(
                "this host remembers it as the newest and it is gone, {newest}: an older state of the repository was put back, or it was removed; if that was on purpose, remove {} to forget it",
                repository.memory().display()
            );
            findings.note(
                &Key::new(format!("{}*-{expected}", layout::SNAPSHOTS)),
                Problem::RolledBack,
                what,
            );
        }
        Ok(())
    }
}

fn missing(successor: &SnapshotInfo, gone: &SnapshotId, findings: &mut Findings) {
    let what = format!("it came before {} and is gone", successor.object);
    let affected = Affected {
        snapshot: *gone,
        source: None,
        path: None,
        chunk: None,
        offset: None,
    };
    findings.affect(
        &Key::new(format!("{}*-{gone}", layout::SNAPSHOTS)),
        Problem::Missing,
        &what,
        affected,
    );
}

async fn check_hash(
    repository: &Repository,
    object: Option<&Key>,
    hash: &Digest,
    findings: &mut Findings,
) -> Result<(), crate::Error> {
    let Some(object) = object else { return Ok(()) };
    match repository.prove_object(object).await {
        Ok(bytes) if Digest::of(&bytes) == *hash => Ok(()),
        Ok(_) => {
            findings.note(
                object,
                Problem::Inconsistent,
                "its successor remembers another content under this name",
            );
            Ok(())
        }
        // Found already when it was opened.
        Err(error) => findings.note_error(error, object),
    }
}
