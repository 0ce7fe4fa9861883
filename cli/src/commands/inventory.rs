//! `drctl inventory …`: which hosts should be there, and which are.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_proto::model::expected;
use dr_proto::view::InventoryDiff;
use dr_terminal::{Cell, Table, Tone, Ui};

use crate::error::{Class, Doing, Failure, Outcome};
use crate::session::Session;
use crate::show::{dash, short_time};

/// The largest file that is read: 50,000 hosts with many labels.
const LARGEST: u64 = 32 << 20;

/// Arguments of `inventory`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hand over the list of hosts that should be there; it takes the place of the last one
    Import {
        /// A JSON list: [{ "host": "db-1", "labels": { "env": "prod" } }]
        file: PathBuf,
    },
    /// Show hosts that should be there and are not, and hosts that nobody expected; ends with 3 if there are any
    Diff,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Import { file } => import(session, file).await,
        Command::Diff => diff(session).await,
    }
}

async fn import(session: &Session, file: PathBuf) -> Outcome {
    let reading = || format!("read {}", file.display());
    let size = std::fs::metadata(&file).doing(reading)?.len();
    if size > LARGEST {
        let message = format!("{} has {size} bytes, at most {LARGEST} are read", file.display());
        return Err(Failure::new(Class::Usage, message));
    }
    let bytes = std::fs::read(&file).doing(reading)?;
    let hosts = expected::parse(&bytes).map_err(|error| {
        let message = format!("{}: {}", file.display(), dr_terminal::in_one_line(&error));
        Failure::new(Class::Configuration, message)
            .hint("nothing was handed over; mend the list and give it again")
    })?;
    let coordinator = session.coordinator().await?;
    let done = session
        .until_interrupted(async { Ok(coordinator.import_inventory(hosts).await?) })
        .await?;
    if session.ui.is_json() {
        session.answer(&done)?;
    } else {
        session.ui.data(&format!(
            "{} hosts are expected: {} more than before, {} no longer",
            done.hosts, done.added, done.removed
        ))?;
        if done.removed > 0 {
            session
                .ui
                .say("Hosts that left the list stay known: `drctl agent retire HOST` gives one up");
        }
    }
    Ok(Code::Done)
}

async fn diff(session: &Session) -> Outcome {
    let coordinator = session.coordinator().await?;
    let diff = session
        .until_interrupted(async { Ok(coordinator.inventory_diff().await?) })
        .await?;
    if session.ui.is_json() {
        session.answer(&diff)?;
    } else {
        print(&session.ui, &diff)?;
    }
    // Only a part of what should be there is there, or more than that.
    Ok(if diff.missing.is_empty() && diff.unexpected.is_empty() {
        Code::Done
    } else {
        Code::Partial
    })
}

fn print(ui: &Ui, diff: &InventoryDiff) -> std::io::Result<()> {
    if !diff.missing.is_empty() || !diff.unexpected.is_empty() {
        let mut table = Table::new(&["host", "what", "labels", "since", "last seen", "notes"]);
        for host in &diff.missing {
            let tone = if host.overdue { Tone::Bad } else { Tone::Warn };
            table.row([
                host.host.clone().into(),
                Cell::toned(tone, "missing"),
                labels(&host.labels).into(),
                short_time(host.listed).into(),
                dash(host.last_seen.map(short_time)).into(),
                host.reason.clone().into(),
            ]);
        }
        for host in &diff.unexpected {
            table.row([
                host.host.clone().into(),
                Cell::toned(Tone::Warn, "unexpected"),
                labels(&host.labels).into(),
                dash(host.enrolled.map(short_time)).into(),
                dash(host.last_seen.map(short_time)).into(),
                "enrolled, and not in the list".into(),
            ]);
        }
        table.print(ui)?;
    }
    ui.data(&format!(
        "{} hosts are expected, {} missing, {} unexpected; list of {} by {}",
        diff.hosts,
        diff.missing.len(),
        diff.unexpected.len(),
        short_time(diff.imported),
        diff.imported_by
    ))
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.join(",")
}
