//! `cargo xtask lint`: format, clippy, and what neither of them knows of this project.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::terminal;
use crate::workspace::{Selection, Workspace, succeed};

/// A source file longer than this holds more than one idea.
const LONGEST_FILE: usize = 800;

/// Text that does not belong in a tracked file: an extended regular expression and the reason.
///
/// Written so that no expression matches its own line.
const UNWANTED: &[(&str, &str)] = &[
    (
        r"[T]ODO|[F]IXME|\b[X]XX\b|[t]odo!\(|[u]nimplemented!\(",
        "unfinished work: finish it or take it out",
    ),
    (
        r"(^|[^A-Za-z0-9_.])/(root|work|tmp/bash_jobs)/",
        "a path of one machine",
    ),
    (
        r"(index|static)\.crates\.io|pypi\.org|files\.pythonhosted\.org|deb\.debian\.org|registry\.npmjs\.org",
        "the host of a registry: package clients know where theirs is",
    ),
    (r"^(<<<<<<<|>>>>>>>) ", "a merge conflict"),
];

/// Runs every check; the cheap ones first.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    terminal::step("check format");
    succeed(workspace.cargo("fmt")?.args(["--all", "--check"]))?;
    terminal::step("check sizes and words");
    sizes(&workspace.root)?;
    words(&workspace.root)?;
    for selection in Selection::ALL {
        terminal::step(&format!("run clippy on {}", selection.name()));
        succeed(&mut clippy(workspace, selection)?)?;
    }
    Ok(())
}

/// Clippy with warnings as errors.
fn clippy(workspace: &Workspace, selection: Selection) -> Result<Command> {
    match selection {
        Selection::Rest => {
            let mut command = workspace.cargo_on("clippy", selection)?;
            command.args(["--all-targets", "--", "--deny", "warnings"]);
            Ok(command)
        }
        // `cargo clippy` is `cargo check` with another compiler for the workspace's own crates, and a check of LanceDB
        // takes minutes and is of no other use. Clippy as the compiler of a build takes LanceDB as the tests need it.
        Selection::Probe => {
            let mut command = workspace.cargo_on("build", selection)?;
            command
                .args(["--bins", "--tests"])
                .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
                .env(
                    "CLIPPY_ARGS",
                    "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__",
                );
            Ok(command)
        }
    }
}

/// No source file passes [`LONGEST_FILE`] lines.
fn sizes(root: &Path) -> Result<()> {
    let files = git(root, &["ls-files", "-z", "--", "*.rs", "*.py"])?;
    let mut long = Vec::new();
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // A file removed but not yet committed is not there to be read.
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue;
        };
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{file}: {lines} lines"));
        }
    }
    if !long.is_empty() {
        bail!(
            "source files over {LONGEST_FILE} lines, split them by idea:\n  {}",
            long.join("\n  ")
        );
    }
    Ok(())
}

/// No tracked file holds what [`UNWANTED`] lists.
fn words(root: &Path) -> Result<()> {
    let mut found = Vec::new();
    for (expression, reason) in UNWANTED {
        let lines = git(
            root,
            &["grep", "-n", "-I", "-E", "-e", expression, "--", ".", ":!*.lock"],
        )?;
        found.extend(lines.lines().map(|line| format!("{line}\n      {reason}")));
    }
    if !found.is_empty() {
        bail!("text that does not belong in the tree:\n  {}", found.join("\n  "));
    }
    Ok(())
}

/// What a git command prints. `git grep` ends with 1 when it finds nothing, which is an answer.
fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("run git")?;
    if !output.status.success() && output.status.code() != Some(1) {
        bail!("`git {}` ended with {}", arguments.join(" "), output.status);
    }
    String::from_utf8(output.stdout).context("read what git prints")
}
