//! A trace from one process to the next: W3C trace context, as gRPC metadata and as a field of tasks.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The metadata key of W3C trace context.
pub const HEADER: &str = "traceparent";

/// The `traceparent` of a span; `None` if it belongs to no trace.
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| {
        format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags().to_u8()
        )
    })
}

/// The id of the trace that a span belongs to, 32 hex digits.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// The id of the trace of the span that is entered at present.
pub(crate) fn current_trace_id() -> Option<TraceId> {
    let context = Context::current();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id())
}

/// Makes `span` a child of the span that `traceparent` names, which may live in another process. A text that is no
/// `traceparent` leaves it the root of a trace of its own: tracing never fails work.
pub fn continue_from(span: &Span, traceparent: &str) {
    let Some(parent) = parse(traceparent) else {
        tracing::debug!(traceparent, "not a W3C trace context");
        return;
    };
    // Without a collector there may be no layer to tell, and that is fine.
    if let Err(error) = span.set_parent(Context::new().with_remote_span_context(parent)) {
        tracing::debug!(%error, "a span could not continue its trace");
    }
}

/// Adds the trace of `span` to the metadata of a call.
pub fn inject(span: &Span, metadata: &mut MetadataMap) {
    let value = traceparent(span).and_then(|text| text.parse::<AsciiMetadataValue>().ok());
    if let Some(value) = value {
        metadata.insert(HEADER, value);
    }
}

/// Makes `span` a child of the span that the metadata of a call names, if it names one.
pub fn extract(span: &Span, metadata: &MetadataMap) {
    if let Some(text) = metadata.get(HEADER).and_then(|value| value.to_str().ok()) {
        continue_from(span, text);
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, as W3C Trace Context (Recommendation, 2021) has it.
pub(crate) fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let known = version == "00" && parts.next().is_none();
    // A later version may append fields; 0xff is forbidden.
    let later = version != "00" && version != "ff" && hex(version, 2);
    if !(known || later) || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_reads() {
        let context = parse(GOOD).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }
}
