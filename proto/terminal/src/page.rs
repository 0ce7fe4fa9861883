//! A report as one page of text: the answer first, then what it rests on, then what it leaves out.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use dr_proto::model::{CheckResult, Freshness, Outcome, Report, SourceReport, Verdict};
use indicatif::{BinaryBytes, HumanDuration};

/// The width of a page that no terminal shows: a log of a build server wraps nothing by itself.
const DEFAULT_WIDTH: u16 = 140;
/// The most findings of one check on a page; the report has more.
const MOST_FINDINGS: usize = 8;

/// A page is never narrower: words one below the other can not be read.
const NARROWEST: u16 = 80;

/// Draws the report. `colour` paints verdicts; `width` is the terminal's, if there is one.
pub fn page(report: &Report, colour: bool, width: Option<u16>) -> String {
    let mut out = String::new();
    // Writing to a String can not fail.
    let _ = write_head(&mut out, report);
    let _ = writeln!(
        out,
        "\n{}\n\n{}",
        sources(report, colour, width),
        checks(report, colour, width)
    );
    let _ = write_tail(&mut out, report);
    out
}

fn write_head(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{} drill {} on {}", report.kind, report.drill, report.host)?;
    match &report.snapshot {
        Some(snapshot) => {
            writeln!(out, "snapshot   {} cut {}", snapshot.id, snapshot.cut)?;
            if let Some(why) = &snapshot.suspect {
                writeln!(out, "           SUSPECT: {why}")?;
            }
        }
        None => writeln!(out, "snapshot   none")?,
    }
    let encryption = if report.encrypted {
        "encrypted"
    } else {
        "NOT ENCRYPTED"
    };
    writeln!(
        out,
        "repository {} ({encryption}, {})",
        report.repository,
        freshness(&report.freshness)
    )?;
    writeln!(
        out,
        "verdict    {}   proof level: {}",
        report.verdict, report.proof
    )?;
    let usable = report
        .time_to_usable
        .map_or_else(|| "nothing restored".to_owned(), seconds);
    writeln!(
        out,
        "RTO        {usable} to usable, {} to proven",
        seconds(report.time_to_proven)
    )?;
    let at_loss = report.rpo.at_loss.map_or_else(|| "unknown".to_owned(), seconds);
    let gap = report
        .rpo
        .worst_gap
        .map_or_else(|| "no second snapshot yet".to_owned(), seconds);
    writeln!(
        out,
        "RPO        {at_loss} at the moment of loss; worst gap between cuts: {gap} ({} snapshots)",
        report.rpo.snapshots
    )?;
    let bytes = &report.bytes;
    writeln!(
        out,
        "bytes      {} protected, {} fetched in {} requests, {} verified, {} restored",
        BinaryBytes(bytes.protected),
        BinaryBytes(bytes.fetched),
        bytes.requests,
        BinaryBytes(bytes.verified),
        BinaryBytes(bytes.restored)
    )
}

fn freshness(state: &Freshness) -> String {
    match state {
        Freshness::Fresh => "fresh".to_owned(),
        Freshness::Unknown => "freshness unknown".to_owned(),
        Freshness::RolledBack { expected } => format!("ROLLED BACK: snapshot {expected} is remembered here"),
    }
}

fn sources(report: &Report, colour: bool, width: Option<u16>) -> Table {
    let mut table = plain_table(width);
    table.set_header([
        "source", "kind", "verdict", "proof", "RTO", "RPO", "files", "bytes", "cut",
    ]);
    let usable = report.time_to_usable.map_or_else(|| "-".to_owned(), seconds);
    let at_loss = report.rpo.at_loss.map_or_else(|| "-".to_owned(), seconds);
    for source in &report.sources {
        table.add_row(vec![
            Cell::new(&source.name),
            Cell::new(&source.kind),
            paint(Cell::new(source.verdict), source.verdict, colour),
            Cell::new(source.proof),
            Cell::new(&usable),
            Cell::new(&at_loss),
            Cell::new(source.files),
            Cell::new(BinaryBytes(source.bytes)),
            Cell::new(capture(source)),
        ]);
    }
    table
}

fn capture(source: &SourceReport) -> String {
    let Some(capture) = &source.capture else {
        return "-".to_owned();
    };
    let pins: Vec<_> = capture
        .pins
        .iter()
        .map(|(pin, files)| format!("{pin} {files}"))
        .collect();
    let how = if capture.exact {
        "exact".to_owned()
    } else {
        format!("window {}", seconds(capture.window))
    };
    if pins.is_empty() {
        how
    } else {
        format!("{how}; pins: {}", pins.join(", "))
    }
}

fn checks(report: &Report, colour: bool, width: Option<u16>) -> Table {
    let mut table = plain_table(width);
    table.set_header(["source", "check", "outcome", "figure", "time"]);
    for source in &report.sources {
        for check in &source.checks {
            table.add_row(vec![
                Cell::new(&source.name),
                Cell::new(format!("{} {}", check.rung.number(), check.rung)),
                outcome(check, colour),
                Cell::new(&check.figure),
                Cell::new(seconds(check.seconds)),
            ]);
        }
    }
    table
}

fn outcome(check: &CheckResult, colour: bool) -> Cell {
    let text = match check.outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed => "FAILED".to_owned(),
        Outcome::Inconclusive(cause) => format!("inconclusive ({cause})"),
        Outcome::NotApplicable => "n/a".to_owned(),
    };
    match check.outcome.verdict() {
        Some(verdict) => paint(Cell::new(text), verdict, colour),
        None => Cell::new(text),
    }
}

fn paint(cell: Cell, verdict: Verdict, colour: bool) -> Cell {
    if !colour {
        return cell;
    }
    cell.fg(match verdict {
        Verdict::Passed => Color::Green,
        Verdict::Inconclusive => Color::Yellow,
        Verdict::Failed => Color::Red,
    })
}

fn write_tail(out: &mut String, report: &Report) -> std::fmt::Result {
    for source in &report.sources {
        for check in &source.checks {
            for finding in check.findings.iter().take(MOST_FINDINGS) {
                writeln!(
                    out,
                    "! {} {}: {}: {}",
                    source.name, check.rung, finding.subject, finding.what
                )?;
            }
        }
    }
    for source in &report.sources {
        for note in &source.notes {
            writeln!(out, "- {}: {note}", source.name)?;
        }
    }
    for note in &report.notes {
        writeln!(out, "- {note}")?;
    }
    Ok(())
}

fn plain_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width.map_or(DEFAULT_WIDTH, |width| width.max(NARROWEST)));
    table
}

/// Seconds as people read them: `0.42 s`, `12.3 s`, `4 minutes`.
fn seconds(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2} s"),
        v if v < 120.0 => format!("{v:.1} s"),
        v => HumanDuration(Duration::from_secs_f64(v.min(1e12))).to_string(),
    }
}
