//! Intents: what is under way, so that a prune leaves a running backup's chunks alone.
//!
//! # Consistency
//!
//! An intent never changes; it ends when its time is up, and whoever needs longer announces again before that. The
//! time is the store's where the store has a clock of its own, so that a host whose clock is wrong does no harm.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::objects::NOTHING;
use super::{Inner, Repository};
use crate::cipher::Kind;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::id::RecordId;
use crate::layout;
use crate::storage::{Key, ObjectMeta};

/// As long as the store's clock is not known, an intent is taken to hold for this much longer.
const GRACE: SignedDuration = SignedDuration::from_mins(15);

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentKind {
    /// A backup: its chunks must not be removed although no snapshot names them yet.
    Backup,
    /// A prune.
    Prune,
}

/// Something under way, announced in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What.
    pub kind: IntentKind,
    /// On which host.
    pub host: String,
    /// The sealed object.
    pub object: Key,
    /// When it ends by itself, by the store's clock where it has one.
    pub expires: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    kind: IntentKind,
    host: String,
    ttl_seconds: u64,
}

impl Repository {
    /// Announces work that others must respect, for `ttl`; announce again before it ends.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_intent(&self, kind: IntentKind, host: &str, ttl: Duration) -> Result<Intent> {
        let ttl_seconds = ttl.as_secs().max(1);
        let now = self.inner.clock.now();
        let body = Body {
            kind,
            host: host.to_owned(),
            ttl_seconds,
        };
        let body = serde_json::to_vec(&body).map_err(|e| Error::internal(format!("encode intent: {e}")))?;
        let sealed = self.seal(Kind::Intent, NOTHING, body).await?;
        let id = RecordId::from_bytes(sealed.digest.half());
        let object = layout::intent(now, ttl_seconds, &id);
        self.inner.put_sealed(&object, &sealed).await?;
        failpoint::reach("intent.stored");
        let expires = self.inner.learn_clock(&object, now).await? + seconds(ttl_seconds);
        Ok(Intent {
            kind,
            host: host.to_owned(),
            object,
            expires,
        })
    }

    /// What is under way, expired intents left out.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], or the store's.
    pub async fn intents(&self) -> Result<Vec<Intent>> {
        let now = self.inner.store_now();
        let mut intents = Vec::new();
        for meta in self.inner.list(layout::INTENTS).await? {
            let Some((_, ttl, _)) = layout::parse_intent(&meta.key) else {
                tracing::warn!(object = %meta.key, "not the name of an intent; ignored");
                continue;
            };
            let expires = self.inner.begun(&meta) + seconds(ttl);
            if expires <= now {
                continue;
            }
            let body = match self.read_intent(&meta.key).await {
                Ok(body) => body,
                // Taken back since it was listed.
                Err(Error::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let body: Body = serde_json::from_slice(&body)
                .map_err(|e| Error::damaged(&meta.key, format!("it opens and is not an intent: {e}")))?;
            if body.ttl_seconds != ttl {
                return Err(Error::damaged(&meta.key, "it was renamed to end at another time"));
            }
            intents.push(Intent {
                kind: body.kind,
                host: body.host,
                object: meta.key,
                expires,
            });
        }
        Ok(intents)
    }

    pub(super) async fn read_intent(&self, object: &Key) -> Result<Vec<u8>> {
        let (_, _, id) = layout::parse_intent(object)
            .ok_or_else(|| Error::damaged(object, "its name is not that of an intent"))?;
        let sealed = self
            .inner
            .get_named(object, id.as_bytes(), "it was listed")
            .await?;
        self.unseal(Kind::Intent, NOTHING, object, sealed).await
    }

    /// Takes an intent back, where deleting is permitted; else it ends by itself.
    ///
    /// # Errors
    ///
    /// The store's, other than a refusal.
    pub async fn end_intent(&self, intent: &Intent) -> Result<()> {
        match self.inner.storage.delete(&intent.object).await {
            Err(refused) if Inner::is_refusal(&refused) => {
                tracing::debug!(object = %intent.object, "may not be taken back; it ends by itself");
                Ok(())
            }
            deleted => deleted.map_err(|e| self.inner.failed(e, "it was to be taken back")),
        }
    }
}

impl Inner {
    /// When an intent began.
    fn begun(&self, meta: &ObjectMeta) -> Timestamp {
        let named = layout::parse_intent(&meta.key).map_or(meta.modified, |(time, _, _)| time);
        if self.storage.capabilities().own_clock {
            meta.modified
        } else {
            named
        }
    }

    /// Learns the store's clock from an object that was just stored, and answers when it began.
    async fn learn_clock(&self, object: &Key, stored: Timestamp) -> Result<Timestamp> {
        if !self.storage.capabilities().own_clock {
            return Ok(stored);
        }
        let meta = self
            .storage
            .head(object)
            .await
            .map_err(|e| self.failed(e, "it was just stored"))?;
        let skew = meta.modified.duration_since(stored);
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        Ok(meta.modified)
    }

    /// Now, by the store's clock as far as it is known; rather early than late.
    fn store_now(&self) -> Timestamp {
        let now = self.clock.now();
        if !self.storage.capabilities().own_clock {
            return now;
        }
        match *self.skew.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(skew) => now + skew,
            None => now - GRACE,
        }
    }
}

fn seconds(n: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(n).unwrap_or(i64::MAX).min(1 << 32))
}
