//! Rung 7: everything restored for real into scratch, opened there by stock LanceDB, compared, and written to.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use dr_probe_wire::job::Location;
use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};
use dr_vault::restore::{self, Place, Selection};
use indicatif::BinaryBytes;
use tokio::time::Instant;

use super::tables::{self, Asked};
use super::{Drill, audit, judge};
use crate::error::in_one_line;
use crate::restore::Error;
use crate::snapshot::row_key;
use crate::stamp::{LanceStamp, LogStamp, Stamp};

/// The sources that lie in scratch.
#[derive(Default)]
pub(super) struct Restored {
    copies: BTreeMap<String, Copy>,
}

/// One of them.
struct Copy {
    target: PathBuf,
    files: u64,
    bytes: u64,
    seconds: f64,
}

impl Drill<'_> {
    /// Restores the snapshot source by source; what went wrong with one is told as its check.
    pub(super) async fn restore(&mut self) -> Restored {
        let since = Instant::now();
        let mut restored = Restored::default();
        for index in 0..self.sources.len() {
            let record = &self.sources[index].record;
            let name = record.name.clone();
            if record.files == 0 {
                let why = "the snapshot holds no file of it";
                let check = judge::unasked(Rung::Restore, Cause::NoFacts, &name, why);
                self.sources[index].checks.push(check);
                continue;
            }
            if let Some(check) = self.away(Rung::Restore) {
                self.sources[index].checks.push(check);
                continue;
            }
            match self.restore_one(&name).await {
                Ok(copy) => {
                    self.report.bytes.restored += copy.bytes;
                    self.report.bytes.verified += copy.bytes;
                    restored.copies.insert(name, copy);
                }
                Err(error) => self.sources[index].checks.push(failed(&error)),
            }
        }
        self.phase("restore", since);
        restored
    }

    async fn restore_one(&mut self, name: &str) -> Result<Copy, Error> {
        let folder = self.request.scratch.join("restored");
        let (place, target) = (Place::BySource(folder.clone()), folder.join(name));
        let lost = self.lose(name, &place, &target).await?;
        let since = Instant::now();
        let options = restore::Options {
            existing: lost.existing,
            ..restore::Options::default()
        };
        let report = self.restore_to(name, &place, options).await?;
        let seconds = since.elapsed().as_secs_f64();
        self.report.notes.extend(metadata_note(&report));
        let Some(placed) = report.placed.into_iter().next() else {
            let reason = "a restore that succeeded has placed nothing".to_owned();
            return Err(restore::Error::Internal(reason).into());
        };
        let clearing = Instant::now();
        let cleared = lost.clear(placed.displaced).await;
        cleared.map_err(|source| Error::Loss {
            name: name.to_owned(),
            source,
        })?;
        self.prepared += clearing.elapsed();
        Ok(Copy {
            target: placed.target,
            files: report.files,
            bytes: report.bytes,
            seconds,
        })
    }

    /// Restores one source, every byte of it from the repository.
    pub(super) async fn restore_to(
        &self,
        name: &str,
        place: &Place,
        options: restore::Options,
    ) -> Result<restore::Report, Error> {
        let (repository, manifest) = (self.repository, &self.manifest);
        self.progress.step(format!("planning the restore of {name}"));
        let selection = Selection::source(name);
        let planned = crate::restore::plan(repository, self.id, manifest, selection, place, options);
        let (plan, _) = planned.await?;
        let needed: u64 = plan
            .placements
            .iter()
            .map(|placement| placement.space_needed)
            .sum();
        let room = self.request.scratch_room;
        let room = room.map(|room| room.saturating_sub(self.report.bytes.restored));
        if let Some(room) = room.filter(|room| needed > *room) {
            return Err(Error::Ceiling { room, needed });
        }
        let spool = &self.request.spool;
        crate::restore::execute(repository, manifest, plan, spool, self.progress, self.cancel).await
    }

    /// Asks of what lies in scratch, and writes to it. Also tells when all of it was usable: once it lay there and its
    /// tables had opened; what else is asked meanwhile takes no time of that.
    pub(super) async fn ask_restored(&mut self, restored: &Restored) {
        let since = Instant::now();
        let lay_there = self.request.asked.elapsed().saturating_sub(self.prepared);
        let mut opening = Some(Duration::ZERO);
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            let Some(copy) = restored.copies.get(&source.record.name) else {
                opening = None;
                continue;
            };
            let begun = Instant::now();
            let check = match &source.stamp {
                Some(Stamp::Lancedb(lance)) => {
                    let (check, opened) = self.restored_database(index, lance, copy).await;
                    opening = opening.zip(opened).map(|(sum, one)| sum + one);
                    check
                }
                Some(Stamp::AuditLog(log)) => {
                    let name = &source.record.name;
                    self.progress.step(format!("reading the restored {name}"));
                    self.restored_log(log, copy).await
                }
                None => restored_only(copy),
            };
            let seconds = copy.seconds + begun.elapsed().as_secs_f64();
            self.sources[index].checks.push(CheckResult { seconds, ..check });
        }
        if let Some(opening) = opening.filter(|_| !self.sources.is_empty()) {
            self.report.time_to_usable = Some((lay_there + opening).as_secs_f64());
        }
        self.phase(
            "tables, content, queries, audit and write test of the restored copy",
            since,
        );
    }

    async fn restored_database(
        &self,
        index: usize,
        lance: &LanceStamp,
        copy: &Copy,
    ) -> (CheckResult, Option<Duration>) {
        let name = &self.sources[index].record.name;
        let asked = Asked {
            lance,
            recorded: self.facts.databases.get(name),
            key: row_key(self.repository),
            // What was restored is new: all of it is read.
            known: Vec::new(),
            write_test: true,
        };
        let location = Location::Directory {
            path: copy.target.clone(),
        };
        self.progress
            .step(format!("starting a probe on the restored {name}"));
        let probe = &self.request.probe;
        let answers = tables::ask(location, None, asked, probe, self.progress, self.cancel).await;
        let asked: Vec<CheckResult> = answers.checks.into_iter().chain(answers.write_test).collect();
        (combined(&asked, copy), answers.opened)
    }

    async fn restored_log(&self, log: &LogStamp, copy: &Copy) -> CheckResult {
        let mut segments: Vec<audit::Segment> = Vec::new();
        for name in log.files() {
            match File::open(copy.target.join(name)) {
                Ok(file) => segments.push((name.to_owned(), Box::new(file))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return judge::unasked(Rung::Restore, Cause::Internal, name, error.to_string()),
            }
        }
        let check = audit::ask_blocking(self.captured(log.clone()), segments, self.cancel).await;
        combined(&[check], copy)
    }
}

