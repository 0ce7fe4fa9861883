//! Reads an audit log back, wherever it lies, and compares it with what was captured.

use std::collections::BTreeSet;
use std::io::Read;

use dr_auditlog::carry::Carried;
use dr_auditlog::{FaultKind, LogFacts, VerifyOptions, Weight};
use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};
use tokio_util::sync::CancellationToken;

use super::judge;
use crate::check::audit_log;
use crate::error::in_one_line;
use crate::stamp::LogStamp;

/// One segment of the log: its name and its bytes.
pub(super) type Segment = (String, Box<dyn Read + Send>);

/// A log as it was captured.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub(super) log: LogStamp,
    /// Somebody has looked at what made this cut suspect, and found the data right.
    pub(super) accepted: bool,
}

/// Verifies the segments, oldest first, against the stamp. Blocks; call it on a thread that may.
fn ask(
    Captured { log, accepted }: &Captured,
    segments: Vec<Segment>,
    cancel: &CancellationToken,
) -> Result<CheckResult, dr_auditlog::Error> {
    let options = log.verify_options();
    let (carried, segments): (Vec<_>, Vec<_>) = segments
        .into_iter()
        .partition(|(name, _)| log.carried.iter().any(|carried| carried.name == *name));
    let captured = log.facts.state();
    let found = dr_auditlog::verify(segments, &options, Some(&captured), cancel)?;
    let said = |weight| found.findings.of(weight).map(audit_log::finding);
    let mut findings = differences(&log.facts, &found);
    findings.extend(carried_differences(&log.carried, carried, &options, cancel)?);
    findings.extend(said(Weight::Break));
    let breaks = log.facts.continuity.breaks().map(|fate| Finding {
        subject: fate.segment.clone(),
        what: format!("the log did not continue the snapshot before: {fate}"),
    });
    let accepted: Vec<Finding> = match accepted {
        true => breaks.collect(),
        false => {
            findings.extend(breaks);
            Vec::new()
        }
    };
    let outcome = if findings.is_empty() {
        unread(&found).map_or(Outcome::Passed, Outcome::Inconclusive)
    } else {
        Outcome::Failed
    };
    findings.extend(said(Weight::Unread));
    findings.extend(accepted);
    findings.extend(said(Weight::Word));
    Ok(CheckResult {
        rung: Rung::Audit,
        outcome,
        figure: figure(log, &found),
        findings: judge::limited(findings),
        seconds: 0.0,
    })
}

/// Why something was not read, if anything was not.
fn unread(found: &LogFacts) -> Option<Cause> {
    let kind = found.findings.of(Weight::Unread).next()?.fault.kind();
    Some(match kind {
        FaultKind::Unreadable => Cause::FormatTooNew,
        _ => Cause::MemoryLimit,
    })
}

/// Carried segments, each by itself: between them and the host's own may lie records that no snapshot ever saw.
fn carried_differences(
    captured: &[Carried],
    segments: Vec<Segment>,
    options: &VerifyOptions,
    cancel: &CancellationToken,
) -> Result<Vec<Finding>, dr_auditlog::Error> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, reader) in segments {
        let Some(then) = captured.iter().find(|carried| carried.name == name) else {
            continue;
        };
        let found = dr_auditlog::verify(vec![(name.clone(), reader)], options, None, cancel)?;
        let same = found
            .segments
            .first()
            .is_some_and(|now| now.state.hash == then.segment.hash && now.state.len == then.segment.len);
        if !same {
            findings.push(Finding {
                subject: name.clone(),
                what: "this carried segment is not what was captured of it".to_owned(),
            });
        }
        seen.insert(name);
    }
    let missing = captured.iter().filter(|carried| !seen.contains(&carried.name));
    findings.extend(missing.map(|carried| Finding {
        subject: carried.name.clone(),
        what: "this carried segment is not there".to_owned(),
    }));
    Ok(findings)
}

fn figure(log: &LogStamp, found: &LogFacts) -> String {
    let chain = match &found.chain {
        Some(chain) => format!(", {} links of the chain hold", chain.checked),
        None => ", no chain configured".to_owned(),
    };
    let disorder = match &found.time {
        Some(time) => format!(", {} records out of time order", time.disordered),
        None => String::new(),
    };
    let carried = match log.carried.len() {
        0 => String::new(),
        number => format!(", {number} carried over from before"),
    };
    let standing = log.facts.continuity.standing.name();
    format!(
        "{} segments, {} records{chain}{disorder}{carried}; {standing}",
        found.segments.len(),
        found.records
    )
}

/// What is not as it was captured: every segment's length and hash count, not only the chain.
fn differences(captured: &LogFacts, found: &LogFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for segment in &captured.segments {
        let then = &segment.state;
        let now = found
            .segments
            .iter()
            .map(|segment| &segment.state)
            .find(|state| state.name == then.name);
        let what = match now {
            None => "is not there".to_owned(),
            Some(now) if now.len != then.len => {
                format!("has {} bytes of whole lines, {} were captured", now.len, then.len)
            }
            Some(now) if now.hash != then.hash => "has other content than was captured".to_owned(),
            Some(now) if now.records != then.records => {
                format!("has {} records, {} were captured", now.records, then.records)
            }
            Some(_) => continue,
        };
        findings.push(Finding {
            subject: then.name.clone(),
            what,
        });
    }
    if captured.head() != found.head() {
        let head = |facts: &LogFacts| facts.head().unwrap_or("none").to_owned();
        let what = format!(
            "the chain ends in {}, at the cut it ended in {}",
            head(found),
            head(captured)
        );
        findings.push(Finding {
            subject: "head".to_owned(),
            what,
        });
    }
    findings
}

