//! Rungs 1 and 2: every object is there, and every chunk opens and has its hash.

use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};
use dr_vault::check::{self, BytesOptions, Severity};
use indicatif::BinaryBytes;
use tokio::time::Instant;

use super::restored::Restored;
use super::{Drill, judge};
use crate::error::in_one_line;

impl Drill<'_> {
    /// Rung 1: all objects that the snapshot needs, by listing.
    pub(super) async fn objects(&mut self) {
        let since = Instant::now();
        let report = check::snapshot_objects(self.repository, &self.id, &self.manifest, self.cancel).await;
        let seconds = since.elapsed().as_secs_f64();
        match report {
            Ok(report) => {
                let figure = format!("{} objects, {}", report.objects, BinaryBytes(report.bytes));
                self.spread(Rung::Objects, |_| true, &report.findings, &figure, None, seconds);
            }
            Err(error) => self.everywhere(|_| true, &unasked(Rung::Objects, &error, seconds)),
        }
        self.phase("objects", since);
    }

    /// Rung 2: what was restored has been read and hashed already, and what the other rungs read counts; of the rest
    /// as much as the budget allows.
    pub(super) async fn bytes(&mut self, restored: &Restored) {
        let mut rest = self.manifest.clone();
        rest.sources.retain(|source| !restored.has(&source.name));
        for source in &mut self.sources {
            source.checks.extend(restored.bytes_check(&source.record.name));
        }
        if rest.sources.is_empty() {
            return;
        }
        if let Some(away) = self.away(Rung::Bytes) {
            return self.everywhere(|name| !restored.has(name), &away);
        }
        let since = Instant::now();
        let options = BytesOptions {
            budget: self.request.bytes_budget,
            already: self.reader.coverage().clone(),
        };
        let report = check::snapshot_bytes(
            self.repository,
            &self.id,
            &rest,
            &options,
            self.progress,
            self.cancel,
        )
        .await;
        let seconds = since.elapsed().as_secs_f64();
        let asked = |name: &str| !restored.has(name);
        match report {
            Ok(report) => {
                self.report.bytes.verified += report.bytes;
                let figure = format!(
                    "{} chunks, {} opened and hashed",
                    report.chunks,
                    BinaryBytes(report.bytes)
                );
                let cut_short = (!report.complete && report.packs_left > 0).then(|| {
                    let percent = report.verified_ratio * 100.0;
                    format!(
                        "the budget leaves {} packs for other drills: {percent:.1} % verified in 30 days",
                        report.packs_left
                    )
                });
                self.spread(
                    Rung::Bytes,
                    asked,
                    &report.findings,
                    &figure,
                    cut_short.as_deref(),
                    seconds,
                );
            }
            Err(error) => self.everywhere(asked, &unasked(Rung::Bytes, &error, seconds)),
        }
        self.phase("bytes", since);
    }

    /// One check for each source that was asked about, with the findings that hit it.
    fn spread(
        &mut self,
        rung: Rung,
        asked: impl Fn(&str) -> bool,
        found: &[check::Finding],
        figure: &str,
        cut_short: Option<&str>,
        seconds: f64,
    ) {
        for source in self
            .sources
            .iter_mut()
            .filter(|source| asked(&source.record.name))
        {
            let name = &source.record.name;
            let mut outcome = Outcome::Passed;
            let mut findings = Vec::new();
            if let Some(why) = cut_short {
                outcome = Outcome::Inconclusive(Cause::Budget);
                findings.push(Finding {
                    subject: "budget".to_owned(),
                    what: why.to_owned(),
                });
            }
            for finding in found.iter().filter(|finding| finding.hits(name)) {
                outcome = outcome.worse(match finding.severity {
                    Severity::Damage => Outcome::Failed,
                    Severity::Unavailable => Outcome::Inconclusive(Cause::StoreUnavailable),
                    Severity::Warning | Severity::Note => Outcome::Passed,
                });
                findings.push(Finding {
                    subject: finding.object.to_string(),
                    what: finding.describe(name),
                });
            }
            let findings = judge::limited(findings);
            source.checks.push(CheckResult {
                rung,
                outcome,
                figure: figure.to_owned(),
                findings,
                seconds,
            });
        }
    }

    fn everywhere(&mut self, asked: impl Fn(&str) -> bool, check: &CheckResult) {
        self.sources
            .iter_mut()
            .filter(|source| asked(&source.record.name))
            .for_each(|source| source.checks.push(check.clone()));
    }
}

fn unasked(rung: Rung, error: &dr_vault::Error, seconds: f64) -> CheckResult {
    let outcome = if error.is_damage() {
        Outcome::Failed
    } else if error.is_cancelled() {
        Outcome::Inconclusive(Cause::Cancelled)
    } else {
        Outcome::Inconclusive(Cause::StoreUnavailable)
    };
    let subject = error
        .object()
        .map_or_else(|| "repository".to_owned(), ToString::to_string);
    let findings = vec![Finding {
        subject,
        what: in_one_line(error),
    }];
    CheckResult {
        rung,
        outcome,
        figure: "not asked".to_owned(),
        findings,
        seconds,
    }
}
