//! The daemon's metrics, and whether it can do its work.

use std::sync::Arc;

use dr_proto::model::{StartTask, TaskState, Work};
use dr_vault::storage::Operation;
use dr_vault::storage::counting::{Counters, Outcome};
use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::{Notify, watch};

use super::executor::{Ended, Observer};
use super::gate::Gate;
use super::journal::Memory;
use super::link::Standing;
use super::vitals::Vitals;
use crate::probe::Exits;

/// The daemon's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    last_success: GaugeVec,
    source_damaged: IntGaugeVec,
    tasks: IntCounterVec,
    attached: IntGauge,
    pin_age: Gauge,
    scratch: IntGaugeVec,
    vitals: Vitals,
    gate: Gate,
    standing: watch::Receiver<Standing>,
    /// Has the host looked at again after a snapshot.
    survey: Arc<Notify>,
}

impl Metrics {
    /// All metrics; the ages of successes go on from what the journal remembers.
    ///
    /// # Errors
    /// When a metric is defined twice: a mistake of ours.
    pub fn new(
        asked: Asked,
        vitals: Vitals,
        gate: Gate,
        standing: watch::Receiver<Standing>,
        survey: Arc<Notify>,
    ) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let last_success = GaugeVec::new(
            Opts::new(
                "dr_agent_last_success_timestamp_seconds",
                "When a task last passed for a source; 0: never since this host remembers.",
            ),
            &["source", "task"],
        )?;
        let source_damaged = IntGaugeVec::new(
            Opts::new(
                "dr_agent_source_damaged",
                "1 if the last look at a source's live data found damage.",
            ),
            &["source"],
        )?;
        let tasks = IntCounterVec::new(
            Opts::new("dr_agent_tasks_total", "Tasks that ended, by kind and how."),
            &["task", "state"],
        )?;
        let attached = IntGauge::new("dr_agent_attached", "1 while a coordinator answers.")?;
        let pin_age = Gauge::new(
            "dr_agent_pin_oldest_age_seconds",
            "Age of the snapshot under way: no pin is older. 0: none is held.",
        )?;
        let scratch = IntGaugeVec::new(
            Opts::new(
                "dr_agent_scratch_bytes",
                "Bytes below the scratch folder: of work under way, and kept for a look.",
            ),
            &["state"],
        )?;
        let build = IntGaugeVec::new(
            Opts::new("dr_build_info", "The version that runs."),
            &["component", "version"],
        )?;
        build
            .with_label_values(&["dr-agent", env!("CARGO_PKG_VERSION")])
            .set(1);
        registry.register(Box::new(last_success.clone()))?;
        registry.register(Box::new(source_damaged.clone()))?;
        registry.register(Box::new(tasks.clone()))?;
        registry.register(Box::new(attached.clone()))?;
        registry.register(Box::new(pin_age.clone()))?;
        registry.register(Box::new(scratch.clone()))?;
        registry.register(Box::new(build))?;
        // Failover drills are not begun by this version: none is ever open.
        let failover = IntGauge::new(
            "dr_agent_failover_open",
            "Failover drills that were begun and neither kept nor swapped back.",
        )?;
        registry.register(Box::new(failover))?;
        registry.register(Box::new(Gathered::new(asked)?))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            registry,
            last_success,
            source_damaged,
            tasks,
            attached,
            pin_age,
            scratch,
            vitals,
            gate,
            standing,
            survey,
        })
    }

    /// What is there for each source although nothing happened yet: "never" is 0, not absent.
    pub fn expect_sources<'a>(&self, sources: impl IntoIterator<Item = &'a str>) {
        for source in sources {
            for task in ["snapshot", "drill"] {
                self.last_success.with_label_values(&[source, task]);
            }
            self.source_damaged.with_label_values(&[source]);
        }
    }

    /// Where others put metrics of theirs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes over when tasks last passed, from what is remembered.
    pub fn remember(&self, memory: &Memory) {
        let answers = memory.history().chain(memory.owed());
        for result in answers.map(|answer| &answer.result) {
            if result.outcome.state != TaskState::Passed {
                continue;
            }
            for source in named(&result.work) {
                self.succeeded(source, result.work.word(), result.outcome.finished);
            }
        }
    }

    fn succeeded(&self, source: &str, task: &str, at: Timestamp) {
        let gauge = self.last_success.with_label_values(&[source, task]);
        gauge.set(gauge.get().max(at.as_duration().as_secs_f64()));
    }
}

