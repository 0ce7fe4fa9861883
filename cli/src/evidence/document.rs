//! Reports of agents, drawn for people. What this version cannot read is shown as it came.

use dr_proto::model::units::Size;
use dr_proto::model::{Finding, HoldInfo, Report, Verdict};
use dr_terminal::{Tone, Ui, page};
use serde::Deserialize;
use serde_json::Value;

/// The most damage, findings and misses that are listed of one thing; the report has all.
const MOST: usize = 20;

/// Draws a report of this kind.
pub(crate) fn draw(ui: &Ui, kind: &str, document: &Value) -> std::io::Result<()> {
    match kind {
        "drill" => match serde_json::from_value::<Report>(document.clone()) {
            Ok(report) => ui.data(page(&report, ui.has_color(), ui.width()).trim_end()),
            Err(_) => raw(ui, document),
        },
        "snapshot" => with(ui, document, snapshot),
        "check" => with(ui, document, check),
        "restore" if document.get("placements").is_some() => with(ui, document, plan),
        "restore" => with(ui, document, restored),
        "hold" => with(ui, document, held),
        _ => raw(ui, document),
    }
}

fn with<'a, T: Deserialize<'a>>(
    ui: &Ui,
    document: &'a Value,
    draw: fn(&Ui, &T) -> std::io::Result<()>,
) -> std::io::Result<()> {
    match T::deserialize(document) {
        Ok(known) => draw(ui, &known),
        Err(_) => raw(ui, document),
    }
}

fn raw(ui: &Ui, document: &Value) -> std::io::Result<()> {
    ui.json(document)
}

#[derive(Deserialize)]
struct Snapshot {
    id: String,
    cut: String,
    exact: bool,
    window_seconds: f64,
    suspect: Option<String>,
    stats: Stats,
    sources: Vec<SnapshotSource>,
    seconds: f64,
    #[serde(default)]
    accepted: Option<String>,
    #[serde(default)]
    hold: HoldOutcome,
}

/// What became of a hold that was asked for with a snapshot.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HoldOutcome {
    #[default]
    NotAsked,
    Set(HoldInfo),
    Missing {
        reason: String,
    },
}

#[derive(Deserialize)]
struct Stats {
    files: u64,
    bytes: u64,
    files_unchanged: u64,
    bytes_stored: u64,
}

#[derive(Deserialize)]
struct SnapshotSource {
    name: String,
    kind: String,
    figure: String,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    damage: Vec<String>,
}

