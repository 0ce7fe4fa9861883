//! Tries again what got no answer.
//!
//! # Retries
//!
//! Only [`Error::Unavailable`] is tried again, after a random part of a delay that doubles ("full jitter": a fleet
//! that a store refused together does not come back together). Tries and total time are bounded; the last error is
//! returned with both in its text, and opens the run's [`Circuit`]: until the store answers again, nothing is tried
//! twice.
//!
//! # Consistency
//!
//! A PUT whose answer was lost may have been stored. Tried again with [`PutMode::Create`], it then finds its own
//! object: the content is compared, and equal means stored. A listing goes on behind the last name it gave.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, sleep};

use crate::storage::circuit::Circuit;
use crate::storage::{
    Capabilities, Error, Key, ObjectMeta, PutMode, PutOutcome, Result, SharedStorage, Storage,
};

/// How often and how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOptions {
    /// Tries in all, the first included; 1 means no retries.
    pub tries: u32,
    /// Longest delay before the second try; it doubles from there.
    pub first_delay: Duration,
    /// Longest delay at all.
    pub max_delay: Duration,
    /// No try starts later than this after the first.
    pub total: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            tries: 8,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(20),
            total: Duration::from_secs(300),
        }
    }
}

impl RetryOptions {
    /// One try only.
    pub const fn none() -> Self {
        Self {
            tries: 1,
            first_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            total: Duration::ZERO,
        }
    }
}

/// The delays of one sequence of tries: the one backoff of this project.
#[derive(Debug)]
pub struct Backoff {
    options: RetryOptions,
    started: Instant,
    tried: u32,
    chance: fastrand::Rng,
    circuit: Circuit,
}

impl Backoff {
    /// Starts counting, with delays drawn from the thread's random numbers.
    pub fn new(options: RetryOptions) -> Self {
        Self::seeded(options, fastrand::u64(..))
    }

    /// Starts counting, with delays that `seed` determines.
    pub fn seeded(options: RetryOptions, seed: u64) -> Self {
        Self {
            options,
            started: Instant::now(),
            tried: 1,
            chance: fastrand::Rng::with_seed(seed),
            circuit: Circuit::default(),
        }
    }

    fn through(options: RetryOptions, circuit: &Circuit) -> Self {
        Self {
            circuit: circuit.clone(),
            ..Self::new(options)
        }
    }

    /// The delay before the next try, or `None` when it is time to give up.
    pub fn next_delay(&mut self) -> Option<Duration> {
        if self.tried >= self.options.tries {
            return None;
        }
        let ceiling = self
            .options
            .first_delay
            .saturating_mul(1 << (self.tried - 1).min(20));
        let delay = ceiling.min(self.options.max_delay).mul_f64(self.chance.f64());
        if self.started.elapsed() + delay > self.options.total {
            return None;
        }
        self.tried += 1;
        Some(delay)
    }

    /// Starts anew: something went forward.
    pub fn reset(&mut self) {
        self.tried = 1;
        self.started = Instant::now();
    }

    /// Sleeps before the next try, or gives `error` back, with what was tried in its text.
    async fn pause(&mut self, error: Error) -> Result<()> {
        let Error::Unavailable {
            operation,
            key,
            reason,
        } = error
        else {
            self.circuit.close();
            return Err(error);
        };
        let open = self.circuit.is_open();
        match self.next_delay().filter(|_| !open) {
            Some(delay) => {
                tracing::debug!(
                    operation,
                    key,
                    reason,
                    tried = self.tried - 1,
                    ?delay,
                    "no answer, trying again"
                );
                sleep(delay).await;
                Ok(())
            }
            None => {
                let reason = self.summary(reason);
                self.circuit.open(&reason);
                Err(Error::Unavailable {
                    operation,
                    key,
                    reason,
                })
            }
        }
    }

    fn summary(&self, reason: String) -> String {
        match self.tried {
            1 => reason,
            tried => format!(
                "{reason} (gave up after {tried} tries in {:.1} s)",
                self.started.elapsed().as_secs_f64()
            ),
        }
    }
}

/// Decorates a store with retries.
#[derive(Debug)]
pub struct Retrying {
    inner: SharedStorage,
    options: RetryOptions,
    circuit: Circuit,
}

impl Retrying {
    /// Tries again on `inner` as `options` say.
    pub fn new(inner: SharedStorage, options: RetryOptions) -> Self {
        Self::with_circuit(inner, options, Circuit::default())
    }

    /// The same; what is found of the store is told through `circuit`.
    pub fn with_circuit(inner: SharedStorage, options: RetryOptions, circuit: Circuit) -> Self {
        Self {
            inner,
            options,
            circuit,
        }
    }

    fn answered<T>(&self, answer: T) -> T {
        self.circuit.close();
        answer
    }

    async fn retry<T, F>(&self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::through(self.options, &self.circuit);
        loop {
            match call().await {
                Ok(answer) => return Ok(self.answered(answer)),
                Err(error) => backoff.pause(error).await?,
            }
        }
    }

    /// What to make of "exists" when an earlier try of ours may have been stored.
    async fn settle(&self, key: &Key, body: &Bytes) -> Result<PutOutcome> {
        match self.get(key, None).await {
            Ok(there) if there == *body => Ok(PutOutcome::Stored),
            // Gone again, or another's: not ours in either case.
            Ok(_) | Err(Error::NotFound(_)) => Ok(PutOutcome::Exists),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Storage for Retrying {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        let mut backoff = Backoff::through(self.options, &self.circuit);
        loop {
            match self.inner.put(key, body.clone(), mode).await {
                Ok(PutOutcome::Exists) if backoff.tried > 1 => return self.settle(key, &body).await,
                Ok(outcome) => return Ok(self.answered(outcome)),
                Err(error) => backoff.pause(error).await?,
            }
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.retry(|| self.inner.get(key, range.clone())).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.retry(|| self.inner.head(key)).await
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let listing = Listing {
            store: &*self.inner,
            prefix: prefix.to_owned(),
            after: after.cloned(),
            stream: self.inner.list_after(prefix, after),
            backoff: Backoff::through(self.options, &self.circuit),
        };
        stream::try_unfold(listing, Listing::next).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.retry(|| self.inner.delete(key)).await
    }

    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        self.retry(|| self.inner.probe(existing)).await
    }
}

/// A listing that starts again behind the last name it gave.
struct Listing<'a> {
    store: &'a dyn Storage,
    prefix: String,
    after: Option<Key>,
    stream: BoxStream<'a, Result<ObjectMeta>>,
    backoff: Backoff,
}

impl<'a> Listing<'a> {
    async fn next(mut self) -> Result<Option<(ObjectMeta, Self)>> {
        loop {
            match self.stream.next().await {
                None => {
                    self.backoff.circuit.close();
                    return Ok(None);
                }
                Some(Ok(meta)) => {
                    self.backoff.circuit.close();
                    if self.backoff.tried > 1 {
                        self.backoff.reset();
                    }
                    self.after = Some(meta.key.clone());
                    return Ok(Some((meta, self)));
                }
                Some(Err(error)) => {
                    self.backoff.pause(error).await?;
                    self.stream = self.store.list_after(&self.prefix, self.after.as_ref());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
