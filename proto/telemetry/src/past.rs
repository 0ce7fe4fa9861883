//! Spans of what is over when it is told: a run of hours, begun by another incarnation of the process.
//!
//! # Overview
//! A span that waits in memory for the end of a run would be lost with the process, and whoever started the run has long
//! been answered, with no error in sight. So the ids of a run's span are fixed when it begins ([`Ids`], which can be
//! kept anywhere and computed again), agents hang their spans below it, and [`tell`] writes the span down when the
//! outcome is known: then, and only then, it is decided whether it is sent.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::trace::{
    Span as _, SpanId, Status, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};

use crate::propagation;
use crate::sampling::{AFTER_FAILURE, Shares};

/// The ids of a span that is told later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Its trace.
    pub trace: [u8; 16],
    /// Its own.
    pub span: [u8; 8],
}

impl Ids {
    /// Those of a span `span` in the trace that `traceparent` names; `None` if that is none.
    pub fn in_trace_of(traceparent: &str, span: [u8; 8]) -> Option<Self> {
        let parent = propagation::parse(traceparent)?;
        Some(Self {
            trace: parent.trace_id().to_bytes(),
            span,
        })
    }

    /// What a child of the span is given.
    pub fn traceparent(&self) -> String {
        let (trace, span) = (TraceId::from_bytes(self.trace), SpanId::from_bytes(self.span));
        format!("00-{trace}-{span}-01")
    }

    /// The trace, 32 hex digits.
    pub fn trace_id(&self) -> String {
        TraceId::from_bytes(self.trace).to_string()
    }
}

/// A step that is over.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its name.
    pub name: &'static str,
    /// Its ids.
    pub ids: Ids,
    /// The `traceparent` of the span that caused it, of the same trace; `None`: it is the root.
    pub parent: Option<String>,
    /// It goes on from what its parent did not end well: it is sent with it, also where it ends well itself.
    pub after_failure: bool,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Why it did not end well; `None`: it did.
    pub failed: Option<String>,
    /// What else there is to know.
    pub attributes: Vec<(&'static str, String)>,
}

/// Writes a step down. Without a collector nothing happens.
pub fn tell(past: Past) {
    if let Some(teller) = TELLER.get() {
        teller.tell(past);
    }
}

/// Like tracing's subscriber there is one in a process, from when telemetry is started.
static TELLER: OnceLock<Teller> = OnceLock::new();

/// Has [`tell`] write to this provider, which must make its ids by [`Chosen`].
pub(crate) fn install(provider: &SdkTracerProvider, service: &'static str, shares: Shares) {
    let tracer = provider.tracer(service);
    if TELLER.set(Teller { tracer, shares }).is_err() {
        tracing::debug!("telemetry was started twice; spans of the past go where the first one sends them");
    }
}

#[derive(Debug)]
struct Teller {
    tracer: SdkTracer,
    shares: Shares,
}

impl Teller {
    fn tell(&self, past: Past) {
        let Past {
            name,
            ids,
            parent,
            after_failure,
            began,
            ended,
            failed,
            attributes,
        } = past;
        let attributes = attributes
            .into_iter()
            .map(|(key, value)| KeyValue::new(key, value))
            .chain(after_failure.then(|| KeyValue::new(AFTER_FAILURE, true)));
        let builder = self
            .tracer
            .span_builder(name)
            .with_start_time(began)
            .with_attributes(attributes);
        // A parent that was not sent, because nothing was wrong when it ended, would leave the span in the air.
        let sent = self.shares.takes(TraceId::from_bytes(ids.trace), after_failure);
        let parent = parent
            .filter(|_| sent)
            .and_then(|parent| propagation::parse(&parent));
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let mut span = Chosen::with(ids, || self.tracer.build_with_context(builder, &context));
        if let Some(why) = failed {
            span.set_status(Status::error(why));
        }
        span.end_with_timestamp(ended);
    }
}

thread_local! {
    /// The ids of the span that is being built on this thread, if they are not left to chance.
    static CHOSEN: Cell<Option<Ids>> = const { Cell::new(None) };
}

