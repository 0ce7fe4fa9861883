//! Asks a probe about one database, in place or restored, and judges its answers by what was recorded at the cut.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dr_probe_wire::compare::{self, Finding as Found, Question, Rules, Stamped};
use dr_probe_wire::facts::Facts;
use dr_probe_wire::fault::FaultKind;
use dr_probe_wire::host::{self, Ended, Outcome as ProbeOutcome};
use dr_probe_wire::job::{ContentJob, Job, Limits, Location, RowKey};
use dr_probe_wire::tree::FileTree;
use dr_proto::model::{Cause, CheckResult, Outcome, Rung};
use tokio_util::sync::CancellationToken;

use super::judge;
use crate::probe;
use crate::stamp::LanceStamp;

/// Where probes are, what they may use and how strictly their answers are taken.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// The configured folder of probes.
    pub probes: Option<PathBuf>,
    /// The folder of the agent's own program.
    pub beside: Option<PathBuf>,
    /// The most memory that a probe may use, in bytes.
    pub memory: u64,
    /// The longest that one probe may run.
    pub deadline: Duration,
    /// Tolerances.
    pub rules: Rules,
}

/// What is asked of one database.
pub(super) struct Asked<'a> {
    /// What the manifest states of it.
    pub(super) lance: &'a LanceStamp,
    /// What was measured at its cut.
    pub(super) recorded: Option<&'a Facts>,
    /// The key of row hashes.
    pub(super) key: RowKey,
    /// Append, optimise and clean up as well.
    pub(super) write_test: bool,
}

/// What came back.
pub(super) struct Answers {
    /// The checks, lowest rung first.
    pub(super) checks: Vec<CheckResult>,
    /// What of the write test, if it was asked for.
    pub(super) write_test: Option<CheckResult>,
    /// The probe's version.
    pub(super) probe: Option<String>,
    /// What a version of Lance could not support.
    pub(super) notes: Vec<String>,
    /// Bytes that the probe was served.
    pub(super) served: u64,
}

/// Starts a probe on `location` and judges what it measures.
#[tracing::instrument(name = "tables", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub(super) async fn ask(
    location: Location,
    tree: Option<Arc<dyn FileTree>>,
    question: Asked<'_>,
    options: &ProbeOptions,
    cancel: &CancellationToken,
) -> Answers {
    let writer = question.lance.newest_writer();
    let Some(program) = probe::find(options.probes.as_deref(), options.beside.as_deref(), writer) else {
        return no_probe(writer);
    };
    let job = job(location, &question, options);
    let run = host::Options {
        deadline: options.deadline,
        ..host::Options::new(program)
    };
    let started = tokio::time::Instant::now();
    let outcome = host::run(&run, &job, tree, |_| {}, cancel).await;
    judged(
        &question,
        &outcome,
        options.rules,
        started.elapsed().as_secs_f64(),
    )
}

fn job(location: Location, question: &Asked<'_>, options: &ProbeOptions) -> Job {
    Job {
        validate: true,
        prewarm: true,
        // Known digests are for snapshots: a drill reads everything.
        content: Some(ContentJob {
            key: question.key,
            known: Vec::new(),
        }),
        queries: question.recorded.map(Facts::replay),
        write_test: question.write_test,
        limits: Limits {
            memory: options.memory,
            cpu_seconds: options.deadline.as_secs().max(1),
            ..Limits::default()
        },
        ..Job::open(location)
    }
}

fn no_probe(writer: Option<&str>) -> Answers {
    let why = match writer {
        Some(version) => format!("no probe is installed that reads what Lance {version} wrote"),
        None => "no probe is installed".to_owned(),
    };
    let unasked = |rung| judge::unasked(rung, Cause::NoProbe, "dr-probe", why.clone());
    Answers {
        checks: vec![
            unasked(Rung::Tables),
            unasked(Rung::Content),
            unasked(Rung::Queries),
        ],
        write_test: Some(unasked(Rung::Restore)),
        probe: None,
        notes: Vec::new(),
        served: 0,
    }
}

