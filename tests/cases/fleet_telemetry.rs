//! What a fleet tells of itself: one trace from the operator's command to the store, and metrics that a strict reader
//! takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dr_tests::fixtures::{self, Unpacked};
use dr_tests::fleet::{Agent, Fleet};
use dr_tests::host::Host;
use dr_tests::otlp::{Collector, Span};
use dr_tests::process::{Finished, run};
use dr_tests::prometheus::{Page, Programs, Sample, get};
use dr_tests::{binaries, files, wait};

use crate::fleet_trouble::connected;

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";
const DEADLINE: Duration = Duration::from_secs(240);

/// A fleet whose daemons send these shares of their traces to the collector.
fn fleet(collector: &Collector, shares: &str) -> Option<Fleet> {
    Fleet::start_with(&format!(
        "agents = {{ heartbeat = \"1s\", lost_after = \"5s\" }}\ntelemetry = {{ otlp = {:?}, {shares} }}\n",
        collector.endpoint()
    ))
}

/// A host with an audit log, and a database as well where a probe can ask it.
fn host(fleet: &Fleet, name: &str, lines: &str) -> Option<(Host, Unpacked)> {
    let unpacked = fixtures::small().last()?.unpack();
    let host = Host::new()?
        .with_name(name)
        .with_log("audit", &unpacked.log())
        .with_lines(
            "\n[allow]\ndrills = [\"verify\", \"restore\"]\n\n[agent.metrics]\nlisten = \"127.0.0.1:0\"\n",
        )
        .with_lines(lines);
    let host = match binaries::probe() {
        Some(_) => host.with_database("memory", &unpacked.database()),
        None => host,
    };
    Some((fleet.enrol(host, &["env=test"]), unpacked))
}

fn telemetry(collector: &Collector, shares: &str) -> String {
    format!(
        "\n[telemetry]\notlp = {:?}\n{}\n",
        collector.endpoint(),
        shares.replace(", ", "\n")
    )
}

/// The command line with its own spans sent to the collector.
#[track_caller]
fn traced(fleet: &Fleet, collector: &Collector, arguments: &[&str]) -> Finished {
    let mut command = fleet.drctl_command(arguments);
    run(
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        Duration::from_secs(240),
    )
}

/// The spans of one trace.
struct Trace(BTreeMap<String, Span>);

impl Trace {
    fn of(spans: &[Span], trace: &str) -> Self {
        let of_it = spans.iter().filter(|span| span.trace == trace);
        Self(of_it.map(|span| (span.id.clone(), span.clone())).collect())
    }

    fn named<'a, 'n>(
        &'a self,
        service: &'n str,
        name: &'n str,
    ) -> impl Iterator<Item = &'a Span> + use<'a, 'n> {
        self.0
            .values()
            .filter(move |span| span.service == service && span.name == name)
    }

    #[track_caller]
    fn only(&self, service: &str, name: &str) -> &Span {
        let found: Vec<&Span> = self.named(service, name).collect();
        match found.as_slice() {
            [only] => only,
            _ => panic!("one {name} of {service} expected, there are {found:#?}"),
        }
    }

    fn parent(&self, span: &Span) -> Option<&Span> {
        self.0.get(&span.parent)
    }

    /// The names on the way from a span to the root.
    fn way_up<'a>(&'a self, span: &'a Span) -> Vec<&'a str> {
        std::iter::successors(Some(span), |span| self.parent(span))
            .map(|span| span.name.as_str())
            .collect()
    }
}

