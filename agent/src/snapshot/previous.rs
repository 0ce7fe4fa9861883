//! What came before: the snapshot that this one follows, and for each source the last one that holds it.
//!
//! A snapshot may be taken of some sources only. The next of the others must still be compared with, and carry on
//! from, the last that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dr_vault::{Error, Manifest, Repository, SnapshotId};

use crate::cut::Machine;
use crate::error::in_one_line;
use crate::stamp::Stamp;

/// How many trusted snapshots are looked through for a source: one that is in none of them is new, or as good as new.
/// Suspect ones do not count, or enough of them in a row would leave nothing to compare with, and the next of the same
/// kind would be trusted.
const LOOK_BACK: usize = 1000;

/// Sources that a glob matched at the snapshot before and does not match any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) names: Vec<String>,
    /// Of each glob: how many of those that it had are there, and how many it had.
    figures: BTreeMap<String, (usize, usize)>,
}

impl Gone {
    /// A glob that lost more than half of what it had: no tenants leave like that, a disk does.
    pub(super) fn suspect(&self) -> Option<String> {
        let (glob, (there, had)) = self.figures.iter().find(|(_, (there, had))| there * 2 < *had)?;
        Some(format!(
            "{glob}: {there} of {had} sources that it matched before are there"
        ))
    }
}

/// The entry of the configuration that a source is a match of, if that is a glob.
fn glob_of(source: &str) -> Option<&str> {
    source.split_once('/').map(|(glob, _)| glob)
}

/// The snapshots before this one that are not suspect.
#[derive(Debug, Default)]
pub(super) struct Previous {
    /// The newest of all.
    pub(super) id: Option<SnapshotId>,
    /// Its manifest.
    newest: Option<Arc<Manifest>>,
    /// Newer ones that can not be opened, and why.
    pub(super) damaged: Vec<String>,
    by_source: BTreeMap<String, Arc<Manifest>>,
}

impl Previous {
    /// Looks for the newest, and for the newest that holds each of `sources`.
    pub(super) async fn find(repository: &Repository, sources: &[&str]) -> Result<Self, Error> {
        let mut newest_first = repository.snapshots().await?;
        newest_first.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.time));
        let mut found = Self::default();
        let mut looked_through = 0;
        for snapshot in newest_first {
            let manifest = match repository.manifest_of(&snapshot).await {
                Ok(manifest) if manifest.suspect.is_some() => continue,
                Ok(manifest) => manifest,
                // Damage to an old snapshot must not stop a new one.
                Err(error) if error.is_damage() => {
                    found.damaged.push(in_one_line(&error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            looked_through += 1;
            let manifest = Arc::new(manifest);
            if found.id.is_none() {
                found.id = Some(snapshot.id);
                found.newest = Some(Arc::clone(&manifest));
            }
            for name in sources.iter().filter(|name| manifest.source(name).is_some()) {
                found
                    .by_source
                    .entry((*name).to_owned())
                    .or_insert_with(|| Arc::clone(&manifest));
            }
            if found.by_source.len() == sources.len() || looked_through == LOOK_BACK {
                break;
            }
        }
        Ok(found)
    }

    /// Matches of globs that the newest holds and that are not among `names`, the sources of a snapshot of everything.
    pub(super) fn gone(&self, names: &[&str]) -> Gone {
        let globs: BTreeSet<&str> = names.iter().filter_map(|name| glob_of(name)).collect();
        let before = self.newest.iter().flat_map(|newest| &newest.sources);
        let mut gone = Gone::default();
        for name in before.map(|source| source.name.as_str()) {
            let Some(glob) = glob_of(name).filter(|glob| globs.contains(glob)) else {
                continue;
            };
            let (there, had) = gone.figures.entry(glob.to_owned()).or_default();
            *had += 1;
            if names.contains(&name) {
                *there += 1;
            } else {
                gone.names.push(name.to_owned());
            }
        }
        gone
    }

    /// Who took the newest, seen from the machine `writer`.
    pub(super) fn machine(&self, writer: &str) -> Machine {
        match self.newest.as_ref().and_then(|newest| newest.writer.as_deref()) {
            Some(before) if before != writer => Machine::Other,
            _ => Machine::Same,
        }
    }

    /// The manifest that holds a source last.
    pub(super) fn manifest(&self, source: &str) -> Option<&Arc<Manifest>> {
        self.by_source.get(source)
    }

    /// What a source was then.
    pub(super) fn stamp(&self, source: &str) -> Option<Stamp> {
        Stamp::read(&self.manifest(source)?.source(source)?.stamp)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dr_vault::backup::{self, Input};
    use dr_vault::progress::Progress;
    use dr_vault::repository::{InitOptions, OpenOptions};
    use dr_vault::storage::memory::MemoryStorage;
    use dr_vault::{Cipher, Repository};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::daemon::testing::StandingClock;

    /// Commits a snapshot. A source without files is suspect by itself: each has one, of nothing.
    async fn commit(repository: &Repository, sources: &[&str], suspect: Option<&str>) -> SnapshotId {
        let input = |name: &&str| Input::new(*name, "notes", "/srv", vec![crate::drill::testing::file("")]);
        let request = backup::Request {
            inputs: sources.iter().map(input).collect(),
            suspect: suspect.map(str::to_owned),
            ..backup::Request::new(repository.clock().now(), "host-1", "test")
        };
        let taken = backup::run(repository, request, &Progress::new(), &CancellationToken::new()).await;
        taken.expect("a snapshot").id
    }

    async fn repository(cache: &tempfile::TempDir) -> Repository {
        let init = InitOptions {
            cipher: Cipher::None,
            ..InitOptions::default()
        };
        let open = OpenOptions {
            clock: StandingClock::new(),
            ..OpenOptions::new(cache.path())
        };
        let made = Repository::init(Arc::new(MemoryStorage::new()), init, open).await;
        made.expect("a repository")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_number_of_suspect_snapshots_hides_the_last_trusted_one() {
        let cache = tempfile::tempdir().expect("a folder");
        let repository = repository(&cache).await;
        let trusted = commit(&repository, &["memory"], None).await;
        for _ in 0..70 {
            commit(&repository, &["memory"], Some("empty")).await;
        }
        let found = Previous::find(&repository, &["memory"]).await.expect("found");
        assert_eq!(found.id, Some(trusted));
        assert!(found.manifest("memory").is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_glob_matches_no_more_is_named_and_half_of_it_is_suspect() {
        let cache = tempfile::tempdir().expect("a folder");
        let repository = repository(&cache).await;
        let before = ["audit", "memory/a", "memory/b", "memory/c", "old/a"];
        commit(&repository, &before, None).await;
        let found = Previous::find(&repository, &["audit", "memory/a"])
            .await
            .expect("found");
        let gone = |names: &[&str]| {
            let gone = found.gone(names);
            let suspect = gone.suspect();
            (gone.names, suspect)
        };
        assert_eq!(
            gone(&["memory/a", "memory/b", "memory/c", "memory/d"]),
            (vec![], None)
        );
        let one = vec!["memory/b".to_owned()];
        assert_eq!(
            gone(&["memory/a", "memory/c"]),
            (one, None),
            "nobody speaks of `old`: it left the configuration"
        );
        let two = vec!["memory/b".to_owned(), "memory/c".to_owned()];
        let why = "memory: 1 of 3 sources that it matched before are there".to_owned();
        assert_eq!(gone(&["audit", "memory/a"]), (two, Some(why)));
    }
}
