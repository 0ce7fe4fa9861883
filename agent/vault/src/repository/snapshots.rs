//! Snapshots: committed, listed, found, and their chain.
//!
//! # Consistency
//!
//! Each manifest names the one before it by id and hash. An older state put back lacks the snapshot that this host
//! remembers as the newest; a snapshot taken out of the middle is missed by its successor.
//!
//! # Crash consistency
//!
//! A manifest is one PUT, after all that it needs. A crash before it leaves chunks that nothing refers to; a crash
//! after it leaves a committed snapshot that the memory of heads learns of on the next look.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::objects::NOTHING;
use super::{Repository, blocking};
use crate::cipher::Kind;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::heads::Freshness;
use crate::id::{Digest, SnapshotId};
use crate::layout;
use crate::manifest::{Manifest, Previous};
use crate::storage::Key;

/// A snapshot as the listing shows it: nothing is opened for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// The moment in its name: that of the cut to the second, or a second after the snapshot before it if that
    /// was not earlier.
    pub time: Timestamp,
    /// The sealed manifest.
    pub object: Key,
    /// Its size in bytes.
    pub size: u64,
}

impl Repository {
    /// All snapshots, oldest first, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let mut snapshots = Vec::new();
        for meta in self.inner.list(layout::SNAPSHOTS).await? {
            if let Some((time, id)) = layout::parse_snapshot(&meta.key) {
                snapshots.push(SnapshotInfo {
                    id,
                    time,
                    object: meta.key,
                    size: meta.size,
                });
            } else {
                tracing::warn!(object = %meta.key, "not the name of a snapshot; ignored");
            }
        }
        snapshots.sort_by_key(|s| (s.time, s.id));
        Ok(snapshots)
    }

    /// Opens a manifest by its snapshot's id.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotNotFound`], [`Error::Damaged`], or the store's.
    pub async fn manifest(&self, id: &SnapshotId) -> Result<Manifest> {
        let snapshots = self.snapshots().await?;
        match snapshots.iter().find(|s| s.id == *id) {
            Some(info) => self.manifest_of(info).await,
            None => Err(self.not_found(&id.to_string(), &snapshots)),
        }
    }

    /// Opens the manifest of a listed snapshot.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Missing`], or the store's.
    pub async fn manifest_of(&self, info: &SnapshotInfo) -> Result<Manifest> {
        let sealed = self
            .inner
            .get_named(&info.object, info.id.as_bytes(), "it was listed")
            .await?;
        let body = self.unseal(Kind::Manifest, NOTHING, &info.object, sealed).await?;
        let manifest: Manifest = serde_json::from_slice(&body)
            .map_err(|e| Error::damaged(&info.object, format!("it opens and is not a manifest: {e}")))?;
        if manifest.repository != self.id() {
            return Err(Error::ForeignRepository {
                what: info.object.to_string().into(),
                expected: self.id(),
                found: manifest.repository,
                hint: "the manifest was copied here from elsewhere".into(),
            });
        }
        if layout::snapshot(manifest.listed, &info.id) != info.object {
            let reason = format!(
                "it was stored under the time {}, and renamed since",
                manifest.listed
            );
            return Err(Error::damaged(&info.object, reason));
        }
        Ok(manifest)
    }

    /// Finds a snapshot by `latest` (the newest that is not suspect), a prefix of its id, its whole id, or its
    /// object's name.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotNotFound`], [`Error::SnapshotAmbiguous`], or the store's.
    pub async fn resolve(&self, wanted: &str) -> Result<SnapshotInfo> {
        let snapshots = self.snapshots().await?;
        if wanted == "latest" {
            return self.latest(&snapshots).await;
        }
        let name = wanted.strip_prefix(layout::SNAPSHOTS).unwrap_or(wanted);
        let fits = |s: &&SnapshotInfo| {
            s.id.to_string().starts_with(name)
                || s.object.as_str().strip_prefix(layout::SNAPSHOTS) == Some(name)
        };
        let mut found = snapshots.iter().filter(fits).filter(|_| !name.is_empty());
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (None, _) => Err(self.not_found(wanted, &snapshots)),
            (Some(one), Some(two)) => {
                let rest = found.count();
                let more = if rest > 0 {
                    format!(" and {rest} more")
                } else {
                    String::new()
                };
                Err(Error::SnapshotAmbiguous {
                    wanted: wanted.into(),
                    candidates: format!("{}, {}{more}", one.id, two.id),
                })
            }
        }
    }

    async fn latest(&self, snapshots: &[SnapshotInfo]) -> Result<SnapshotInfo> {
        for (older, info) in snapshots.iter().enumerate().rev() {
            let manifest = match self.manifest_of(info).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    return Err(self
                        .no_latest(error, snapshots.get(..older).unwrap_or_default())
                        .await);
                }
            };
            let suspect = manifest.suspect.is_some() || manifest.sources.iter().any(|s| s.suspect.is_some());
            if !suspect {
                return Ok(info.clone());
            }
            tracing::info!(snapshot = %info.id, "passed over: suspect");
        }
        Err(self.not_found("latest", snapshots))
    }

    /// What stands in for `latest` is for somebody to choose: an older state is another state.
    async fn no_latest(&self, error: Error, older: &[SnapshotInfo]) -> Error {
        let Error::Damaged { object, reason } = error else {
            return error;
        };
        let mut instead = "no older one opens".to_owned();
        for info in older.iter().rev() {
            if self
                .manifest_of(info)
                .await
                .is_ok_and(|manifest| manifest.suspect.is_none())
            {
                instead = format!("name an older one, such as {} of {:.0}", info.id, info.time);
                break;
            }
        }
        let reason = format!("{reason}; it is the newest, so that there is no `latest`: {instead}");
        Error::Damaged { object, reason }
    }

    fn not_found(&self, wanted: &str, snapshots: &[SnapshotInfo]) -> Error {
        let hint = match snapshots.last() {
            None => "it holds none; take one first".into(),
            Some(newest) if wanted == "latest" => {
                format!(
                    "all {} are suspect; name one, the newest is {}",
                    snapshots.len(),
                    newest.id
                )
            }
            Some(newest) => format!("it holds {}, the newest is {}", snapshots.len(), newest.id),
        };
        Error::SnapshotNotFound {
            wanted: wanted.into(),
            repository: self.id(),
            hint,
        }
    }

    /// Commits a snapshot: fills the fields of the chain, seals, stores. The chunks must all be stored.
    ///
    /// # Errors
    ///
    /// What failed; the snapshot may then be there or not, and a repeat is harmless.
    pub async fn commit(&self, mut manifest: Manifest) -> Result<SnapshotId> {
        let snapshots = self.snapshots().await?;
        self.note_lost(&snapshots).await?;
        manifest.format = crate::FORMAT_VERSION;
        manifest.repository = self.id();
        manifest.cipher = self.inner.config.cipher;
        manifest.listed = manifest.created;
        manifest.previous = None;
        if let Some(newest) = snapshots.last() {
            manifest.previous = Some(self.link_to(newest).await?);
            manifest.listed = manifest.created.max(newest.time + SignedDuration::from_secs(1));
        }
        manifest.keys = self.keys().await?;
        manifest.records = self.standing_records().await?;
        let body =
            serde_json::to_vec(&manifest).map_err(|e| Error::internal(format!("encode manifest: {e}")))?;
        let sealed = self.seal(Kind::Manifest, NOTHING, body).await?;
        failpoint::reach("commit.manifest.sealed");
        let id = SnapshotId::from_bytes(sealed.digest.half());
        self.inner
            .put_sealed(&layout::snapshot(manifest.listed, &id), &sealed)
            .await?;
        failpoint::reach("commit.manifest.stored");
        // It is committed, whatever happens to the memory of it.
        if let Err(error) = self.remember(id).await {
            tracing::warn!(snapshot = %id, %error, "committed, and this host could not remember it as the newest");
        }
        failpoint::reach("commit.heads.remembered");
        Ok(id)
    }

    /// The link to the newest snapshot: the hash of what is stored, be it damaged or not. What is wrong is read once
    /// more: the chain must not remember for ever what only one answer of the store had wrong.
    async fn link_to(&self, newest: &SnapshotInfo) -> Result<Previous> {
        let is_right = |hash: &Digest| hash.half() == *newest.id.as_bytes();
        let mut hash = self.stored_hash(newest).await?;
        if !is_right(&hash) {
            hash = self.stored_hash(newest).await?;
        }
        if !is_right(&hash) {
            tracing::warn!(object = %newest.object, "the snapshot before this one is damaged");
        }
        Ok(Previous { id: newest.id, hash })
    }

    async fn stored_hash(&self, snapshot: &SnapshotInfo) -> Result<Digest> {
        let bytes = self.inner.storage.get(&snapshot.object, None).await;
        let bytes = bytes.map_err(|e| self.inner.failed(e, "it is the newest snapshot"))?;
        Ok(Digest::of(&bytes))
    }

    /// Names of the records that stand in the repository.
    async fn standing_records(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for prefix in [layout::FACTS, layout::HOLDS, layout::DRILLS, layout::LEDGER] {
            names.extend(
                self.inner
                    .list(prefix)
                    .await?
                    .into_iter()
                    .map(|meta| meta.key.to_string()),
            );
        }
        Ok(names)
    }

    async fn remember(&self, newest: SnapshotId) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.heads.advance(newest)).await
    }

    /// Whether the repository is as new as what this host remembers; remembers what is newer.
    ///
    /// # Errors
    ///
    /// The store's, or [`Error::Damaged`] where the chain has to be followed and can not.
    pub async fn freshness(&self) -> Result<Freshness> {
        let snapshots = self.snapshots().await?;
        let found = snapshots.last().map(|newest| newest.id);
        let fresh = self.compare(&snapshots).await?;
        if let (Freshness::Fresh | Freshness::Unknown, Some(newest)) = (&fresh, found) {
            self.remember(newest).await?;
        }
        // What came after an older state was put back does not make up for what is gone.
        let listed: BTreeSet<SnapshotId> = snapshots.iter().map(|s| s.id).collect();
        let lost = self.inner.heads.lost();
        if !lost.is_disjoint(&listed) {
            let inner = Arc::clone(&self.inner);
            let again = listed.clone();
            blocking(move || inner.heads.find_again(&again)).await?;
        }
        Ok(match lost.difference(&listed).next() {
            Some(expected) if fresh == Freshness::Fresh => Freshness::RolledBack {
                expected: *expected,
                found,
            },
            _ => fresh,
        })
    }

    /// What is listed, beside the newest that this host remembers.
    async fn compare(&self, snapshots: &[SnapshotInfo]) -> Result<Freshness> {
        let Some(expected) = self.inner.heads.newest() else {
            return Ok(Freshness::Unknown);
        };
        let there = snapshots.iter().any(|s| s.id == expected);
        if there || self.descends(snapshots, expected).await? {
            return Ok(Freshness::Fresh);
        }
        Ok(Freshness::RolledBack {
            expected,
            found: snapshots.last().map(|newest| newest.id),
        })
    }

    /// Keeps in mind what an older state put back has taken away, before another snapshot becomes the newest.
    async fn note_lost(&self, snapshots: &[SnapshotInfo]) -> Result<()> {
        let lost = match self.compare(snapshots).await {
            Ok(Freshness::RolledBack { expected, .. }) => Some(expected),
            Ok(_) => None,
            // It is not listed, and what would lead to it can not be read.
            Err(error) if error.is_damage() => self.inner.heads.newest(),
            Err(error) => return Err(error),
        };
        let Some(lost) = lost else { return Ok(()) };
        tracing::warn!(snapshot = %lost, "this host remembers it as the newest and it is gone: an older state of the repository was put back");
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.heads.lose(lost)).await
    }

    /// Where this host keeps what it remembers of the repository. Removed, the file makes it forget.
    pub fn memory(&self) -> &std::path::Path {
        self.inner.heads.path()
    }

    /// Whether a chain of links leads from the newest snapshot to one that is no longer listed: then retention took
    /// it, after a successor was committed.
    async fn descends(&self, snapshots: &[SnapshotInfo], expected: SnapshotId) -> Result<bool> {
        let mut seen = HashSet::new();
        let mut at = snapshots.last();
        while let Some(info) = at.filter(|info| seen.insert(info.id)) {
            match self.manifest_of(info).await?.previous {
                Some(previous) if previous.id == expected => return Ok(true),
                Some(previous) => at = snapshots.iter().find(|s| s.id == previous.id),
                None => return Ok(false),
            }
        }
        Ok(false)
    }
}
