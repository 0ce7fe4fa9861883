//! `cargo xtask bench`: measurements in a release build.

use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::terminal;
use crate::workspace::{Selection, Workspace, succeed};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The engine's throughput, CPU time and peak memory beside restic and rclone, on the same data and store.
    Engine(DriverOptions),
    /// What a coordinator costs: memory for each of 1,000 agents, CPU time, and how long a run over all of them takes.
    Fleet(DriverOptions),
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct DriverOptions {
    /// Passed on to the driver; `--help` lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and runs one measurement. Drivers are examples of dr-tests, and link no Lance.
pub(crate) fn run(workspace: &Workspace, bench: &Bench) -> Result<()> {
    let (driver, options) = match bench {
        Bench::Engine(options) => ("bench_engine", options),
        Bench::Fleet(options) => ("bench_fleet", options),
    };
    terminal::step(&format!("build {} in release", Selection::Rest.name()));
    // Together, so that drivers and the programs that they start share what is compiled.
    succeed(
        workspace
            .cargo_on("build", Selection::Rest)?
            .args(["--release", "--bins", "--examples"]),
    )?;
    let driver = workspace.target.join("release").join("examples").join(driver);
    succeed(Command::new(driver).args(&options.arguments))
}
