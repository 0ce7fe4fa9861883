//! Audit logs: framing, JSON, chain, order of time, and that the log continues what the last snapshot captured.

use dr_auditlog::{LogFacts, LogState, capture};
use dr_proto::model::{Finding, Verdict};
use tokio_util::sync::CancellationToken;

use super::{Checked, limited};
use crate::config::{ResolvedSource, Size};

/// Reads a log. Blocking. `previous` is what the last snapshot captured of it, if anybody knows.
pub fn check(source: &ResolvedSource, previous: Option<&LogState>, cancel: &CancellationToken) -> Checked {
    let captured = match capture(&source.log_options()) {
        Ok(captured) => captured,
        Err(error) => return Checked::unasked(&source.name, &error),
    };
    match captured.verify(&source.verify_options(), previous, cancel) {
        Ok(facts) => judged(&source.name, &facts, previous.is_some()),
        Err(error) => Checked::unasked(&source.name, &error),
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
    let all = limited(findings.chain(breaks));
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
