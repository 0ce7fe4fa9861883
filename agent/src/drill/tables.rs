//! Asks a probe about one database, in place or restored, and judges its answers by what was recorded at the cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dr_lance::{Mode, TableStamp};
use dr_probe_wire::compare::{self, Finding as Found, Question, Rules, Stamped};
use dr_probe_wire::event::Event;
use dr_probe_wire::facts::Facts;
use dr_probe_wire::fault::FaultKind;
use dr_probe_wire::host::{self, Ended, Outcome as ProbeOutcome};
use dr_probe_wire::job::{ContentJob, Job, KnownTable, Limits, Location, RowKey};
use dr_probe_wire::measure::TableMeasure;
use dr_probe_wire::tree::FileTree;
use dr_proto::model::{Cause, CheckResult, Outcome, Rung};
use dr_vault::progress::Progress;
use tokio::time::Instant;
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
    /// Counts how probes end.
    pub exits: probe::Exits,
}

/// What is asked of one database.
pub(super) struct Asked<'a> {
    /// What the manifest states of it.
    pub(super) lance: &'a LanceStamp,
    /// What was measured at its cut.
    pub(super) recorded: Option<&'a Facts>,
    /// The key of row hashes.
    pub(super) key: RowKey,
    /// Digests that need not be computed again; their tables are asked everything else.
    pub(super) known: Vec<KnownTable>,
    /// Append, optimise and clean up as well.
    pub(super) write_test: bool,
}

/// What came back.
pub(super) struct Answers {
    /// The checks, lowest rung first.
    pub(super) checks: Vec<CheckResult>,
    /// What of the write test, if it was asked for.
    pub(super) write_test: Option<CheckResult>,
    /// Tables whose digest is that of the cut.
    pub(super) proved: Vec<TableMeasure>,
    /// The probe's version.
    pub(super) probe: Option<String>,
    /// What a version of Lance could not support.
    pub(super) notes: Vec<String>,
    /// How long it took until every table of the manifest had opened and given a row; `None` if one did not.
    pub(super) opened: Option<Duration>,
}

/// Starts a probe on `location` and judges what it measures.
#[tracing::instrument(name = "tables", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub(super) async fn ask(
    location: Location,
    tree: Option<Arc<dyn FileTree>>,
    question: Asked<'_>,
    options: &ProbeOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Answers {
    let writer = question.lance.newest_writer();
    let Some(program) = probe::find(options.probes.as_deref(), options.beside.as_deref(), writer) else {
        return no_probe(writer);
    };
    let run = host::Options {
        deadline: options.deadline,
        temporary: beside(&location),
        ..host::Options::new(program)
    };
    let job = job(location, &question, options);
    let started = Instant::now();
    let mut opening = Opening::since(started);
    let seen = |event: &Event| {
        opening.see(event);
        probe::show(progress, event);
    };
    let outcome = host::run(&run, &job, tree, seen, cancel).await;
    options.exits.count(&outcome.ended);
    let seconds = started.elapsed().as_secs_f64();
    let mut answers = judged(&question, &outcome, options.rules, seconds);
    let open = |table: &TableStamp| {
        let measured = outcome.facts.table(&table.path);
        measured.is_some_and(|table| table.version.is_some())
    };
    answers.opened = known(question.lance).all(open).then_some(opening.sum);
    answers
}

/// A write test in a restored copy has its temporary files beside it, in the scratch folder of its drill.
fn beside(location: &Location) -> Option<PathBuf> {
    match location {
        Location::Tree { .. } => None,
        Location::Directory { path } => path.parent().map(Path::to_owned),
    }
}

/// How long tables take to open. The probe asks everything of one table before it opens the next, and says how long
/// opening took; it is believed as far as our own clock saw that much time pass.
struct Opening {
    last: Instant,
    sum: Duration,
}

impl Opening {
    fn since(started: Instant) -> Self {
        Self {
            last: started,
            sum: Duration::ZERO,
        }
    }

    fn see(&mut self, event: &Event) {
        match event {
            Event::Found { .. } => self.take(Duration::MAX),
            Event::Table(table) => self.take(Duration::from_millis(table.usable_millis)),
            _ => {}
        }
    }

    fn take(&mut self, most: Duration) {
        let now = Instant::now();
        self.sum += now.duration_since(self.last).min(most);
        self.last = now;
    }
}

