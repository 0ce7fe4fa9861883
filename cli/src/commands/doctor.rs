//! `drctl doctor`: everything that stands between this host and a fleet that is ready, each with the fix.

use dr_terminal::Tone;
use serde::Serialize;

use crate::doctor::{self, Finding, Grade};
use crate::error::Outcome;
use crate::session::Session;

#[derive(Serialize)]
struct Examined<'a> {
    findings: &'a [Finding],
    exit: u8,
}

pub(super) async fn run(session: &Session) -> Outcome {
    let findings = session
        .until_interrupted(async { Ok(doctor::examine(session).await) })
        .await?;
    let code = doctor::code(&findings);
    if session.ui.is_json() {
        session.answer(&Examined {
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
    ui.data(&match (count(Grade::Broken), count(Grade::Warning)) {
        (0, 0) => "\nEverything is ready.".to_owned(),
        (0, warnings) => format!("\nReady, with {warnings} warning(s)."),
        (broken, warnings) => format!("\nNOT READY: {broken} broken, {warnings} warning(s)."),
    })
}
