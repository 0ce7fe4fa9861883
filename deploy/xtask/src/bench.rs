//! `cargo xtask bench`: measurements in a release build.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::terminal;
use crate::workspace::{Workspace, succeed};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The engine's throughput, CPU time and peak memory beside restic and rclone, on the same data and store.
    Engine(EngineOptions),
}

/// How to measure the engine.
#[derive(Debug, Args)]
pub(crate) struct EngineOptions {
    /// Passed on to the driver; `--help` lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and runs one measurement.
pub(crate) fn run(workspace: &Workspace, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Engine(options) => engine(workspace, options),
    }
}

/// The driver is an example of dr-tests: it links the vault alone, no Lance.
fn engine(workspace: &Workspace, options: &EngineOptions) -> Result<()> {
    terminal::step("build the engine's driver in release");
    let selection = [
        "--locked",
        "--release",
        "--package",
        "dr-tests",
        "--example",
        "bench_engine",
    ];
    succeed(workspace.cargo("build")?.args(selection))?;
    let driver = workspace
        .target
        .join("release")
        .join("examples")
        .join("bench_engine");
    succeed(std::process::Command::new(driver).args(&options.arguments))
}
