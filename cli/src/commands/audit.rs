//! `drctl audit list|verify`.

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_proto::view::{AuditCheck, AuditEntry};
use dr_terminal::{Table, Tone};
use serde::Serialize;

use crate::error::Outcome;
use crate::session::Session;
use crate::show::short_time;

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List who did what, newest first
    List {
        /// How many entries
        #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        /// Only entries before this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        before: u64,
    },
    /// Walk the chain of the log; exit code 1 if an entry does not fit
    Verify {
        /// The head that was noted earlier; exit code 2 if it is another one now
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

#[derive(Serialize)]
struct Entries {
    entries: Vec<AuditEntry>,
}

#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    check: AuditCheck,
    /// Only where a head was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_as_noted: Option<bool>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    session
        .until_interrupted(async {
            match arguments.command {
                Command::List { limit, before } => list(session, limit, before).await,
                Command::Verify { head } => verify(session, head).await,
            }
        })
        .await
}

async fn list(session: &Session, limit: u32, before: u64) -> Outcome {
    let entries = session.coordinator().await?.audit_entries(limit, before).await?;
    if session.ui.is_json() {
        session.answer(&Entries { entries })?;
        return Ok(Code::Done);
    }
    if entries.is_empty() {
        session.ui.say("No entries before that number");
        return Ok(Code::Done);
    }
    let mut table = Table::new(&["number", "at", "actor", "action", "subject", "details"]).figures(&[0]);
    for entry in &entries {
        table.row([
            entry.number.to_string(),
            short_time(entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.details.clone(),
        ]);
    }
    table.print(&session.ui)?;
    Ok(Code::Done)
}

async fn verify(session: &Session, noted: Option<String>) -> Outcome {
    let check = session.coordinator().await?.verify_audit().await?;
    let head_as_noted = noted.as_ref().map(|noted| *noted == check.head);
    let code = match (check.intact, head_as_noted) {
        (false, _) => Code::Disproved,
        (true, Some(false)) => Code::Inconclusive,
        (true, _) => Code::Done,
    };
    let ui = &session.ui;
    if ui.is_json() {
        session.answer(&Verified { check, head_as_noted })?;
        return Ok(code);
    }
    if check.intact {
        ui.data(&format!(
            "{}: {} entries, head {}",
            ui.paint(Tone::Good, "intact"),
            check.entries,
            check.head
        ))?;
        ui.say("Note the head elsewhere: only then can nobody shorten the log unseen");
    } else {
        ui.data(&format!(
            "{} at entry {}: {}",
            ui.paint(Tone::Bad, "BROKEN"),
            check.broken_at.unwrap_or_default(),
            check.reason.as_deref().unwrap_or("no reason was given")
        ))?;
    }
    if let (Some(false), Some(noted)) = (head_as_noted, noted) {
        ui.warn(&format!(
            "the head is no longer {noted}: entries were added since, or the log was replaced"
        ));
    }
    Ok(code)
}