fn trace_of(finished: &Finished) -> String {
    let answer = finished.json();
    let trace = answer["trace_id"].as_str().expect("the answer names its trace");
    trace.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_command_down_to_probes_and_the_store() {
    let case = "one_trace_leads_from_the_command_down_to_probes_and_the_store";
    let collector = Collector::start().await;
    let all = "sample = 1.0, sample_failed = 1.0";
    let Some(fleet) = fleet(&collector, all) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, _unpacked)) = host(&fleet, "db-1", &telemetry(&collector, all)) else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    if binaries::probe().is_none() {
        return dr_tests::skip(case, "dr-probe is not built");
    }
    let agent = Agent::start(&host);
    let snapshot = [
        "snapshot", "create", "--host", "db-1", "--wait", "--output", "json",
    ];
    let snapshot = trace_of(&traced(&fleet, &collector, &snapshot).expect_code(0));
    let drill = [
        "drill", "start", "--host", "db-1", "--kind", "restore", "--wait", "--output", "json",
    ];
    let drilled = traced(&fleet, &collector, &drill).expect_code(0);
    let trace = trace_of(&drilled);
    assert_eq!(
        drilled.json()["run"]["trace_id"],
        *trace,
        "the run remembers the trace that it belongs to"
    );
    let done = |spans: &[Span], trace: &str, work: &str| {
        let named = |name: &str| spans.iter().any(|span| span.trace == trace && span.name == name);
        named("drctl") && named(work) && named("run")
    };
    let spans = collector
        .wait_for(DEADLINE, |spans| {
            done(spans, &snapshot, "snapshot") && done(spans, &trace, "drill restore")
        })
        .await;

    snapshot_is_traced(&Trace::of(&spans, &snapshot));
    let trace = Trace::of(&spans, &trace);
    let root = trace.only("drctl", "drctl");
    assert_eq!(root.parent, "", "the operator's command is where it begins");
    let task = trace.only("dr-agent", "drill restore");
    let run = trace.parent(task).expect("the task has a parent");
    assert_eq!(
        (run.service.as_str(), run.name.as_str()),
        ("dr-coordinator", "run")
    );
    assert_eq!(run.attributes["state"], "passed", "{run:?}");
    let call = trace.parent(run).expect("the run has a parent");
    assert_eq!(
        (call.service.as_str(), call.parent.as_str()),
        ("dr-coordinator", root.id.as_str())
    );
    assert!(call.attributes["method"].ends_with("Runs/StartRun"), "{call:?}");
    for name in ["objects", "restore", "audit", "tables"] {
        let steps: Vec<&Span> = trace.named("dr-agent", name).collect();
        assert!(!steps.is_empty(), "no span of the step {name}");
        for step in steps {
            assert_eq!(step.parent, task.id, "{name} is a step of the task");
        }
    }
    let probes: Vec<&Span> = trace.named("dr-agent", "probe").collect();
    let asking = probes
        .iter()
        .filter(|probe| trace.parent(probe).is_some_and(|step| step.name == "tables"));
    assert!(
        asking.count() >= 2,
        "in place, and on the restored copy: {probes:#?}"
    );
    assert!(
        probes.iter().all(|probe| probe.attributes["ended"] == "done"),
        "{probes:#?}"
    );
    for (request, steps) in [
        ("storage list", &["objects"][..]),
        ("storage get", &["restore", "audit", "probe"][..]),
    ] {
        let below: BTreeSet<&str> = trace
            .named("dr-agent", request)
            .flat_map(|request| trace.way_up(request))
            .collect();
        assert!(
            steps.iter().any(|step| below.contains(step)),
            "{request} below one of {steps:?}: {below:?}"
        );
    }
    for span in trace.0.values() {
        assert!(
            span.id == root.id || trace.parent(span).is_some(),
            "{span:?} hangs in the air"
        );
        assert!(!span.failed, "{span:?}");
    }
    let _ended = agent.stop().expect_code(0);
}

