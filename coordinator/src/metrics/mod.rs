//! What Prometheus can ask of the coordinator.
//!
//! # Overview
//! Events (refused calls, results that were filed) are counted where they happen. Everything that is a state (agents,
//! ages, objectives, overdue slots) is derived from the store in one pass and exchanged as a whole, so that a scrape
//! never sees half of it, and a host that is gone leaves no series behind. No label carries an id; "never" is 0, not
//! absent.

mod derived;
mod filed;
mod sight;

use std::sync::Arc;

use dr_proto::tls;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

pub use self::derived::{Families, State};
pub use self::sight::{Sight, derive};
use crate::access::refusals::Reason;

/// The coordinator's metrics. Clones count into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    refusals: IntCounterVec,
    snapshots: IntCounterVec,
    drills: IntCounterVec,
    checks: IntCounterVec,
    phases: HistogramVec,
    streams: IntCounterVec,
    results: IntCounterVec,
    state: Arc<State>,
}

/// Why a metric could not be made: a mistake of ours.
#[derive(Debug, thiserror::Error)]
#[error("register the coordinator's metrics")]
pub struct Error(#[from] prometheus::Error);

impl Metrics {
    /// All metrics, registered, with nothing counted.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let refusals = counter(
            "dr_auth_refusals_total",
            "Calls and handshakes that were refused.",
            &["reason"],
        )?;
        let snapshots = counter("dr_snapshots_total", "Snapshot tasks that ended.", &["outcome"])?;
        let drills = counter(
            "dr_drills_total",
            "Drills that ended.",
            &["kind", "verdict", "cause"],
        )?;
        let checks = counter(
            "dr_checks_total",
            "Questions that drills asked.",
            &["check", "outcome"],
        )?;
        // A second to nine hours: a restore of a small table, and of a large host.
        let buckets = prometheus::exponential_buckets(1.0, 2.0, 16)?;
        let options = HistogramOpts::new(
            "dr_drill_phase_duration_seconds",
            "How long steps of drills took.",
        );
        let phases = HistogramVec::new(options.buckets(buckets), &["kind", "phase"])?;
        registry.register(Box::new(phases.clone()))?;
        let streams = counter(
            "dr_agent_streams_total",
            "Streams of agents that ended, by why.",
            &["end"],
        )?;
        let results = counter(
            "dr_results_total",
            "Results that agents sent, by what became of them.",
            &["filed"],
        )?;
        let state = Arc::new(State::default());
        registry.register(Box::new(derived::Snapshot(state.clone())))?;
        let metrics = Self {
            registry,
            refusals,
            snapshots,
            drills,
            checks,
            phases,
            streams,
            results,
            state,
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// Series that alerts go by exist before the first event: `increase()` misses the first one otherwise.
    fn begin_at_zero(&self) {
        let ours = Reason::ALL.into_iter().map(Reason::word);
        for reason in ours.chain(tls::Refusal::REASONS) {
            self.refusals.with_label_values(&[reason]);
        }
        for outcome in ["committed", "incomplete", "suspect", "failed"] {
            self.snapshots.with_label_values(&[outcome]);
        }
        self.drills_begin_at_zero();
    }

    /// Everything, for the endpoint.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A call or handshake was refused.
    pub fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// An agent's stream ended.
    pub fn stream_ended(&self, end: &str) {
        self.streams.with_label_values(&[end]).inc();
    }

    /// A result came, and this became of it.
    pub fn result(&self, filed: &str) {
        self.results.with_label_values(&[filed]).inc();
    }

    /// Exchanges what is derived from the store.
    pub fn set_state(&self, families: Families) {
        self.state.set(families);
    }
}
