//! `drctl drill …`: a drill is one host's part of a run.

use std::str::FromStr;

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_proto::model::units::{Period, Size};
use dr_proto::model::{DrillKind, DrillWork, HostName, Loss, SourceKind, Work};
use dr_proto::view::{Note, RunDetail, Task, TaskEvent};
use dr_terminal::arguments::{period, said, share};
use dr_terminal::{Cell, Table, Ui};
use serde::Serialize;

use super::hosts::Hosts;
use super::report;
use super::run::{self, Cancel};
use super::wait::{self, Following, Waiting};
use crate::coordinator::{Coordinator, Filter, What, Where};
use crate::error::{Class, Failure, Outcome};
use crate::evidence::{self, tone};
use crate::session::Session;
use crate::show::{dash, length, short_time};

/// Arguments of `drill`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rehearse the recovery of one host or of all that match
    #[command(
        after_long_help = "Examples:\n  drctl drill start --host db-1 --wait\n  drctl drill start --host db-1 --on drill-runner-1 --loss deleted --wait\n  drctl drill start --select tier=gold --kind verify --wait --junit drill.xml"
    )]
    Start(Box<Start>),
    /// List drills, newest first, one row a host
    List(List),
    /// Show what a drill found
    Show {
        /// A task's id, a run's id, or the beginning of one
        drill: String,
        /// Only this host of a run
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
    /// Tell why a drill stands where it stands: every step of its life
    Explain {
        /// A task's id, a run's id, or the beginning of one
        drill: String,
        /// Only this host of a run
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
    /// Watch a drill until its end; the worst host decides the exit code
    Watch {
        /// The run's id, or the beginning of it
        drill: String,
        #[command(flatten)]
        following: Following,
    },
    /// Cancel what of it has not ended
    Cancel(Cancel),
    /// Write a note beside a drill, or beside any other work; it stays with the report
    Note {
        /// A task's id, a run's id, or the beginning of one
        drill: String,
        /// What is to be remembered; at most 4,000 bytes
        #[arg(value_parser = said)]
        text: String,
        /// About this host of a run
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
}

#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    hosts: Hosts,
    /// `verify` asks everything in place, `restore` also restores into scratch and asks again there
    #[arg(long, value_name = "KIND", default_value = "restore", value_parser = DrillKind::from_str)]
    kind: DrillKind,
    /// The snapshot: `latest`, an id, or the beginning of one
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    /// The host whose agent does the work, from the other host's repository
    #[arg(long, value_name = "HOST", conflicts_with = "select")]
    on: Option<HostName>,
    /// The most that a `verify` drill reads beyond what its other checks read
    #[arg(long, value_name = "SIZE")]
    bytes_budget: Option<Size>,
    /// The time within which all bytes are verified once, by drills with a budget
    #[arg(long, value_name = "TIME", value_parser = period, requires = "bytes_budget")]
    bytes_cycle: Option<Period>,
    /// Do not scan tables in place whose digest was proved within this time
    #[arg(long, value_name = "TIME", value_parser = period)]
    content_cycle: Option<Period>,
    /// What a `restore` drill finds at its target in scratch: `moved`, `deleted`, `truncated` or `corrupted` data
    #[arg(long, value_name = "LOSS", value_parser = Loss::from_str)]
    loss: Option<Loss>,
    /// By how much recall may be below recall at the cut, where another probe version answers; 0.02 if not given
    #[arg(long, value_name = "SHARE", value_parser = share)]
    recall_tolerance: Option<f64>,
    /// Only sources of this kind: `lancedb` or `audit-log`
    #[arg(long, value_name = "KIND", value_parser = SourceKind::from_str)]
    only: Option<SourceKind>,
    /// A hook of the host's own file to ask the application; may be given several times
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,
    /// The host again, for a failover drill: it stops the application there
    #[arg(long, value_name = "HOST")]
    confirm: Option<HostName>,
    /// How long each host may take; four hours if not given
    #[arg(long, value_name = "TIME", value_parser = period)]
    deadline: Option<Period>,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, Args)]