#[track_caller]
fn snapshot_is_traced(taken: &Trace) {
    let task = taken.only("dr-agent", "snapshot");
    for (name, parent) in [("cut", task), ("store", task), ("facts", task)] {
        assert_eq!(taken.only("dr-agent", name).parent, parent.id, "{name}");
    }
    assert!(
        taken
            .named("dr-agent", "storage put")
            .any(|put| taken.way_up(put).contains(&"store")),
        "packs are uploaded by the step that writes them: {:#?}",
        taken.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_drills_that_fail_every_trace_is_sent_and_shows_where() {
    let case = "of_drills_that_fail_every_trace_is_sent_and_shows_where";
    let collector = Collector::start().await;
    let failed_only = "sample = 0.0, sample_failed = 1.0";
    let Some(fleet) = fleet(&collector, failed_only) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, unpacked)) = host(&fleet, "db-1", &telemetry(&collector, failed_only)) else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    let agent = Agent::start(&host);
    let _taken = fleet
        .drctl(&["snapshot", "create", "--host", "db-1", "--wait"])
        .expect_code(0);
    let drill = [
        "drill",
        "start",
        "--host",
        "db-1",
        "--kind",
        "verify",
        "--only",
        "audit-log",
        "--wait",
        "--output",
        "json",
    ];
    let good = trace_of(&fleet.drctl(&drill).expect_code(0));
    // Three kinds of damage: a record that was forged on the host before the cut, bytes that are wrong in the
    // repository, and objects that are gone.
    let forged = "{\"prev_hash\":\"00\",\"hash\":\"11\"}\n";
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .open(unpacked.log())
        .unwrap();
    std::io::Write::write_all(&mut log, forged.as_bytes()).unwrap();
    let _taken = fleet.drctl(&["snapshot", "create", "--host", "db-1", "--wait"]);
    let forged = Drilled::fails(&fleet, &collector, &drill).await;
    forged.tells(&[("objects", false), ("bytes", false), ("audit", true)]);
    let packs = host.repository_dir().join("packs");
    files::riddle(&packs);
    let riddled = Drilled::fails(&fleet, &collector, &drill).await;
    riddled.tells(&[("bytes", true), ("audit", true)]);
    std::fs::remove_dir_all(&packs).unwrap();
    let lost = Drilled::fails(&fleet, &collector, &drill).await;
    lost.tells(&[("objects", true), ("bytes", true), ("audit", true)]);
    assert!(
        collector
            .spans()
            .iter()
            .all(|span| span.trace != good || span.service != "dr-agent"),
        "of drills that pass none is sent with a share of 0"
    );
    let _ended = agent.stop().expect_code(0);
}

/// A drill that failed: its trace, and how each rung ended by its own report.
struct Drilled {
    trace: Trace,
    failed: BTreeMap<String, bool>,
}

impl Drilled {
    async fn fails(fleet: &Fleet, collector: &Collector, drill: &[&str]) -> Self {
        let finished = fleet.drctl(drill).expect_code(1);
        let id = trace_of(&finished);
        let run = finished.json()["run"]["id"].as_str().expect("a run").to_owned();
        let evidence = fleet.ask(&["report", "show", &run]);
        let mut failed = BTreeMap::new();
        for source in evidence["tasks"][0]["report"]["sources"]
            .as_array()
            .expect("sources")
        {
            for check in source["checks"].as_array().expect("checks") {
                let rung = check["rung"].as_str().expect("a rung").to_owned();
                *failed.entry(rung).or_default() |= check["outcome"] == "failed";
            }
        }
        let spans = collector
            .wait_for(DEADLINE, |spans| {
                spans
                    .iter()
                    .any(|span| span.trace == id && span.name == "drill verify")
            })
            .await;
        Self {
            trace: Trace::of(&spans, &id),
            failed,
        }
    }

    /// Every rung's step is marked exactly if the report says that the rung failed; of these rungs it is known.
    #[track_caller]
    fn tells(&self, known: &[(&str, bool)]) {
        assert!(self.trace.only("dr-agent", "drill verify").failed);
        for (rung, failed) in &self.failed {
            // Without the list of its files nothing of a source can be asked: then a rung below says why.
            if self.trace.named("dr-agent", rung).next().is_none() {
                assert!(
                    *failed && rung != "objects" && self.failed["objects"],
                    "no step {rung}: {:?}",
                    self.failed
                );
                continue;
            }
            assert_eq!(
                self.trace.only("dr-agent", rung).failed,
                *failed,
                "the step {rung} against the report: {:?}",
                self.failed
            );
        }
        for (rung, failed) in known {
            assert_eq!(self.failed.get(*rung), Some(failed), "{rung}: {:?}", self.failed);
        }
    }
}

/// A slot that begins while the one before is still at work, on a slow machine, is another story.
fn is_failed_slot(span: &Span) -> bool {
    span.name == "slot" && span.failed
}

