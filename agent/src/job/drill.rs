//! Rehearses the recovery of a snapshot, and keeps the record of it.

use std::path::PathBuf;
use std::time::Duration;

use dr_probe_wire::compare::Rules;
use dr_proto::model::{Cause, DrillKind, Loss, Outcome, Report, SourceKind, Verdict};
use dr_vault::progress::{Phase, Progress};
use jiff::SignedDuration;
use tokio::time::Instant;

use super::{application, probes};
use crate::daemon::vitals;
use crate::drill::{self, ProbeOptions, Request};
use crate::error::{Doing, Failure};
use crate::report;
use crate::session::Session;
use crate::state::scratch::Claim;
use crate::stop::Reason;

/// By how much recall may be below recall at the cut, where another probe version answers.
pub const RECALL_TOLERANCE: f64 = 0.02;

/// What to rehearse.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `verify` or `restore`.
    pub kind: DrillKind,
    /// `latest`, an id, or the beginning of one.
    pub snapshot: String,
    /// The most that is read beyond what other checks read; unset: everything.
    pub bytes_budget: Option<u64>,
    /// Within this time all bytes are verified once; unset: only now counts.
    pub bytes_cycle: Option<Duration>,
    /// Tables whose digest was proved in place within this time are not scanned there again; unset: all are.
    pub content_cycle: Option<Duration>,
    /// How the data was lost that a `restore` drill brings back; unset: nothing stands at the target.
    pub loss: Option<Loss>,
    /// By how much recall may be below recall at the cut, where another probe version answers.
    pub recall_tolerance: f64,
    /// Only sources of this kind; unset: all.
    pub only: Option<SourceKind>,
    /// Hooks of the host's own file that ask the restored copy.
    pub hooks: Vec<String>,
}

/// A drill that has a report.
#[derive(Debug)]
pub struct Drilled {
    /// The report.
    pub report: Report,
    /// Where it is kept on this host.
    pub path: PathBuf,
}

/// Rehearses, under the lock.
///
/// # Errors
/// When the drill could not begin, or its report could not be kept.
pub async fn run(session: &Session, ask: Ask, progress: &Progress) -> Result<Drilled, Failure> {
    let asked = Instant::now();
    progress.enter(Phase::Preparing);
    let _lock = session.begin_yielding("drill").await?;
    let repository = session.repository().await?;
    let scratch = session.scratch().claim("drill", session.clock.now())?;
    let request = Request {
        kind: ask.kind,
        snapshot: ask.snapshot,
        host: session.config.agent.host.clone(),
        scratch: scratch.path().to_owned(),
        spool: session.state()?.cache(),
        scratch_room: scratch_room(session).await?,
        bytes_budget: ask.bytes_budget,
        bytes_cycle: ask.bytes_cycle,
        content_cycle: ask.content_cycle,
        loss: ask.loss,
        only: ask.only,
        probe: ProbeOptions {
            probes: session.config.agent.probes.clone(),
            beside: probes::beside(),
            memory: probes::memory(session),
            deadline: probes::DEADLINE,
            rules: Rules {
                recall_tolerance: ask.recall_tolerance,
                ..Rules::default()
            },
            exits: session.probe_exits.clone(),
        },
        asked,
    };
    let stop = session.stop.token();
    let store = drill::Store {
        counters: &session.counters,
        circuit: &session.circuit,
    };
    let mut report = drill::run(&repository, store, &request, &session.clock, progress, stop).await?;
    if session.stop.reason() == Some(Reason::HostBusy) {
        blame_the_host(&mut report);
    }
    if !ask.hooks.is_empty() {
        let restored = scratch.path().join("restored");
        application::ask(
            &mut report,
            &session.config,
            &ask.hooks,
            &restored,
            progress,
            stop,
        )
        .await;
        report.finished = session.clock.now();
        report.time_to_proven = asked.elapsed().as_secs_f64();
    }
    progress.step("clearing scratch");
    clear(session, scratch, report.verdict);
    progress.step("sealing the record");
    let path = report::save(&session.state()?.reports(), &report)?;
    record(session, &repository, &report).await;
    Ok(Drilled { report, path })
}

/// What was cancelled because the host is busy says so.
fn blame_the_host(report: &mut Report) {
    let checks = report.sources.iter_mut().flat_map(|source| &mut source.checks);
    for check in checks {
        if check.outcome == Outcome::Inconclusive(Cause::Cancelled) {
            check.outcome = Outcome::Inconclusive(Cause::HostBusy);
        }
    }
}

/// What the configured ceiling leaves beside what earlier drills keep there.
async fn scratch_room(session: &Session) -> Result<Option<u64>, Failure> {
    let Some(max) = session.config.agent.scratch.max else {
        return Ok(None);
    };
    let folder = session.config.agent.scratch_dir();
    let taken = tokio::task::spawn_blocking(move || vitals::bytes(folder)).await?;
    Ok(Some(max.0.saturating_sub(taken)))
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