fn judged(question: &Asked<'_>, outcome: &ProbeOutcome, rules: Rules, seconds: f64) -> Answers {
    let measured = &outcome.facts;
    let mut tables = serving(outcome);
    tables.extend(compare::tables(&stamped(question.lance), &measured.tables));
    let rows: u64 = measured.tables.iter().filter_map(|table| table.rows).sum();
    let figure = format!("{} opened, {rows} rows, validated", judge::tally(&tables));
    let mut checks = vec![timed_out(
        judge::check(Rung::Tables, &tables, figure, seconds),
        outcome,
    )];
    match question.recorded {
        Some(recorded) => {
            let content = compare::content(recorded, &measured.tables);
            let scanned: u64 = measured
                .tables
                .iter()
                .filter_map(|t| t.content.as_ref())
                .map(|c| c.rows_read)
                .sum();
            let figure = format!(
                "{scanned} rows scanned, digests of {} as recorded",
                judge::tally(&content)
            );
            checks.push(timed_out(
                judge::check(Rung::Content, &content, figure, 0.0),
                outcome,
            ));
            let queries = compare::queries(recorded, measured, rules);
            checks.push(timed_out(
                judge::check(Rung::Queries, &queries, asked(measured, &queries), 0.0),
                outcome,
            ));
        }
        None => {
            let why = "no facts were recorded with this snapshot: nothing to compare with";
            checks.push(judge::unasked(Rung::Content, Cause::NoFacts, "facts", why));
            checks.push(judge::unasked(Rung::Queries, Cause::NoFacts, "facts", why));
        }
    }
    let write_test = question.write_test.then(|| {
        let found = compare::write_tests(&measured.tables);
        let figure = format!("appended, optimised, cleaned up in {}", judge::tally(&found));
        timed_out(judge::check(Rung::Restore, &found, figure, 0.0), outcome)
    });
    Answers {
        checks,
        write_test,
        probe: (!measured.probe.probe.is_empty()).then(|| {
            format!(
                "{} (lancedb {}, lance {})",
                measured.probe.probe, measured.probe.lancedb, measured.probe.lance
            )
        }),
        notes: measured
            .tables
            .iter()
            .flat_map(|t| t.notes.iter().map(move |n| format!("{}: {n}", t.path)))
            .collect(),
        served: outcome.served.bytes,
    }
}

/// What the agent itself saw go wrong: its word stands above the probe's.
fn serving(outcome: &ProbeOutcome) -> Vec<Found> {
    let found = |table: &str, kind: FaultKind, message: String| Found {
        question: Question::Tables,
        table: table.to_owned(),
        subject: None,
        file: None,
        outcome: if kind.disproves() {
            compare::Outcome::Disproved
        } else {
            compare::Outcome::Unknown
        },
        fault: Some(kind),
        message,
    };
    let ended = outcome
        .ended
        .fault()
        .map(|(kind, message)| found("probe", kind, message));
    let damaged = outcome
        .served
        .damaged
        .iter()
        .map(|(path, why)| found(path, FaultKind::Damaged, why.clone()));
    let away = outcome
        .served
        .unavailable
        .iter()
        .map(|(path, why)| found(path, FaultKind::Unavailable, why.clone()));
    ended.into_iter().chain(damaged).chain(away).collect()
}

fn stamped(lance: &LanceStamp) -> Vec<Stamped> {
    let known = lance.tables.iter().filter(|table| table.version > 0);
    known
        .map(|table| Stamped {
            path: table.path.clone(),
            version: table.version,
            rows: table.rows,
        })
        .collect()
}

fn asked(measured: &Facts, found: &[Found]) -> String {
    let queries: usize = measured.tables.iter().map(|table| table.golden.len()).sum();
    let indices: usize = measured.tables.iter().map(|table| table.indices.len()).sum();
    let right = found
        .iter()
        .filter(|f| f.outcome == compare::Outcome::Proved)
        .count();
    format!("{queries} golden queries, {indices} indices read whole; {right} answers as recorded")
}

/// A deadline is a limit of time, not of memory.
fn timed_out(mut check: CheckResult, outcome: &ProbeOutcome) -> CheckResult {
    if let Outcome::Inconclusive(cause) = &mut check.outcome {
        match outcome.ended {
            Ended::Deadline(_) => *cause = Cause::TimeLimit,
            Ended::Cancelled => *cause = Cause::Cancelled,
            _ => {}
        }
    }
    check
}
