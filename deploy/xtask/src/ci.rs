//! `cargo xtask ci`, and the tasks that it is made of and that need no file of their own.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::workspace::{Selection, Workspace, succeed};
use crate::{demo, lint, terminal, test, tools};

/// Which parts of the dependency check to run.
#[derive(Debug, Default, Args)]
pub(crate) struct DenyOptions {
    /// Also fetch the advisory database and check against it: needs the internet, not only a registry.
    #[arg(long)]
    advisories: bool,
}

/// Everything that a change must pass.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    lint::run(workspace)?;
    deny(workspace, &DenyOptions::default())?;
    docs(workspace)?;
    rehearse(workspace)?;
    Ok(test::run(workspace, &test::Options::default())?.exit_code())
}

/// What the README promises a newcomer: the demos pass, and the one over damage turns red.
fn rehearse(workspace: &Workspace) -> Result<()> {
    for options in [demo::Options::default(), demo::Options::one_host()] {
        if demo::run(workspace, &options)? != ExitCode::SUCCESS {
            bail!("the demo did not pass: {options:?}");
        }
    }
    let damaged = demo::run(workspace, &demo::Options::with_damage())?;
    if damaged != ExitCode::from(1) {
        bail!("the demo over damage did not end with 1: data disproved");
    }
    Ok(())
}

/// Builds the documentation of our own crates, private items included, with warnings as errors. Not the probe's:
/// rustdoc wants dependencies that were checked, not built, and checking LanceDB too takes minutes.
pub(crate) fn docs(workspace: &Workspace) -> Result<()> {
    let selection = Selection::Rest;
    terminal::step(&format!("build the documentation of {}", selection.name()));
    let mut command = workspace.cargo_on("doc", selection)?;
    command
        .args(["--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    succeed(&mut command)
}

/// Checks the dependencies with cargo-deny; exceptions and their reasons are in `.deny.toml`.
pub(crate) fn deny(workspace: &Workspace, options: &DenyOptions) -> Result<()> {
    let program = tools::cargo_deny(workspace)?;
    terminal::step("check dependencies");
    let mut command = workspace.cargo("deny")?;
    // Cargo finds its subcommands by PATH.
    command.env("PATH", tools::path_with(program.parent())?);
    command.args(["--locked", "--all-features", "--config", ".deny.toml", "check"]);
    command.args(["bans", "licenses", "sources"]);
    if options.advisories {
        command.arg("advisories");
    }
    succeed(&mut command)
}
