//! `drctl report show|export`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dr_proto::model::HostName;
use dr_proto::model::exit::Code;

use crate::error::{Class, Doing, Failure, Outcome};
use crate::evidence::{self, Evidence};
use crate::session::Session;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a task, or every host of a run, measured
    Show {
        /// A task's id, a run's id, or the beginning of one
        report: String,
        /// Only this host of a run
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
    /// Write it for others to read
    #[command(
        after_long_help = "Example:\n  drctl report export 0192b7 --format html --to weekly-restore.html"
    )]
    Export {
        /// A task's id, a run's id, or the beginning of one
        report: String,
        /// Only this host of a run
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
        /// In which form
        #[arg(long, value_enum)]
        format: Form,
        /// Where to; standard output if not given
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// As programs read it: the run, its tasks, and the documents that agents wrote
    Json,
    /// One page that needs nothing else
    Html,
    /// For build servers
    Junit,
    /// For tickets and wikis
    Markdown,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Show { report, host } => show(session, report, host).await,
        Command::Export {
            report,
            host,
            format,
            to,
        } => {
            let evidence = session.until_interrupted(find(session, report, host)).await?;
            export(session, &evidence, format, to)
        }
    }
}

/// Shows what a task or a run measured; the exit code is that of the look, not of what was found.
pub(super) async fn show(session: &Session, id: String, host: Option<HostName>) -> Outcome {
    let evidence = session.until_interrupted(find(session, id, host)).await?;
    let ui = &session.ui;
    if ui.is_json() {
        session.answer(&evidence)?;
        return Ok(Code::Done);
    }
    let mut shown = 0;
    for piece in &evidence.tasks {
        let (Some(report), Some(kind)) = (&piece.report, piece.kind()) else {
            continue;
        };
        if evidence.tasks.len() > 1 {
            ui.data(&format!(
                "{}===== {}",
                if shown > 0 { "\n" } else { "" },
                piece.task.host
            ))?;
        }
        evidence::draw(ui, kind, report)?;
        shown += 1;
    }
    if shown == 0 || evidence.tasks.len() > 1 {
        ui.data("")?;
        let tasks: Vec<_> = evidence.tasks.iter().map(|piece| piece.task.clone()).collect();
        evidence::tasks(ui, &tasks)?;
    }
    let tasks: Vec<_> = evidence.tasks.iter().map(|piece| piece.task.clone()).collect();
    evidence::notes(ui, &evidence.notes, &tasks)?;
    evidence::verdict(ui, &evidence.run)?;
    Ok(Code::Done)
}

/// The run, or the run of the task, with the reports that were asked for.
async fn find(session: &Session, id: String, host: Option<HostName>) -> Result<Evidence, Failure> {
    let coordinator = session.coordinator().await?;
    let mut detail = coordinator.run(id.clone()).await?;
    if detail.tasks.iter().any(|task| task.id == id) {
        detail.tasks.retain(|task| task.id == id);
    }
    if let Some(host) = host {
        detail.tasks.retain(|task| task.host == host.as_str());
        if detail.tasks.is_empty() {
            let message = format!("run {} has no task of host {host}", detail.run.id);
            return Err(Failure::new(Class::NotFound, message).hint("`drctl run show RUN` lists its hosts"));
        }
    }
    let tasks = &detail.tasks;
    evidence::keep_notes(&mut detail.notes, |id| tasks.iter().any(|task| task.id == id));
    evidence::gather(&coordinator, detail)
        .await
        .doing(|| format!("gather the reports of `{id}`"))
}

fn export(session: &Session, evidence: &Evidence, format: Form, to: Option<PathBuf>) -> Outcome {
    let text = match format {
        Form::Json => serde_json::to_string_pretty(evidence).doing(|| "write JSON".to_owned())?,
        Form::Junit => dr_proto::render::junit(&evidence.drawn()),
        Form::Markdown => dr_proto::render::markdown(&evidence.drawn()),
        Form::Html => evidence::html(evidence).doing(|| "write HTML".to_owned())?,
    };
    match to {
        None => session.ui.data(&text)?,
        Some(path) => {
            std::fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
            session.ui.say(&format!("Wrote {}", path.display()));
        }
    }
    Ok(Code::Done)
}
