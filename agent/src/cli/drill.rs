//! `dr-agent drill`.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use dr_probe_wire::compare::Rules;
use dr_proto::model::{Cause, DrillKind, Outcome as CheckOutcome, Report, Verdict};
use dr_proto::render::Evidence;
use dr_vault::progress::Progress;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::{evidence, probes};
use crate::config::Size;
use crate::drill::{self, ProbeOptions, Request};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::report;
use crate::session::Session;
use crate::state::scratch::Claim;
use crate::stop::Reason;
use crate::ui::progress::watch;

/// Arguments of `drill`.
#[derive(Debug, Args)]
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
    /// By how much recall may be below recall at the cut, where another probe version answers
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    recall_tolerance: f64,
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
    let asked = Instant::now();
    let lock = session.begin_yielding("drill").await?;
    let repository = session.repository().await?;
    let scratch = session.scratch().claim("drill", session.clock.now())?;
    let request = Request {
        kind: arguments.kind,
        snapshot: arguments.snapshot,
        host: session.config.agent.host.clone(),
        scratch: scratch.path().to_owned(),
        spool: session.state()?.cache(),
        bytes_budget: arguments.bytes_budget.map(|size| size.0),
        probe: ProbeOptions {
            probes: session.config.agent.probes.clone(),
            beside: probes::beside(),
            memory: probes::memory(session),
            deadline: probes::DEADLINE,
            rules: Rules {
                recall_tolerance: arguments.recall_tolerance,
                ..Rules::default()
            },
        },
        asked,
    };
    let (progress, stop) = (Progress::new(), session.stop.token());
    let work = drill::run(
        &repository,
        &session.counters,
        &request,
        &session.clock,
        &progress,
        stop,
    );
    let mut report = watch(&session.ui, "drill", &progress, work).await?;
    if session.stop.reason() == Some(Reason::HostBusy) {
        blame_the_host(&mut report);
    }
    clear(session, scratch, report.verdict);
    let path = report::save(&session.state()?.reports(), &report)?;
    record(session, &repository, &report).await;
    drop(lock);
    print(session, &report, &path)?;
    evidence::publish(session, &arguments.evidence, &Evidence::from(&report))?;
    Ok(match (report.verdict, session.stop.reason()) {
        (Verdict::Failed, Some(Reason::HostBusy)) => Verdict::Failed.into(),
        (_, Some(reason)) => reason.code(),
        (verdict, None) => verdict.into(),
    })
}

/// What was cancelled because the host is busy says so.
fn blame_the_host(report: &mut Report) {
    let checks = report.sources.iter_mut().flat_map(|source| &mut source.checks);
    for check in checks {
        if check.outcome == CheckOutcome::Inconclusive(Cause::Cancelled) {
            check.outcome = CheckOutcome::Inconclusive(Cause::HostBusy);
        }
    }
}

/// Removes scratch, or leaves it for a look where the drill did not pass and the configuration says so.
fn clear(session: &Session, scratch: Claim, verdict: Verdict) {
    let keep = session.config.agent.scratch.keep_failed.0;
    let cleared = if verdict == Verdict::Failed && keep > Duration::ZERO {
        let until =
            session.clock.now() + SignedDuration::try_from(keep).unwrap_or(SignedDuration::from_hours(24));
        scratch.keep(until).map(|path| {
            session.ui.say(&format!(
                "The restored copy stays in {} until {until}",
                path.display()
            ));
        })
    } else {
        scratch.remove()
    };
    if let Err(error) = cleared {
        session.ui.warn(&format!(
            "scratch is left behind, the next command sweeps it: {error}"
        ));
    }
}

/// The record of a drill lives beside the snapshots, so that it outlives the host; a store that refuses it does not
/// change the verdict.
async fn record(session: &Session, repository: &dr_vault::Repository, report: &Report) {
    let text = match serde_json::to_vec(report) {
        Ok(text) => text,
        Err(error) => return session.ui.warn(&format!("the report is no JSON: {error}")),
    };
    let stored = session.until_stopped(async {
        repository
            .put_drill(&text)
            .await
            .doing(|| "store the drill's record in the repository".to_owned())
    });
    if let Err(failure) = stored.await {
        session.ui.warn(&format!(
            "the record of this drill is not in the repository: {failure:?}"
        ));
    }
}

fn print(session: &Session, report: &Report, path: &std::path::Path) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(report);
    }
    ui.data(&report::page(report, ui.has_color(), None))?;
    ui.data(&format!("report     {}", path.display()))
}
