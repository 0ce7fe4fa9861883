//! A store that fails as told: by script, at a numbered call, or by chance from a seed.
//!
//! Tests put it below everything else. [`Faults::calls`] after a run without faults says how many positions there are;
//! a test then walks them, one fault at each.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::storage::{
    Capabilities, Error, Key, ObjectMeta, Operation, PutMode, PutOutcome, Result, SharedStorage, Storage,
};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and no answer comes.
    Before,
    /// The call is done, and its answer is lost.
    After,
    /// The answer comes late.
    Slow(Duration),
    /// A GET gives the first half only; other calls are as [`Fault::Before`].
    Truncate,
    /// A GET gives one bit wrong; other calls are as [`Fault::Before`].
    FlipBit,
    /// The store refuses the credentials.
    Deny,
    /// The store is full: PUTs fail, other calls work.
    Full,
}

/// Which calls a [`Fault`] meets.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Calls of this operation; without, of any.
    pub operation: Option<Operation>,
    /// Objects whose names start with this.
    pub prefix: String,
    /// Matching calls that pass before the fault.
    pub skip: u64,
    /// Matching calls that fail then; all, without.
    pub times: Option<u64>,
}

impl Rule {
    /// Every call of `operation` on names that start with `prefix`.
    pub fn on(operation: Operation, prefix: impl Into<String>) -> Self {
        Self {
            operation: Some(operation),
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    /// Lets `skip` calls pass first.
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Ends after `times` calls.
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }
}

/// The faults of a store, changed while it is in use.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    calls: u64,
    hits: u64,
    rules: Vec<(Rule, Fault)>,
    chance: Option<Chance>,
}

#[derive(Debug)]
struct Chance {
    random: fastrand::Rng,
    probability: f64,
    faults: Vec<Fault>,
}

impl Faults {
    /// None yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Meets the calls of `rule` with `fault`; of several rules that match, the first counts.
    pub fn add(&self, rule: Rule, fault: Fault) -> &Self {
        self.state().rules.push((rule, fault));
        self
    }

    /// Meets the call number `call` (from 0, counted over all operations) with `fault`.
    pub fn at(&self, call: u64, fault: Fault) -> &Self {
        let passed = self.state().calls;
        self.add(Rule::default().after(call.saturating_sub(passed)).times(1), fault)
    }

    /// Meets each call with `probability` by one of `faults`, as `seed` determines.
    pub fn randomly(&self, seed: u64, probability: f64, faults: &[Fault]) -> &Self {
        let random = fastrand::Rng::with_seed(seed);
        self.state().chance = Some(Chance {
            random,
            probability,
            faults: faults.to_vec(),
        });
        self
    }

