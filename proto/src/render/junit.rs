//! Evidence as a JUnit file: a suite for each subject, a case for each question.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Answer, Evidence, Subject};
use crate::model::Verdict;

/// Draws the file.
///
/// A verdict that no case explains (nothing was asked, or an older state was put back) gets a case of its own, for
/// build servers count cases and would show a file without a failure as green.
pub fn junit(evidence: &Evidence) -> String {
    let mut report = Report::new(evidence.title.as_str());
    for subject in &evidence.subjects {
        report.add_test_suite(suite(subject, evidence));
    }
    let explained = evidence
        .subjects
        .iter()
        .flat_map(|subject| &subject.answers)
        .filter_map(|answer| answer.verdict)
        .max();
    if explained != Some(evidence.verdict) {
        report.add_test_suite(verdict_alone(evidence));
    }
    report
        .to_string()
        .expect("writing XML into memory fails only for text that is no UTF-8, and a String is")
}

fn suite(subject: &Subject, evidence: &Evidence) -> TestSuite {
    let mut suite = TestSuite::new(subject.name.as_str());
    for (name, value) in &evidence.figures {
        suite.add_property(Property::new(name.as_str(), value.as_str()));
    }
    for answer in &subject.answers {
        suite.add_test_case(case(subject, answer));
    }
    if !subject.notes.is_empty() {
        suite.set_system_out(subject.notes.join("\n"));
    }
    suite
}

fn case(subject: &Subject, answer: &Answer) -> TestCase {
    let status = match answer.verdict {
        Some(Verdict::Passed) => TestCaseStatus::success(),
        Some(Verdict::Failed) => not_passed(NonSuccessKind::Failure, answer),
        Some(Verdict::Inconclusive) => not_passed(NonSuccessKind::Error, answer),
        None => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(answer.figure.as_str());
            status
        }
    };
    let mut case = TestCase::new(answer.question.as_str(), status);
    case.set_classname(subject.name.as_str());
    if let Some(seconds) = answer.seconds {
        case.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
    if answer.verdict == Some(Verdict::Passed) {
        case.set_system_out(answer.figure.as_str());
    }
    case
}

fn not_passed(kind: NonSuccessKind, answer: &Answer) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status
        .set_type(answer.ending())
        .set_message(answer.figure.as_str());
    let findings: Vec<String> = answer
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.subject, finding.what))
        .collect();
    if !findings.is_empty() {
        status.set_description(findings.join("\n"));
    }
    status
}

fn verdict_alone(evidence: &Evidence) -> TestSuite {
    let status = match evidence.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        verdict => {
            let kind = if verdict == Verdict::Failed {
                NonSuccessKind::Failure
            } else {
                NonSuccessKind::Error
            };
            let mut status = TestCaseStatus::non_success(kind);
            status
                .set_type(verdict.to_string())
                .set_message("the verdict rests on more than the single questions");
            status.set_description(
                evidence
                    .figures
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
            status
        }
    };
    let mut suite = TestSuite::new("verdict");
    suite.add_test_case(TestCase::new("verdict", status));
    suite
}
