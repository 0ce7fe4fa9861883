//! `dr-agent drill`.

use std::str::FromStr;

use clap::Args;
use dr_proto::model::{DrillKind, Loss, Report, SourceKind, Verdict};
use dr_proto::render::Evidence;
use dr_terminal::arguments::{period, share};
use dr_vault::progress::Progress;

use super::evidence;
use crate::config::{Period, Size};
use crate::error::{Class, Failure, Outcome};
use crate::job;
use crate::report;
use crate::session::Session;
use crate::stop::Reason;
use crate::ui::progress::watch;

/// Arguments of `drill`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  dr-agent drill\n  dr-agent drill --kind verify --bytes-budget '50 GiB'\n  dr-agent drill --loss corrupted --hook smoke --junit drill.xml"
)]
pub(super) struct Arguments {
    /// `verify` asks everything in place, `restore` also restores into scratch and asks again there
    #[arg(long, value_name = "KIND", default_value = "restore", value_parser = kind)]
    kind: DrillKind,
    /// The snapshot: `latest`, an id, or the beginning of one
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    /// The most that a `verify` drill reads beyond what its other checks read, least recently verified first
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
    /// By how much recall may be below recall at the cut, where another probe version answers
    #[arg(long, value_name = "SHARE", default_value_t = job::drill::RECALL_TOLERANCE, value_parser = share)]
    recall_tolerance: f64,
    /// Only sources of this kind: `lancedb` or `audit-log`
    #[arg(long, value_name = "KIND", value_parser = SourceKind::from_str)]
    only: Option<SourceKind>,
    /// Ask the restored copy with this hook of agent.toml as well; may be given several times
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,
    #[command(flatten)]
    evidence: evidence::Options,
}

fn kind(text: &str) -> Result<DrillKind, String> {
    match DrillKind::from_str(text) {
        Ok(kind @ (DrillKind::Verify | DrillKind::Restore)) => Ok(kind),
        Ok(other) => Err(format!(
            "{other} drills can not be run by this command: choose verify or restore"
        )),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    if !(0.0..=1.0).contains(&arguments.recall_tolerance) {
        let message = format!(
            "--recall-tolerance {} is no share: give 0 to 1",
            arguments.recall_tolerance
        );
        return Err(Failure::new(Class::Usage, message));
    }
    known(session, &arguments)?;
    let ask = job::drill::Ask {
        kind: arguments.kind,
        snapshot: arguments.snapshot,
        bytes_budget: arguments.bytes_budget.map(|size| size.0),
        bytes_cycle: arguments.bytes_cycle.map(|period| period.0),
        content_cycle: arguments.content_cycle.map(|period| period.0),
        loss: arguments.loss,
        recall_tolerance: arguments.recall_tolerance,
        hooks: arguments.hooks,
        only: arguments.only,
    };
    let progress = Progress::new();
    let work = job::drill::run(session, ask, &progress);
    let drilled = watch(&session.ui, "drill", &progress, work).await?;
    print(session, &drilled.report, &drilled.path)?;
    evidence::publish(session, &arguments.evidence, &Evidence::from(&drilled.report))?;
    Ok(match (drilled.report.verdict, session.stop.reason()) {
        (Verdict::Failed, Some(Reason::HostBusy)) => Verdict::Failed.into(),
        (_, Some(reason)) => reason.code(),
        (verdict, None) => verdict.into(),
    })
}

/// Refuses hooks that nobody could ask anything.
fn known(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.kind != DrillKind::Restore && !arguments.hooks.is_empty() {
        let message = format!(
            "a {} drill restores nothing that a hook could be asked about",
            arguments.kind
        );
        return Err(Failure::new(Class::Usage, message).hint("give --kind restore, or leave --hook away"));
    }
    let defined = &session.config.hooks;
    match arguments.hooks.iter().find(|name| !defined.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let names: Vec<&str> = defined.keys().map(String::as_str).collect();
            let hint = match names.as_slice() {
                [] => "define it under [hook] in agent.toml".to_owned(),
                names => format!("hooks of this host: {}", names.join(", ")),
            };
            Err(Failure::new(Class::NotFound, format!("no hook is called `{name}`")).hint(hint))
        }
    }
}

fn print(session: &Session, report: &Report, path: &std::path::Path) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(report);
    }
    ui.data(&report::page(report, ui.has_color(), ui.width()))?;
    ui.data(&format!("report     {}", path.display()))
}
