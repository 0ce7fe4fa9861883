//! `dr-agent repository check|stats`.

use clap::{Args, Subcommand};
use dr_proto::model::{Cause, Verdict};
use dr_proto::render::{self, Evidence};
use dr_vault::check::{self, Depth, Finding, Options, Report, Severity};
use dr_vault::progress::Progress;
use dr_vault::stats::{self, Stats};
use serde::Serialize;

use super::evidence;
use crate::config::Size;
use crate::error::{Doing, Outcome};
use crate::exit::Code;
use crate::session::Session;
use crate::ui::progress::watch;
use crate::ui::{Table, Tone};

/// Arguments of `repository`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Is everything in the store that snapshots need, and is it what was written
    Check {
        /// Read every byte, instead of names, sizes, manifests and file lists alone
        #[arg(long, conflicts_with = "budget")]
        full: bool,
        /// Read everything but packs, and of them so much, least recently verified first
        #[arg(long, value_name = "SIZE")]
        budget: Option<Size>,
        #[command(flatten)]
        evidence: evidence::Options,
    },
    /// How much is stored, and for what
    Stats,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Check {
            full,
            budget,
            evidence,
        } => {
            let depth = match budget {
                Some(budget) => Depth::Budget(budget.0),
                None if full => Depth::Full,
                None => Depth::Quick,
            };
            check(session, depth, &evidence).await
        }
        Command::Stats => stats(session).await,
    }
}

async fn check(session: &Session, depth: Depth, wanted: &evidence::Options) -> Outcome {
    let _lock = session.begin_yielding("repository check").await?;
    let repository = session.repository().await?;
    let progress = Progress::new();
    let options = Options { depth };
    let checking = check::run(&repository, &options, &progress, session.stop.token());
    let report = watch(&session.ui, "repository check", &progress, checking)
        .await
        .doing(|| "check the repository".to_owned())?;
    let verdict = verdict(&report);
    if session.ui.is_json() {
        session.ui.json(&Answer::new(&report, verdict))?;
    } else {
        print_check(session, &report, verdict)?;
    }
    evidence::publish(session, wanted, &as_evidence(session, &report, verdict))?;
    Ok(Code::from(verdict))
}

/// The report as evidence: one question, whose findings are the objects that are not as they should be.
fn as_evidence(session: &Session, report: &Report, verdict: Verdict) -> Evidence {
    let (grave, others): (Vec<&Finding>, Vec<&Finding>) = report
        .findings
        .iter()
        .partition(|finding| finding.severity >= Severity::Unavailable);
    let said = |finding: &&Finding| dr_proto::model::Finding {
        subject: finding.object.to_string(),
        what: finding.what.clone(),
    };
    let figure = figures(report);
    let answer = render::Answer {
        question: "objects".to_owned(),
        verdict: Some(verdict),
        cause: evidence::cause(session, verdict)
            .or((verdict == Verdict::Inconclusive).then_some(Cause::StoreUnavailable)),
        figure,
        findings: grave.iter().map(said).collect(),
        seconds: None,
    };
    Evidence {
        title: format!("repository check of {}", session.config.agent.host),
        verdict,
        figures: Vec::new(),
        subjects: vec![render::Subject {
            name: "repository".to_owned(),
            answers: vec![answer],
            notes: others
                .iter()
                .map(|finding| format!("{}: {}", finding.object, finding.what))
                .collect(),
        }],
        notes: Vec::new(),
    }
}

/// Damage disproves; what could not be asked for leaves it open; notes and warnings do neither.
fn verdict(report: &Report) -> Verdict {
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    match worst {
        Some(Severity::Damage) => Verdict::Failed,
        _ if !report.is_sound() => Verdict::Failed,
        Some(Severity::Unavailable) => Verdict::Inconclusive,
        _ => Verdict::Passed,
    }
}

/// The report as programs read it.
#[derive(Serialize)]
struct Answer<'a> {
    verdict: Verdict,
    depth: Depth,
    snapshots: u64,
    packs: u64,
    pack_bytes: u64,
    packs_read: u64,
    bytes_read: u64,
    chunks_read: u64,
    packs_left: u64,
    objects_read: u64,
    findings: Vec<Said<'a>>,
    findings_not_listed: u64,
}

#[derive(Serialize)]
struct Said<'a> {
    object: &'a str,
    severity: Severity,
    problem: check::Problem,
    what: &'a str,
    affected: &'a [check::Affected],
    affected_count: u64,
}

impl<'a> Answer<'a> {
    fn new(report: &'a Report, verdict: Verdict) -> Self {
        let said = |finding: &'a Finding| Said {
            object: finding.object.as_str(),
            severity: finding.severity,
            problem: finding.problem,
            what: &finding.what,
            affected: &finding.affected,
            affected_count: finding.affected_count,
        };
        Self {
            verdict,
            depth: report.depth,
            snapshots: report.snapshots,
            packs: report.packs,
            pack_bytes: report.pack_bytes,
            packs_read: report.packs_read,
            bytes_read: report.bytes_read,
            chunks_read: report.chunks_read,
            packs_left: report.packs_left,
            objects_read: report.objects_read,
            findings: report.findings.iter().map(said).collect(),
            findings_not_listed: report.findings_not_listed,
        }
    }
}

