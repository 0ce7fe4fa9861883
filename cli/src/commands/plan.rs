//! `drctl plan …`.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dr_proto::model::document::Problem;
use dr_proto::model::exit::Code;
use dr_proto::model::plan;
use dr_proto::model::units::Size;
use dr_proto::view::{Change, Plan, Preview};
use dr_terminal::{Cell, Table, Tone, Ui};
use serde::Serialize;

use crate::coordinator::Coordinator;
use crate::error::{Class, Doing, Failure, Outcome};
use crate::session::Session;
use crate::show::{dash, short_time};

/// More than any plan needs.
const LARGEST: u64 = 1 << 20;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make or replace plans; one with errors is refused with line, key and reason
    #[command(
        after_long_help = "Examples:\n  drctl plan apply --check-only weekly-restore.toml\n  drctl plan preview weekly-restore.toml\n  drctl plan apply weekly-restore.toml"
    )]
    Apply(Apply),
    /// What the next run of a plan would do: hosts, waves, bytes
    Preview {
        /// An applied plan by name, or a file; `-` for standard input
        plan: String,
    },
    /// List plans
    List,
    /// Show a plan
    Show {
        /// Its name
        plan: String,
        /// Only its text, as it was applied
        #[arg(long)]
        text: bool,
    },
    /// Delete a plan; its history stays
    Delete {
        /// Its name
        plan: String,
    },
    /// Let a plan's slots start runs
    Enable {
        /// Its name
        plan: String,
    },
    /// Let no slot of a plan start a run
    Disable {
        /// Its name
        plan: String,
    },
}

#[derive(Debug, Args)]
struct Apply {
    /// Plan files, TOML; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only if the plan that is there has this hash
    #[arg(long, value_name = "HASH")]
    if_hash: Option<String>,
    /// Only look for errors in the files; nothing is sent
    #[arg(long)]
    check_only: bool,
}

#[derive(Serialize)]
struct AppliedPlans {
    plans: Vec<AppliedPlan>,
}

#[derive(Serialize)]
struct AppliedPlan {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    name: String,
    hash: String,
    hosts: Option<u32>,
    next_slot: Option<jiff::Timestamp>,
}

#[derive(Serialize)]
struct Plans {
    plans: Vec<Plan>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: String,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    session
        .until_interrupted(dispatch(session, arguments.command))
        .await
}

async fn dispatch(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Apply(arguments) => apply(session, arguments).await,
        Command::Preview { plan } => preview(session, plan).await,
        Command::List => list(session).await,
        Command::Show { plan, text } => {
            let plan = session.coordinator().await?.plan(plan).await?;
            if session.ui.is_json() {
                session.answer(&plan)?;
            } else if text {
                session.ui.data(&plan.text)?;
            } else {
                show(&session.ui, &plan)?;
            }
            Ok(Code::Done)
        }
        Command::Delete { plan } => {
            session.coordinator().await?.delete_plan(plan.clone()).await?;
            if session.ui.is_json() {
                session.answer(&Deleted { deleted: plan })?;
            } else {
                session.ui.data(&format!("plan {plan} is deleted"))?;
            }
            Ok(Code::Done)
        }
        Command::Enable { plan } => enable(session, plan, true).await,
        Command::Disable { plan } => enable(session, plan, false).await,
    }
}

/// A plan file that was read and found without errors.
struct Readable {
    file: String,
    plan: plan::Plan,
}

