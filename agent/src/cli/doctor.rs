//! `dr-agent doctor`.

use clap::Args;
use serde::Serialize;

use crate::doctor::{self, Finding, Grade};
use crate::error::Outcome;
use crate::session::Session;
use crate::ui::Tone;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

#[derive(Serialize)]
struct Examined<'a> {
    findings: &'a [Finding],
    exit: u8,
}

pub(super) async fn run(session: &Session, _arguments: Arguments) -> Outcome {
    let findings = session
        .until_stopped(async { Ok(doctor::examine(session).await) })
        .await?;
    let code = doctor::code(&findings);
    if session.ui.is_json() {
        session.ui.json(&Examined {
            findings: &findings,
            exit: code.number(),
        })?;
    } else {
        print(session, &findings)?;
    }
    Ok(code)
}

fn print(session: &Session, findings: &[Finding]) -> std::io::Result<()> {
    let ui = &session.ui;
    let width = findings
        .iter()
        .map(|finding| finding.subject.chars().count())
        .max()
        .unwrap_or_default();
    for finding in findings {
        let (tone, mark) = match finding.grade {
            Grade::Fine => (Tone::Good, "ok  "),
            Grade::Warning => (Tone::Warn, "warn"),
            Grade::Broken => (Tone::Bad, "FAIL"),
        };
        let subject = format!("{:width$}", finding.subject);
        ui.data(&format!("{}  {subject}  {}", ui.paint(tone, mark), finding.found))?;
        if let Some(fix) = &finding.fix {
            ui.data(&format!("      {:width$}  fix: {fix}", ""))?;
        }
    }
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    let (broken, warnings) = (count(Grade::Broken), count(Grade::Warning));
    ui.data(&match (broken, warnings) {
        (0, 0) => "\nEverything is ready.".to_owned(),
        (0, warnings) => format!("\nReady, with {warnings} warning(s)."),
        (broken, warnings) => format!("\nNOT READY: {broken} broken, {warnings} warning(s)."),
    })
}
