//! Which traces are worth sending: decided when they are over.
//!
//! # Overview
//! Spans of a trace are held until no span of it is open in this process any more. Then the trace goes on to the
//! exporter if its id falls into the share of all traces, or if one of its spans has an error and its id falls into
//! the share of failed ones. The decision depends on the id alone, so all processes take the same traces, as far as
//! they see the same errors.
//!
//! Requests to a store are alike and come by the hundred thousand: spans of the kind `client`. Below one parent the first
//! [`MOST_REQUESTS`] are kept, and later ones that failed or took longer than [`SLOW`]. The parent says how many are left
//! out, in its attribute [`LEFT_OUT`].
//!
//! # Crash consistency
//! Held spans are lost with the process. Traces explain; they prove nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanId, SpanKind, Status, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// The most spans that are held back, of all traces together. Beyond it the longest-held trace is decided early.
const MOST_SPANS: usize = 16_384;

/// Requests below one parent that are kept whatever became of them.
pub const MOST_REQUESTS: usize = 32;
/// A request that takes longer is always kept.
pub const SLOW: Duration = Duration::from_secs(1);
/// The attribute of a span that tells how many requests below it are left out.
pub const LEFT_OUT: &str = "requests.left_out";

/// The shares of traces that are sent, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Of all traces.
    pub all: f64,
    /// Of those with an error in them.
    pub failed: f64,
}

impl Default for Shares {
    /// A tenth of all, and whatever failed.
    fn default() -> Self {
        Self {
            all: 0.1,
            failed: 1.0,
        }
    }
}

impl Shares {
    /// Whether a trace is sent.
    pub(crate) fn takes(self, trace: TraceId, failed: bool) -> bool {
        let share = if failed {
            self.failed.max(self.all)
        } else {
            self.all
        };
        // The last eight bytes of a trace id are random (W3C Trace Context level 2, random flag).
        let bytes = trace.to_bytes();
        let random = u64::from_be_bytes(bytes[8..].try_into().expect("a trace id has 16 bytes"));
        (random as f64) < share * (u64::MAX as f64) || share >= 1.0
    }
}

/// Holds the spans of each trace until it is over, then drops them or hands them to the processor behind.
#[derive(Debug)]
pub struct TailSampler<P> {
    next: P,
    shares: Shares,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    traces: HashMap<TraceId, Trace>,
    spans: usize,
    /// Counts traces, so that the oldest is known.
    age: u64,
}

#[derive(Debug, Default)]
struct Trace {
    open: usize,
    failed: bool,
    ended: Vec<SpanData>,
    /// Requests below spans that are open, here or in another process.
    requests: HashMap<SpanId, Requests>,
    age: u64,
}

/// Requests below one parent.
#[derive(Debug, Default)]
struct Requests {
    kept: usize,
    left_out: i64,
}

impl Trace {
    /// Takes a span, unless it is one request too many.
    fn take(&mut self, mut span: SpanData) -> bool {
        let failed = matches!(span.status, Status::Error { .. });
        self.failed |= failed;
        if span.span_kind == SpanKind::Client && !failed && !is_slow(&span) {
            let requests = self.requests.entry(span.parent_span_id).or_default();
            if requests.kept >= MOST_REQUESTS {
                requests.left_out += 1;
                return false;
            }
            requests.kept += 1;
        }
        let below = self.requests.remove(&span.span_context.span_id());
        if let Some(left_out) = below.map(|requests| requests.left_out).filter(|out| *out > 0) {
            span.attributes.push(KeyValue::new(LEFT_OUT, left_out));
        }
        self.ended.push(span);
        true
    }
}

fn is_slow(span: &SpanData) -> bool {
    span.end_time
        .duration_since(span.start_time)
        .is_ok_and(|took| took > SLOW)
}

impl<P: SpanProcessor> TailSampler<P> {
    /// In front of `next`.
    pub fn new(next: P, shares: Shares) -> Self {
        Self {
            next,
            shares,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, id: TraceId, trace: Trace) {
        if self.shares.takes(id, trace.failed) {
            for span in trace.ended {
                self.next.on_end(span);
            }
        }
    }

    /// Decides everything that is held, open or not: the process ends.
    fn decide_all(&self) {
        let held = std::mem::take(&mut *self.held());
        for (id, trace) in held.traces {
            self.decide(id, trace);
        }
    }
}

impl Held {
    fn start(&mut self, id: TraceId) {
        let age = self.age;
        let trace = self.traces.entry(id).or_insert_with(|| Trace {
            age,
            ..Trace::default()
        });
        trace.open += 1;
        self.age += 1;
    }

