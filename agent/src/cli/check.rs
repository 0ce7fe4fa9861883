//! `dr-agent check vector-db|audit-log|dr-integrity`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use dr_auditlog::LogState;
use dr_proto::model::{Finding, Verdict};
use dr_vault::progress::Progress;
use serde::Serialize;

use super::evidence;
use crate::check::{self, Checked, audit_log, integrity, vector_db};
use crate::config::{Period, ResolvedSource, Size, SourceKind};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::exit::Code;
use crate::session::Session;
use crate::stamp::Stamp;
use crate::ui::Tone;
use crate::ui::progress::watch;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

impl Command {
    fn evidence(&self) -> &evidence::Options {
        match self {
            Self::VectorDb(sources) | Self::AuditLog(sources) => &sources.evidence,
            Self::DrIntegrity(integrity) => &integrity.evidence,
        }
    }
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
    #[arg(long, value_name = "TIME", default_value = "24h")]
    snapshot_age: Period,
    /// The newest passed drill may be this old
    #[arg(long, value_name = "TIME", default_value = "35d")]
    proof_age: Period,
    /// The most bytes to re-hash; the next check goes on where this one stops
    #[arg(long, value_name = "SIZE", default_value = "20 GiB")]
    budget: Size,
    #[command(flatten)]
    evidence: evidence::Options,
}

/// A check's answer.
#[derive(Serialize)]
struct Answer<'a> {
    check: &'static str,
    verdict: Verdict,
    checked: &'a [Checked],
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let (check, checked) = asked(session, &arguments.command).await?;
    let verdict = check::verdict(&checked);
    answer(session, check, verdict, &checked)?;
    let evidence = evidence::of_check(session, check, verdict, &checked);
    evidence::publish(session, arguments.command.evidence(), &evidence)?;
    Ok(Code::from(verdict))
}

/// The check's name and what it found.
async fn asked(session: &Session, command: &Command) -> Result<(&'static str, Vec<Checked>), Failure> {
    match command {
        Command::VectorDb(sources) => {
            let sources = of_kind(session, &sources.source, SourceKind::Lancedb)?;
            let cancel = session.stop.token().clone();
            let checked =
                on_threads(session, sources, move |source| vector_db::check(source, &cancel)).await?;
            Ok(("vector-db", checked))
        }
        Command::AuditLog(sources) => {
            let sources = of_kind(session, &sources.source, SourceKind::AuditLog)?;
            let (cancel, known) = (session.stop.token().clone(), captured(session).await);
            let check =
                move |source: &ResolvedSource| audit_log::check(source, known.get(&source.name), &cancel);
            let checked = on_threads(session, sources, check).await?;
            Ok(("audit-log", checked))
        }
        Command::DrIntegrity(arguments) => Ok(("dr-integrity", dr_integrity(session, arguments).await?)),
    }
}

fn of_kind(session: &Session, names: &[String], kind: SourceKind) -> Result<Vec<ResolvedSource>, Failure> {
    let mut sources = session.sources(names)?;
    sources.retain(|source| source.kind == kind);
    if sources.is_empty() {
        return Err(Failure::new(
            Class::NotFound,
            format!("no source of kind `{}` is configured", kind.as_str()),
        )
        .hint("`dr-agent discover DIR` finds them"));
    }
    Ok(sources)
}

/// One source after the other, on a thread that may block.
async fn on_threads(
    session: &Session,
    sources: Vec<ResolvedSource>,
    check: impl Fn(&ResolvedSource) -> Checked + Send + 'static,
) -> Result<Vec<Checked>, Failure> {
    let work = tokio::task::spawn_blocking(move || sources.iter().map(check).collect());
    session.until_stopped(async { Ok(work.await?) }).await
}

/// What the last snapshot captured of each log; nothing where no repository can be asked.
async fn captured(session: &Session) -> BTreeMap<String, LogState> {
    if session.config.repository.is_none() {
        return BTreeMap::new();
    }
    let asked = async {
        let repository = session.repository().await?;
        let info = repository.resolve("latest").await?;
        Ok::<_, Failure>(repository.manifest(&info.id).await?)
    };
    match asked.await {
        Ok(manifest) => manifest
            .sources
            .iter()
            .filter_map(|source| match Stamp::read(&source.stamp) {
                Some(Stamp::AuditLog(log)) => Some((source.name.clone(), log.state())),
                _ => None,
            })
            .collect(),
        Err(failure) => {
            session.ui.warn(&format!(
                "logs are not compared with the last snapshot: {failure}"
            ));
            BTreeMap::new()
        }
    }
}

async fn dr_integrity(session: &Session, arguments: &Integrity) -> Result<Vec<Checked>, Failure> {
    let _lock = session.begin_yielding("check dr-integrity").await?;
    let options = integrity::Options {
        snapshot_age: arguments.snapshot_age,
        proof_age: arguments.proof_age,
        budget: arguments.budget,
        cursor: session.state()?.root().join("rehash.json"),
    };
    let repository = session.repository().await?;
    let progress = Progress::new();
    let now = session.clock.now();
    let checking = integrity::check(&repository, &options, now, &progress, session.stop.token());
    watch(&session.ui, "check", &progress, checking)
        .await
        .doing(|| "check the recovery of this host".to_owned())
}

fn answer(
    session: &Session,
    check: &'static str,
    verdict: Verdict,
    checked: &[Checked],
) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(&Answer {
            check,
            verdict,
            checked,
        });
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