/// Nobody waits for the end of what the scheduler starts, and nothing of it is sampled: it is sent because it failed.
/// What passed on another host within the same run is sent with it, and a retry is a span of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_drill_that_fails_is_sent_from_its_slot_down() {
    let case = "a_scheduled_drill_that_fails_is_sent_from_its_slot_down";
    let collector = Collector::start().await;
    let failed_only = "sample = 0.0, sample_failed = 1.0";
    let Some(fleet) = fleet(&collector, failed_only) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, _unpacked)) = host(&fleet, "db-1", &telemetry(&collector, failed_only)) else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    let Some((sound, _unpacked_too)) = self::host(&fleet, "db-2", &telemetry(&collector, failed_only)) else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    let agents = [Agent::start(&host), Agent::start(&sound)];
    connected(&fleet, 2).await;
    let _taken = fleet
        .drctl(&["snapshot", "create", "--select", "*", "--wait"])
        .expect_code(0);
    files::riddle(&host.repository_dir().join("packs"));
    let plan = fleet.path().join("minutely.toml");
    std::fs::write(
        &plan,
        "schema = 1\nname = \"minutely\"\n[schedule]\ncron = \"* * * * *\"\n[drill]\nkind = \"verify\"\n",
    )
    .unwrap();
    let _applied = fleet
        .drctl(&["plan", "apply", plan.to_str().unwrap()])
        .expect_code(0);
    let spans = collector
        .wait_for(DEADLINE, |spans| spans.iter().any(is_failed_slot))
        .await;
    let slot = spans.iter().find(|span| is_failed_slot(span)).unwrap();
    assert_eq!(
        (slot.service.as_str(), slot.parent.as_str(), slot.failed),
        ("dr-coordinator", "", true),
        "{slot:?}"
    );
    assert_eq!(slot.attributes["plan"], "minutely");
    assert_eq!(slot.attributes["state"], "failed");
    let run = fleet.ask(&["run", "show", &slot.attributes["run"]]);
    assert_eq!(run["run"]["trace_id"], *slot.trace, "{run:#}");
    let drill_below = |spans: &[Span], parent: &str, failed: bool| {
        let is_it = |span: &&Span| span.name == "drill verify" && span.parent == parent;
        spans.iter().filter(is_it).any(|span| span.failed == failed)
    };
    let both = |spans: &[Span]| drill_below(spans, &slot.id, true) && drill_below(spans, &slot.id, false);
    let spans = collector.wait_for(DEADLINE, both).await;
    assert!(
        spans.iter().all(|span| span.name != "snapshot"),
        "what passed is not sent"
    );
    let _again = fleet
        .drctl(&["run", "retry", &slot.attributes["run"], "--wait"])
        .expect_code(1);
    let retry = |spans: &[Span]| {
        let is_it = |span: &&Span| span.name == "retry" && span.parent == slot.id;
        spans.iter().find(is_it).map(|span| span.id.clone())
    };
    let tried = |spans: &[Span]| retry(spans).is_some_and(|retry| drill_below(spans, &retry, true));
    let spans = collector.wait_for(DEADLINE, tried).await;
    let told = spans.iter().filter(|span| span.id == slot.id).count();
    assert_eq!(told, 1, "a trace holds each span once");
    for agent in agents {
        let _ended = agent.stop().expect_code(0);
    }
}

/// Names that a coordinator always tells, whatever has happened so far.
const COORDINATOR: &[&str] = &[
    "dr_build_info",
    "dr_agents",
    "dr_agent_last_seen_timestamp_seconds",
    "dr_sources",
    "dr_snapshots_total",
    "dr_snapshot_last_success_timestamp_seconds",
    "dr_drill_last_success_timestamp_seconds",
    "dr_drill_last_verdict",
    "dr_drills_total",
    "dr_checks_total",
    "dr_drill_phase_duration_seconds",
    "dr_rto_seconds",
    "dr_rpo_worst_seconds",
    "dr_objective_seconds",
    "dr_plan_next_slot_timestamp_seconds",
    "dr_plan_coverage_ratio",
    "dr_task_oldest_overdue_seconds",
    "dr_reconciler_last_success_timestamp_seconds",
    "dr_suspended",
    "dr_repository_verified_ratio",
    "dr_repository_stored_bytes",
    "dr_certificate_expiry_timestamp_seconds",
    "dr_auth_refusals_total",
    "dr_coordinator_backup_last_success_timestamp_seconds",
];

/// Names that an agent always tells.
const AGENT: &[&str] = &[
    "dr_build_info",
    "dr_agent_last_success_timestamp_seconds",
    "dr_agent_store_requests_total",
    "dr_agent_transferred_bytes_total",
    "dr_agent_pin_oldest_age_seconds",
    "dr_agent_scratch_bytes",
    "dr_agent_probe_exits_total",
    "dr_agent_failover_open",
    "dr_agent_source_damaged",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
];

/// Those of the names that have no series.
fn missing<'n>(page: &Page, names: &[&'n str]) -> Vec<&'n str> {
    let absent = names.iter().filter(|name| page.samples(name).is_empty());
    absent.copied().collect()
}

