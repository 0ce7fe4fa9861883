//! `cargo xtask soak`: the system tests in full volume.
//!
//! # Overview
//!
//! CI holds a small volume of each proof; soak runs the same tests with `DR_VOLUME=soak`. Seeds are printed and can be
//! set, so that a failure is repeated; `--only` names a case, so that a long soak is resumed where it stopped. A
//! summary in JSON is written at the end.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::{Selection, Workspace};
use crate::{terminal, test, tools};

/// The probe's test that flips bits by class of file.
const DETECTION: &str = "detection::flips_are_found_or_harmless_and_never_break_the_host";
/// Flips of each class.
const FLIPS: u32 = 60;

/// How to soak.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the cases whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// The seed of everything that is drawn by chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the summary goes.
    #[arg(long, default_value = "soak.json")]
    summary: PathBuf,
}

/// Runs the cases that have a volume, one at a time.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    for selection in Selection::ALL {
        test::build(workspace, selection)?;
    }
    let python = tools::python(workspace)?;
    let figures = tempfile::NamedTempFile::new().context("make a file for the figures of soak")?;
    terminal::step(&format!("soak with seed {}", options.seed));
    let mut command = workspace.cargo_on("test", Selection::Rest)?;
    command.args([
        "--test",
        "cases",
        "--no-fail-fast",
        "--",
        "--test-threads=1",
        "--nocapture",
    ]);
    command.args(&options.only);
    command
        .env("DR_VOLUME", "soak")
        .env("DR_SEED", options.seed.to_string())
        .env("DR_FIGURES", figures.path());
    if let Some(python) = python {
        command.env("DR_PYTHON", python);
    }
    let status = command
        .stdin(Stdio::null())
        .status()
        .context("run the system tests")?;
    let detection = detection(workspace, options, figures.path())?;
    let lines = std::fs::read_to_string(figures.path()).context("read the figures of soak")?;
    let figures = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<serde_json::Value>, _>>();
    let summary = serde_json::json!({
        "seed": options.seed,
        "only": options.only,
        "passed": status.success() && detection,
        "figures": figures.context("read a figure of soak")?,
    });
    let text = serde_json::to_string_pretty(&summary).context("write the summary as JSON")?;
    std::fs::write(&options.summary, text + "\n")
        .with_context(|| format!("write {}", options.summary.display()))?;
    terminal::result(&format!("summary: {}", options.summary.display()));
    Ok(if status.success() && detection {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many flips of bits the probe finds by class of file: the figures of `agent/probe/DETECTION.md`. Answers whether
/// that passed, or was not wanted.
fn detection(workspace: &Workspace, options: &Options, figures: &Path) -> Result<bool> {
    if options
        .only
        .as_deref()
        .is_some_and(|only| !DETECTION.contains(only))
    {
        return Ok(true);
    }
    terminal::step(&format!("flip {FLIPS} bits of each class of files"));
    let mut command = workspace.cargo_on("test", Selection::Probe)?;
    command.args(["--test", "probe", "--", DETECTION, "--nocapture"]);
    command
        .env("DR_FLIPS", FLIPS.to_string())
        .env("DR_FIGURES", figures)
        .stdin(Stdio::null());
    Ok(command.status().context("run the probe's tests")?.success())
}
