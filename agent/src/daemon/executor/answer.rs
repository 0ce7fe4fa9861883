//! From what a job measured, or why it could not, to the answer that the coordinator gets: one table.

use dr_proto::model::{
    CheckKind, CheckResult, Finding, Freshness, Outcome, Report, TaskState, Verdict, Work,
};
use serde::Serialize;

use super::{Ending, Halt};
use crate::daemon::allow::Refusal;
use crate::daemon::journal::LARGEST;
use crate::error::{Class, Failure};
use crate::job::check::Answer as Checked;
use crate::job::hold::Changed as Held;
use crate::snapshot;

/// The longest sentence that travels, in characters.
const LONGEST: usize = 2_000;

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The state.
    pub state: TaskState,
    /// The stable word for why it did not pass; empty if it did.
    pub cause: String,
    /// A sentence for people; empty if it passed.
    pub message: String,
    /// What was measured, as JSON; empty if nothing was.
    pub document: Vec<u8>,
    /// Sources that it was about, and whether each is whole: `None` where it says nothing of the live data.
    pub sources: Vec<(String, Option<bool>)>,
}

impl Ended {
    /// It passed.
    pub fn passed() -> Self {
        Self::with(TaskState::Passed, "", "")
    }

    fn with(state: TaskState, cause: impl Into<String>, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self {
            state,
            cause: cause.into(),
            message: message.chars().take(LONGEST).collect(),
            document: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// It was not taken on.
    pub fn refused(refusal: &Refusal) -> Self {
        Self::with(TaskState::Refused, refusal.cause, &refusal.message)
    }

    /// It was ended before it was done.
    pub fn because(ending: &Ending, more: &str) -> Self {
        let (state, cause, why) = match ending {
            Ending::Cancelled(reason) => (TaskState::Cancelled, "cancelled", format!("cancelled: {reason}")),
            Ending::Deadline => (
                TaskState::Inconclusive,
                "time_limit",
                "its time was over".to_owned(),
            ),
            Ending::Suspended(reason) => (
                TaskState::Inconclusive,
                "suspended",
                format!("work on this host is suspended: {reason}"),
            ),
            Ending::HostBusy => (
                TaskState::Inconclusive,
                "host_busy",
                "this host is too busy, says its own hook".to_owned(),
            ),
            Ending::Shutdown => (
                TaskState::Inconclusive,
                "interrupted",
                "the agent was told to end".to_owned(),
            ),
        };
        let message = if more.is_empty() {
            why
        } else {
            format!("{why}; {more}")
        };
        Self::with(state, cause, message)
    }

    /// The answer of work that was told to stop. What it found before that stands if it is an end of its own: data
    /// that was disproved, a snapshot that was committed. What it could not ask any more has the reason for its cause.
    pub(super) fn halted(self, halt: &Halt) -> Self {
        match halt.ending() {
            Some(ending) if self.state == TaskState::Inconclusive => {
                let because = Self::because(&ending, "");
                Self {
                    document: self.document,
                    sources: self.sources,
                    ..because
                }
            }
            _ => self,
        }
    }

    /// Adds what was measured. A document that is too large to travel stays away, and the answer says so.
    fn measured(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(document) if document.len() <= LARGEST => self.document = document,
            Ok(document) => self.add(&format!(
                "its document of {} bytes is too large to be sent",
                document.len()
            )),
            Err(error) => self.add(&format!("its document is no JSON: {error}")),
        }
        self
    }

    fn add(&mut self, more: &str) {
        let separator = if self.message.is_empty() { "" } else { "; " };
        self.message = format!("{}{separator}{more}", self.message);
    }

    fn about(mut self, sources: impl IntoIterator<Item = (String, Option<bool>)>) -> Self {
        self.sources.extend(sources);
        self
    }
}

/// Why work did not come to an answer of its own.
///
/// | class of the failure | a question (drill, check) | an action (snapshot, restore, hold) |
/// |---|---|---|
/// | the repository or live data are damaged | failed | failed |
/// | passes by itself: busy, suspended, cancelled, store or host away, no space | inconclusive | inconclusive |
/// | needs somebody: configuration, keys, rights, names, a target that exists, a mistake of ours | inconclusive | failed |
pub(crate) fn failed(work: &Work, failure: &Failure) -> Ended {
    let class = failure.class();
    let acts = matches!(work, Work::Snapshot(_) | Work::Restore(_) | Work::Hold(_));
    let state = match class {
        Class::RepositoryDamaged | Class::SourceDamaged => TaskState::Failed,
        Class::Busy
        | Class::Suspended
        | Class::HostBusy
        | Class::Cancelled
        | Class::SourceBusy
        | Class::StoreUnavailable
        | Class::CoordinatorUnavailable
        | Class::Io
        | Class::NoSpace => TaskState::Inconclusive,
        Class::Usage
        | Class::Configuration
        | Class::Key
        | Class::WrongKey
        | Class::NotFound
        | Class::NotARepository
        | Class::Exists
        | Class::StoreDenied
        | Class::RepositoryNewer
        | Class::ForeignRepository
        | Class::Denied
        | Class::Internal => {
            if acts {
                TaskState::Failed
            } else {
                TaskState::Inconclusive
            }
        }
    };
    // Another host's repository that does not open for this one is a matter of rights, whatever said so.
    let cause = match class {
        Class::WrongKey | Class::StoreDenied if work.from_host().is_some() => Class::Denied.name(),
        class => class.name(),
    };
    let mut message = failure.to_string();
    for hint in failure.hints() {
        message = format!("{message}; {hint}");
    }
    Ended::with(state, cause, message)
}

/// A snapshot that was committed. A suspect cut proves nothing; a damaged source is in it only in part, and what a
/// probe can not decode is there and of no use.
pub(super) fn snapshot(outcome: &snapshot::Outcome) -> Ended {
    let damaged: Vec<&snapshot::SourceOutcome> = outcome
        .sources
        .iter()
        .filter(|source| !source.damage.is_empty())
        .collect();
    let ended = match (&outcome.suspect, damaged.first()) {
        (Some(why), _) => Ended::with(
            TaskState::Inconclusive,
            "suspect",
            format!(
                "the snapshot is suspect and will not be `latest`: {why}; look at the data, and if they are right take \
                 one with --accept"
            ),
        ),
        (None, Some(source)) => {
            let first = source.damage.first().map_or("damage", String::as_str);
            let places: usize = damaged.iter().map(|source| source.damage.len()).sum();
            Ended::with(
                TaskState::Partial,
                "source_damaged",
                format!(
                    "live data is damaged in {places} places, such as {}: {first}",
                    source.name
                ),
            )
        }
        (None, None) => match outcome.facts.disproved() {
            [] => gone(outcome)
                .or_else(|| not_held(outcome))
                .unwrap_or_else(Ended::passed),
            [first, ..] => Ended::with(
                TaskState::Partial,
                "facts_failed",
                format!("committed, and its data can not be used: {first}"),
            ),
        },
    };
    let whole = |source: &snapshot::SourceOutcome| {
        let mut disproved = outcome.facts.disproved().iter();
        source.damage.is_empty() && disproved.all(|found| found.source != source.name)
    };
    let sources = outcome.sources.iter();
    ended
        .about(sources.map(|source| (source.name.clone(), Some(whole(source)))))
        .measured(outcome)
}

/// Sources that a glob has lost: the snapshot is right and lacks them.
fn gone(outcome: &snapshot::Outcome) -> Option<Ended> {
    let first = outcome.gone.first()?;
    Some(Ended::with(
        TaskState::Partial,
        "source_gone",
        format!(
            "{} sources of the snapshot before are not in this one, such as {first}: nothing matches it any more; is it \
             mounted, and may the agent's user read it?",
            outcome.gone.len()
        ),
    ))
}

/// A snapshot that was to be held and is not: it is there, and retention may take it.
fn not_held(outcome: &snapshot::Outcome) -> Option<Ended> {
    match &outcome.hold {
        snapshot::HoldOutcome::NotAsked | snapshot::HoldOutcome::Set(_) => None,
        snapshot::HoldOutcome::Missing { reason } => Some(Ended::with(
            TaskState::Partial,
            "not_held",
            format!("snapshot {} is committed and not held: {reason}", outcome.id),
        )),
    }
}

/// A drill that has a report.
pub(super) fn drill(report: &Report) -> Ended {
    let ended = match report.verdict {
        Verdict::Passed => Ended::passed(),
        Verdict::Failed => disproved(report),
        Verdict::Inconclusive => unasked(report),
    };
    let passed = report
        .sources
        .iter()
        .filter(|source| source.verdict == Verdict::Passed);
    ended
        .about(passed.map(|source| (source.name.clone(), None)))
        .measured(report)
}

fn disproved(report: &Report) -> Ended {
    if let Some((source, check)) = worst(report, |check| check.outcome == Outcome::Failed) {
        return Ended::with(
            TaskState::Failed,
            check.rung.to_string(),
            sentence(source, check.rung, &check.findings),
        );
    }
    match &report.freshness {
        Freshness::RolledBack { expected } => Ended::with(
            TaskState::Failed,
            "rolled_back",
            format!("the repository is older than this host remembers: snapshot {expected} is gone"),
        ),
        Freshness::Fresh | Freshness::Unknown => {
            Ended::with(TaskState::Failed, "failed", "the drill failed; see its report")
        }
    }
}

fn unasked(report: &Report) -> Ended {
    let inconclusive = |check: &CheckResult| matches!(check.outcome, Outcome::Inconclusive(_));
    match worst(report, inconclusive) {
        Some((source, check)) => {
            let cause = match check.outcome {
                Outcome::Inconclusive(cause) => cause.to_string(),
                Outcome::Passed | Outcome::Failed | Outcome::NotApplicable => String::new(),
            };
            Ended::with(
                TaskState::Inconclusive,
                cause,
                sentence(source, check.rung, &check.findings),
            )
        }
        None => Ended::with(
            TaskState::Inconclusive,
            "nothing_asked",
            "no question was asked that proves data",
        ),
    }
}

/// The first check on the lowest rung that is like this.
fn worst(report: &Report, like: impl Fn(&CheckResult) -> bool) -> Option<(&str, &CheckResult)> {
    let checks = report
        .sources
        .iter()
        .flat_map(|source| source.checks.iter().map(|check| (source.name.as_str(), check)));
    checks
        .filter(|(_, check)| like(check))
        .min_by_key(|(_, check)| check.rung)
}

fn sentence(source: &str, question: impl std::fmt::Display, findings: &[Finding]) -> String {
    let Some(first) = findings.first() else {
        return format!("source {source}, {question}");
    };
    let more = match findings.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!(
        "source {source}, {question}: {}: {}{more}",
        first.subject, first.what
    )
}

/// A restore that was done, or planned.
pub(super) fn restored(document: &impl Serialize, sources: impl IntoIterator<Item = String>) -> Ended {
    let sources = sources.into_iter().map(|name| (name, None));
    Ended::passed().about(sources).measured(document)
}

/// A hold that was set, or holds that were ended.
pub(super) fn held(changed: &Held) -> Ended {
    let mut ended = Ended::passed();
    if changed.set.is_none() && changed.released.is_empty() {
        ended.add(&format!("nothing held snapshot {}", changed.snapshot));
    }
    ended.measured(changed)
}

/// A live check that has an answer.
pub(super) fn checked(answer: &Checked) -> Ended {
    let first = answer
        .checked
        .iter()
        .find(|checked| checked.verdict == answer.verdict);
    let said = first.map(|checked| sentence(&checked.subject, answer.check, &checked.findings));
    let said = said.unwrap_or_else(|| "nothing was asked".to_owned());
    let live = !matches!(answer.check, CheckKind::DrIntegrity);
    let ended = match answer.verdict {
        Verdict::Passed => Ended::passed(),
        Verdict::Failed if live => Ended::with(TaskState::Failed, "source_damaged", said),
        Verdict::Failed => Ended::with(TaskState::Failed, "integrity", said),
        Verdict::Inconclusive => Ended::with(TaskState::Inconclusive, "not_asked", said),
    };
    let whole = |verdict| match verdict {
        Verdict::Passed => Some(true),
        Verdict::Failed => Some(false),
        Verdict::Inconclusive => None,
    };
    let sources = answer.checked.iter().filter(|_| live);
    ended
        .about(sources.map(|checked| (checked.subject.clone(), whole(checked.verdict))))
        .measured(answer)
}

#[cfg(test)]
mod tests {
    use dr_proto::model::{CheckWork, SnapshotWork};