fn job(location: Location, question: &Asked<'_>, options: &ProbeOptions) -> Job {
    Job {
        validate: true,
        prewarm: true,
        content: Some(ContentJob {
            key: question.key,
            known: question.known.clone(),
            undeleted: false,
        }),
        queries: question.recorded.map(Facts::replay),
        write_test: question.write_test,
        limits: Limits {
            memory: options.memory,
            cpu_seconds: options.deadline.as_secs().max(1),
            threads: u32::try_from(crate::limits::threads()).unwrap_or(u32::MAX),
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
        proved: Vec::new(),
        probe: None,
        notes: Vec::new(),
        opened: None,
    }
}

fn judged(question: &Asked<'_>, outcome: &ProbeOutcome, rules: Rules, seconds: f64) -> Answers {
    let measured = &outcome.facts;
    let mut tables = serving(question.lance, outcome);
    tables.extend(unusable(question.lance));
    tables.extend(compare::tables(&stamped(question.lance), &measured.tables));
    let rows: u64 = measured.tables.iter().filter_map(|table| table.rows).sum();
    let stamped = question.lance.tables.iter().map(|table| table.path.as_str());
    let figure = format!(
        "{} opened and right, {rows} rows, validated",
        judge::tally(&tables, stamped)
    );
    let mut checks = vec![timed_out(
        judge::check(Rung::Tables, &tables, figure, seconds),
        outcome,
    )];
    let mut proved = Vec::new();
    match question.recorded {
        Some(recorded) => {
            let content = compare::content(recorded, &measured.tables);
            let is_proved = |table: &&TableMeasure| {
                let mut found = content
                    .iter()
                    .filter(|found| found.table == table.path)
                    .peekable();
                found.peek().is_some() && found.all(|found| found.outcome == compare::Outcome::Proved)
            };
            proved.extend(measured.tables.iter().filter(is_proved).cloned());
            let scanned: u64 = measured
                .tables
                .iter()
                .filter_map(|t| t.content.as_ref())
                .map(|c| c.rows_read)
                .sum();
            let figure = format!(
                "{scanned} rows scanned, digests of {} as recorded",
                judge::tally(&content, recorded.tables.iter().map(|table| table.path.as_str()))
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
        let tables = measured.tables.iter().map(|table| table.path.as_str());
        let figure = format!(
            "appended, optimised, cleaned up in {}",
            judge::tally(&found, tables)
        );
        timed_out(judge::check(Rung::Restore, &found, figure, 0.0), outcome)
    });
    Answers {
        checks,
        write_test,
        proved,
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
        opened: None,
    }
}

/// What the agent itself saw go wrong: its word stands above the probe's.
fn serving(lance: &LanceStamp, outcome: &ProbeOutcome) -> Vec<Found> {
    let found = |(table, file): (&str, Option<&str>), kind: FaultKind, message: &str| Found {
        question: Question::Tables,
        table: table.to_owned(),
        subject: None,
        file: file.map(str::to_owned),
        outcome: if kind.disproves() {
            compare::Outcome::Disproved
        } else {
            compare::Outcome::Unknown
        },
        fault: Some(kind),
        message: message.to_owned(),
    };
    let ended = outcome.ended.fault();
    let ended = ended.map(|(kind, message)| found(("probe", None), kind, &message));
    let damaged = outcome.served.damaged.iter();
    let damaged = damaged.map(|(path, why)| found(table_of(lance, path), FaultKind::Damaged, why));
    let away = outcome.served.unavailable.iter();
    let away = away.map(|(path, why)| found(table_of(lance, path), FaultKind::Unavailable, why));
    ended.into_iter().chain(damaged).chain(away).collect()
}

/// The table that a file of the database belongs to, and the file in it; a file of no table stands for itself.
fn table_of<'a>(lance: &'a LanceStamp, path: &'a str) -> (&'a str, Option<&'a str>) {
    let within = |table: &'a TableStamp| {
        let file = path.strip_prefix(table.path.as_str())?.strip_prefix('/')?;
        Some((table.path.as_str(), Some(file)))
    };
    let tables = lance.tables.iter().filter_map(within);
    // Branches lie within their table's folder.
    tables
        .max_by_key(|(table, _)| table.len())
        .unwrap_or((path, None))
}

/// Tables of which no version could be read at the cut: every byte of them comes back, and nobody can use it.
fn unusable(lance: &LanceStamp) -> impl Iterator<Item = Found> {
    let none = lance.tables.iter().filter(|table| table.version == 0);
    none.map(|table| {
        let salvaged = table.mode == Mode::Salvage;
        let (outcome, fault, why) = match &table.opaque {
            Some(why) if !salvaged => (compare::Outcome::Unknown, FaultKind::TooNew, why.as_str()),
            _ => (
                compare::Outcome::Disproved,
                FaultKind::Undecodable,
                "no version of it could be read at the cut: the live table was damaged",
            ),
        };
        Found {
            question: Question::Tables,
            table: table.path.clone(),
            subject: None,
            file: None,
            outcome,
            fault: Some(fault),
            message: why.to_owned(),
        }
    })
}

/// Tables whose manifest the agent could decode at the cut.
fn known(lance: &LanceStamp) -> impl Iterator<Item = &TableStamp> {
    lance.tables.iter().filter(|table| table.version > 0)
}

fn stamped(lance: &LanceStamp) -> Vec<Stamped> {
    known(lance)
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