#[track_caller]
fn must_tell(page: &Page, names: &[&str]) {
    let missing = missing(page, names);
    assert!(
        missing.is_empty(),
        "no series of {missing:?}: {:#?}",
        page.families.keys()
    );
}

/// Ids make a series for each run: no label's value may look like one.
#[track_caller]
fn must_have_no_ids(page: &Page) {
    for sample in page.families.values().flat_map(|family| &family.samples) {
        for (label, value) in &sample.labels {
            let longest = value
                .split(|c: char| !c.is_ascii_hexdigit())
                .map(str::len)
                .max()
                .unwrap_or(0);
            assert!(
                longest < 12,
                "{label}={value} of {} looks like an id",
                sample.name
            );
        }
    }
}

#[test]
fn metrics_pass_a_strict_reader_and_a_real_prometheus() {
    let case = "metrics_pass_a_strict_reader_and_a_real_prometheus";
    let (Some(elsewhere), copies) = (Host::new(), tempfile::tempdir().unwrap()) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    elsewhere.set_up();
    let lines = format!(
        "agents = {{ heartbeat = \"1s\", lost_after = \"5s\" }}\nbackup = {{ to = {:?}, recipients = [{:?}] }}\n\
         objectives = [ {{ select = \"*\", rpo = \"24h\", rto = \"4h\", proof = \"restored\", proof_age = \"35d\" }} ]\n",
        copies.path().display().to_string(),
        elsewhere.public_key()
    );
    let Some(fleet) = Fleet::start_with(&lines) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, _unpacked)) = host(&fleet, "db-1", "") else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    let plan = fleet.path().join("nightly.toml");
    std::fs::write(
        &plan,
        "schema = 1\nname = \"nightly\"\n[schedule]\ncron = \"0 3 1 1 *\"\n[drill]\nkind = \"snapshot\"\n",
    )
    .unwrap();
    let _applied = fleet
        .drctl(&["plan", "apply", plan.to_str().unwrap()])
        .expect_code(0);
    let agent = Agent::start(&host);
    let before = page_that_shows(&fleet, |page| missing(page, COORDINATOR).is_empty());
    let success = "dr_snapshot_last_success_timestamp_seconds";
    let labels = [("host", "db-1"), ("source", "audit")];
    assert!(
        before.value(success, &labels).abs() < f64::EPSILON,
        "never is 0, not absent"
    );
    // Nothing was snapshotted, drilled or copied yet, and all of it is told.
    must_tell(&before, COORDINATOR);
    must_have_no_ids(&before);
    wait::until(DEADLINE, || {
        let missing = missing(&Page::scrape(agent.metrics()), AGENT);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("the agent tells no {missing:?}")),
        }
    });
    let verified = "dr_repository_verified_ratio";
    assert!(before.value(verified, &[("host", "db-1")]).abs() < f64::EPSILON);

    let run = fleet.ask(&["run", "start", "nightly"])["run"]["id"].clone();
    let _taken = fleet
        .drctl(&["run", "watch", run.as_str().unwrap()])
        .expect_code(0);
    let drill = [
        "drill",
        "start",
        "--host",
        "db-1",
        "--kind",
        "restore",
        "--only",
        "audit-log",
        "--wait",
    ];
    let _proved = fleet.drctl(&drill).expect_code(0);
    let after = page_that_shows(&fleet, |page| {
        let proved = page.samples("dr_drill_last_success_timestamp_seconds");
        proved.iter().any(|sample| sample.value > 0.0)
            && page.samples(verified).iter().any(|sample| sample.value > 0.0)
            && page
                .samples(success)
                .iter()
                .any(|sample| sample.labels["source"] == "audit" && sample.value > 0.0)
            && TOLD.iter().all(|(name, label)| tells(page, name, *label))
    });
    must_tell(&after, COORDINATOR);
    must_have_no_ids(&after);
    what_happened_is_measured(&after);

    let of_agent = Page::scrape(agent.metrics());
    must_tell(&of_agent, AGENT);
    must_have_no_ids(&of_agent);
    let requests = of_agent.samples("dr_agent_store_requests_total");
    assert!(requests.iter().map(|sample| sample.value).sum::<f64>() > 0.0);
    assert!(
        of_agent.value(
            "dr_agent_last_success_timestamp_seconds",
            &[("source", "audit"), ("task", "snapshot")]
        ) > 0.0
    );
    for address in [fleet.metrics(), agent.metrics()] {
        assert_eq!(get(address, "/healthz").0, 200);
        assert_eq!(get(address, "/readyz").0, 200);
        assert_eq!(get(address, "/nothing").0, 404);
    }

    let Some(programs) = Programs::find() else {
        return dr_tests::skip(case, "DR_PROMETHEUS names no folder with prometheus and promtool");
    };
    a_real_prometheus_reads(&programs, &fleet, &agent);
}

