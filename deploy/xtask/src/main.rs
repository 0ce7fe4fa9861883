//! The project's one entry for builds, tests, the demo and benches: `cargo xtask <task>`.
//!
//! # Overview
//!
//! A task is a file here. All of them call cargo with the same two package selections (see [`workspace`]), so that
//! no dependency is compiled twice because of features, and `.ci/run` is nothing but `cargo xtask ci`: what passes
//! here passes there.
//!
//! # Layout
//!
//! [`workspace`] runs cargo, [`tools`] installs what only some tasks need into a cache outside the checkout,
//! [`terminal`] is the only place that prints.

mod bench;
mod ci;
mod demo;
mod lint;
mod soak;
mod terminal;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, tests, demo and benches of the project"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the main job on this machine: sample data, snapshots under a busy writer, a restore drill, the report.
    Demo(demo::Options),
    /// Run all tests.
    Test(test::Options),
    /// Check format, lints, source sizes and words that do not belong in the tree.
    Lint,
    /// Build the documentation with warnings as errors.
    Docs,
    /// Check licences, sources, duplicates and advisories of dependencies.
    Deny(ci::DenyOptions),
    /// Run everything that a change must pass: lint, dependencies, tests, documentation.
    Ci,
    /// Measure, in a release build.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Run the system tests in the volumes that a proof names rather than those of CI.
    Soak(soak::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            terminal::failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::Test(options) => test::run(&workspace, &options).map(|summary| summary.exit_code()),
        Task::Lint => lint::run(&workspace).map(|()| ExitCode::SUCCESS),
        Task::Docs => ci::docs(&workspace).map(|()| ExitCode::SUCCESS),
        Task::Deny(options) => ci::deny(&workspace, &options).map(|()| ExitCode::SUCCESS),
        Task::Ci => ci::run(&workspace),
        Task::Bench(bench) => bench::run(&workspace, &bench).map(|()| ExitCode::SUCCESS),
        Task::Soak(options) => soak::run(&workspace, &options),
    }
}
