//! Audit logs: framing, JSON, chain, order of time, and that the log continues what the last snapshot captured.

use dr_auditlog::capture::Note;
use dr_auditlog::{Captured, LogFacts, LogState, Weight, capture};
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
            let (odd, left_out) = odd(&captured);
            checked.warnings.extend(
                odd.chain(left_out)
                    .map(|(subject, what)| Finding { subject, what }),
            );
            checked
        }
        Err(error) => Checked::unasked(&source.name, &error),
    }
}

/// What to know of files that a log is not made of as it should be: what is odd, and what was left out on purpose.
pub(crate) fn odd(
    captured: &Captured,
) -> (
    impl Iterator<Item = (String, String)>,
    impl Iterator<Item = (String, String)>,
) {
    let odd = |note: &Note| {
        match note {
        Note::ActiveMissing { path } => Some((
            path.display().to_string(),
            "is not there, only its rotated segments are: does the application write elsewhere?".to_owned(),
        )),
        Note::Unfinished { name } => Some((
            name.clone(),
            "is still being compressed, as it seems: left to the next look; one that stays like this is damaged".to_owned(),
        )),
        _ => None,
    }
    };
    let left_out = |note: &Note| match note {
        Note::LeftOut { name, reason } => Some((name.clone(), reason.clone())),
        _ => None,
    };
    (
        captured.notes.iter().filter_map(odd),
        captured.notes.iter().filter_map(left_out),
    )
}

fn judged(name: &str, facts: &LogFacts, compared: bool) -> Checked {
    let verdict = match (facts.is_sound(), facts.is_complete()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Inconclusive,
        (true, true) => Verdict::Passed,
    };
    let mut checked = Checked::new(name, verdict, figure(facts, compared));
    let said = |weight| facts.findings.of(weight).map(finding);
    let breaks = facts.continuity.breaks().map(|fate| Finding {
        subject: fate.segment.clone(),
        what: format!("does not continue the last snapshot: {fate}"),
    });
    let grave = said(Weight::Break).chain(breaks).chain(said(Weight::Unread));
    checked.findings = limited(grave, MOST);
    checked.warnings = limited(said(Weight::Word), MOST);
    checked
}

/// A finding of a log, under the line that it is about.
pub(crate) fn finding(found: &dr_auditlog::Finding) -> Finding {
    let subject = match found.line {
        0 => found.segment.clone(),
        line => format!("{} line {line}", found.segment),
    };
    Finding {
        subject,
        what: found.fault.to_string(),
    }
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