fn print_check(session: &Session, report: &Report, verdict: Verdict) -> std::io::Result<()> {
    let ui = &session.ui;
    for finding in &report.findings {
        let (tone, word) = match finding.severity {
            Severity::Damage => (Tone::Bad, "damage"),
            Severity::Unavailable => (Tone::Warn, "unavailable"),
            Severity::Warning => (Tone::Warn, "warning"),
            Severity::Note => (Tone::Dim, "note"),
        };
        ui.data(&format!(
            "{:11}  {}: {}",
            ui.paint(tone, word),
            finding.object,
            finding.what
        ))?;
        for affected in finding.affected.iter().take(SHOWN) {
            ui.data(&format!("             hits {}", place(affected)))?;
        }
        let more = finding.affected_count.saturating_sub(SHOWN as u64);
        if more > 0 {
            ui.data(&format!("             and {more} more; --output json lists them"))?;
        }
    }
    if report.findings_not_listed > 0 {
        ui.data(&format!("and {} further findings", report.findings_not_listed))?;
    }
    let pack = |finding: &&Finding| {
        finding.severity == Severity::Damage && finding.object.as_str().starts_with("packs/")
    };
    if report.findings.iter().any(|finding| pack(&finding)) {
        ui.say(
            "Hint: take a snapshot: what a pack that is gone or cut short held is stored again, as far as live data have \
             it; a pack with wrong bytes has to be moved away first",
        );
    }
    ui.data(&figures(report))?;
    let tone = match verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Inconclusive => Tone::Warn,
        Verdict::Failed => Tone::Bad,
    };
    ui.data(&format!(
        "repository check: {}",
        ui.paint(tone, &verdict.to_string())
    ))
}

/// As many sufferers of one finding are shown.
const SHOWN: usize = 10;

fn place(affected: &check::Affected) -> String {
    let mut text = format!("snapshot {}", affected.snapshot);
    if let Some(source) = &affected.source {
        text.push_str(&format!(", source {source}"));
    }
    if let Some(path) = &affected.path {
        text.push_str(&format!(", {path}"));
    }
    match (&affected.chunk, affected.offset) {
        (Some(chunk), Some(offset)) => text.push_str(&format!(" at byte {offset} (chunk {chunk})")),
        (Some(chunk), None) => text.push_str(&format!(" (chunk {chunk})")),
        _ => {}
    }
    text
}

fn figures(report: &Report) -> String {
    let mut text = format!(
        "{} snapshots, {} packs of {}",
        report.snapshots,
        report.packs,
        Size(report.pack_bytes)
    );
    match report.depth {
        Depth::Quick => {
            text.push_str("; names, sizes, manifests and file lists were looked at (--full reads all)")
        }
        Depth::Budget(_) | Depth::Full => text.push_str(&format!(
            "; {} chunks in {} packs of {} read and hashed, {} other objects",
            report.chunks_read,
            report.packs_read,
            Size(report.bytes_read),
            report.objects_read
        )),
    }
    if report.packs_left > 0 {
        text.push_str(&format!("; {} packs left for the next check", report.packs_left));
    }
    text
}

async fn stats(session: &Session) -> Outcome {
    let _lock = session.begin("repository stats")?;
    let repository = session.repository().await?;
    let gathered = session
        .until_stopped(async {
            stats::gather(&repository)
                .await
                .doing(|| "gather figures".to_owned())
        })
        .await?;
    if session.ui.is_json() {
        session.ui.json(&gathered)?;
    } else {
        print_stats(session, &gathered)?;
    }
    Ok(Code::Done)
}

fn print_stats(session: &Session, stats: &Stats) -> std::io::Result<()> {
    let ui = &session.ui;
    let mut table = Table::new(&["snapshot", "cut", "files", "size", "stored for it"]).figures(&[2, 3, 4]);
    for snapshot in &stats.by_snapshot {
        let mark = if snapshot.suspect.is_some() {
            " (suspect)"
        } else {
            ""
        };
        table.row([
            format!(
                "{}{mark}",
                snapshot.id.to_string().chars().take(12).collect::<String>()
            ),
            format!("{:.0}", snapshot.created),
            snapshot.files.to_string(),
            Size(snapshot.bytes).to_string(),
            snapshot
                .bytes_stored
                .map_or_else(|| "unknown".to_owned(), |bytes| Size(bytes).to_string()),
        ]);
    }
    if !stats.by_snapshot.is_empty() {
        table.print(ui)?;
    }
    ui.data(&format!(
        "{} snapshots, {} if restored one by one; stored: {} in {} objects, {} chunks in {} packs of {}",
        stats.snapshots,
        Size(stats.snapshot_bytes),
        Size(stats.stored_bytes),
        stats.objects,
        stats.chunks,
        stats.packs,
        Size(stats.pack_bytes)
    ))?;
    if let Some(ratio) = stats.ratio() {
        ui.data(&format!("{ratio:.1} bytes of snapshots for each byte stored"))?;
    }
    if stats.packs_not_indexed > 0 {
        ui.data(&format!(
            "{} packs are in no index: left by a snapshot that was interrupted",
            stats.packs_not_indexed
        ))?;
    }
    Ok(())
}
