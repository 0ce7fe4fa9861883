//! Objects in memory: for tests, and for `memory:` trials that leave nothing behind.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::clock::{SharedClock, SystemClock};
use crate::storage::{Capabilities, Error, Key, ObjectMeta, PutMode, PutOutcome, Result, Storage};

/// Objects given by one step of a listing.
const PAGE: usize = 1000;

/// A store in memory; dropped, it is gone.
#[derive(Debug)]
pub struct MemoryStorage {
    objects: Mutex<BTreeMap<Key, Object>>,
    clock: SharedClock,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    modified: Timestamp,
}

impl MemoryStorage {
    /// An empty store on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store whose objects are dated by `clock`.
    pub fn with_clock(clock: SharedClock) -> Self {
        Self {
            objects: Mutex::default(),
            clock,
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Key, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, prefix: &str, after: Option<&Key>) -> Vec<ObjectMeta> {
        let first = Key::new(prefix);
        let from = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        self.objects()
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .take(PAGE)
            .map(|(key, object)| object.meta(key))
            .collect()
    }
}

impl Object {
    fn meta(&self, key: &Key) -> ObjectMeta {
        ObjectMeta {
            key: key.clone(),
            size: self.body.len() as u64,
            modified: self.modified,
        }
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn location(&self) -> String {
        "memory:".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            create_only: true,
            own_clock: false,
        }
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        super::check_put(key, &body)?;
        let object = Object {
            body,
            modified: self.clock.now(),
        };
        let mut objects = self.objects();
        if mode == PutMode::Create && objects.contains_key(key) {
            return Ok(PutOutcome::Exists);
        }
        objects.insert(key.clone(), object);
        Ok(PutOutcome::Stored)
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let body = self.objects().get(key).map(|object| object.body.clone());
        let body = body.ok_or_else(|| Error::NotFound(key.clone()))?;
        Ok(match range {
            Some(range) => super::slice(&body, &range),
            None => body,
        })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.objects().get(key).map(|object| object.meta(key));
        meta.ok_or_else(|| Error::NotFound(key.clone()))
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let prefix = prefix.to_owned();
        stream::try_unfold(after.cloned(), move |after| {
            let page = self.page(&prefix, after.as_ref());
            let next = page.last().map(|meta| meta.key.clone());
            async move { Ok(next.map(|next| (stream::iter(page.into_iter().map(Ok)), Some(next)))) }
        })
        .try_flatten()
        .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;

    #[tokio::test]
    async fn conforms() {
        let store = MemoryStorage::new();
        conformance::check(&store).await.unwrap();
        conformance::check_pages(&store).await.unwrap();
    }
}
