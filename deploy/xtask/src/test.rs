//! `cargo xtask test`: every test of the project with one command and one closing line.
//!
//! # Overview
//!
//! Builds both selections first, so that system tests find the binaries they start, then runs the tests. A system
//! test that can not run (no Python, no fixtures) says so in the file that `DR_SKIPS` names; in CI that is a failure,
//! elsewhere it is counted and listed.

use std::fmt;
use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::{Selection, Workspace, succeed, words};
use crate::{terminal, tools};

/// What to test.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Leave out the probe's own tests, and its build: system tests that need it are skipped.
    #[arg(long)]
    without_probe: bool,
    /// Passed on to the test binaries: a filter, `--nocapture`, and so on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// A test binary that did not end by itself: a crash is no test, and no pass.
    broken: u64,
}

impl Summary {
    /// Zero only when nothing failed and something ran.
    pub(crate) fn exit_code(self) -> ExitCode {
        if self.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Whether tests ran and none failed.
    pub(crate) fn is_good(self) -> bool {
        self.failed == 0 && self.broken == 0 && self.passed > 0
    }

    /// Counts one line of libtest's output, if it is a closing line.
    fn count(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in result.split(['.', ';']) {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed + self.broken,
            self.skipped
        )
    }
}

/// Builds and runs all tests, and prints the closing line.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Summary> {
    let selections: &[Selection] = if options.without_probe {
        &[Selection::Rest]
    } else {
        &Selection::ALL
    };
    for &selection in selections {
        build(workspace, selection)?;
    }
    let python = tools::python(workspace)?;
    let prometheus = tools::prometheus()?;
    let skips = tempfile::NamedTempFile::new().context("make a file for the names of skipped tests")?;
    let mut summary = Summary::default();
    for &selection in selections {
        terminal::step(&format!("run the tests of {}", selection.name()));
        let mut command = workspace.cargo_on("test", selection)?;
        command
            .arg("--no-fail-fast")
            .arg("--")
            .args(&options.arguments)
            .env("DR_SKIPS", skips.path());
        if let Some(python) = &python {
            command.env("DR_PYTHON", python);
        }
        if let Some(folder) = &prometheus {
            command.env("DR_PROMETHEUS", folder);
        }
        count(&mut command, &mut summary)?;
    }
    let reasons = std::fs::read_to_string(skips.path()).context("read the names of skipped tests")?;
    for reason in reasons.lines() {
        // libtest counted it as passed: it returned.
        summary.passed = summary.passed.saturating_sub(1);
        summary.skipped += 1;
        terminal::note(&format!("skipped: {reason}"));
    }
    terminal::result(&summary.to_string());
    Ok(summary)
}

/// Builds binaries, tests and examples of one selection.
pub(crate) fn build(workspace: &Workspace, selection: Selection) -> Result<()> {
    terminal::step(&format!("build {} with its tests", selection.name()));
    // The probe has no library, and cargo takes that for a mistake.
    let targets: &[&str] = match selection {
        Selection::Probe => &["--bins", "--tests"],
        Selection::Rest => &["--lib", "--bins", "--tests", "--examples"],
    };
    succeed(workspace.cargo_on("build", selection)?.args(targets))
}

/// Runs a `cargo test`, passes its output on and adds up the closing lines.
fn count(command: &mut Command, summary: &mut Summary) -> Result<()> {
    let before = *summary;
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", words(command)))?;
    let output = child.stdout.take().context("take the output of cargo test")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("read the output of cargo test")?;
        let line = String::from_utf8_lossy(&line);
        writeln!(stdout(), "{line}").context("pass on the output of cargo test")?;
        summary.count(&line);
    }
    let status = child.wait().context("wait for cargo test")?;
    if !status.success() && summary.failed == before.failed {
        summary.broken += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut summary = Summary::default();
        summary.count(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
        );
        summary.count("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        summary.count("test storage::local ... ok");
        assert_eq!(summary.to_string(), "14 passed, 1 failed, 1 skipped");
        assert!(!summary.is_good());
    }

    #[test]
    fn nothing_run_is_not_a_pass() {
        assert!(!Summary::default().is_good());
        assert!(
            !Summary {
                passed: 3,
                broken: 1,
                ..Summary::default()
            }
            .is_good()
        );
        assert!(
            Summary {
                passed: 3,
                skipped: 1,
                ..Summary::default()
            }
            .is_good()
        );
    }
}
