//! `drctl check vector-db|audit-log|dr-integrity`: live data on hosts, read-only.

use clap::{Args, Subcommand};
use dr_proto::model::units::Period;
use dr_proto::model::{CheckKind, CheckWork, Work};
use dr_terminal::arguments::period;

use super::hosts::Hosts;
use super::wait::{self, Following, Waiting};
use crate::coordinator::What;
use crate::error::Outcome;
use crate::session::Session;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every table of the live databases: head readable, files complete, branches safe
    VectorDb(Check),
    /// The live audit logs: framing, JSON, chain, and that they continue the last snapshot
    AuditLog(Check),
    /// The recovery itself: ages of the last snapshot and proof, and bit rot by re-hashing live files
    DrIntegrity(Check),
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    hosts: Hosts,
    /// Only this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// How long each host may take; four hours if not given
    #[arg(long, value_name = "TIME", value_parser = period)]
    deadline: Option<Period>,
    /// Start it and do not wait for the answer
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    following: Following,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let (kind, check) = match arguments.command {
        Command::VectorDb(check) => (CheckKind::VectorDb, check),
        Command::AuditLog(check) => (CheckKind::AuditLog, check),
        Command::DrIntegrity(check) => (CheckKind::DrIntegrity, check),
    };
    let work = CheckWork {
        kind,
        sources: check.sources,
    };
    let what = What::Work {
        hosts: check.hosts.where_to(),
        work: Box::new(Work::Check(work)),
        deadline: check.deadline.map(|period| period.0),
        reason: None,
    };
    let waiting = Waiting {
        wait: !check.detach,
        following: check.following,
    };
    wait::start(session, what, &waiting).await
}