    /// Takes a span that ended; gives a trace that is to be decided.
    fn end(&mut self, span: SpanData) -> Option<(TraceId, Trace)> {
        let id = span.span_context.trace_id();
        let trace = self.traces.entry(id).or_default();
        trace.open = trace.open.saturating_sub(1);
        self.spans += usize::from(trace.take(span));
        let over = trace.open == 0;
        let chosen = if over {
            id
        } else if self.spans > MOST_SPANS {
            let holding = self.traces.iter().filter(|(_, trace)| !trace.ended.is_empty());
            holding.min_by_key(|(_, trace)| trace.age).map(|(id, _)| *id)?
        } else {
            return None;
        };
        let mut trace = self.traces.remove(&chosen)?;
        self.spans -= trace.ended.len();
        if trace.open > 0 {
            // Decided early: the rest of it is judged by what comes, and by what is known.
            self.traces.insert(
                chosen,
                Trace {
                    open: trace.open,
                    failed: trace.failed,
                    ended: Vec::new(),
                    requests: std::mem::take(&mut trace.requests),
                    age: self.age,
                },
            );
            trace.open = 0;
        }
        Some((chosen, trace))
    }
}

impl<P: SpanProcessor> SpanProcessor for TailSampler<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.held().start(span.span_context().trace_id());
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let over = self.held().end(span);
        if let Some((id, trace)) = over {
            self.decide(id, trace);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.decide_all();
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor};

    use super::*;

    fn traced(shares: Shares, work: impl FnOnce(&opentelemetry_sdk::trace::SdkTracer)) -> Vec<String> {
        let exporter = InMemorySpanExporter::default();
        let sampler = TailSampler::new(SimpleSpanProcessor::new(exporter.clone()), shares);
        let provider = SdkTracerProvider::builder().with_span_processor(sampler).build();
        work(&provider.tracer("test"));
        provider.force_flush().unwrap();
        let spans = exporter.get_finished_spans().unwrap();
        let mut names: Vec<String> = spans.iter().map(|span| span.name.to_string()).collect();
        names.sort();
        names
    }

    /// A parent with one child, which fails or not.
    fn family(tracer: &opentelemetry_sdk::trace::SdkTracer, failed: bool) {
        use opentelemetry::trace::TraceContextExt;
        let parent = tracer.start("parent");
        let context = Context::new().with_span(parent);
        let mut child = tracer.start_with_context("child", &context);
        if failed {
            child.set_status(Status::error("no"));
        }
        child.end();
        context.span().end();
    }

    #[test]
    fn what_failed_is_sent_whole_and_what_went_well_is_not() {
        let shares = Shares {
            all: 0.0,
            failed: 1.0,
        };
        assert!(traced(shares, |tracer| family(tracer, false)).is_empty());
        assert_eq!(traced(shares, |tracer| family(tracer, true)), ["child", "parent"]);
    }

    /// A parent with this many requests below it, one of which failed at the very end.
    fn storm(tracer: &opentelemetry_sdk::trace::SdkTracer, requests: usize) {
        use opentelemetry::trace::TraceContextExt;
        let context = Context::new().with_span(tracer.start("step"));
        let request = |name: &'static str| {
            let builder = tracer.span_builder(name).with_kind(SpanKind::Client);
            tracer.build_with_context(builder, &context)
        };
        (0..requests).for_each(|_| request("request").end());
        let start = std::time::UNIX_EPOCH;
        let slow = tracer.span_builder("slow").with_kind(SpanKind::Client);
        let mut slow = tracer.build_with_context(slow.with_start_time(start), &context);
        slow.end_with_timestamp(start + SLOW * 2);
        let mut failed = request("failed");
        failed.set_status(Status::error("no"));
        failed.end();
        context.span().end();
    }

    #[test]
    fn of_many_requests_those_are_told_that_tell_something() {
        let shares = Shares {
            all: 1.0,
            failed: 1.0,
        };
        let mut wanted = vec!["failed"];
        wanted.extend(["request"; MOST_REQUESTS]);
        wanted.extend(["slow", "step"]);
        assert_eq!(traced(shares, |tracer| storm(tracer, 10_000)), wanted);
    }

    #[test]
    fn a_step_tells_how_many_of_its_requests_are_left_out() {
        let exporter = InMemorySpanExporter::default();
        let shares = Shares {
            all: 1.0,
            failed: 1.0,
        };
        let sampler = TailSampler::new(SimpleSpanProcessor::new(exporter.clone()), shares);
        let provider = SdkTracerProvider::builder().with_span_processor(sampler).build();
        storm(&provider.tracer("test"), MOST_REQUESTS + 7);
        let spans = exporter.get_finished_spans().unwrap();
        let step = spans.iter().find(|span| span.name == "step").unwrap();
        assert_eq!(step.attributes, [KeyValue::new(LEFT_OUT, 7)]);
    }

    #[test]
    fn a_share_of_all_is_about_that_share() {
        let shares = Shares {
            all: 0.25,
            failed: 1.0,
        };
        let spans = traced(shares, |tracer| (0..2_000).for_each(|_| family(tracer, false)));
        let traces = spans.len() / 2;
        assert!((400..600).contains(&traces), "{traces} of 2000 traces");
    }

    #[test]
    fn a_trace_that_never_ends_can_not_fill_the_memory() {
        let mut held = Held::default();
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let tracer = provider.tracer("test");
        family(&tracer, false);
        let span = exporter.get_finished_spans().unwrap().remove(0);
        let id = span.span_context.trace_id();
        // Opened far more often than it is closed.
        (0..MOST_SPANS * 4).for_each(|_| held.start(id));
        let mut sent = 0;
        for _ in 0..MOST_SPANS * 2 {
            if let Some((_, trace)) = held.end(span.clone()) {
                sent += trace.ended.len();
            }
            assert!(held.spans <= MOST_SPANS);
        }
        assert!(sent > 0);
    }
}
