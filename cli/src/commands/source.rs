//! `drctl source list`.

use clap::{Args, Subcommand};
use dr_proto::model::HostName;
use dr_proto::model::exit::Code;
use dr_proto::view::SourceCoverage;
use dr_terminal::{Cell, Table, Tone};
use serde::Serialize;

use crate::error::Outcome;
use crate::session::Session;

/// Arguments of `source`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List databases and audit logs, and which plans cover them
    List {
        /// Only those of this host
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
        /// Only those that no enabled plan covers or leaves out: configured, or found and not configured
        #[arg(long)]
        uncovered: bool,
    },
}

#[derive(Serialize)]
struct Sources {
    sources: Vec<SourceCoverage>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let Command::List { host, uncovered } = arguments.command;
    let coordinator = session.coordinator().await?;
    let host = host.map(|host| host.to_string());
    let sources = session
        .until_interrupted(async { Ok(coordinator.sources(host, uncovered).await?) })
        .await?;
    let ui = &session.ui;
    if ui.is_json() {
        session.answer(&Sources { sources })?;
        return Ok(Code::Done);
    }
    if sources.is_empty() {
        ui.say(if uncovered {
            "Every source is covered by a plan"
        } else {
            "No sources: hosts tell of them when their agents attach"
        });
        return Ok(Code::Done);
    }
    let mut table = Table::new(&["host", "source", "kind", "plans", "path", "notes"]);
    for entry in &sources {
        let source = &entry.source;
        let found = (!source.configured).then(|| "found, not configured in its agent.toml".to_owned());
        let left_out = entry
            .excluded
            .then(|| "its host is left out by a plan".to_owned());
        let notes: Vec<String> = found
            .into_iter()
            .chain(left_out)
            .chain(source.problem.clone())
            .collect();
        table.row([
            entry.host.clone().into(),
            source.name.clone().into(),
            source.kind.clone().into(),
            if entry.plans.is_empty() {
                Cell::toned(Tone::Warn, "none")
            } else {
                entry.plans.join(", ").into()
            },
            source.path.clone().into(),
            notes.join("; ").into(),
        ]);
    }
    table.print(ui)?;
    Ok(Code::Done)
}
