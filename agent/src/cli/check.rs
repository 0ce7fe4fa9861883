//! `dr-agent check vector-db|audit-log|dr-integrity`.

use clap::{Args, Subcommand};
use dr_proto::model::{CheckKind, Finding, Verdict};
use dr_terminal::arguments::period;
use dr_vault::progress::Progress;

use super::evidence;
use crate::config::{Period, Size};
use crate::error::Outcome;
use crate::exit::Code;
use crate::job;
use crate::job::check::{Answer, Ask};
use crate::session::Session;
use crate::ui::Tone;
use crate::ui::progress::watch;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every table of the live databases: head readable, files complete, branches safe
    VectorDb(Sources),
    /// The live audit logs: framing, JSON, chain, and that they continue the last snapshot
    AuditLog(Sources),
    /// The recovery itself: ages of the last snapshot and proof, and bit rot by re-hashing live files
    DrIntegrity(Integrity),
}

#[derive(Debug, Args)]
struct Sources {
    /// Only this source; may be given several times
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    #[command(flatten)]
    evidence: evidence::Options,
}

#[derive(Debug, Args)]
struct Integrity {
    /// The newest snapshot may be this old
    #[arg(long, value_name = "TIME", value_parser = period, default_value = "24h")]
    snapshot_age: Period,
    /// The newest passed drill may be this old
    #[arg(long, value_name = "TIME", value_parser = period, default_value = "35d")]
    proof_age: Period,
    /// The most bytes to re-hash; the next check goes on where this one stops
    #[arg(long, value_name = "SIZE", default_value = "20 GiB")]
    budget: Size,
    #[command(flatten)]
    evidence: evidence::Options,
}

impl Command {
    fn evidence(&self) -> &evidence::Options {
        match self {
            Self::VectorDb(sources) | Self::AuditLog(sources) => &sources.evidence,
            Self::DrIntegrity(integrity) => &integrity.evidence,
        }
    }

    fn ask(&self) -> Ask {
        let (kind, sources) = match self {
            Self::VectorDb(sources) => (CheckKind::VectorDb, sources.source.clone()),
            Self::AuditLog(sources) => (CheckKind::AuditLog, sources.source.clone()),
            Self::DrIntegrity(limits) => {
                return Ask {
                    kind: CheckKind::DrIntegrity,
                    sources: Vec::new(),
                    integrity: job::check::Integrity {
                        snapshot_age: limits.snapshot_age,
                        proof_age: limits.proof_age,
                        budget: limits.budget,
                    },
                };
            }
        };
        Ask {
            kind,
            sources,
            integrity: job::check::Integrity::default(),
        }
    }
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let progress = Progress::new();
    let work = job::check::run(session, arguments.command.ask(), &progress);
    let answer = watch(&session.ui, "check", &progress, work).await?;
    print(session, &answer)?;
    let Answer {
        check,
        verdict,
        checked,
    } = &answer;
    let evidence = evidence::of_check(session, &check.to_string(), *verdict, checked);
    evidence::publish(session, arguments.command.evidence(), &evidence)?;
    Ok(Code::from(*verdict))
}

fn print(session: &Session, answer: &Answer) -> std::io::Result<()> {
    let Answer {
        check,
        verdict,
        checked,
    } = answer;
    let verdict = *verdict;
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(answer);
    }
    let width = checked
        .iter()
        .map(|checked| checked.subject.chars().count())
        .max()
        .unwrap_or_default();
    for checked in checked {
        let shown = format!("{:12}", checked.verdict.to_string());
        let subject = format!("{:width$}", checked.subject);
        ui.data(&format!(
            "{}  {subject}  {}",
            ui.paint(tone(checked.verdict), &shown),
            checked.figure
        ))?;
        lines(session, "", &checked.findings)?;
        lines(session, "warning: ", &checked.warnings)?;
    }
    ui.data(&format!(
        "{check}: {}",
        ui.paint(tone(verdict), &verdict.to_string())
    ))
}

fn lines(session: &Session, mark: &str, findings: &[Finding]) -> std::io::Result<()> {
    for finding in findings {
        session
            .ui
            .data(&format!("    {mark}{}: {}", finding.subject, finding.what))?;
    }
    Ok(())
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Inconclusive => Tone::Warn,
        Verdict::Failed => Tone::Bad,
    }
}
