//! `dr-agent snapshot`.

use clap::Args;
use dr_lance::pins::FreeSpace;
use dr_vault::progress::Progress;

use super::probes;
use crate::config::{Floor, Size};
use crate::error::Outcome;
use crate::exit::Code;
use crate::session::Session;
use crate::snapshot::{self, FactsOptions, FactsOutcome, PinLimits, Request};
use crate::state::scratch::Area;
use crate::ui::Tone;
use crate::ui::progress::watch;

/// The most places of damage that are named on the terminal.
const MOST_DAMAGE: usize = 8;

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these sources; all that are configured if none is named
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    /// Read every file again, also those that can not have changed
    #[arg(long)]
    reread: bool,
    /// Do not measure digests and golden answers afterwards: drills will have nothing to compare with
    #[arg(long)]
    no_facts: bool,
    /// Why this snapshot is taken, for whoever reads the list
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let lock = session.begin_yielding("snapshot").await?;
    let sources = session.sources(&arguments.sources)?;
    let repository = session.repository().await?;
    let staging = Area::new(session.state()?.staging()).claim("snapshot", session.clock.now())?;
    let request = Request {
        host: session.config.agent.host.clone(),
        sources,
        staging: staging.path().to_owned(),
        reread: arguments.reread,
        reason: arguments.reason,
        pins: pin_limits(session),
        facts: (!arguments.no_facts).then(|| facts(session)),
    };
    let (progress, stop) = (Progress::new(), session.stop.token());
    let work = snapshot::run(&repository, request, &session.clock, &progress, stop);
    let outcome = watch(&session.ui, "snapshot", &progress, work).await?;
    drop((staging, lock));
    print(session, &outcome)?;
    Ok(code(&outcome))
}

/// A suspect cut proves nothing, a damaged source is in the snapshot only in part.
fn code(outcome: &snapshot::Outcome) -> Code {
    if outcome.suspect.is_some() {
        Code::Inconclusive
    } else if outcome.sources.iter().any(|source| !source.damage.is_empty()) {
        Code::Partial
    } else {
        Code::Done
    }
}

fn pin_limits(session: &Session) -> PinLimits {
    let pins = &session.config.limits.pins;
    PinLimits {
        max_age: pins.max_age.0,
        min_free: match pins.min_free {
            Floor::Share(percent) => FreeSpace::Percent(percent.0),
            Floor::Bytes(size) => FreeSpace::Bytes(size.0),
        },
    }
}

fn facts(session: &Session) -> FactsOptions {
    FactsOptions {
        probes: session.config.agent.probes.clone(),
        beside: probes::beside(),
        memory: probes::memory(session),
        budget: probes::DEADLINE,
        queries: 8,
        k: 10,
    }
}

fn print(session: &Session, outcome: &snapshot::Outcome) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(outcome);
    }
    let cut = if outcome.exact {
        "exact cut".to_owned()
    } else {
        format!("cut within a window of {:.2} s", outcome.window_seconds)
    };
    let stats = &outcome.stats;
    ui.data(&format!(
        "snapshot {} committed in {:.1} s: {cut} at {}",
        outcome.id, outcome.seconds, outcome.cut
    ))?;
    ui.data(&format!(
        "  {} files, {}; {} files unchanged and not read; {} new, {} uploaded in {} packs",
        stats.files,
        Size(stats.bytes),
        stats.files_unchanged,
        Size(stats.bytes_new),
        Size(stats.bytes_stored),
        stats.packs
    ))?;
    for source in &outcome.sources {
        ui.data(&format!(
            "  {} ({}): {}; pins: {}",
            source.name, source.kind, source.figure, source.pins
        ))?;
        for note in &source.notes {
            ui.say(&format!("    {note}"));
        }
        for damage in source.damage.iter().take(MOST_DAMAGE) {
            ui.warn(&format!("source {} is damaged: {damage}", source.name));
        }
        if let Some(more) = source
            .damage
            .len()
            .checked_sub(MOST_DAMAGE)
            .filter(|more| *more > 0)
        {
            ui.warn(&format!(
                "source {} is damaged in {more} more places",
                source.name
            ));
        }
    }
    ui.data(&format!("  facts: {}", describe(&outcome.facts)))?;
    if let FactsOutcome::Stored { faults, .. } = &outcome.facts {
        faults.iter().for_each(|fault| ui.warn(fault));
    }
    if let Some(why) = &outcome.suspect {
        ui.warn(&ui.paint(
            Tone::Bad,
            &format!("this snapshot is SUSPECT and will not be `latest`: {why}"),
        ));
    }
    Ok(())
}

fn describe(facts: &FactsOutcome) -> String {
    match facts {
        FactsOutcome::Stored {
            tables,
            rows_read,
            queries,
            ..
        } => {
            format!("{tables} tables measured, {rows_read} rows read, {queries} golden queries recorded")
        }
        FactsOutcome::Missing { reason } => {
            format!("MISSING, drills will have nothing to compare with: {reason}")
        }
        FactsOutcome::NothingToMeasure => "no database to measure".to_owned(),
        FactsOutcome::NotAsked => "not measured, as asked".to_owned(),
    }
}