/// Sources that a task names.
fn named(work: &Work) -> Vec<&str> {
    let names: &[String] = match work {
        Work::Snapshot(work) => &work.sources,
        Work::Check(work) => &work.sources,
        Work::Restore(work) => &work.sources,
        Work::Drill(_) | Work::Hold(_) => &[],
    };
    names.iter().map(String::as_str).collect()
}

impl Observer for Metrics {
    fn ended(&self, task: &StartTask, ended: &Ended, at: Timestamp) {
        let word = task.work.word();
        self.tasks.with_label_values(&[word, ended.state.name()]).inc();
        for (source, whole) in &ended.sources {
            if ended.state == TaskState::Passed {
                self.succeeded(source, word, at);
            }
            if let Some(whole) = whole {
                self.source_damaged
                    .with_label_values(&[source])
                    .set(i64::from(!whole));
            }
        }
        let looked = ended.sources.iter().any(|(_, whole)| whole.is_some());
        // What is stored and what is verified are other figures after these.
        if looked || matches!(task.work, Work::Snapshot(_) | Work::Drill(_) | Work::Hold(_)) {
            self.survey.notify_one();
        }
    }
}

impl dr_telemetry::endpoint::Daemon for Metrics {
    fn metrics(&self) -> &Registry {
        let attached = matches!(&*self.standing.borrow(), Standing::Attached { .. });
        self.attached.set(i64::from(attached));
        let age = self.vitals.oldest_pin().unwrap_or_default();
        self.pin_age.set(age.as_secs_f64());
        let (in_use, kept) = self.vitals.scratch();
        for (state, bytes) in [("in_use", in_use), ("kept", kept)] {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.scratch.with_label_values(&[state]).set(bytes);
        }
        &self.registry
    }

    fn hindrances(&self) -> Vec<String> {
        let mut hindrances = Vec::new();
        if let Standing::Away { since, reason } = &*self.standing.borrow() {
            let why = reason
                .as_deref()
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            hindrances.push(format!("no coordinator answers since {since:.0}{why}"));
        }
        hindrances.extend(self.gate.closed().map(|reason| format!("suspended: {reason}")));
        hindrances
    }
}

/// What was asked of others, counted where it happens.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Requests to the store.
    pub counters: Counters,
    /// Probes.
    pub probes: Exits,
}

/// What was asked of the store and of probes, read from their own counters at each scrape.
struct Gathered {
    asked: Asked,
    requests: Desc,
    bytes: Desc,
    exits: Desc,
}

impl Gathered {
    fn new(asked: Asked) -> Result<Self, prometheus::Error> {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(
                name.to_owned(),
                help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )
        };
        Ok(Self {
            asked,
            requests: desc(
                "dr_agent_store_requests_total",
                "Requests to the store, by operation and how they ended.",
                &["operation", "outcome"],
            )?,
            bytes: desc(
                "dr_agent_transferred_bytes_total",
                "Bytes of objects sent to and received from the store.",
                &["direction"],
            )?,
            exits: desc(
                "dr_agent_probe_exits_total",
                "Probes that ended, by how; all but `done` leave questions open.",
                &["reason"],
            )?,
        })
    }

    fn gather(&self) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new(&self.requests.fq_name, &self.requests.help),
            &["operation", "outcome"],
        )?;
        let counters = &self.asked.counters;
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                requests
                    .with_label_values(&[operation.as_str(), outcome.as_str()])
                    .inc_by(counters.requests(operation, outcome));
            }
        }
        let bytes = IntCounterVec::new(Opts::new(&self.bytes.fq_name, &self.bytes.help), &["direction"])?;
        bytes.with_label_values(&["sent"]).inc_by(counters.sent());
        bytes.with_label_values(&["received"]).inc_by(counters.received());
        let exits = IntCounterVec::new(Opts::new(&self.exits.fq_name, &self.exits.help), &["reason"])?;
        for (reason, count) in self.asked.probes.snapshot() {
            exits.with_label_values(&[reason]).inc_by(count);
        }
        let mut families = requests.collect();
        families.extend(bytes.collect());
        families.extend(exits.collect());
        Ok(families)
    }
}

