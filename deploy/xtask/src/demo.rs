//! `cargo xtask demo`: the main job on this machine, in front of a person.
//!
//! # Overview
//!
//! [`fleet`] runs a coordinator and three hosts, each with its own data, repository and busy writer; [`one_host`]
//! runs the agent alone. Nothing is simulated: the binaries are those that a fleet would run. Everything lies in one
//! folder below cargo's target directory, which the next demo replaces.
//!
//! # Cancellation
//!
//! Writers end when their standard input closes, and daemons are killed with this process ([`Beside`]): nothing can
//! outlive it, however it ends.

mod beside;
mod fleet;
mod one_host;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;
use clap::Args;

use self::beside::Beside;
use crate::terminal;
use crate::workspace::{Selection, Workspace, succeed};

/// What to rehearse.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// The agent of one host alone, without a coordinator
    #[arg(long)]
    one_host: bool,
    /// Your own LanceDB directory instead of sample data; it is only read (one host)
    #[arg(long, value_name = "DIR")]
    lancedb: Option<PathBuf>,
    /// Your own audit log instead of sample data; it is only read (one host)
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// A repository elsewhere, such as s3://bucket/prefix; the demo makes a new one below it (one host)
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// Damage one pack of the repository on purpose: the drill must turn red and name what it hit (one host)
    #[arg(long, conflicts_with = "repository")]
    damage: bool,
}

impl Options {
    /// One host, without a coordinator.
    pub(crate) fn one_host() -> Self {
        Self {
            one_host: true,
            ..Self::default()
        }
    }

    /// A demo over damage made on purpose.
    pub(crate) fn with_damage() -> Self {
        Self {
            damage: true,
            ..Self::default()
        }
    }

    fn is_of_one_host(&self) -> bool {
        self.one_host
            || self.damage
            || self.lancedb.is_some()
            || self.audit_log.is_some()
            || self.repository.is_some()
    }
}

/// Builds the binaries and runs the main job.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    build(workspace)?;
    if options.is_of_one_host() {
        one_host::run(workspace, options)
    } else {
        fleet::run(workspace)
    }
}

/// Builds what hosts run. The first build compiles LanceDB.
fn build(workspace: &Workspace) -> Result<()> {
    terminal::step("build (the first time this takes a while: LanceDB is large)");
    for selection in Selection::ALL {
        succeed(workspace.cargo_on("build", selection)?.arg("--bins"))?;
    }
    Ok(())
}

/// Sample data as an application would have it, and a process that goes on writing it.
fn sample_data(program: &Path, data: &Path) -> Result<Beside> {
    terminal::step("write sample data: three tables with indices, and a chained audit log");
    succeed(Command::new(program).arg("create").arg(data).stdin(Stdio::null()))?;
    terminal::step("start a writer that adds, updates, deletes, compacts and cleans up meanwhile");
    Beside::start(Command::new(program).arg("write").arg(data))
}

/// The `[[source]]` entries of what `dr-sample` writes.
fn sample_sources(data: &Path) -> String {
    format!(
        "\n[[source]]\nname = \"memory\"\nkind = \"lancedb\"\npath = {database}\n\n\
         [[source]]\nname = \"audit\"\nkind = \"audit-log\"\npath = {log}\nrotated = \"audit.log.*\"\n\
         chain = {{ algorithm = \"sha256\", hash = \"hash\", previous = \"prev_hash\", \
         canonical = \"json-sorted-compact\" }}\n",
        database = quoted(&data.join("rocketship-db")),
        log = quoted(&data.join("logs").join("audit.log")),
    )
}

fn quoted(path: &Path) -> String {
    toml_string(&path.display().to_string())
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
