//! `cargo xtask demo`: the main job on this machine, from sample data to the report of a restore drill.
//!
//! # Overview
//!
//! Nothing is simulated: the binaries are those that a host would run, the repository is a folder (or a bucket), and
//! unless a person brings data of their own, a writer goes on writing, compacting and cleaning up in the database
//! while it is cut. Everything lies in one folder below cargo's target directory, which the next demo replaces.
//!
//! # Cancellation
//!
//! The writer ends when its standard input closes, so it can not outlive this process, however that ends.

mod damage;
mod stage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::stage::Stage;
use crate::terminal::{self, Stopwatch};
use crate::workspace::{Selection, Workspace, succeed, words};

/// What to rehearse.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Your own LanceDB directory instead of sample data; it is only read
    #[arg(long, value_name = "DIR")]
    lancedb: Option<PathBuf>,
    /// Your own audit log instead of sample data; it is only read
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// A repository elsewhere, such as s3://bucket/prefix; the demo makes a new one below it
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// Damage one pack of the repository on purpose: the drill must turn red and name what it hit
    #[arg(long, conflicts_with = "repository")]
    damage: bool,
}

impl Options {
    /// A demo over damage made on purpose.
    pub(crate) fn with_damage() -> Self {
        Self {
            damage: true,
            ..Self::default()
        }
    }
}

/// Builds the binaries and runs the main job.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    build(workspace)?;
    let watch = Stopwatch::start();
    let stage = Stage::set(workspace, options)?;
    let writer = if stage.has_own_data() {
        None
    } else {
        Some(play(&stage)?)
    };
    let code = rehearse(&stage, options)?;
    drop(writer);
    close(&stage, options, code, &watch);
    Ok(ExitCode::from(code))
}

/// Builds what a host runs. The first build compiles LanceDB.
fn build(workspace: &Workspace) -> Result<()> {
    terminal::step("build (the first time this takes a while: LanceDB is large)");
    for selection in Selection::ALL {
        succeed(workspace.cargo_on("build", selection)?.arg("--bins"))?;
    }
    Ok(())
}

/// Sample data as an application would have it, and a process that goes on writing it.
fn play(stage: &Stage) -> Result<Writer> {
    terminal::step("write sample data: three tables with indices, and a chained audit log");
    succeed(
        Command::new(stage.binary("dr-sample"))
            .arg("create")
            .arg(stage.data())
            .stdin(Stdio::null()),
    )?;
    terminal::step("start a writer that adds, updates, deletes, compacts and cleans up meanwhile");
    Writer::start(
        Command::new(stage.binary("dr-sample"))
            .arg("write")
            .arg(stage.data()),
    )
}

/// The agent's part: its exit code is the demo's, from the first command that does not end well.
fn rehearse(stage: &Stage, options: &Options) -> Result<u8> {
    let recovery = stage.recovery_key().into_os_string();
    let init: [OsString; 3] = ["init".into(), "--generate-recovery-key".into(), recovery];
    let drill = ["drill", "--kind", "restore"].map(OsString::from);
    let snapshot = ["snapshot"].map(OsString::from);
    let acts: [(&str, &[OsString]); 3] = [
        (
            "make a repository, with a recovery key that would live off this host",
            &init,
        ),
        ("take a snapshot", &snapshot),
        ("take another: only what changed is stored", &snapshot),
    ];
    for (title, arguments) in acts {
        let code = act(stage, title, arguments)?;
        if code != 0 {
            return Ok(code);
        }
    }
    if options.damage {
        damage::one_pack(&stage.repository_dir())?;
    }
    act(
        stage,
        "rehearse the loss: restore everything into scratch, open it, compare, write to it",
        &drill,
    )
}

/// Runs one command of the agent on this terminal.
fn act(stage: &Stage, title: &str, arguments: &[OsString]) -> Result<u8> {
    terminal::step(title);
    let mut command = Command::new(stage.binary("dr-agent"));
    command
        .args(arguments)
        .arg("--config")
        .arg(stage.config())
        .stdin(Stdio::null());
    let shown: Vec<_> = arguments
        .iter()
        .map(|argument| argument.to_string_lossy())
        .collect();
    terminal::note(&format!("dr-agent {}", shown.join(" ")));
    let status = command
        .status()
        .with_context(|| format!("start {}", words(&command)))?;
    let Some(code) = status.code() else {
        bail!("`{}` ended with {status}", words(&command))
    };
    u8::try_from(code).context("read the agent's exit code")
}

/// Says how it ended and where things lie.
fn close(stage: &Stage, options: &Options, code: u8, watch: &Stopwatch) {
    let verdict = match (code, options.damage) {
        (0, false) => "passed: everything came back".to_owned(),
        (0, true) => "PASSED OVER DAMAGE: this is a bug, please report it".to_owned(),
        (1, true) => "failed, as it must: the damage above was made on purpose".to_owned(),
        _ => format!("not passed: exit code {code}"),
    };
    terminal::result("");
    terminal::result(&format!(
        "Demo {verdict}; {:.0} s without the build.",
        watch.seconds()
    ));
    terminal::result(&format!("Reports   {}", stage.reports().display()));
    terminal::result(&format!(
        "Try more  {} --config {} --help",
        stage.binary("dr-agent").display(),
        stage.config().display()
    ));
    if let Some(url) = &options.repository {
        terminal::result(&format!(
            "Remember to remove what the demo stored: {} below {url}",
            stage.repository()
        ));
    }
}

/// The writer beside the demo; killed with it.
#[derive(Debug)]
struct Writer(Child);

impl Writer {
    fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", words(command)))?;
        Ok(Self(child))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// An absolute path, so that the agent's configuration means the same from everywhere.
fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("find {}", path.display()))
}