fn snapshot(ui: &Ui, snapshot: &Snapshot) -> std::io::Result<()> {
    let cut = if snapshot.exact {
        "exact cut".to_owned()
    } else {
        format!("cut within a window of {:.2} s", snapshot.window_seconds)
    };
    ui.data(&format!(
        "snapshot {} committed in {:.1} s: {cut} at {}",
        snapshot.id, snapshot.seconds, snapshot.cut
    ))?;
    if let Some(why) = &snapshot.suspect {
        ui.data(&ui.paint(Tone::Bad, &format!("  SUSPECT: {why}")))?;
    }
    if let Some(why) = &snapshot.accepted {
        ui.data(&format!("  accepted, although it looked suspect: {why}"))?;
    }
    match &snapshot.hold {
        HoldOutcome::NotAsked => {}
        HoldOutcome::Set(hold) => ui.data(&format!("  {}", terms(hold)))?,
        HoldOutcome::Missing { reason } => {
            ui.data(&ui.paint(Tone::Bad, &format!("  NOT HELD, retention may take it: {reason}")))?;
        }
    }
    let stats = &snapshot.stats;
    ui.data(&format!(
        "  {} files, {}; {} files unchanged and not read; {} uploaded",
        stats.files,
        Size(stats.bytes),
        stats.files_unchanged,
        Size(stats.bytes_stored)
    ))?;
    for source in &snapshot.sources {
        ui.data(&format!("  {} ({}): {}", source.name, source.kind, source.figure))?;
        for damage in source.damage.iter().take(MOST) {
            ui.data(&ui.paint(Tone::Bad, &format!("    damaged: {damage}")))?;
        }
        rest(ui, source.damage.len())?;
        for note in &source.notes {
            ui.data(&format!("    {note}"))?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Check {
    check: String,
    verdict: Verdict,
    checked: Vec<Checked>,
}

#[derive(Deserialize)]
struct Checked {
    subject: String,
    verdict: Verdict,
    figure: String,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    warnings: Vec<Finding>,
}

fn check(ui: &Ui, check: &Check) -> std::io::Result<()> {
    for checked in &check.checked {
        let verdict = format!("{:12}", checked.verdict.to_string());
        ui.data(&format!(
            "{}  {}  {}",
            ui.paint(verdict_tone(checked.verdict), &verdict),
            checked.subject,
            checked.figure
        ))?;
        for (mark, findings) in [("", &checked.findings), ("warning: ", &checked.warnings)] {
            for finding in findings.iter().take(MOST) {
                ui.data(&format!("    {mark}{}: {}", finding.subject, finding.what))?;
            }
            rest(ui, findings.len())?;
        }
    }
    let verdict = ui.paint(verdict_tone(check.verdict), &check.verdict.to_string());
    ui.data(&format!("{}: {verdict}", check.check))
}

fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Inconclusive => Tone::Warn,
        Verdict::Failed => Tone::Bad,
    }
}

#[derive(Deserialize)]
struct Plan {
    snapshot: String,
    files: u64,
    bytes: u64,
    placements: Vec<Placement>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Placement {
    source: String,
    target: String,
    files: u64,
    bytes: u64,
    space_needed: u64,
    space_available: u64,
}

#[derive(Deserialize)]
struct Warning {
    what: String,
    entries: u64,
    example: String,
}

fn plan(ui: &Ui, plan: &Plan) -> std::io::Result<()> {
    ui.data(&format!(
        "would restore {} files, {} of snapshot {}",
        plan.files,
        Size(plan.bytes),
        plan.snapshot
    ))?;
    for placement in &plan.placements {
        ui.data(&format!(
            "  {}: {} files, {} to {} ({} needed, {} free)",
            placement.source,
            placement.files,
            Size(placement.bytes),
            placement.target,
            Size(placement.space_needed),
            Size(placement.space_available)
        ))?;
    }
    for warning in &plan.warnings {
        ui.data(&format!(
            "  warning: {} of {} entries can not be put back, such as {}",
            warning.what, warning.entries, warning.example
        ))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Restored {
    snapshot: String,
    files: u64,
    bytes: u64,
    files_kept: u64,
    millis: u64,
    placed: Vec<Placed>,
    #[serde(default)]
    metadata_missing: Vec<Missing>,
}

#[derive(Deserialize)]
struct Placed {
    source: String,
    target: String,
    displaced: Option<String>,
}

#[derive(Deserialize)]
struct Missing {
    source: String,
    path: String,
    what: String,
    reason: String,
}

fn restored(ui: &Ui, restored: &Restored) -> std::io::Result<()> {
    ui.data(&format!(
        "restored {} files, {} of snapshot {} in {:.1} s, every byte verified; {} files were right already",
        restored.files,
        Size(restored.bytes),
        restored.snapshot,
        restored.millis as f64 / 1000.0,
        restored.files_kept
    ))?;
    for placed in &restored.placed {
        ui.data(&format!("  {} to {}", placed.source, placed.target))?;
        if let Some(old) = &placed.displaced {
            ui.data(&format!("    what stood there lies in {old}"))?;
        }
    }
    for missing in restored.metadata_missing.iter().take(MOST) {
        ui.data(&format!(
            "  {} of {}/{} was not put back: {}",
            missing.what, missing.source, missing.path, missing.reason
        ))?;
    }
    rest(ui, restored.metadata_missing.len())
}

#[derive(Deserialize)]
struct Held {
    snapshot: String,
    set: Option<HoldInfo>,
    released: Vec<HoldInfo>,
}

/// A hold as it was when the report was written: a report does not age.
fn terms(hold: &HoldInfo) -> String {
    hold.note(hold.created)
}

fn held(ui: &Ui, held: &Held) -> std::io::Result<()> {
    let id = &held.snapshot;
    match &held.set {
        Some(hold) => ui.data(&format!("snapshot {id} is {}", terms(hold)))?,
        None if held.released.is_empty() => ui.data(&format!("nothing held snapshot {id}"))?,
        None => ui.data(&format!("snapshot {id} is held no longer"))?,
    }
    for hold in held.released.iter().take(MOST) {
        ui.data(&format!("  released: {}", terms(hold)))?;
    }
    rest(ui, held.released.len())
}

fn rest(ui: &Ui, count: usize) -> std::io::Result<()> {
    match count.checked_sub(MOST).filter(|more| *more > 0) {
        Some(more) => ui.data(&format!("    and {more} more; `drctl report export` has all")),
        None => Ok(()),
    }
}
