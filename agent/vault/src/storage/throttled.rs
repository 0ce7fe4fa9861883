//! Ceilings of bytes a second, one for each direction.
//!
//! A token bucket that may go into debt: an object of any size passes at once when the bucket is not empty, and what it
//! took beyond is waited for by those that follow. On average the rate holds, and no object is too large to pass.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::time::{Instant, sleep};

use crate::storage::{Capabilities, Key, ObjectMeta, PutMode, PutOutcome, Result, SharedStorage, Storage};

/// A rate shared by all that hold a clone of it; it may change while it is in use.
#[derive(Debug, Clone)]
pub struct RateLimit(Arc<Mutex<Bucket>>);

#[derive(Debug)]
struct Bucket {
    bytes_per_second: f64,
    /// Bytes that may pass at once; below zero, what has to be waited for.
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    /// At most `bytes_per_second` on average, at least 1; a second's worth may pass at once.
    pub fn new(bytes_per_second: u64) -> Self {
        let rate = bytes_per_second.max(1) as f64;
        Self(Arc::new(Mutex::new(Bucket {
            bytes_per_second: rate,
            tokens: rate,
            filled: Instant::now(),
        })))
    }

    /// Changes the rate for all that follow; debts are paid at the new rate.
    pub fn set(&self, bytes_per_second: u64) {
        self.with(|bucket| {
            bucket.fill();
            bucket.bytes_per_second = bytes_per_second.max(1) as f64;
        });
    }

    /// Waits until the bucket is out of debt.
    async fn wait(&self) {
        loop {
            let debt = self.with(|bucket| {
                bucket.fill();
                (bucket.tokens < 0.0)
                    .then(|| Duration::from_secs_f64(-bucket.tokens / bucket.bytes_per_second))
            });
            match debt {
                // Awake at least once a minute, for the rate may have been raised.
                Some(debt) => sleep(debt.clamp(Duration::from_millis(1), Duration::from_secs(60))).await,
                None => return,
            }
        }
    }

    fn take(&self, bytes: usize) {
        self.with(|bucket| {
            bucket.fill();
            bucket.tokens -= bytes as f64;
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Bucket) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bucket {
    fn fill(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.filled).as_secs_f64() * self.bytes_per_second;
        self.tokens = (self.tokens + earned).min(self.bytes_per_second);
        self.filled = now;
    }
}

/// Decorates a store with ceilings.
#[derive(Debug)]
pub struct Throttled {
    inner: SharedStorage,
    upload: Option<RateLimit>,
    download: Option<RateLimit>,
}

impl Throttled {
    /// Holds what passes to and from `inner` below the given rates.
    pub fn new(inner: SharedStorage, upload: Option<RateLimit>, download: Option<RateLimit>) -> Self {
        Self {
            inner,
            upload,
            download,
        }
    }
}

#[async_trait]
impl Storage for Throttled {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        if let Some(limit) = &self.upload {
            limit.wait().await;
            limit.take(body.len());
        }
        self.inner.put(key, body, mode).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let Some(limit) = &self.download else {
            return self.inner.get(key, range).await;
        };
        limit.wait().await;
        let body = self.inner.get(key, range).await?;
        limit.take(body.len());
        Ok(body)
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        self.inner.list_after(prefix, after)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        self.inner.probe(existing).await
    }
}

#[cfg(test)]
mod tests;
