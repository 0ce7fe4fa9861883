//! Counts requests by operation and outcome, and bytes in each direction.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

use crate::storage::{
    Capabilities, Error, Key, ObjectMeta, Operation, PutMode, PutOutcome, Result, SharedStorage, Storage,
};

/// How a request ended, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Done as asked.
    Ok,
    /// Done, and the object was there before.
    Exists,
    /// No such object.
    NotFound,
    /// Refused: rights or credentials.
    Denied,
    /// No answer.
    Unavailable,
    /// No space or quota.
    NoSpace,
    /// Any other error.
    Error,
}

impl Outcome {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Exists,
        Self::NotFound,
        Self::Denied,
        Self::Unavailable,
        Self::NoSpace,
        Self::Error,
    ];

    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exists => "exists",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::NoSpace => "no_space",
            Self::Error => "error",
        }
    }

    fn of<T>(answer: &Result<T>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(Error::NotFound(_)) => Self::NotFound,
            Err(Error::Denied { .. }) => Self::Denied,
            Err(Error::Unavailable { .. }) => Self::Unavailable,
            Err(Error::NoSpace { .. }) => Self::NoSpace,
            Err(Error::Configuration { .. } | Error::Cancelled | Error::Other { .. }) => Self::Error,
        }
    }
}

const OPERATIONS: usize = Operation::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// Counters shared by all that hold a clone of them.
#[derive(Clone, Default)]
pub struct Counters(Arc<Cells>);

#[derive(Default)]
struct Cells {
    requests: [[AtomicU64; OUTCOMES]; OPERATIONS],
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counters {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests of `operation` that ended as `outcome`. A listing counts once, however many pages it took.
    pub fn requests(&self, operation: Operation, outcome: Outcome) -> u64 {
        self.0.requests[operation as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// Requests of `operation`, whatever their outcome.
    pub fn requests_of(&self, operation: Operation) -> u64 {
        Outcome::ALL
            .iter()
            .map(|outcome| self.requests(operation, *outcome))
            .sum()
    }

    /// Bytes of objects sent, failed tries included.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Bytes of objects received.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Everything that is not zero, for metrics and reports.
    pub fn snapshot(&self) -> Vec<(Operation, Outcome, u64)> {
        let all = Operation::ALL
            .iter()
            .flat_map(|operation| Outcome::ALL.iter().map(|outcome| (*operation, *outcome)));
        all.map(|(operation, outcome)| (operation, outcome, self.requests(operation, outcome)))
            .filter(|(_, _, count)| *count > 0)
            .collect()
    }

    fn count(&self, operation: Operation, outcome: Outcome) {
        self.0.requests[operation as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn counted<T>(&self, operation: Operation, answer: Result<T>) -> Result<T> {
        self.count(operation, Outcome::of(&answer));
        answer
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters")
            .field("requests", &self.snapshot())
            .field("sent", &self.sent())
            .field("received", &self.received())
            .finish()
    }
}

/// Decorates a store with counters. Requests that are dropped before they end are not counted.
#[derive(Debug)]
pub struct Counting {
    inner: SharedStorage,
    counters: Counters,
}

impl Counting {
    /// Counts what is asked of `inner`.
    pub fn new(inner: SharedStorage, counters: Counters) -> Self {
        Self { inner, counters }
    }
}

#[async_trait]
impl Storage for Counting {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        self.counters
            .0
            .sent
            .fetch_add(body.len() as u64, Ordering::Relaxed);
        match self.inner.put(key, body, mode).await {
            Ok(PutOutcome::Exists) => {
                self.counters.count(Operation::Put, Outcome::Exists);
                Ok(PutOutcome::Exists)
            }
            answer => self.counters.counted(Operation::Put, answer),
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let answer = self.inner.get(key, range).await;
        let received = answer.as_ref().map_or(0, Bytes::len);
        self.counters
            .0
            .received
            .fetch_add(received as u64, Ordering::Relaxed);
        self.counters.counted(Operation::Get, answer)
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.counters.counted(Operation::Head, self.inner.head(key).await)
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let mut once = Some(self.counters.clone());
        let mut count = move |outcome| {
            if let Some(counters) = once.take() {
                counters.count(Operation::List, outcome);
            }
        };
        // An empty listing ends without an item: the sentinel behind it counts what nothing else did.
        let items = self.inner.list_after(prefix, after).map(Some);
        let ended = futures::stream::once(async { None });
        items
            .chain(ended)
            .filter_map(move |item| {
                count(item.as_ref().map_or(Outcome::Ok, Outcome::of));
                std::future::ready(item)
            })
            .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.counters
            .counted(Operation::Delete, self.inner.delete(key).await)
    }

    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        self.inner.probe(existing).await
    }
}

#[cfg(test)]
mod tests;
