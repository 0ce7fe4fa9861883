//! `dr-coordinator pki rotate` and `pki status`.

use std::path::Path;

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_terminal::{Table, Ui};
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Outcome;
use crate::pki::{Authority, Phase, Root, rotate};

/// Arguments of `pki rotate`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new root; everybody comes to trust it, the old one goes on signing
    Start,
    /// Let the new root sign
    Switch(AtOnce),
    /// Trust the old root no more, and destroy its key
    Retire(AtOnce),
}

#[derive(Debug, Args)]
struct AtOnce {
    /// Although it is too early: agents that do not know the new root, or still need the old one, must be enrolled
    /// again
    #[arg(long)]
    now: bool,
}

/// Where the roots stand.
#[derive(Debug, Serialize)]
struct Standing {
    roots: Vec<Root>,
    next_step: Option<&'static str>,
    next_from: Option<Timestamp>,
}

impl Standing {
    fn of(roots: Vec<Root>, now: Timestamp) -> Self {
        let phase = |phase: Phase| roots.iter().find(|root| root.phase == phase);
        let (next_step, next_from) = match (phase(Phase::Next), phase(Phase::Retiring)) {
            (Some(next), _) => (Some("switch"), next.known_from),
            (None, Some(retiring)) => (Some("retire"), retiring.last_issued_until()),
            (None, None) => (None, None),
        };
        Self {
            roots,
            next_step,
            next_from: next_from.filter(|from| *from > now),
        }
    }
}

pub(super) fn run(ui: &Ui, dir: &Path, arguments: &Arguments, now: Timestamp) -> Outcome {
    let authority = Authority::open(dir)?;
    let roots = match &arguments.command {
        Command::Start => rotate::start(&authority, now)?,
        Command::Switch(at_once) => rotate::switch(&authority, at_once.now, now)?,
        Command::Retire(at_once) => rotate::retire(&authority, at_once.now, now)?,
    };
    report(ui, &Standing::of(roots, now))
}

pub(super) fn status(ui: &Ui, dir: &Path, now: Timestamp) -> Outcome {
    let roots = Authority::open(dir)?.roots()?;
    report(ui, &Standing::of(roots, now))
}

fn report(ui: &Ui, standing: &Standing) -> Outcome {
    if ui.is_json() {
        ui.json(standing)?;
        return Ok(Code::Done);
    }
    let mut table = Table::new(&[
        "root",
        "phase",
        "since",
        "ends",
        "last certificate ends",
        "sha-256",
    ]);
    for root in &standing.roots {
        let phase = match root.phase {
            Phase::Next => "next",
            Phase::Signing => "signing",
            Phase::Retiring => "retiring",
        };
        let last = root.last_issued_until().map_or_else(|| "-".to_owned(), day);
        table.row([
            root.number.to_string(),
            phase.to_owned(),
            day(root.since),
            day(root.not_after),
            last,
            root.fingerprint.to_string(),
        ]);
    }
    table.print(ui)?;
    match (standing.next_step, standing.next_from) {
        (None, _) => {}
        (Some(step), None) => ui.data(&format!("Next: `dr-coordinator pki rotate {step}`, from now."))?,
        (Some(step), Some(from)) => {
            ui.data(&format!("Next: `dr-coordinator pki rotate {step}`, from {from}."))?;
        }
    }
    if standing.next_step == Some("switch") {
        ui.say(
            "Agents and coordinators take the new root by themselves. Give ca.pem to operators and viewers.",
        );
    }
    Ok(Code::Done)
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}
