//! `cargo xtask demo --one-host`: the agent alone, from sample data to the report of a restore drill.
//!
//! # Overview
//!
//! Nothing is simulated: the binary is the one that a host would run, the repository is a folder (or a bucket), and
//! unless a person brings data of their own, a writer goes on writing, compacting and cleaning up in the database
//! while it is cut.

mod damage;
mod stage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use self::stage::Stage;
use super::{Options, quoted, sample_data, sample_sources, toml_string};
use crate::terminal::{self, Stopwatch};
use crate::workspace::{Workspace, words};

/// Runs the main job of one host.
pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let watch = Stopwatch::start();
    let stage = Stage::set(workspace, options)?;
    let writer = if stage.has_own_data() {
        None
    } else {
        Some(sample_data(&stage.binary("dr-sample"), &stage.data())?)
    };
    let code = rehearse(&stage, options)?;
    drop(writer);
    close(&stage, options, code, &watch);
    Ok(ExitCode::from(code))
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

/// An absolute path, so that the agent's configuration means the same from everywhere.
fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("find {}", path.display()))
}
