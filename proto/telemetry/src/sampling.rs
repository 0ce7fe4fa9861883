//! Which traces are worth sending: decided when they are over.
//!
//! # Overview
//! Spans of a trace are held until no span of it is open in this process any more. Then the trace goes on to the
//! exporter if its id falls into the share of all traces, or if one of its spans has an error and its id falls into
//! the share of failed ones. The decision depends on the id alone, so all processes take the same traces, as far as
//! they see the same errors.
//!
//! An agent that did its part of a run well can not know that the run failed elsewhere. Where somebody will tell it
//! ([`judge`]), a trace that goes on from another process and would be dropped is put aside until then.
//!
//! Requests to a store are alike and come by the hundred thousand: spans of the kind `client`. Below one parent the first
//! [`MOST_REQUESTS`] are kept, and later ones that failed or took longer than [`SLOW`]. The parent says how many are left
//! out, in its attribute [`LEFT_OUT`].
//!
//! # Crash consistency
//! Spans that are held or put aside are lost with the process, and so is what was put aside for a verdict that does not
//! come: the oldest make room. Traces explain; they prove nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanId, SpanKind, Status, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// The most spans that are held back, of all traces together. Beyond it the longest-held trace is decided early.
const MOST_SPANS: usize = 16_384;

/// The most spans that are put aside for a verdict, of all traces together.
const MOST_ASIDE: usize = 4_096;

/// Requests below one parent that are kept whatever became of them.
pub const MOST_REQUESTS: usize = 32;
/// A request that takes longer is always kept.
pub const SLOW: Duration = Duration::from_secs(1);
/// The attribute of a span that tells how many requests below it are left out.
pub const LEFT_OUT: &str = "requests.left_out";

/// The attribute of a span that goes on from what did not end well: a trace with one is one of the failed.
pub(crate) const AFTER_FAILURE: &str = "after_failure";

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

/// Tells how what a trace is a part of has ended: traces of this process that were put aside for it are sent or
/// dropped. Without a collector nothing happens, and nothing is known of text that is no id of a trace.
pub fn judge(trace_id: &str, failed: bool) {
    if let (Some(judge), Ok(id)) = (JUDGE.get(), TraceId::from_hex(trace_id)) {
        judge(id, failed);
    }
}

type Judge = Box<dyn Fn(TraceId, bool) + Send + Sync>;

/// Like tracing's subscriber there is one in a process, from when telemetry is started.
static JUDGE: OnceLock<Judge> = OnceLock::new();

/// Has [`judge`] decide for this sampler.
pub(crate) fn install<P: SpanProcessor + 'static>(sampler: &TailSampler<P>) {
    let sampler = sampler.clone();
    let judge = move |id, failed| sampler.judge(id, failed);
    if JUDGE.set(Box::new(judge)).is_err() {
        tracing::debug!("telemetry was started twice; verdicts go to the first one");
    }
}

/// Holds the spans of each trace until it is over, then drops them or hands them to the processor behind. Clones are
/// the same one.
#[derive(Debug)]
pub struct TailSampler<P>(Arc<Inner<P>>);

#[derive(Debug)]
struct Inner<P> {
    /// Written once, before the first span.
    next: RwLock<P>,
    shares: Shares,
    /// Whether [`judge`] will be told how things ended.
    judged: bool,
    held: Mutex<Held>,
}

impl<P> Clone for TailSampler<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug, Default)]
struct Held {
    traces: HashMap<TraceId, Trace>,
    spans: usize,
    aside: Aside,
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

/// Traces that wait for a verdict.
#[derive(Debug, Default)]
struct Aside {
    traces: HashMap<TraceId, (u64, Vec<SpanData>)>,
    spans: usize,
    age: u64,
}

impl Aside {
    /// Puts a trace aside; the oldest make room.
    fn put(&mut self, id: TraceId, spans: Vec<SpanData>) {
        self.spans += spans.len();
        self.age += 1;
        let (age, aside) = self.traces.entry(id).or_default();
        *age = self.age;
        aside.extend(spans);
        while self.spans > MOST_ASIDE {
            let oldest = self.traces.iter().min_by_key(|(_, (age, _))| *age);
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.take(oldest);
        }
    }

