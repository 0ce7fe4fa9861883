//! Evidence as Markdown: what a build server shows beside the run.

use std::fmt::Write;

use super::{Answer, Evidence, Subject};
use crate::model::Verdict;

/// The most findings that are listed; a summary has a limited size, and the report has them all.
const MOST_FINDINGS: usize = 40;

/// Draws the page.
pub fn markdown(evidence: &Evidence) -> String {
    let mut out = String::new();
    // Writing to a String can not fail.
    let _ = page(&mut out, evidence);
    out
}

fn page(out: &mut String, evidence: &Evidence) -> std::fmt::Result {
    writeln!(
        out,
        "### {} {}: {}\n",
        mark(evidence.verdict),
        text(&evidence.title),
        evidence.verdict
    )?;
    if !evidence.figures.is_empty() {
        writeln!(out, "| | |\n|---|---|")?;
        for (name, value) in &evidence.figures {
            writeln!(out, "| {} | {} |", text(name), text(value))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "| subject | question | outcome | figure | time |\n|---|---|---|---|---|"
    )?;
    for subject in &evidence.subjects {
        for answer in &subject.answers {
            row(out, subject, answer)?;
        }
    }
    findings(out, evidence)?;
    let of_subjects = evidence.subjects.iter().flat_map(|subject| {
        subject
            .notes
            .iter()
            .map(move |note| format!("{}: {note}", subject.name))
    });
    let notes: Vec<String> = of_subjects.chain(evidence.notes.iter().cloned()).collect();
    if !notes.is_empty() {
        writeln!(out)?;
    }
    for note in notes {
        writeln!(out, "- {}", text(&note))?;
    }
    Ok(())
}

fn row(out: &mut String, subject: &Subject, answer: &Answer) -> std::fmt::Result {
    let ending = match answer.verdict {
        Some(Verdict::Passed) | None => answer.ending(),
        Some(Verdict::Failed | Verdict::Inconclusive) => format!("**{}**", text(&answer.ending())),
    };
    let mark = answer.verdict.map_or("➖", mark);
    let time = answer.seconds.map_or_else(String::new, super::seconds);
    writeln!(
        out,
        "| {} | {} | {mark} {ending} | {} | {time} |",
        text(&subject.name),
        text(&answer.question),
        text(&answer.figure)
    )
}

fn findings(out: &mut String, evidence: &Evidence) -> std::fmt::Result {
    let all = || {
        evidence.subjects.iter().flat_map(|subject| {
            subject.answers.iter().flat_map(move |answer| {
                answer
                    .findings
                    .iter()
                    .map(move |finding| (subject, answer, finding))
            })
        })
    };
    let count = all().count();
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "\n**Found**\n")?;
    for (subject, answer, finding) in all().take(MOST_FINDINGS) {
        writeln!(
            out,
            "- {} {}: `{}`: {}",
            text(&subject.name),
            text(&answer.question),
            code(&finding.subject),
            text(&finding.what)
        )?;
    }
    match count.saturating_sub(MOST_FINDINGS) {
        0 => Ok(()),
        more => writeln!(out, "- and {more} more; the report has them all"),
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✅",
        Verdict::Inconclusive => "❔",
        Verdict::Failed => "❌",
    }
}

/// Text that stays within its cell and says nothing to Markdown or HTML: names come from data.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character {
            '\n' | '\r' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '~' | '@' => {
                safe.push('\\');
                safe.push(character);
            }
            other => safe.push(other),
        }
    }
    safe
}

/// Text within backticks, where only a backtick or the line's end could leave.
fn code(raw: &str) -> String {
    raw.replace('`', "'").replace(['\n', '\r', '|'], " ")
}