/// All that was asked of a restored source as one check.
fn combined(asked: &[CheckResult], copy: &Copy) -> CheckResult {
    let outcome = asked
        .iter()
        .map(|check| check.outcome)
        .fold(Outcome::Passed, Outcome::worse);
    let findings = asked
        .iter()
        .flat_map(|check| &check.findings)
        .map(|finding| Finding {
            subject: finding.subject.clone(),
            what: format!("restored copy: {}", finding.what),
        });
    let figures: Vec<&str> = asked
        .iter()
        .map(|check| check.figure.as_str())
        .filter(|figure| !figure.is_empty())
        .collect();
    CheckResult {
        rung: Rung::Restore,
        outcome,
        figure: format!("{}; {}", copy.figure(), figures.join("; ")),
        findings: judge::limited(findings.collect()),
        seconds: 0.0,
    }
}

/// A source of an unknown kind: its bytes are back, nothing more can be asked.
fn restored_only(copy: &Copy) -> CheckResult {
    combined(&[], copy)
}

impl Restored {
    /// Whether this source was restored.
    pub(super) fn has(&self, source: &str) -> bool {
        self.copies.contains_key(source)
    }

    /// What restoring says of a source's bytes: every one was opened, hashed, and read back from disk.
    pub(super) fn bytes_check(&self, source: &str) -> Option<CheckResult> {
        let copy = self.copies.get(source)?;
        Some(CheckResult {
            rung: Rung::Bytes,
            outcome: Outcome::Passed,
            figure: format!(
                "{} restored, every chunk and file hash right",
                BinaryBytes(copy.bytes)
            ),
            findings: Vec::new(),
            seconds: copy.seconds,
        })
    }
}

impl Copy {
    fn figure(&self) -> String {
        let bytes = BinaryBytes(self.bytes);
        format!("{} files, {bytes} restored in {:.1} s", self.files, self.seconds)
    }
}

fn failed(error: &Error) -> CheckResult {
    let (outcome, subject, what) = match error {
        // Nobody goes on from what is in scratch.
        Error::Vault(restore::Error::Interrupted { source, .. }) => {
            (outcome_of(source), subject_of(source), in_one_line(&**source))
        }
        Error::Vault(error) => (outcome_of(error), subject_of(error), in_one_line(error)),
        Error::Patch { .. } => (Outcome::Failed, None, in_one_line(error)),
        Error::Ceiling { .. } => (Outcome::Inconclusive(Cause::NoSpace), None, in_one_line(error)),
        // A drill restores whole sources: no table is chosen.
        Error::Stopped(_) | Error::NoTable { .. } | Error::NoSource { .. } | Error::TableAmbiguous { .. } => {
            (Outcome::Inconclusive(Cause::Internal), None, in_one_line(error))
        }
        Error::Loss { source, .. } => {
            let cause = match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Cause::NoSpace,
                _ => Cause::Internal,
            };
            (Outcome::Inconclusive(cause), None, in_one_line(error))
        }
    };
    CheckResult {
        rung: Rung::Restore,
        outcome,
        figure: "not restored".to_owned(),
        findings: vec![Finding {
            subject: subject.unwrap_or_else(|| "restore".to_owned()),
            what,
        }],
        seconds: 0.0,
    }
}

fn outcome_of(error: &restore::Error) -> Outcome {
    if error.is_damage() {
        Outcome::Failed
    } else if error.is_no_space() {
        Outcome::Inconclusive(Cause::NoSpace)
    } else if error.is_cancelled() {
        Outcome::Inconclusive(Cause::Cancelled)
    } else if error.is_unavailable() {
        Outcome::Inconclusive(Cause::StoreUnavailable)
    } else {
        Outcome::Inconclusive(Cause::Internal)
    }
}

/// The file that an error is about.
fn subject_of(error: &restore::Error) -> Option<String> {
    match error {
        restore::Error::Fetch { path, .. } | restore::Error::WrongContent { path, .. } => {
            Some(path.to_string())
        }
        _ => None,
    }
}

fn metadata_note(report: &restore::Report) -> Option<String> {
    let first = report.metadata_missing.first()?;
    Some(format!(
        "{} pieces of metadata could not be put back by this user, such as {} of {}: {}",
        report.metadata_missing_count, first.what, first.path, first.reason
    ))
}