    fn take(&mut self, id: TraceId) -> Vec<SpanData> {
        let spans = self
            .traces
            .remove(&id)
            .map(|(_, spans)| spans)
            .unwrap_or_default();
        self.spans -= spans.len();
        spans
    }
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
        let after_failure = KeyValue::new(AFTER_FAILURE, true);
        self.failed |= failed || span.attributes.contains(&after_failure);
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
        Self::with(next, shares, false)
    }

    /// In front of `next`, where [`judge`] will be told how things ended.
    pub fn judged(next: P, shares: Shares) -> Self {
        Self::with(next, shares, true)
    }

    fn with(next: P, shares: Shares, judged: bool) -> Self {
        Self(Arc::new(Inner {
            next: RwLock::new(next),
            shares,
            judged,
            held: Mutex::default(),
        }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next<T>(&self, with: impl FnOnce(&P) -> T) -> T {
        with(&self.0.next.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn send(&self, spans: Vec<SpanData>) {
        self.next(|next| spans.into_iter().for_each(|span| next.on_end(span)));
    }

    fn decide(&self, id: TraceId, trace: Trace) {
        if self.0.shares.takes(id, trace.failed) {
            self.send(trace.ended);
        } else if self.0.judged
            && self.0.shares.takes(id, true)
            && trace.ended.iter().any(|span| span.parent_span_is_remote)
        {
            self.held().aside.put(id, trace.ended);
        }
    }

    fn judge(&self, id: TraceId, failed: bool) {
        let aside = {
            let mut held = self.held();
            // What still is at work is judged when it ends.
            if let Some(open) = held.traces.get_mut(&id) {
                open.failed |= failed;
            }
            held.aside.take(id)
        };
        if self.0.shares.takes(id, failed) {
            self.send(aside);
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
        self.next(|next| next.on_start(span, context));
    }

    fn on_end(&self, span: SpanData) {
        let over = self.held().end(span);
        if let Some((id, trace)) = over {
            self.decide(id, trace);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next(SpanProcessor::force_flush)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.decide_all();
        self.next(|next| next.shutdown_with_timeout(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        let mut next = self.0.next.write().unwrap_or_else(PoisonError::into_inner);
        next.set_resource(resource);
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

    /// A task that goes on with the trace of a run and goes well.
    fn task_of(tracer: &opentelemetry_sdk::trace::SdkTracer, run: u8) {
        use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
        let (trace, span) = (TraceId::from_bytes([run; 16]), SpanId::from_bytes([1; 8]));
        let parent = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
        let context = Context::new().with_remote_span_context(parent);
        tracer.start_with_context("task", &context).end();
    }

    #[test]
    fn what_went_well_within_a_run_that_failed_is_sent_once_that_is_known() {
        let exporter = InMemorySpanExporter::default();
        let shares = Shares {
            all: 0.0,
            failed: 1.0,
        };
        let sampler = TailSampler::judged(SimpleSpanProcessor::new(exporter.clone()), shares);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(sampler.clone())
            .build();
        let tracer = provider.tracer("test");
        let sent = || exporter.get_finished_spans().unwrap().len();
        (1..=3).for_each(|run| task_of(&tracer, run));
        family(&tracer, false);
        assert_eq!(sent(), 0, "nobody knows yet");
        assert_eq!(
            sampler.held().aside.spans,
            3,
            "what is of no run is not put aside"
        );
        sampler.judge(TraceId::from_bytes([1; 16]), true);
        assert_eq!(sent(), 1);
        sampler.judge(TraceId::from_bytes([2; 16]), false);
        sampler.judge(TraceId::from_bytes([2; 16]), true);
        assert_eq!(sent(), 1, "the first verdict stands");
        // Runs that nobody tells of make room.
        for run in 0..MOST_ASIDE * 2 {
            let id = TraceId::from_bytes((run as u128 + 1_000).to_be_bytes());
            let spans = sampler.held().aside.traces[&TraceId::from_bytes([3; 16])]
                .1
                .clone();
            let mut held = sampler.held();
            let aside = &mut held.aside;
            aside.put(id, spans);
            if !aside.traces.contains_key(&TraceId::from_bytes([3; 16])) {
                assert_eq!(aside.spans, MOST_ASIDE);
                return;
            }
        }
        panic!("the oldest was never dropped");
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
