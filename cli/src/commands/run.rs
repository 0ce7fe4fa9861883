//! `drctl run …`.

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_proto::model::{HostName, RunState};
use dr_proto::view::{Run, RunDetail};
use dr_terminal::arguments::said;
use dr_terminal::{Cell, Table, Tone, Ui};
use serde::Serialize;

use super::wait::{self, Following, Waiting};
use crate::coordinator::{Filter, What};
use crate::error::Outcome;
use crate::evidence;
use crate::follow;
use crate::session::Session;
use crate::show::{dash, short_time};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a plan now, as one more slot
    #[command(
        after_long_help = "Examples:\n  drctl run start weekly-restore --wait\n  drctl run start weekly-restore --ci --wait --wait-for 4h --junit run.xml"
    )]
    Start {
        /// The plan
        plan: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// List runs, newest first
    List(List),
    /// Show a run with all its hosts
    Show {
        /// Its id, or the beginning of it
        run: String,
    },
    /// Watch a run until its end; the worst host decides the exit code
    Watch {
        /// Its id, or the beginning of it
        run: String,
        #[command(flatten)]
        following: Following,
    },
    /// Cancel what of a run has not ended
    Cancel(Cancel),
    /// Ask again for what did not pass
    Retry {
        /// Its id, or the beginning of it
        run: String,
        #[command(flatten)]
        waiting: Waiting,
    },
}

#[derive(Debug, Clone, Args)]
struct List {
    /// Only those of this plan
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Only those with this host
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Only those that have not ended
    #[arg(long)]
    active: bool,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Arguments of every `cancel`.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The run's id, or the beginning of it
    run: String,
    /// Why, for the audit log and the hosts
    #[arg(long, value_name = "TEXT", default_value = "cancelled by an operator", value_parser = said)]
    reason: String,
}

#[derive(Serialize)]
struct Runs {
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct One {
    run: Run,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Start { plan, waiting } => wait::start(session, What::Plan(plan), &waiting).await,
        Command::List(arguments) => list(session, arguments).await,
        Command::Show { run } => show(session, run).await,
        Command::Watch { run, following } => watch(session, run, &following).await,
        Command::Cancel(arguments) => cancel(session, arguments).await,
        Command::Retry { run, waiting } => retry(session, run, &waiting).await,
    }
}

async fn list(session: &Session, arguments: List) -> Outcome {
    let filter = Filter {
        plan: arguments.plan,
        host: arguments.host.map(|host| host.to_string()),
        active_only: arguments.active,
        limit: arguments.limit,
    };
    let coordinator = session.coordinator().await?;
    let runs = session
        .until_interrupted(async { Ok(coordinator.list_runs(filter).await?) })
        .await?;
    if session.ui.is_json() {
        session.answer(&Runs { runs })?;
    } else if runs.is_empty() {
        session.ui.say(
            "No such runs: `drctl run start PLAN` starts one of a plan, `drctl drill start` one without",
        );
    } else {
        table(&session.ui, &runs)?;
    }
    Ok(Code::Done)
}

/// One row a run.
fn table(ui: &Ui, runs: &[Run]) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "run", "state", "work", "plan", "hosts", "created", "finished", "by", "notes",
    ])
    .figures(&[4]);
    for run in runs {
        // Why it was asked for; and how it ended, if not with a pass.
        let ended = run.explanation.clone().filter(|_| run.state != RunState::Passed);
        let notes = [run.reason.clone(), ended];
        table.row([
            run.id.clone().into(),
            Cell::toned(tone(run.state), run.state),
            run.work.clone().into(),
            dash(run.plan.clone()).into(),
            run.task_count().to_string().into(),
            short_time(run.created).into(),
            dash(run.finished.map(short_time)).into(),
            run.requested_by.clone().into(),
            notes.into_iter().flatten().collect::<Vec<_>>().join("; ").into(),
        ]);
    }
    table.print(ui)
}

/// How a run's state looks.
pub(super) fn tone(state: RunState) -> Tone {
    match state {
        RunState::Passed => Tone::Good,
        RunState::Failed => Tone::Bad,
        RunState::Inconclusive | RunState::Partial | RunState::Cancelled => Tone::Warn,
        RunState::Pending | RunState::Running | RunState::Cancelling => Tone::Dim,
    }
}

async fn show(session: &Session, id: String) -> Outcome {
    let coordinator = session.coordinator().await?;
    let detail = session
        .until_interrupted(async { Ok(coordinator.run(id).await?) })
        .await?;
    if session.ui.is_json() {
        session.answer(&detail)?;
    } else {
        page(&session.ui, &detail)?;
    }
    Ok(Code::Done)
}

/// A run on one page: what it is, then its hosts.
fn page(ui: &Ui, detail: &RunDetail) -> std::io::Result<()> {
    let run = &detail.run;
    let line = |name: &str, value: String| ui.data(&format!("{name:10}{value}"));
    line("run", run.id.clone())?;
    line("work", run.work.clone())?;
    if let Some(plan) = &run.plan {
        let hash: String = run
            .plan_hash
            .iter()
            .flat_map(|hash| hash.chars().take(12))
            .collect();
        line(
            "plan",
            format!("{plan} ({hash}), slot {}", dash(run.slot.map(short_time))),
        )?;
    }
    line("asked by", run.requested_by.clone())?;
    if let Some(reason) = &run.reason {
        line("reason", reason.clone())?;
    }
    line("created", short_time(run.created))?;
    line("started", dash(run.started.map(short_time)))?;
    line("finished", dash(run.finished.map(short_time)))?;
    if let Some(trace) = &run.trace_id {
        line("trace", trace.clone())?;
    }
    ui.data("")?;
    evidence::tasks(ui, &detail.tasks)?;
    evidence::left_out(ui, &detail.left_out)?;
    evidence::notes(ui, &detail.notes, &detail.tasks)?;
    evidence::verdict(ui, run)
}

/// Watches a run, whatever it is.
pub(super) async fn watch(session: &Session, id: String, following: &Following) -> Outcome {
    let mut coordinator = session.coordinator().await?;
    // The whole id, for what is said of it later.
    let asked = follow::patiently(session, &mut coordinator, async |coordinator| {
        coordinator.run(id.clone()).await
    });
    let detail = asked.await?;
    wait::follow(session, &coordinator, &detail.run.id, following).await
}

/// Cancels a run, whatever it is.
pub(super) async fn cancel(session: &Session, arguments: Cancel) -> Outcome {
    let coordinator = session.coordinator().await?;
    let run = session
        .until_interrupted(async { Ok(coordinator.cancel(arguments.run, arguments.reason).await?) })
        .await?;
    if session.ui.is_json() {
        session.answer(&One { run })?;
    } else {
        session
            .ui
            .data(&format!("run {}: {} is {}", run.id, run.work, run.state))?;
    }
    Ok(Code::Done)
}

/// Asks again for what did not pass.
pub(super) async fn retry(session: &Session, id: String, waiting: &Waiting) -> Outcome {
    let coordinator = session.coordinator().await?;
    let run = session
        .until_interrupted(async { Ok(coordinator.retry(id).await?) })
        .await?;
    wait::begun(session, &coordinator, run, waiting).await
}