/// [`ask`] on a thread that may block; what can not be read is told as a check.
#[tracing::instrument(name = "audit", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub(super) async fn ask_blocking(
    captured: Captured,
    segments: Vec<Segment>,
    cancel: &CancellationToken,
) -> CheckResult {
    let token = cancel.clone();
    // Reads of the repository on that thread belong to this step.
    let span = tracing::Span::current();
    let asked = tokio::task::spawn_blocking(move || span.in_scope(|| ask(&captured, segments, &token))).await;
    let check = match asked {
        Ok(Ok(check)) => check,
        Ok(Err(dr_auditlog::Error::Cancelled)) => {
            judge::unasked(Rung::Audit, Cause::Cancelled, "log", "cancelled")
        }
        Ok(Err(dr_auditlog::Error::Read { segment, source, .. })) => unreadable(&segment, &source),
        Err(stopped) => judge::unasked(Rung::Audit, Cause::Internal, "log", stopped.to_string()),
    };
    judge::mark(check.outcome);
    check
}

/// Bytes that did not come: disproved if the repository says so, else not asked.
fn unreadable(segment: &str, error: &std::io::Error) -> CheckResult {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<dr_vault::read::Error>());
    let what = in_one_line(inner.map_or(error as &dyn std::error::Error, |inner| inner));
    let damaged = inner.is_some_and(dr_vault::read::Error::is_damage);
    let mut check = judge::unasked(Rung::Audit, Cause::StoreUnavailable, segment, what);
    if damaged {
        check.outcome = Outcome::Failed;
    }
    check
}

#[cfg(test)]
mod tests {
    use dr_auditlog::{ChainConfig, Format};

    use super::*;

    fn lines(text: &[u8]) -> Vec<Segment> {
        vec![(
            "audit.log".to_owned(),
            Box::new(std::io::Cursor::new(text.to_vec())),
        )]
    }

    /// A log captured after `before`, and what a drill says of `now`.
    fn asked(before: Option<&[u8]>, then: &[u8], now: &[u8], accepted: bool) -> CheckResult {
        let options = VerifyOptions::default();
        let cancel = CancellationToken::new();
        let verify = |text, previous: Option<&LogFacts>| {
            let previous = previous.map(LogFacts::state);
            dr_auditlog::verify(lines(text), &options, previous.as_ref(), &cancel).expect("memory is read")
        };
        let before = before.map(|text| verify(text, None));
        let log = LogStamp {
            active: "audit.log".to_owned(),
            carried: Vec::new(),
            facts: verify(then, before.as_ref()),
            chain: None::<ChainConfig>,
            format: Format::JsonLines,
            time_field: None,
            held: dr_auditlog::capture::Pin::Descriptor,
        };
        ask(&Captured { log, accepted }, lines(now), &cancel).expect("memory is read")
    }

    #[test]
    fn odd_but_whole_logs_pass_and_say_so() {
        let odd = b"{\"a\":1}\r\n\n{\"a\":NaN}\n{\"a\":1,\"a\":2}\n";
        let check = asked(None, odd, odd, false);
        assert_eq!(
            (check.outcome, check.findings.len()),
            (Outcome::Passed, 3),
            "{check:?}"
        );
        assert_eq!(asked(None, odd, &odd[..10], false).outcome, Outcome::Failed);
        let torn = b"{\"a\":1}\n{\"a\":\n";
        assert_eq!(asked(None, torn, torn, false).outcome, Outcome::Failed);
    }

    #[test]
    fn what_can_not_be_read_is_not_disproved() {
        let packed = [&[0xfd, b'7', b'z', b'X', b'Z', 0][..], &[7; 100]].concat();
        let check = asked(None, &packed, &packed, false);
        assert_eq!(
            check.outcome,
            Outcome::Inconclusive(Cause::FormatTooNew),
            "{check:?}"
        );
        let long = [b"{\"a\":\"", &vec![b'x'; 17 << 20][..], b"\"}\n"].concat();
        let check = asked(None, &long, &long, false);
        assert_eq!(
            check.outcome,
            Outcome::Inconclusive(Cause::MemoryLimit),
            "{check:?}"
        );
    }

    #[test]
    fn a_break_that_somebody_accepted_is_told_and_does_not_fail() {
        let (before, now) = (&b"{\"a\":1}\n{\"a\":2}\n"[..], &b"{\"b\":1}\n"[..]);
        assert_eq!(asked(Some(before), now, now, false).outcome, Outcome::Failed);
        let check = asked(Some(before), now, now, true);
        assert_eq!(
            (check.outcome, check.findings.len()),
            (Outcome::Passed, 1),
            "{check:?}"
        );
    }
}