impl Collector for Gathered {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.requests, &self.bytes, &self.exits]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gather().unwrap_or_else(|error| {
            tracing::error!(%error, "counters of the store and of probes could not be gathered");
            Vec::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use dr_telemetry::endpoint::Daemon;
    use prometheus::{Encoder, TextEncoder};

    use super::*;
    use crate::daemon::testing::{self, time};

    fn text(metrics: &Metrics) -> String {
        let mut text = Vec::new();
        let families = metrics.metrics().gather();
        TextEncoder::new().encode(&families, &mut text).expect("encode");
        String::from_utf8(text).expect("text")
    }

    fn metrics(dir: &std::path::Path) -> (Metrics, watch::Sender<Standing>) {
        let away = Standing::Away {
            since: time("2026-01-02T03:00:00Z"),
            reason: Some("connection refused".to_owned()),
        };
        let (standing, seen) = watch::channel(away);
        let gate = Gate::new(dir.join("SUSPEND"));
        let metrics = Metrics::new(Asked::default(), Vitals::default(), gate, seen, Arc::default());
        (metrics.expect("metrics"), standing)
    }

    #[test]
    fn what_never_happened_is_there_as_zero_and_what_happened_has_its_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (metrics, _standing) = metrics(dir.path());
        metrics.expect_sources(["memory"]);
        let never = "dr_agent_last_success_timestamp_seconds{source=\"memory\",task=\"snapshot\"} 0";
        assert!(text(&metrics).contains(never), "{}", text(&metrics));
        let mut ended = Ended::passed();
        ended.sources = vec![("memory".to_owned(), Some(true))];
        metrics.ended(&testing::task(), &ended, time("1970-01-01T00:01:40Z"));
        assert!(
            text(&metrics).contains("source=\"memory\",task=\"snapshot\"} 100"),
            "{}",
            text(&metrics)
        );
        assert!(text(&metrics).contains("dr_agent_source_damaged{source=\"memory\"} 0"));
        ended.state = TaskState::Partial;
        ended.sources = vec![("memory".to_owned(), Some(false))];
        metrics.ended(&testing::task(), &ended, time("1970-01-01T00:03:20Z"));
        assert!(
            text(&metrics).contains("source=\"memory\",task=\"snapshot\"} 100"),
            "no success since"
        );
        assert!(text(&metrics).contains("dr_agent_source_damaged{source=\"memory\"} 1"));
        assert!(text(&metrics).contains("dr_agent_transferred_bytes_total{direction=\"sent\"} 0"));
        assert!(text(&metrics).contains("process_resident_memory_bytes"));
        assert!(text(&metrics).contains("dr_agent_probe_exits_total{reason=\"deadline\"} 0"));
        assert!(text(&metrics).contains("dr_agent_failover_open 0"));
    }

    #[test]
    fn a_daemon_that_can_not_work_says_why() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (metrics, standing) = metrics(dir.path());
        let said = metrics.hindrances();
        assert_eq!(
            said,
            ["no coordinator answers since 2026-01-02T03:00:00Z: connection refused"]
        );
        standing.send_replace(Standing::Attached { epoch: 1 });
        assert!(metrics.hindrances().is_empty());
        assert!(text(&metrics).contains("dr_agent_attached 1"));
        std::fs::write(dir.path().join("SUSPEND"), "upgrade").expect("write");
        assert_eq!(metrics.hindrances(), ["suspended: upgrade"]);
    }
}