fn read_file(path: &Path) -> Result<(String, String), Failure> {
    let standard_input = path == Path::new("-");
    let name = if standard_input {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let mut text = String::new();
    let read = if standard_input {
        std::io::stdin()
            .lock()
            .take(LARGEST + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    read.doing(|| format!("read {name}"))?;
    if text.len() as u64 > LARGEST {
        return Err(Failure::new(
            Class::PlanInvalid,
            format!("{name} is larger than {}", Size(LARGEST)),
        ));
    }
    Ok((name, text))
}

/// Reads and judges a file; each error is a line with file, line, key and reason.
fn read(path: &Path) -> Result<Readable, Failure> {
    let (file, text) = read_file(path)?;
    match plan::Plan::parse(&text) {
        Ok(plan) => Ok(Readable { file, plan }),
        Err(errors) => {
            let problems = errors.problems();
            let plural = if problems.len() == 1 { "" } else { "s" };
            let message = format!("{file} has {} error{plural}", problems.len());
            Err(problems
                .iter()
                .fold(Failure::new(Class::PlanInvalid, message), |failure, problem| {
                    failure.because(place(&file, problem))
                }))
        }
    }
}

/// `weekly.toml:12: drill.kind: … (did you mean …?)`, which editors jump to.
fn place(file: &str, problem: &Problem) -> String {
    let line = problem.line.map(|line| format!("{line}:")).unwrap_or_default();
    let key = if problem.key.is_empty() {
        String::new()
    } else {
        format!(" `{}`:", problem.key)
    };
    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})"));
    format!(
        "{file}:{line}{key} {}{}",
        problem.reason,
        hint.unwrap_or_default()
    )
}

async fn apply(session: &Session, arguments: Apply) -> Outcome {
    if arguments.if_hash.is_some() && arguments.files.len() > 1 {
        return Err(Failure::new(Class::Usage, "--if-hash is for one file"));
    }
    // All are read before the first is sent, so that an error in one leaves nothing half applied.
    let files: Vec<Readable> = arguments
        .files
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    let mut applied = Vec::new();
    if arguments.check_only {
        applied.extend(files.into_iter().map(|read| AppliedPlan {
            file: read.file,
            change: None,
            name: read.plan.name.clone(),
            hash: read.plan.hash().to_owned(),
            hosts: None,
            next_slot: None,
        }));
    } else {
        let coordinator = session.coordinator().await?;
        for read in files {
            applied.push(send(&coordinator, read, arguments.if_hash.clone()).await?);
        }
    }
    if session.ui.is_json() {
        session.answer(&AppliedPlans { plans: applied })?;
        return Ok(Code::Done);
    }
    for plan in &applied {
        session.ui.data(&said(plan))?;
    }
    Ok(Code::Done)
}

async fn send(
    coordinator: &Coordinator,
    read: Readable,
    if_hash: Option<String>,
) -> Result<AppliedPlan, Failure> {
    let answer = coordinator
        .apply_plan(read.plan.text().to_owned(), if_hash)
        .await
        .doing(|| format!("apply {}", read.file))?;
    Ok(AppliedPlan {
        file: read.file,
        change: Some(answer.change),
        name: answer.plan.name,
        hash: answer.plan.hash,
        hosts: Some(answer.plan.hosts),
        next_slot: answer.plan.next_slot,
    })
}

fn said(plan: &AppliedPlan) -> String {
    let change = match plan.change {
        Some(Change::Created) => "created",
        Some(Change::Replaced) => "replaced",
        Some(Change::Unchanged) => "unchanged",
        None => return format!("plan {} in {} has no errors", plan.name, plan.file),
    };
    format!(
        "plan {} {change}: {} hosts, next slot {}",
        plan.name,
        dash(plan.hosts),
        plan.next_slot
            .map_or_else(|| "none by the clock".to_owned(), short_time)
    )
}

async fn preview(session: &Session, wanted: String) -> Outcome {
    let path = Path::new(&wanted);
    let is_file =
        wanted == "-" || path.components().count() > 1 || path.extension().is_some() || path.is_file();
    if wanted == "-" && std::io::stdin().is_terminal() {
        session.ui.say("Reading the plan from standard input");
    }
    let preview = if is_file {
        let read = read(path)?;
        session
            .coordinator()
            .await?
            .preview_text(read.plan.text().to_owned())
            .await
            .doing(|| format!("preview {}", read.file))?
    } else {
        session.coordinator().await?.preview_plan(wanted).await?
    };
    if session.ui.is_json() {
        session.answer(&preview)?;
    } else {
        print_preview(&session.ui, &preview)?;
    }
    Ok(Code::Done)
}

fn print_preview(ui: &Ui, preview: &Preview) -> std::io::Result<()> {
    ui.data(&format!(
        "plan {}, slot {}: {} hosts, at most {} fetched",
        preview.name,
        short_time(preview.slot),
        preview.hosts.len(),
        Size(preview.bytes)
    ))?;
    if !preview.hosts.is_empty() {
        let mut table =
            Table::new(&["wave", "host", "on", "work", "sources", "size", "not before"]).figures(&[0, 5]);
        for host in &preview.hosts {
            table.row([
                host.wave.to_string(),
                host.host.clone(),
                host.on.clone(),
                host.work.to_string(),
                host.sources.join(", "),
                Size(host.bytes).to_string(),
                short_time(host.not_before),
            ]);
        }
        table.print(ui)?;
    }
    for excluded in &preview.excluded {
        ui.data(&format!("left out: {}: {}", excluded.host, excluded.reason))?;
    }
    for warning in &preview.warnings {
        ui.data(&format!("{} {warning}", ui.paint(Tone::Warn, "warning:")))?;
    }
    Ok(())
}

async fn list(session: &Session) -> Outcome {
    let plans = session.coordinator().await?.list_plans().await?;
    let ui = &session.ui;
    if ui.is_json() {
        session.answer(&Plans { plans })?;
        return Ok(Code::Done);
    }
    if plans.is_empty() {
        ui.say("No plans: `drctl plan apply FILE` makes one");
        return Ok(Code::Done);
    }
    let mut table = Table::new(&[
        "plan",
        "enabled",
        "hosts",
        "next slot",
        "last run",
        "last state",
        "applied by",
    ])
    .figures(&[2]);
    for plan in &plans {
        table.row([
            plan.name.clone().into(),
            if plan.enabled {
                "yes".into()
            } else {
                Cell::toned(Tone::Warn, "no")
            },
            plan.hosts.to_string().into(),
            dash(plan.next_slot.map(short_time)).into(),
            dash(plan.last_run.clone()).into(),
            plan.last_state
                .map_or_else(|| "-".into(), |state| Cell::toned(super::run::tone(state), state)),
            plan.applied_by.clone().into(),
        ]);
    }
    table.print(ui)?;
    Ok(Code::Done)
}

fn show(ui: &Ui, plan: &Plan) -> std::io::Result<()> {
    let line = |name: &str, value: String| ui.data(&format!("{name:12}{value}"));
    line("plan", plan.name.clone())?;
    line("enabled", if plan.enabled { "yes" } else { "no" }.to_owned())?;
    line("hosts", plan.hosts.to_string())?;
    line(
        "next slot",
        plan.next_slot
            .map_or_else(|| "none by the clock".to_owned(), short_time),
    )?;
    let state = plan.last_state.map(|state| format!(" ({state})"));
    line(
        "last run",
        format!("{}{}", dash(plan.last_run.clone()), state.unwrap_or_default()),
    )?;
    line(
        "applied",
        format!("{} by {}", short_time(plan.applied), plan.applied_by),
    )?;
    line("hash", plan.hash.clone())?;
    ui.data("")?;
    ui.data(&plan.text)
}

async fn enable(session: &Session, name: String, enabled: bool) -> Outcome {
    let plan = session.coordinator().await?.enable_plan(name, enabled).await?;
    if session.ui.is_json() {
        session.answer(&plan)?;
    } else {
        let state = if plan.enabled { "enabled" } else { "disabled" };
        let next = plan.next_slot.map(|at| format!("; next slot {}", short_time(at)));
        session.ui.data(&format!(
            "plan {} is {state}{}",
            plan.name,
            next.unwrap_or_default()
        ))?;
    }
    Ok(Code::Done)
}
