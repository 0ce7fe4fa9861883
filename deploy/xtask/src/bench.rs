//! `cargo xtask bench`: measurements in a release build.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::terminal;
use crate::workspace::{Workspace, succeed};

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
    match bench {
        Bench::Engine(options) => drive(workspace, "bench_engine", &[], options),
        Bench::Fleet(options) => drive(workspace, "bench_fleet", &["dr-coordinator", "drctl"], options),
    }
}

/// Builds a driver and the programs that it starts, in release, and runs it.
fn drive(workspace: &Workspace, driver: &str, programs: &[&str], options: &DriverOptions) -> Result<()> {
    terminal::step(&format!("build {driver} in release"));
    for program in programs {
        let selection = ["--locked", "--release", "--package", program, "--bin", program];
        succeed(workspace.cargo("build")?.args(selection))?;
    }
    let selection = [
        "--locked",
        "--release",
        "--package",
        "dr-tests",
        "--example",
        driver,
    ];
    succeed(workspace.cargo("build")?.args(selection))?;
    let driver = workspace.target.join("release").join("examples").join(driver);
    succeed(std::process::Command::new(driver).args(&options.arguments))
}
