//! What this host remembers of a repository, so that an older state put back, or another repository in its place,
//! is noticed.
//!
//! One small JSON file per location. Nothing in the repository depends on it; without it the answer is
//! [`Freshness::Unknown`].

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{Digest, RepositoryId, SnapshotId};
use crate::storage::Key;

/// Whether the repository is as new as what this host remembers of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// The newest snapshot that this host knows of is there, or its successors name it.
    Fresh,
    /// An older state was put back: the newest snapshot remembered is gone.
    RolledBack {
        /// The newest snapshot remembered.
        expected: SnapshotId,
        /// The newest snapshot found.
        found: Option<SnapshotId>,
    },
    /// This host remembers no snapshot of the repository.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    location: String,
    repository: RepositoryId,
    /// Of the master key.
    fingerprint: Digest,
    newest: Option<SnapshotId>,
    /// Facts, holds, drills and ledger entries that this host stored since the newest snapshot.
    #[serde(default)]
    records: BTreeSet<String>,
    /// Snapshots that were the newest once and then gone, though nothing was taken after them: whatever is committed
    /// since does not bring them back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lost: BTreeSet<SnapshotId>,
}

/// The record of one location.
#[derive(Debug)]
pub(crate) struct Heads {
    path: PathBuf,
    record: Mutex<Record>,
}

impl Heads {
    /// Reads what is remembered of `location` and compares; begins to remember if there is nothing.
    pub(crate) fn open(
        dir: &Path,
        location: &str,
        repository: RepositoryId,
        fingerprint: Digest,
    ) -> Result<Self> {
        let name = &Digest::of(location.as_bytes()).to_string()[..32];
        let path = dir.join(format!("{name}.json"));
        let fresh = Record {
            location: location.to_owned(),
            repository,
            fingerprint,
            newest: None,
            records: BTreeSet::new(),
            lost: BTreeSet::new(),
        };
        let record = match read(&path)? {
            Some(record) => {
                compare(&record, &fresh, &path)?;
                record
            }
            None => {
                std::fs::create_dir_all(dir).map_err(|e| Error::local("create state folder", dir, e))?;
                write(&path, &fresh)?;
                fresh
            }
        };
        Ok(Self {
            path,
            record: Mutex::new(record),
        })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot that this host knows of.
    pub(crate) fn newest(&self) -> Option<SnapshotId> {
        self.record().newest
    }

    /// What this host stored since.
    pub(crate) fn records(&self) -> Vec<Key> {
        self.record().records.iter().map(Key::new).collect()
    }

    /// The file that this is kept in. Removed, it makes this host forget.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Snapshots that an older state put back has taken away.
    pub(crate) fn lost(&self) -> BTreeSet<SnapshotId> {
        self.record().lost.clone()
    }

    /// Notes that a snapshot is lost.
    pub(crate) fn lose(&self, snapshot: SnapshotId) -> Result<()> {
        self.change(|record| {
            record.lost.insert(snapshot);
        })
    }

    /// Notes that lost snapshots are there again.
    pub(crate) fn find_again(&self, snapshots: &BTreeSet<SnapshotId>) -> Result<()> {
        self.change(|record| record.lost.retain(|lost| !snapshots.contains(lost)))
    }

    /// Remembers a newer snapshot; its manifest names what was stored before it.
    pub(crate) fn advance(&self, newest: SnapshotId) -> Result<()> {
        self.change(|record| {
            if record.newest != Some(newest) {
                record.newest = Some(newest);
                record.records.clear();
            }
        })
    }

    /// Remembers a record stored or taken back.
    pub(crate) fn note(&self, object: &Key, there: bool) -> Result<()> {
        self.change(|record| {
            if there {
                record.records.insert(object.to_string());
            } else {
                record.records.remove(object.as_str());
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = self.record();
        let mut changed = record.clone();
        change(&mut changed);
        if changed != *record {
            write(&self.path, &changed)?;
            *record = changed;
        }
        Ok(())
    }
}

fn compare(remembered: &Record, found: &Record, path: &Path) -> Result<()> {
    if remembered.repository != found.repository {
        return Err(Error::ForeignRepository {
            what: found.location.as_str().into(),
            expected: remembered.repository,
            found: found.repository,
            hint: format!(
                "another repository was here when this host last used it; if that is intended, remove {}",
                path.display()
            )
            .into(),
        });
    }
    if remembered.fingerprint != found.fingerprint {
        return Err(Error::KeyReplaced {
            location: found.location.clone(),
            repository: found.repository,
            memory: path.to_owned(),
        });
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Record>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "the memory of this repository is unreadable");
            })
            .ok()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::local("read repository memory", path, e)),
    }
}

fn write(path: &Path, record: &Record) -> Result<()> {
    let failed = |e| Error::local("write repository memory", path, e);
    let mut bytes =
        serde_json::to_vec_pretty(record).map_err(|e| Error::internal(format!("encode memory: {e}")))?;
    bytes.push(b'\n');
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = File::create(&unfinished).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_across_openings() {
        let dir = tempfile::tempdir().unwrap();
        let repository = RepositoryId::from_random([1; 16]);
        let fingerprint = Digest::of(b"key");
        let open = || Heads::open(dir.path(), "file:///r", repository, fingerprint).unwrap();
        assert_eq!(open().newest(), None);
        let id = SnapshotId::from_bytes([7; 16]);
        open().note(&Key::new("facts/old"), true).unwrap();
        open().advance(id).unwrap();
        open().note(&Key::new("facts/x"), true).unwrap();
        assert_eq!(open().newest(), Some(id));
        assert_eq!(open().records(), [Key::new("facts/x")]);
        open().note(&Key::new("facts/x"), false).unwrap();
        assert!(open().records().is_empty());
    }

    #[test]
    fn another_repository_or_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let repository = RepositoryId::from_random([1; 16]);
        Heads::open(dir.path(), "file:///r", repository, Digest::of(b"key")).unwrap();
        let error = Heads::open(
            dir.path(),
            "file:///r",
            RepositoryId::from_random([2; 16]),
            Digest::of(b"key"),
        );
        assert!(matches!(error.unwrap_err(), Error::ForeignRepository { .. }));
        let error = Heads::open(dir.path(), "file:///r", repository, Digest::of(b"other"));
        assert!(matches!(error.unwrap_err(), Error::KeyReplaced { .. }));
        Heads::open(dir.path(), "file:///elsewhere", repository, Digest::of(b"other")).unwrap();
    }
}