/// Ids by chance, but for spans of the past.
#[derive(Debug, Default)]
pub(crate) struct Chosen(RandomIdGenerator);

impl Chosen {
    /// Builds a span with these ids. Building takes no await, so that nobody else gets them.
    fn with<T>(ids: Ids, build: impl FnOnce() -> T) -> T {
        CHOSEN.set(Some(ids));
        let built = build();
        CHOSEN.set(None);
        built
    }
}

impl IdGenerator for Chosen {
    fn new_trace_id(&self) -> TraceId {
        CHOSEN
            .get()
            .map_or_else(|| self.0.new_trace_id(), |ids| TraceId::from_bytes(ids.trace))
    }

    fn new_span_id(&self) -> SpanId {
        CHOSEN
            .get()
            .map_or_else(|| self.0.new_span_id(), |ids| SpanId::from_bytes(ids.span))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor, SpanData};

    use super::*;
    use crate::sampling::TailSampler;

    const IDS: Ids = Ids {
        trace: [7; 16],
        span: [9; 8],
    };

    fn told(shares: Shares, change: impl FnOnce(&mut Past)) -> Vec<SpanData> {
        let exporter = InMemorySpanExporter::default();
        let sampler = TailSampler::new(SimpleSpanProcessor::new(exporter.clone()), shares);
        let provider = SdkTracerProvider::builder()
            .with_id_generator(Chosen::default())
            .with_span_processor(sampler)
            .build();
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut past = Past {
            name: "slot",
            ids: IDS,
            parent: None,
            after_failure: false,
            began,
            ended: began + Duration::from_secs(3_600),
            failed: None,
            attributes: vec![("plan", "nightly".to_owned())],
        };
        change(&mut past);
        let tracer = provider.tracer("test");
        Teller { tracer, shares }.tell(past);
        provider.force_flush().unwrap();
        exporter.get_finished_spans().unwrap()
    }

    fn shares(all: f64) -> Shares {
        Shares { all, failed: 1.0 }
    }

    #[test]
    fn it_has_the_ids_and_times_that_were_fixed_before() {
        let span = told(shares(1.0), |_| {}).remove(0);
        assert_eq!(span.span_context.trace_id().to_bytes(), IDS.trace);
        assert_eq!(span.span_context.span_id().to_bytes(), IDS.span);
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        let took = span.end_time.duration_since(span.start_time).unwrap();
        assert_eq!(took, Duration::from_secs(3_600));
        assert_eq!(span.attributes, [KeyValue::new("plan", "nightly")]);
        assert_eq!(
            IDS.traceparent(),
            "00-07070707070707070707070707070707-0909090909090909-01"
        );
    }

    #[test]
    fn what_failed_is_sent_whatever_the_share_and_what_went_well_is_not() {
        assert!(told(shares(0.0), |_| {}).is_empty());
        let failed = told(shares(0.0), |past| past.failed = Some("1 failed".to_owned()));
        assert_eq!(failed[0].status, Status::error("1 failed"));
    }

    #[test]
    fn a_parent_is_named_only_if_it_was_sent() {
        let caused = |past: &mut Past| {
            past.parent = Some("00-07070707070707070707070707070707-0101010101010101-01".to_owned());
            past.failed = Some("no".to_owned());
        };
        let below = told(shares(1.0), caused).remove(0);
        assert_eq!(below.parent_span_id.to_bytes(), [1; 8]);
        assert_eq!(below.span_context.span_id().to_bytes(), IDS.span);
        let again = |past: &mut Past| {
            caused(past);
            (past.failed, past.after_failure) = (None, true);
        };
        let retried = told(shares(0.0), again).remove(0);
        assert_eq!(
            retried.status,
            Status::Unset,
            "it ended well, and is sent with what did not"
        );
        assert_eq!(retried.parent_span_id.to_bytes(), [1; 8]);
        let root = told(shares(0.0), caused).remove(0);
        assert_eq!(root.parent_span_id, SpanId::INVALID);
        assert_eq!(root.span_context.trace_id().to_bytes(), IDS.trace);
    }
}
