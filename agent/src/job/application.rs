//! Rung 8: asks the restored copy with the application's own programs, the hooks of the host's own file.
//!
//! A hook is a program and its arguments, started without a shell; `{restored.<source>}` in an argument is the folder
//! or file that the source was restored to. Its environment is the agent's, and names the drill: `DR_DRILL`,
//! `DR_DRILL_HOST`, `DR_DRILL_SNAPSHOT` (the id), `DR_DRILL_RESTORED` (the folder of all sources). It ends with 0 if the application can use what was restored. A hook that
//! ends otherwise, or not in time, disproves it; one that can not be started has asked nothing. What it says is about
//! the sources that its arguments name; about all, if they name none.

use std::path::Path;

use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Report, Rung, SourceReport};
use dr_vault::progress::Progress;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Hook};
use crate::error::in_one_line;
use crate::limits::busy;

/// What one hook answered.
struct Answer {
    outcome: Outcome,
    finding: Option<Finding>,
    seconds: f64,
}

/// Asks every hook, one after the other, and adds what they answer to the report. `restored` is where sources lie,
/// each below its name.
pub(super) async fn ask(
    report: &mut Report,
    config: &Config,
    hooks: &[String],
    restored: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) {
    if hooks.is_empty() {
        return;
    }
    if !restored.exists() {
        let note = format!("nothing was restored, so {} was not asked", hooks.join(", "));
        report.notes.push(note);
        return;
    }
    for name in hooks {
        progress.step(format!("asking hook {name}"));
        let answer = match config.hooks.get(name) {
            Some(hook) => ask_one(name, hook, report, restored, cancel).await,
            None => unasked(
                name,
                Cause::Internal,
                "it is not defined under `[hook]` in agent.toml",
            ),
        };
        let arguments = config
            .hooks
            .get(name)
            .map(|hook| hook.command.as_slice())
            .unwrap_or_default();
        note(report, name, arguments, &answer);
    }
    // The verdict stands for these hooks too.
    let bound = format!("{} application {}", report.binding, hooks.join(" "));
    report.binding = blake3::hash(bound.as_bytes()).to_hex().to_string();
    report.settle();
}

async fn ask_one(
    name: &str,
    hook: &Hook,
    report: &Report,
    restored: &Path,
    cancel: &CancellationToken,
) -> Answer {
    let since = Instant::now();
    let filled = Hook {
        command: hook
            .command
            .iter()
            .map(|part| fill(part, &report.sources, restored))
            .collect(),
        timeout: hook.timeout,
    };
    let Some(asked) = cancel
        .run_until_cancelled(busy::ask_about(&filled, &variables(report, restored)))
        .await
    else {
        return unasked(name, Cause::Cancelled, "stopped before it had answered");
    };
    let (outcome, why) = match &asked {
        Ok(()) => (Outcome::Passed, None),
        Err(error @ busy::Error::Start { .. }) => {
            (Outcome::Inconclusive(Cause::Internal), Some(in_one_line(error)))
        }
        Err(error) => (Outcome::Failed, Some(in_one_line(error))),
    };
    let finding = why.map(|what| Finding {
        subject: format!("hook {name}"),
        what,
    });
    Answer {
        outcome,
        finding,
        seconds: since.elapsed().as_secs_f64(),
    }
}

fn unasked(name: &str, cause: Cause, why: &str) -> Answer {
    Answer {
        outcome: Outcome::Inconclusive(cause),
        finding: Some(Finding {
            subject: format!("hook {name}"),
            what: why.to_owned(),
        }),
        seconds: 0.0,
    }
}

fn variables(report: &Report, restored: &Path) -> [(&'static str, String); 4] {
    let snapshot = report.snapshot.as_ref();
    [
        ("DR_DRILL", report.drill.to_string()),
        ("DR_DRILL_HOST", report.host.clone()),
        (
            "DR_DRILL_SNAPSHOT",
            snapshot.map(|snapshot| snapshot.id.clone()).unwrap_or_default(),
        ),
        ("DR_DRILL_RESTORED", restored.to_string_lossy().into_owned()),
    ]
}

fn placeholder(source: &str) -> String {
    format!("{{restored.{source}}}")
}

fn fill(argument: &str, sources: &[SourceReport], restored: &Path) -> String {
    sources.iter().fold(argument.to_owned(), |text, source| {
        let path = restored.join(&source.name);
        text.replace(&placeholder(&source.name), &path.to_string_lossy())
    })
}

/// Adds the answer to the check of every source that it is about.
fn note(report: &mut Report, name: &str, arguments: &[String], answer: &Answer) {
    let names = |source: &SourceReport| {
        let wanted = placeholder(&source.name);
        arguments.iter().any(|part| part.contains(&wanted))
    };
    let about_all = !report.sources.iter().any(names);
    for source in &mut report.sources {
        if !about_all && !names(source) {
            continue;
        }
        let known = source
            .checks
            .iter()
            .position(|check| check.rung == Rung::Application);
        let place = known.unwrap_or_else(|| {
            source.checks.push(CheckResult {
                rung: Rung::Application,
                outcome: Outcome::NotApplicable,
                figure: String::new(),
                findings: Vec::new(),
                seconds: 0.0,
            });
            source.checks.len() - 1
        });
        let check = &mut source.checks[place];
        check.outcome = check.outcome.worse(answer.outcome);
        check.seconds += answer.seconds;
        check.findings.extend(answer.finding.clone());
        let separator = if check.figure.is_empty() { "" } else { ", " };
        check.figure = format!("{}{separator}{name}", check.figure);
    }
}

#[cfg(test)]
mod tests;
