//! Steps of work as spans of the trace that they belong to.
//!
//! A step is a function with `#[tracing::instrument(name = "…", skip_all, fields(otel.status_code = Empty))]`; in it
//! [`failed`] marks its span when the step found something wrong, whether or not that is an error of the function. What
//! is asked of the store meanwhile are its children: see [`crate::storage::traced`].

use tracing::Span;

/// The field that the OpenTelemetry layer takes a span's status from.
const STATUS: &str = "otel.status_code";

/// Marks the current span as failed. A span that does not declare the field stays as it is.
pub fn failed() {
    mark(&Span::current());
}

/// Marks `span` as failed.
pub fn mark(span: &Span) {
    span.record(STATUS, "ERROR");
}
