//! `dr-agent restore`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dr_vault::Manifest;
use dr_vault::progress::Progress;
use dr_vault::restore::{Existing, Place, Plan, Report};

use crate::config::Size;
use crate::error::{Class, Failure, Outcome};
use crate::exit::Code;
use crate::job;
use crate::job::restore::Restored;
use crate::session::Session;
use crate::ui::progress::watch;

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  dr-agent restore --to /srv/restore --dry-run\n  dr-agent restore --source memory --table notes --to /srv/restore\n  dr-agent restore --repository s3://acme-dr/hosts/db-1 --identity recovery.key --to /srv/restore"
)]
pub(super) struct Arguments {
    /// The snapshot: `latest`, an id, or the beginning of one
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    /// Only this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Only this table of a database
    #[arg(long, value_name = "TABLE", conflicts_with = "paths")]
    table: Option<String>,
    /// Only what lies at this path in a source; `*`, `?` and `**` are understood; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// Restore each source into a folder of its name below this one
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "in_place",
        conflicts_with = "in_place"
    )]
    to: Option<PathBuf>,
    /// Restore each source to where it came from; stop the application first
    #[arg(long)]
    in_place: bool,
    /// What may happen to what stands at the target
    #[arg(long, value_enum, default_value_t)]
    existing: Policy,
    /// Fetch every byte, also of files that stand at the target and have the right hash
    #[arg(long)]
    fetch_all: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What may happen to what stands at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Policy {
    /// Nothing: the target must be absent or empty
    #[default]
    Refuse,
    /// The folder is exchanged as a whole; the old one stays beside it
    Exchange,
    /// What is restored is exchanged entry by entry; everything else in the folder stays
    Entries,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let place = place(&arguments)?;
    let ask = job::restore::Ask {
        snapshot: arguments.snapshot,
        sources: arguments.sources,
        table: arguments.table,
        paths: arguments.paths,
        place,
        existing: match arguments.existing {
            Policy::Refuse => Existing::Refuse,
            Policy::Exchange => Existing::Exchange,
            Policy::Entries => Existing::Entries,
        },
        fetch_all: arguments.fetch_all,
        plan_only: arguments.dry_run,
    };
    let progress = Progress::new();
    let work = job::restore::run(session, ask, &progress, |_| Ok(()));
    match watch(&session.ui, "restore", &progress, work).await? {
        Restored::Planned(plan) => print_plan(session, &plan)?,
        Restored::Done(report, manifest) => print_report(session, &report, &manifest)?,
    }
    Ok(Code::Done)
}

fn place(arguments: &Arguments) -> Result<Place, Failure> {
    let Some(to) = &arguments.to else {
        return Ok(Place::Original);
    };
    let absolute = std::path::absolute(to)
        .map_err(|error| Failure::new(Class::Usage, format!("--to {}: {error}", to.display())))?;
    Ok(Place::BySource(absolute))
}

fn print_plan(session: &Session, plan: &Plan) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(plan);
    }
    ui.data(&format!(
        "would restore {} files, {} of snapshot {}",
        plan.files,
        Size(plan.bytes),
        plan.snapshot
    ))?;
    for placement in &plan.placements {
        ui.data(&format!(
            "  {}: {} files, {} to {} ({} needed, {} free)",
            placement.source,
            placement.files,
            Size(placement.bytes),
            placement.target.display(),
            Size(placement.space_needed),
            Size(placement.space_available),
        ))?;
        if let Some(partial) = &placement.resumes {
            ui.data(&format!(
                "    goes on from {} that an interrupted restore left in {}",
                Size(partial.bytes),
                placement.staging.display()
            ))?;
        }
        for discarded in &placement.discards {
            ui.data(&format!(
                "    removes what another restore left in {}",
                discarded.display()
            ))?;
        }
    }
    for warning in &plan.warnings {
        ui.warn(&format!(
            "{} of {} entries can not be put back, such as {}",
            warning.what, warning.entries, warning.example
        ));
    }
    Ok(())
}

fn print_report(session: &Session, report: &Report, manifest: &Manifest) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(report);
    }
    if let Some(why) = &manifest.suspect {
        ui.warn(&format!("this snapshot is suspect: {why}"));
    }
    ui.data(&format!(
        "restored {} files, {} of snapshot {} in {:.1} s, every byte verified; {} files were right already",
        report.files,
        Size(report.bytes),
        report.snapshot,
        report.millis as f64 / 1000.0,
        report.files_kept,
    ))?;
    if report.bytes_resumed > 0 {
        ui.data(&format!(
            "  {} of it had been written by a run that was interrupted: {} whole files and parts of others; {} were fetched",
            Size(report.bytes_resumed),
            report.files_resumed,
            Size(report.bytes_fetched),
        ))?;
    }
    for placed in &report.placed {
        ui.data(&format!("  {} to {}", placed.source, placed.target.display()))?;
        if let Some(old) = &placed.displaced {
            ui.data(&format!("    what stood there lies in {}", old.display()))?;
        }
    }
    for missing in &report.metadata_missing {
        ui.warn(&format!(
            "{} of {}/{} was not put back: {}",
            missing.what, missing.source, missing.path, missing.reason
        ));
    }
    Ok(())
}