    use super::*;

    fn action() -> Work {
        Work::Snapshot(SnapshotWork::default())
    }

    fn question() -> Work {
        Work::Check(CheckWork {
            kind: CheckKind::VectorDb,
            sources: Vec::new(),
        })
    }

    #[test]
    fn every_class_of_failure_has_an_answer_and_none_passes() {
        for class in Class::ALL {
            for work in [action(), question()] {
                let ended = failed(&work, &Failure::new(class, "it did not go"));
                assert!(
                    ended.state.is_answer() && ended.state != TaskState::Passed,
                    "{class:?}"
                );
                assert!(!ended.cause.is_empty() && ended.message.contains("it did not go"));
            }
        }
    }

    #[test]
    fn what_passes_by_itself_is_inconclusive_and_damage_is_failed() {
        for class in [
            Class::Busy,
            Class::StoreUnavailable,
            Class::NoSpace,
            Class::SourceBusy,
        ] {
            assert_eq!(
                failed(&action(), &Failure::new(class, "x")).state,
                TaskState::Inconclusive
            );
        }
        for work in [action(), question()] {
            let ended = failed(&work, &Failure::new(Class::RepositoryDamaged, "x"));
            assert_eq!(
                (ended.state, ended.cause.as_str()),
                (TaskState::Failed, "repository_damaged")
            );
        }
        let wrong = Failure::new(Class::WrongKey, "x");
        assert_eq!(failed(&action(), &wrong).state, TaskState::Failed);
        assert_eq!(failed(&question(), &wrong).state, TaskState::Inconclusive);
    }

    #[test]
    fn a_stop_gives_its_reason_to_what_was_not_asked_and_takes_nothing_back() {
        let halt = Halt::default();
        halt.because(Ending::Cancelled("by ana".to_owned()));
        let cut_short = failed(&question(), &Failure::new(Class::Cancelled, "x")).halted(&halt);
        assert_eq!(
            (cut_short.state, cut_short.cause.as_str()),
            (TaskState::Cancelled, "cancelled")
        );
        assert!(cut_short.message.contains("by ana"));
        let disproved = failed(&question(), &Failure::new(Class::SourceDamaged, "x")).halted(&halt);
        assert_eq!(disproved.state, TaskState::Failed);
        assert_eq!(Ended::passed().halted(&halt).state, TaskState::Passed);
    }

    #[test]
    fn a_document_that_is_too_large_is_named_and_not_sent() {
        let ended = restored(&"x".repeat(LARGEST), []);
        assert!(ended.document.is_empty());
        assert!(ended.message.contains("too large"), "{}", ended.message);
        assert_eq!(restored(&"x", []).document, b"\"x\"");
    }
}
