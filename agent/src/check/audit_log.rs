//! Audit logs: framing, JSON, chain, order of time, and that the log continues what the last snapshot captured.

use dr_auditlog::capture::Note;
use dr_auditlog::{LogFacts, LogState, capture};
use dr_proto::model::{Finding, Verdict};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Checked, MOST, limited};
use crate::config::{ResolvedSource, Size};

/// Reads a log. Blocking. `previous` is what the last snapshot captured of it, if anybody knows.
pub fn check(
    source: &ResolvedSource,
    previous: Option<&LogState>,
    now: Timestamp,
    cancel: &CancellationToken,
) -> Checked {
    let mut captured = match capture(&source.log_options()) {
        Ok(captured) => captured,
        Err(error) => return Checked::unasked(&source.name, &error),
    };
    match captured.settle(&source.verify_options(), previous, now, cancel) {
        Ok(facts) => {
            let mut checked = judged(&source.name, &facts, previous.is_some());
            let unfinished = captured.notes.iter().filter_map(unfinished);
            checked
                .warnings
                .extend(unfinished.map(|(subject, what)| Finding { subject, what }));
            checked
        }
        Err(error) => Checked::unasked(&source.name, &error),
    }
}

/// A segment that is being compressed while this looks, and what to know of it.
pub(crate) fn unfinished(note: &Note) -> Option<(String, String)> {
    match note {
        Note::Unfinished { name } => Some((
            name.clone(),
            "is still being compressed, as it seems: left to the next look; one that stays like this is damaged".to_owned(),
        )),
        _ => None,
    }
}

fn judged(name: &str, facts: &LogFacts, compared: bool) -> Checked {
    let verdict = match (facts.is_sound(), facts.is_complete()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Inconclusive,
        (true, true) => Verdict::Passed,
    };
    let mut checked = Checked::new(name, verdict, figure(facts, compared));
    let findings = facts.findings.kept().iter().map(|finding| Finding {
        subject: format!("{} line {}", finding.segment, finding.line),
        what: finding.to_string(),
    });
    let breaks = facts.continuity.breaks().map(|fate| Finding {
        subject: fate.segment.clone(),
        what: format!("does not continue the last snapshot: {fate}"),
    });
    let all = limited(findings.chain(breaks), MOST);
    match verdict {
        Verdict::Passed => checked.warnings = all,
        _ => checked.findings = all,
    }
    checked
}

fn figure(facts: &LogFacts, compared: bool) -> String {
    let chain = match &facts.chain {
        Some(chain) => format!("{} links of the chain hold", chain.checked),
        None => "no chain configured".to_owned(),
    };
    let disorder = match &facts.time {
        Some(time) if time.disordered > 0 => format!(", {} records out of time order", time.disordered),
        _ => String::new(),
    };
    let continuity = if compared {
        facts.continuity.standing.name()
    } else {
        "no snapshot to compare with"
    };
    format!(
        "{} segments, {} records, {}, {chain}{disorder}; {continuity}",
        facts.segments.len(),
        facts.records,
        Size(facts.bytes)
    )
}
