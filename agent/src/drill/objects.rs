//! Rungs 1 and 2: every object is there, and every chunk opens and has its hash.

use dr_proto::model::units::Period;
use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};
use dr_vault::check::{self, BytesOptions, Severity};
use indicatif::BinaryBytes;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::restored::Restored;
use super::{Drill, judge};
use crate::error::in_one_line;

impl Drill<'_> {
    /// Rung 1: all objects that the snapshot needs, by listing.
    pub(super) async fn objects(&mut self) {
        let since = Instant::now();
        self.progress.step("looking for every object");
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
        self.progress.step("noting what was verified");
        self.note_restored(restored).await;
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
            ..BytesOptions::default()
        };
        let options = match self.request.bytes_cycle {
            Some(cycle) => BytesOptions {
                cycle: SignedDuration::try_from(cycle).unwrap_or(SignedDuration::MAX),
                ..options
            },
            None => options,
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
                let mut figure = format!(
                    "{} chunks, {} opened and hashed",
                    report.chunks,
                    BinaryBytes(report.bytes)
                );
                let left = !report.complete && report.packs_left > 0;
                // With a cycle, the turn that the others had counts.
                let in_turn = self.request.bytes_cycle.filter(|_| left && report.covered);
                if let Some(cycle) = in_turn {
                    let others = report.packs_left;
                    figure = format!(
                        "{figure}, {others} packs by other drills within {}",
                        Period(cycle)
                    );
                }
                let cut_short = (left && in_turn.is_none()).then(|| self.cut_short(&report));
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

    /// What the budget leaves, and whether it ever reaches round.
    fn cut_short(&self, report: &check::BytesReport) -> String {
        let cycle = self
            .request
            .bytes_cycle
            .map_or_else(|| "30 days".to_owned(), |cycle| Period(cycle).to_string());
        let left = format!(
            "the budget leaves {} packs for other drills: {:.1} % verified in {cycle}",
            report.packs_left,
            report.verified_ratio * 100.0
        );
        match report
            .pace
            .filter(|pace| *pace < 1.0 && self.request.bytes_cycle.is_some())
        {
            Some(pace) => format!(
                "{left}; at the pace kept until now {:.1} % are verified in a cycle: give the plan more \
                 checks.bytes.budget, or drill more often",
                pace * 100.0
            ),
            None => left,
        }
    }

    /// What a restore read and hashed is verified: the ledger learns of it. Without that the drill proves the same.
    async fn note_restored(&mut self, restored: &Restored) {
        let mut whole = self.manifest.clone();
        whole.sources.retain(|source| restored.has(&source.name));
        if whole.sources.is_empty() {
            return;
        }
        if let Err(error) = check::note_restored(self.repository, &whole, self.cancel).await {
            let why = in_one_line(&error);
            tracing::warn!(error = why, "what was restored is not in the ledger");
            self.report.notes.push(format!(
                "what was restored is not noted as verified in the repository's ledger: {why}"
            ));
        }
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