struct List {
    /// Only drills of this host
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Over how many of the newest runs
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    last: u32,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Start(arguments) => start(session, *arguments).await,
        Command::List(arguments) => list(session, arguments).await,
        Command::Show { drill, host } => report::show(session, drill, host).await,
        Command::Explain { drill, host } => explain(session, drill, host).await,
        Command::Watch { drill, following } => run::watch(session, drill, &following).await,
        Command::Cancel(arguments) => run::cancel(session, arguments).await,
        Command::Note { drill, text, host } => note(session, drill, text, host).await,
    }
}

#[derive(Serialize)]
struct Noted {
    note: Note,
}

/// Writes a note beside the task that is named: by its id, or by its run and host. A run alone is noted as a whole.
async fn note(session: &Session, id: String, text: String, host: Option<HostName>) -> Outcome {
    let coordinator = session.coordinator().await?;
    let work = async {
        let id = match &host {
            None => id,
            Some(host) => {
                let mut detail = coordinator.run(id.clone()).await?;
                keep(&mut detail, &id, Some(host))?;
                detail.tasks.swap_remove(0).id
            }
        };
        Ok(coordinator.add_note(id, text, (session.now)()).await?)
    };
    let note = session.until_interrupted(work).await?;
    if session.ui.is_json() {
        session.answer(&Noted { note })?;
    } else {
        let about = note
            .task
            .as_ref()
            .map_or_else(|| "the run".to_owned(), |task| format!("task {task}"));
        session
            .ui
            .data(&format!("noted beside {about} at {}", short_time(note.at)))?;
    }
    Ok(Code::Done)
}

async fn start(session: &Session, arguments: Start) -> Outcome {
    let hosts = arguments.hosts.where_to();
    if arguments.kind == DrillKind::Failover {
        let confirmed = match (&hosts, &arguments.confirm) {
            (Where::Host(host), Some(confirmed)) => host == confirmed,
            _ => false,
        };
        if !confirmed {
            return Err(Failure::new(
                Class::Usage,
                "a failover drill stops the application of one live host and swaps its data",
            )
            .hint("give --host HOST and, to confirm, --confirm with the same host"));
        }
    }
    // With --on the other agent works, and the host is the one whose repository is rehearsed.
    let (hosts, from_host) = match (hosts, arguments.on) {
        (Where::Host(host), Some(on)) if on != host => (Where::Host(on), Some(host)),
        (hosts, _) => (hosts, None),
    };
    let work = DrillWork {
        kind: arguments.kind,
        snapshot: arguments.snapshot,
        from_host,
        bytes_budget: arguments.bytes_budget.map(|size| size.0),
        hooks: arguments.hooks,
        recall_tolerance: arguments.recall_tolerance,
        only: arguments.only,
        loss: arguments.loss,
        bytes_cycle: arguments.bytes_cycle.map(|period| period.0),
        content_cycle: arguments.content_cycle.map(|period| period.0),
    };
    let what = What::Work {
        hosts,
        work: Box::new(Work::Drill(work)),
        deadline: arguments.deadline.map(|period| period.0),
        reason: arguments.reason,
    };
    wait::start(session, what, &arguments.waiting).await
}

#[derive(Serialize)]
struct Drills {
    drills: Vec<Task>,
}

async fn list(session: &Session, arguments: List) -> Outcome {
    let coordinator = session.coordinator().await?;
    let host = arguments.host.map(|host| host.to_string());
    let filter = Filter {
        host: host.clone(),
        limit: arguments.last,
        ..Filter::default()
    };
    let drills = session
        .until_interrupted(async { drills(&coordinator, filter, host.as_deref()).await })
        .await?;
    if session.ui.is_json() {
        session.answer(&Drills { drills })?;
    } else if drills.is_empty() {
        session
            .ui
            .say("No drills among the newest runs: `drctl drill start` starts one, -n looks at more runs");
    } else {
        table(&session.ui, &drills)?;
    }
    Ok(Code::Done)
}

