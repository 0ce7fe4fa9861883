//! Records beside snapshots: facts, holds, drills and the ledger. Their content is the business of who writes them.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::objects::{NOTHING, subject};
use super::{Repository, blocking};
use crate::cipher::Kind;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::id::{RecordId, SnapshotId};
use crate::layout;
use crate::storage::{self, Key};

/// A reason to keep a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why, in the words of who asked for it.
    pub reason: String,
    /// When it was set.
    pub created: Timestamp,
    /// When it ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a hold object says: that it holds, or that another one does no longer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum HoldBody {
    Release {
        released: RecordId,
        created: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Hold(Hold),
}

/// A record as the listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordInfo {
    /// When it was written, to the second.
    pub time: Timestamp,
    /// The sealed object.
    pub object: Key,
}

/// Facts with the time at which they were stored: what decides which are the newest.
#[derive(Debug, Serialize, Deserialize)]
struct FactsHeader {
    stored: Timestamp,
}

impl Repository {
    /// Stores what was measured of a snapshot. Later facts take the place of earlier ones.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_facts(&self, snapshot: &SnapshotId, facts: &[u8]) -> Result<Key> {
        let header = FactsHeader {
            stored: self.inner.clock.now(),
        };
        let mut body =
            serde_json::to_vec(&header).map_err(|e| Error::internal(format!("encode facts: {e}")))?;
        body.push(b'\n');
        body.extend_from_slice(facts);
        self.put_companion(Kind::Facts, layout::FACTS, snapshot, body)
            .await
    }

    /// The newest facts of a snapshot.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], or the store's.
    pub async fn facts(&self, snapshot: &SnapshotId) -> Result<Option<Bytes>> {
        let mut newest: Option<(Timestamp, Bytes)> = None;
        for object in self.companions(layout::FACTS, Some(snapshot)).await? {
            let (stored, facts) = self.read_facts(&object).await?;
            if newest.as_ref().is_none_or(|(time, _)| stored >= *time) {
                newest = Some((stored, facts));
            }
        }
        Ok(newest.map(|(_, facts)| facts))
    }

    async fn read_facts(&self, object: &Key) -> Result<(Timestamp, Bytes)> {
        let body = self.read_companion(Kind::Facts, layout::FACTS, object).await?;
        let malformed = || Error::damaged(object, "it opens and does not start with a header line");
        let end = body.iter().position(|&b| b == b'\n').ok_or_else(malformed)?;
        let header: FactsHeader = serde_json::from_slice(&body[..end]).map_err(|_| malformed())?;
        Ok((header.stored, Bytes::from(body).slice(end + 1..)))
    }

    /// Holds a snapshot.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_hold(&self, snapshot: &SnapshotId, hold: &Hold) -> Result<Key> {
        let body = serde_json::to_vec(hold).map_err(|e| Error::internal(format!("encode hold: {e}")))?;
        self.put_companion(Kind::Hold, layout::HOLDS, snapshot, body)
            .await
    }

    /// The holds that stand: those that were released are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], or the store's.
    pub async fn holds(&self) -> Result<Vec<(SnapshotId, Hold, Key)>> {
        let (mut holds, released) = self.holds_and_releases().await?;
        holds.retain(|(_, _, object)| !released.contains(object));
        Ok(holds)
    }

    /// The holds that were released, gone or not: one of these that is gone is not lost.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], or the store's.
    pub async fn released_holds(&self) -> Result<HashSet<Key>> {
        Ok(self.holds_and_releases().await?.1)
    }

    async fn holds_and_releases(&self) -> Result<(Vec<(SnapshotId, Hold, Key)>, HashSet<Key>)> {
        let (mut holds, mut released) = (Vec::new(), HashSet::new());
        for object in self.companions(layout::HOLDS, None).await? {
            let Some((snapshot, _)) = layout::parse_companion(layout::HOLDS, &object) else {
                continue;
            };
            let body = match self.read_companion(Kind::Hold, layout::HOLDS, &object).await {
                Ok(body) => body,
                // Released since it was listed.
                Err(Error::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let body = serde_json::from_slice(&body)
                .map_err(|e| Error::damaged(&object, format!("it opens and is not a hold: {e}")))?;
            match body {
                HoldBody::Release { released: id, .. } => {
                    released.insert(layout::companion(layout::HOLDS, &snapshot, &id));
                }
                HoldBody::Hold(hold) => holds.push((snapshot, hold, object)),
            }
        }
        Ok((holds, released))
    }

    /// Releases a hold: says so in a record beside it, so that its absence is no loss, then removes it where
    /// deleting is permitted. `reason` is kept where somebody gave one.
    ///
    /// # Errors
    ///
    /// The store's, other than a refusal to delete.
    pub async fn release_hold(&self, hold: &Key, reason: Option<&str>) -> Result<()> {
        let (snapshot, released) =
            layout::parse_companion(layout::HOLDS, hold).ok_or_else(|| not_a_record(hold))?;
        let created = self.inner.clock.now();
        let body = serde_json::to_vec(&HoldBody::Release {
            released,
            created,
            reason: reason.map(str::to_owned),
        })
        .map_err(|e| Error::internal(format!("encode release: {e}")))?;
        self.put_companion(Kind::Hold, layout::HOLDS, &snapshot, body)
            .await?;
        self.note(hold, false).await;
        match self.inner.storage.delete(hold).await {
            Err(refused) if super::Inner::is_refusal(&refused) => {
                tracing::debug!(object = %hold, "released, and may not be removed");
                Ok(())
            }
            deleted => deleted.map_err(|e| self.inner.failed(e, "it was to be released")),
        }
    }

    /// Stores the record of a drill.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_drill(&self, record: &[u8]) -> Result<Key> {
        self.put_dated(Kind::Drill, layout::DRILLS, record).await
    }

    /// The drill records, oldest first, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn drills(&self) -> Result<Vec<RecordInfo>> {
        self.dated(layout::DRILLS).await
    }

    /// Appends to the ledger of what was verified when.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn append_ledger(&self, entry: &[u8]) -> Result<Key> {
        self.put_dated(Kind::Ledger, layout::LEDGER, entry).await
    }

    /// The ledger's entries, oldest first, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn ledger(&self) -> Result<Vec<RecordInfo>> {
        self.dated(layout::LEDGER).await
    }

    /// Opens a record by its object's name: a drill's, an entry of the ledger, facts, or a hold. An intent too.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Missing`], or the store's.
    pub async fn record(&self, object: &Key) -> Result<Bytes> {
        let name = object.as_str();
        if name.starts_with(layout::FACTS) {
            return Ok(self.read_facts(object).await?.1);
        }
        if name.starts_with(layout::HOLDS) {
            return Ok(self
                .read_companion(Kind::Hold, layout::HOLDS, object)
                .await?
                .into());
        }
        if name.starts_with(layout::INTENTS) {
            return Ok(self.read_intent(object).await?.into());
        }
        let (kind, prefix) = if name.starts_with(layout::DRILLS) {
            (Kind::Drill, layout::DRILLS)
        } else {
            (Kind::Ledger, layout::LEDGER)
        };
        let (_, id) = layout::parse_dated(prefix, object).ok_or_else(|| not_a_record(object))?;
        let sealed = self
            .inner
            .get_named(object, id.as_bytes(), "it was listed")
            .await?;
        Ok(self.unseal(kind, NOTHING, object, sealed).await?.into())
    }

    async fn put_companion(
        &self,
        kind: Kind,
        prefix: &str,
        snapshot: &SnapshotId,
        body: Vec<u8>,
    ) -> Result<Key> {
        let sealed = self.seal(kind, subject(snapshot), body).await?;
        let id = RecordId::from_bytes(sealed.digest.half());
        let object = layout::companion(prefix, snapshot, &id);
        self.inner.put_sealed(&object, &sealed).await?;
        failpoint::reach("record.stored");
        self.note(&object, true).await;
        Ok(object)
    }

    async fn companions(&self, prefix: &str, of: Option<&SnapshotId>) -> Result<Vec<Key>> {
        let listed = self.inner.list(prefix).await?.into_iter();
        let ours = listed.filter(|meta| match layout::parse_companion(prefix, &meta.key) {
            Some((snapshot, _)) => of.is_none_or(|wanted| *wanted == snapshot),
            None => false,
        });
        Ok(ours.map(|meta| meta.key).collect())
    }

    async fn read_companion(&self, kind: Kind, prefix: &str, object: &Key) -> Result<Vec<u8>> {
        let (snapshot, id) = layout::parse_companion(prefix, object).ok_or_else(|| not_a_record(object))?;
        let sealed = self
            .inner
            .get_named(object, id.as_bytes(), "it was listed")
            .await?;
        self.unseal(kind, subject(&snapshot), object, sealed).await
    }

    async fn put_dated(&self, kind: Kind, prefix: &str, body: &[u8]) -> Result<Key> {
        let sealed = self.seal(kind, NOTHING, body.to_vec()).await?;
        let id = RecordId::from_bytes(sealed.digest.half());
        let object = layout::dated(prefix, self.inner.clock.now(), &id);
        self.inner.put_sealed(&object, &sealed).await?;
        failpoint::reach("record.stored");
        self.note(&object, true).await;
        Ok(object)
    }

    async fn dated(&self, prefix: &str) -> Result<Vec<RecordInfo>> {
        let mut records = Vec::new();
        for meta in self.inner.list(prefix).await? {
            if let Some((time, _)) = layout::parse_dated(prefix, &meta.key) {
                records.push(RecordInfo {
                    time,
                    object: meta.key,
                });
            }
        }
        Ok(records)
    }

    /// Remembers a record as there or gone; the repository does not depend on it.
    async fn note(&self, object: &Key, there: bool) {
        let (inner, noted) = (Arc::clone(&self.inner), object.clone());
        if let Err(error) = blocking(move || inner.heads.note(&noted, there)).await {
            tracing::warn!(%object, %error, "this host could not remember a record");
        }
    }
}

fn not_a_record(object: &Key) -> Error {
    Error::damaged(object, "its name is not that of a record")
}

impl super::Inner {
    /// Whether a refusal to delete may be passed by: an append-only host has no such right.
    pub(super) fn is_refusal(error: &storage::Error) -> bool {
        matches!(error, storage::Error::Denied { .. })
    }
}
