//! Small sealed objects: stored under a name that comes from their content, read back with that name proved.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::{Inner, blocking};
use crate::cipher::Kind;
use crate::envelope::{self, MAX_OBJECT, Sealed, prove_name};
use crate::error::Result;
use crate::id::{Digest, SnapshotId};
use crate::storage::{Key, ObjectMeta, PutMode, PutOutcome};

/// No subject: the object belongs to the repository as a whole.
pub(super) const NOTHING: [u8; 32] = [0; 32];

/// What belongs to a snapshot is bound to its id.
pub(super) fn subject(snapshot: &SnapshotId) -> [u8; 32] {
    let mut subject = NOTHING;
    subject[..SnapshotId::LEN].copy_from_slice(snapshot.as_bytes());
    subject
}

impl Inner {
    /// Stores a sealed object under its name.
    pub(super) async fn put_sealed(&self, object: &Key, sealed: &Sealed) -> Result<()> {
        let put = self
            .storage
            .put(object, sealed.bytes.clone(), PutMode::Create)
            .await;
        match put.map_err(|e| self.failed(e, "it was just stored"))? {
            PutOutcome::Stored => Ok(()),
            // A repeat of our own PUT whose answer was lost; another content can not have this name.
            PutOutcome::Exists => {
                tracing::debug!(%object, "already stored");
                Ok(())
            }
        }
    }

    /// Reads a whole object and proves that its BLAKE3 starts with what its name carries.
    pub(super) async fn get_named(&self, object: &Key, hash: &[u8], needed_by: &str) -> Result<Bytes> {
        let bytes = self.storage.get(object, Some(0..MAX_OBJECT as u64 + 1)).await;
        let bytes = bytes.map_err(|e| self.failed(e, needed_by))?;
        prove_name(object, hash, &bytes)?;
        Ok(bytes)
    }

    /// All objects below a prefix.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let listed = self.storage.list(prefix).boxed();
        listed
            .try_collect()
            .await
            .map_err(|e| self.failed(e, "it was listed"))
    }
}

impl super::Repository {
    /// Seals `body` away from the async threads.
    pub(super) async fn seal(&self, kind: Kind, subject: [u8; 32], body: Vec<u8>) -> Result<Sealed> {
        let inner = std::sync::Arc::clone(&self.inner);
        blocking(move || envelope::seal(&inner.ring, kind, subject, &body)).await
    }

    /// Opens what was sealed, away from the async threads.
    pub(super) async fn unseal(
        &self,
        kind: Kind,
        subject: [u8; 32],
        object: &Key,
        sealed: Bytes,
    ) -> Result<Vec<u8>> {
        let inner = std::sync::Arc::clone(&self.inner);
        let object = object.clone();
        blocking(move || envelope::open(&inner.ring, kind, subject, &object, &sealed)).await
    }

    /// One object of the repository with its name proved, whatever kind it is: packs, index objects, keys and
    /// manifests carry their hash in their names.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Damaged`], [`crate::Error::Missing`], or the store's.
    pub async fn prove_object(&self, object: &Key) -> Result<Bytes> {
        let Some(hash) = hash_in_name(object) else {
            let reason = "its name carries no hash: it is no object of this format";
            return Err(crate::Error::damaged(object, reason));
        };
        self.inner.get_named(object, &hash, "it was asked for").await
    }
}

/// The hash that ends an object's name, whole or its first half.
fn hash_in_name(object: &Key) -> Option<Vec<u8>> {
    let name = object.as_str().rsplit(['/', '-']).next()?;
    let whole = name.parse::<Digest>().map(|d| d.as_bytes().to_vec());
    whole
        .or_else(|_| name.parse::<SnapshotId>().map(|half| half.as_bytes().to_vec()))
        .ok()
}