async fn drills(coordinator: &Coordinator, filter: Filter, host: Option<&str>) -> Result<Vec<Task>, Failure> {
    let mut drills = Vec::new();
    for run in coordinator.list_runs(filter).await? {
        if !run.work.starts_with("drill") {
            continue;
        }
        let tasks = coordinator.run(run.id).await?.tasks;
        drills.extend(
            tasks
                .into_iter()
                .filter(|task| host.is_none_or(|host| task.host == host)),
        );
    }
    Ok(drills)
}

fn table(ui: &Ui, drills: &[Task]) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "drill", "host", "what", "state", "proof", "rto", "rpo", "finished", "notes",
    ]);
    for task in drills {
        table.row([
            task.id.clone().into(),
            task.host.clone().into(),
            dash(task.work.as_ref()).into(),
            Cell::toned(tone(task.state), task.state),
            dash(task.proof).into(),
            dash(task.time_to_usable.map(length)).into(),
            dash(task.rpo.map(length)).into(),
            dash(task.finished.map(short_time)).into(),
            evidence::note(task).into(),
        ]);
    }
    table.print(ui)
}

async fn explain(session: &Session, id: String, host: Option<HostName>) -> Outcome {
    let coordinator = session.coordinator().await?;
    let mut detail = session
        .until_interrupted(async { Ok(coordinator.run(id.clone()).await?) })
        .await?;
    keep(&mut detail, &id, host.as_ref())?;
    if session.ui.is_json() {
        session.answer(&detail)?;
    } else {
        tell(&session.ui, &detail)?;
    }
    Ok(Code::Done)
}

/// Keeps the task that was named, or those of the host.
fn keep(detail: &mut RunDetail, id: &str, host: Option<&HostName>) -> Result<(), Failure> {
    if detail.tasks.iter().any(|task| task.id == id) {
        detail.tasks.retain(|task| task.id == id);
    }
    if let Some(host) = host {
        detail.tasks.retain(|task| task.host == host.as_str());
        if detail.tasks.is_empty() {
            return Err(Failure::new(
                Class::NotFound,
                format!("run {} has no task of host {host}", detail.run.id),
            ));
        }
    }
    let RunDetail {
        tasks, events, notes, ..
    } = detail;
    events.retain(|event| tasks.iter().any(|task| task.id == event.task));
    evidence::keep_notes(notes, |id| tasks.iter().any(|task| task.id == id));
    Ok(())
}

/// Where it stands, then how it came there.
fn tell(ui: &Ui, detail: &RunDetail) -> std::io::Result<()> {
    let run = &detail.run;
    let why = run.explanation.as_ref().map(|why| format!(": {why}"));
    ui.data(&format!(
        "run {} ({}) is {}{}",
        run.id,
        run.work,
        run.state,
        why.unwrap_or_default()
    ))?;
    for task in &detail.tasks {
        let why = [task.cause.clone(), task.explanation.clone()];
        let why: Vec<String> = why.into_iter().flatten().collect();
        ui.data(&format!(
            "\n{} is {}{}{}",
            task.host,
            ui.paint(tone(task.state), task.state.name()),
            if why.is_empty() { "" } else { ": " },
            why.join(": ")
        ))?;
        if let Some(deadline) = task.deadline.filter(|_| !task.state.is_final()) {
            ui.data(&format!("  it must have ended by {}", short_time(deadline)))?;
        }
        for event in detail.events.iter().filter(|event| event.task == task.id) {
            ui.data(&line(event))?;
        }
    }
    if !detail.notes.is_empty() {
        ui.data("")?;
    }
    evidence::notes(ui, &detail.notes, &detail.tasks)
}

fn line(event: &TaskEvent) -> String {
    let line = format!(
        "  {}  {:12} attempt {}  {}",
        short_time(event.at),
        event.state,
        event.attempt,
        event.message
    );
    line.trim_end().to_owned()
}