    /// Forgets all faults; the counts stay.
    pub fn clear(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.chance = None;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Calls that met a fault.
    pub fn hits(&self) -> u64 {
        self.state().hits
    }

    fn draw(&self, operation: Operation, name: &str) -> Option<Fault> {
        let mut state = self.state();
        state.calls += 1;
        let fault = state
            .by_rule(operation, name)
            .or_else(|| state.chance.as_mut().and_then(Chance::draw));
        state.hits += u64::from(fault.is_some());
        fault
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Every matching rule counts the call; the first that is due decides.
    fn by_rule(&mut self, operation: Operation, name: &str) -> Option<Fault> {
        let mut decided = None;
        for (rule, fault) in &mut self.rules {
            if rule.is_due(operation, name) && decided.is_none() {
                rule.times = rule.times.map(|times| times - 1);
                decided = Some(*fault);
            }
        }
        decided
    }
}

impl Rule {
    fn is_due(&mut self, operation: Operation, name: &str) -> bool {
        if self.operation.is_some_and(|wanted| wanted != operation) || !name.starts_with(&self.prefix) {
            return false;
        }
        let passes = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        !passes && self.times != Some(0)
    }
}

impl Chance {
    fn draw(&mut self) -> Option<Fault> {
        let hit = self.random.f64() < self.probability && !self.faults.is_empty();
        hit.then(|| self.faults[self.random.usize(..self.faults.len())])
    }
}

/// Decorates a store with faults.
#[derive(Debug)]
pub struct Faulty {
    inner: SharedStorage,
    faults: Faults,
}

impl Faulty {
    /// Lets `faults` meet the calls of `inner`.
    pub fn new(inner: SharedStorage, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Runs `call` as the next fault says; `spoil` is what truncation and flips do to its answer.
    async fn meet<T>(
        &self,
        operation: Operation,
        name: &str,
        call: impl Future<Output = Result<T>>,
        spoil: impl FnOnce(T, Fault) -> Option<T>,
    ) -> Result<T> {
        let lost = |when: &str| {
            let reason = format!("injected: the connection broke {when}");
            Err(Error::Unavailable {
                operation: operation.as_str(),
                key: name.to_owned(),
                reason,
            })
        };
        match self.faults.draw(operation, name) {
            None => call.await,
            Some(Fault::Before) => lost("before the request was sent"),
            Some(Fault::After) => {
                call.await?;
                lost("before the answer came")
            }
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                call.await
            }
            Some(Fault::Deny) => {
                let reason = "injected: the credentials expired".to_owned();
                Err(Error::Denied {
                    operation: operation.as_str(),
                    key: name.to_owned(),
                    reason,
                })
            }
            Some(Fault::Full) if operation == Operation::Put => Err(Error::NoSpace {
                key: name.to_owned(),
                reason: "injected: the store is full".to_owned(),
            }),
            Some(Fault::Full) => call.await,
            Some(fault @ (Fault::Truncate | Fault::FlipBit)) => match spoil(call.await?, fault) {
                Some(answer) => Ok(answer),
                None => lost("half-way"),
            },
        }
    }
}

impl Faulty {
    /// A listing is one call; with a fault after it, it breaks off half-way.
    async fn start_listing(
        &self,
        prefix: &str,
        after: Option<&Key>,
    ) -> Result<BoxStream<'_, Result<ObjectMeta>>> {
        let inner = self.inner.list_after(prefix, after);
        let broken = |reason: &str| Error::Unavailable {
            operation: Operation::List.as_str(),
            key: prefix.to_owned(),
            reason: format!("injected: {reason}"),
        };
        match self.faults.draw(Operation::List, prefix) {
            None | Some(Fault::Full) => Ok(inner),
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                Ok(inner)
            }
            Some(Fault::After) => {
                let mut listed: Vec<Result<ObjectMeta>> = inner.collect().await;
                listed.truncate(listed.len() / 2);
                listed.push(Err(broken("the listing broke off")));
                Ok(stream::iter(listed).boxed())
            }
            Some(Fault::Deny) => {
                let reason = "injected: the credentials expired".to_owned();
                Err(Error::Denied {
                    operation: Operation::List.as_str(),
                    key: prefix.to_owned(),
                    reason,
                })
            }
            Some(Fault::Before | Fault::Truncate | Fault::FlipBit) => Err(broken("the connection broke")),
        }
    }
}

/// No answer but that of a GET can be spoilt.
fn unspoilt<T>(_: T, _: Fault) -> Option<T> {
    None
}

fn spoil(body: Bytes, fault: Fault) -> Option<Bytes> {
    if fault == Fault::Truncate {
        return Some(body.slice(..body.len() / 2));
    }
    let mut spoilt = body.to_vec();
    let middle = spoilt.len() / 2;
    if let Some(byte) = spoilt.get_mut(middle) {
        *byte ^= 1;
    }
    Some(spoilt.into())
}

#[async_trait]
impl Storage for Faulty {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        self.meet(
            Operation::Put,
            key.as_str(),
            self.inner.put(key, body, mode),
            unspoilt,
        )
        .await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.meet(Operation::Get, key.as_str(), self.inner.get(key, range), spoil)
            .await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.meet(Operation::Head, key.as_str(), self.inner.head(key), unspoilt)
            .await
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        stream::once(async move { self.start_listing(&prefix, after.as_ref()).await })
            .try_flatten()
            .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.meet(Operation::Delete, key.as_str(), self.inner.delete(key), unspoilt)
            .await
    }

    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        self.inner.probe(existing).await
    }
}

#[cfg(test)]
mod tests;
