//! `dr-agent restore`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dr_vault::Manifest;
use dr_vault::progress::Progress;
use dr_vault::restore::{Existing, Options, Place, Plan, Report, Selection};

use crate::config::Size;
use crate::error::{Class, Doing, Failure, Outcome};
use crate::exit::Code;
use crate::restore;
use crate::session::Session;
use crate::ui::progress::watch;

/// Arguments of `restore`.
#[derive(Debug, Args)]
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
    let lock = (!arguments.dry_run)
        .then(|| session.begin("restore"))
        .transpose()?;
    let repository = session.repository().await?;
    let chosen = async {
        let info = repository.resolve(&arguments.snapshot).await?;
        repository.sync_index().await?;
        Ok::<_, dr_vault::Error>((repository.manifest(&info.id).await?, info.id))
    };
    let (manifest, id) = session
        .until_stopped(async {
            chosen
                .await
                .doing(|| format!("choose snapshot {}", arguments.snapshot))
        })
        .await?;
    let selection = selection(&arguments, &manifest)?;
    let place = place(&arguments)?;
    let options = Options {
        existing: match arguments.existing {
            Policy::Refuse => Existing::Refuse,
            Policy::Exchange => Existing::Exchange,
            Policy::Entries => Existing::Entries,
        },
        keep_right_files: !arguments.fetch_all,
        ..Options::default()
    };
    let planned = session.until_stopped(async {
        Ok(restore::plan(&repository, id, &manifest, selection, &place, options).await?)
    });
    let (plan, swept) = planned.await?;
    for left in swept {
        session.ui.say(&format!(
            "Swept what a restore that was killed left at {}",
            left.staging.display()
        ));
    }
    if arguments.dry_run {
        plan.check_space()?;
        print_plan(session, &plan)?;
        return Ok(Code::Done);
    }
    let (progress, spool) = (Progress::new(), session.state()?.cache());
    let work = restore::execute(
        &repository,
        &manifest,
        plan,
        &spool,
        &progress,
        session.stop.token(),
    );
    let report = watch(&session.ui, "restore", &progress, work).await?;
    drop(lock);
    print_report(session, &report, &manifest)?;
    Ok(Code::Done)
}

fn selection(arguments: &Arguments, manifest: &Manifest) -> Result<Selection, Failure> {
    let selection = Selection {
        sources: arguments.sources.clone(),
        paths: Vec::new(),
    };
    match &arguments.table {
        Some(table) => Ok(restore::select_table(manifest, selection, table)?),
        None => Ok(arguments
            .paths
            .iter()
            .fold(selection, |selection, path| selection.path(path))),
    }
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
