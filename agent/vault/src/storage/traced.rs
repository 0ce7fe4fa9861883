//! Every request to a store as a span of the step that asks.
//!
//! Requests of the same step are alike and many, so that who sends the spans away keeps some of them and those that
//! failed or were slow: they are spans of the kind `client`, and have no children. Outside of any span nothing is
//! traced: a request alone explains nothing.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::step;
use crate::storage::{
    Capabilities, Error, Key, ObjectMeta, Operation, PutMode, PutOutcome, Result, SharedStorage, Storage,
};

/// Decorates a store with spans. Stands inside of retries, so that every try has its own.
#[derive(Debug)]
pub struct Traced {
    inner: SharedStorage,
}

impl Traced {
    /// Tells of what is asked of `inner`.
    pub fn new(inner: SharedStorage) -> Self {
        Self { inner }
    }
}

fn span(operation: Operation, object: &str) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    let name = match operation {
        Operation::Put => "storage put",
        Operation::Get => "storage get",
        Operation::Head => "storage head",
        Operation::List => "storage list",
        Operation::Delete => "storage delete",
    };
    tracing::info_span!(
        "storage",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        object,
        bytes = Empty
    )
}

/// Marks the span of a request that the store did not do. That an object is not there is an answer.
fn note<T>(span: &Span, answer: &Result<T>) {
    match answer {
        Ok(_) | Err(Error::NotFound(_) | Error::Cancelled) => {}
        Err(error) => {
            step::mark(span);
            span.in_scope(|| tracing::debug!(%error, "the store did not do it"));
        }
    }
}

async fn traced<T>(span: Span, request: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = request.instrument(span.clone()).await;
    note(&span, &answer);
    answer
}

#[async_trait]
impl Storage for Traced {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        let span = span(Operation::Put, key.as_str());
        span.record("bytes", body.len());
        traced(span, self.inner.put(key, body, mode)).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let span = span(Operation::Get, key.as_str());
        let answer = traced(span.clone(), self.inner.get(key, range)).await;
        if let Ok(body) = &answer {
            span.record("bytes", body.len());
        }
        answer
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        traced(span(Operation::Head, key.as_str()), self.inner.head(key)).await
    }

    /// The span lasts as long as the listing is read.
    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let span = span(Operation::List, prefix);
        let told = move |item: &Result<ObjectMeta>| note(&span, item);
        self.inner.list_after(prefix, after).inspect(told).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        traced(span(Operation::Delete, key.as_str()), self.inner.delete(key)).await
    }

    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        traced(
            span(Operation::Put, existing.as_str()),
            self.inner.probe(existing),
        )
        .await
    }
}

#[cfg(test)]
mod tests;
