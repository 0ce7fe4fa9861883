//! `dr-agent snapshot`.

use clap::Args;
use dr_proto::model::HoldTerms;
use dr_terminal::arguments::{period, said};
use dr_vault::progress::Progress;

use crate::config::{Period, Size};
use crate::error::Outcome;
use crate::exit::Code;
use crate::job;
use crate::session::Session;
use crate::snapshot::{self, FactsOutcome, HoldOutcome};
use crate::ui::progress::watch;

/// The most places of damage that are named on the terminal.
const MOST_DAMAGE: usize = 8;

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  dr-agent snapshot\n  dr-agent snapshot memory --reason pre-upgrade --hold 30d"
)]
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
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: Option<String>,
    /// Hold it for so long, such as 30d: retention leaves it alone. The reason is that of the snapshot
    #[arg(long, value_name = "TIME", requires = "reason", value_parser = period)]
    hold: Option<Period>,
    /// The cut is right although it looks suspect: you looked at the data. Later ones are compared with it
    #[arg(long, requires = "reason")]
    accept: bool,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let ask = job::snapshot::Ask {
        sources: arguments.sources,
        reread: arguments.reread,
        hold: arguments.hold.map(|period| HoldTerms {
            reason: arguments.reason.clone().unwrap_or_default(),
            lasts_seconds: Some(period.0.as_secs()),
        }),
        accept: arguments.accept,
        reason: arguments.reason,
        facts: !arguments.no_facts,
    };
    let progress = Progress::new();
    let work = job::snapshot::run(session, ask, &progress);
    let outcome = watch(&session.ui, "snapshot", &progress, work).await?;
    print(session, &outcome)?;
    Ok(code(&outcome))
}

/// A suspect cut proves nothing; a damaged source, also one whose damage only decoding shows, is in the snapshot only in
/// part, and a snapshot that is not held as asked may be gone when it is needed.
fn code(outcome: &snapshot::Outcome) -> Code {
    if outcome.suspect.is_some() {
        Code::Inconclusive
    } else if outcome.sources.iter().any(|source| !source.damage.is_empty())
        || !outcome.gone.is_empty()
        || !outcome.facts.disproved().is_empty()
        || matches!(outcome.hold, HoldOutcome::Missing { .. })
    {
        Code::Partial
    } else {
        Code::Done
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
        for warning in &source.warnings {
            ui.warn(&format!("source {}: {warning}", source.name));
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
    for damaged in &outcome.damaged_before {
        ui.warn(&format!(
            "a snapshot before this one can not be opened: {damaged}; this one was compared with an older one"
        ));
    }
    for name in &outcome.gone {
        ui.warn(&format!(
            "source {name} is in the snapshot before and NOT IN THIS ONE: nothing matches it any more; is it mounted, \
             and may this user read it?"
        ));
    }
    if let Some(why) = &outcome.accepted {
        ui.data(&format!("  accepted, although it looked suspect: {why}"))?;
    }
    match &outcome.hold {
        HoldOutcome::NotAsked => {}
        HoldOutcome::Set(hold) => ui.data(&format!("  {}", hold.note(outcome.cut)))?,
        HoldOutcome::Missing { reason } => ui.warn(&format!(
            "the snapshot is committed and NOT HELD, retention may take it: {reason}; give `dr-agent snapshots hold {}`",
            outcome.id
        )),
    }
    ui.data(&format!("  facts: {}", describe(&outcome.facts)))?;
    if let FactsOutcome::Stored { faults, .. } = &outcome.facts {
        faults.iter().for_each(|fault| ui.warn(fault));
    }
    if let [first, ..] = outcome.facts.disproved() {
        let more = match outcome.facts.disproved().len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let what = format!("the snapshot is kept, and its data can not be used: {first}{more}");
        ui.warn(&what);
    }
    if let Some(why) = &outcome.suspect {
        ui.warn(&format!(
            "this snapshot is SUSPECT and will not be `latest`: {why}"
        ));
        ui.say("Hint: look at the data; if they are right, take one with --accept --reason TEXT");
    }
    Ok(())
}

fn describe(facts: &FactsOutcome) -> String {
    match facts {
        FactsOutcome::Stored {
            tables,
            rows_read,
            rewrites,
            queries,
            ..
        } => {
            let rewrites = match rewrites {
                0 => String::new(),
                1 => ", 1 rewrite of rows judged".to_owned(),
                some => format!(", {some} rewrites of rows judged"),
            };
            format!(
                "{tables} tables measured, {rows_read} rows read{rewrites}, {queries} golden queries recorded"
            )
        }
        FactsOutcome::Missing { reason, .. } => {
            format!("MISSING, drills will have nothing to compare with: {reason}")
        }
        FactsOutcome::NothingToMeasure => "no database to measure".to_owned(),
        FactsOutcome::NotAsked => "not measured, as asked".to_owned(),
    }
}