#[track_caller]
fn a_real_prometheus_reads(programs: &Programs, fleet: &Fleet, agent: &Agent) {
    for address in [fleet.metrics(), agent.metrics()] {
        let judged = programs.check(address).expect_code(0);
        assert_eq!(judged.said().trim(), "", "promtool has nothing to complain of");
    }
    let targets = [("coordinator", fleet.metrics()), ("agent", agent.metrics())];
    let server = programs.scraping(fleet.path(), &targets);
    let up = server.until("up", "job", |up| up.values().filter(|up| **up > 0.0).count() == 2);
    assert_eq!(up.keys().collect::<Vec<_>>(), ["agent", "coordinator"]);
    let age = server.until(
        "time() - dr_snapshot_last_success_timestamp_seconds{source=\"audit\"}",
        "host",
        |ages| !ages.is_empty(),
    );
    assert!(age["db-1"] < 3_600.0, "alerts are made of this: {age:?}");
}

/// What is told above zero once a snapshot and a drill have been: counted at once, or derived every few seconds.
const TOLD: [(&str, (&str, &str)); 5] = [
    ("dr_snapshots_total", ("outcome", "committed")),
    ("dr_agents", ("state", "connected")),
    ("dr_plan_coverage_ratio", ("plan", "nightly")),
    ("dr_rto_seconds", ("source", "audit")),
    ("dr_rpo_worst_seconds", ("source", "audit")),
];

fn tells(page: &Page, name: &str, (label, wanted): (&str, &str)) -> bool {
    let of_it = |sample: &&Sample| sample.labels.get(label).is_some_and(|value| value == wanted);
    page.samples(name)
        .iter()
        .filter(of_it)
        .any(|sample| sample.value > 0.0)
}

/// After one snapshot of a plan's, and one drill, of one host.
#[track_caller]
fn what_happened_is_measured(page: &Page) {
    for (name, label) in [
        ("dr_snapshots_total", ("outcome", "committed")),
        ("dr_agents", ("state", "connected")),
        ("dr_plan_coverage_ratio", ("plan", "nightly")),
    ] {
        assert!((page.value(name, &[label]) - 1.0).abs() < f64::EPSILON, "{name}");
    }
    let audit = [("host", "db-1"), ("source", "audit")];
    for told in ["dr_rto_seconds", "dr_rpo_worst_seconds"] {
        assert!(page.value(told, &audit) > 0.0, "{told} is measured");
    }
    assert!(page.value("dr_repository_verified_ratio", &[("host", "db-1")]) <= 1.0);
}

/// Whoever writes alerts reads the reference: it names everything that is told, and nothing that is not.
#[test]
fn the_reference_of_metrics_is_complete() {
    let text = include_str!("../../deploy/METRICS.md");
    let named: BTreeSet<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("dr_") || word.starts_with("process_"))
        .collect();
    let told: BTreeSet<&str> = COORDINATOR.iter().chain(AGENT).copied().collect();
    let missing: Vec<_> = told.difference(&named).collect();
    assert!(missing.is_empty(), "not in deploy/METRICS.md: {missing:?}");
    // Those that are there only once something happened, and those that this version lacks and says so.
    let others: Vec<_> = named.difference(&told).copied().collect();
    assert_eq!(
        others,
        [
            "dr_agent_attached",
            "dr_agent_streams_total",
            "dr_agent_tasks_total",
            "dr_detection_ratio",
            "dr_notifications_total",
            "dr_results_total",
        ]
    );
}

/// Scrapes the coordinator until its page shows something.
#[track_caller]
fn page_that_shows(fleet: &Fleet, shows: impl Fn(&Page) -> bool) -> Page {
    wait::until(DEADLINE, || {
        let page = Page::scrape(fleet.metrics());
        match shows(&page) {
            true => Ok(page),
            false => Err(format!("{page:#?}")),
        }
    })
}
