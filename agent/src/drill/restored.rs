//! Rung 7: everything restored for real into scratch, opened there by stock LanceDB, compared, and written to.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use dr_probe_wire::host;
use dr_probe_wire::job::{Job, Location};
use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};
use dr_vault::restore::{self, Place, Selection};
use tokio::time::Instant;

use super::tables::{self, Asked};
use super::{Drill, audit, judge};
use crate::error::in_one_line;
use crate::probe;
use crate::restore::Error;
use crate::snapshot::row_key;
use crate::stamp::{LogStamp, Stamp};

/// Where the sources lie in scratch.
pub(super) struct Restored {
    targets: BTreeMap<String, PathBuf>,
    files: u64,
    bytes: u64,
    seconds: f64,
}

impl Drill<'_> {
    /// Restores the whole snapshot; what went wrong is told as a check of every source that it concerns.
    pub(super) async fn restore(&mut self) -> Option<Restored> {
        let since = Instant::now();
        let restored = self.restore_all(since).await;
        self.phase("restore", since);
        match restored {
            Ok(restored) => {
                self.report.bytes.restored = restored.bytes;
                let since = Instant::now();
                if self.opens(&restored).await {
                    self.report.time_to_usable = Some(self.request.asked.elapsed().as_secs_f64());
                }
                self.phase("open", since);
                Some(restored)
            }
            Err(error) => {
                let check = failed(&error);
                self.sources
                    .iter_mut()
                    .for_each(|source| source.checks.push(check.clone()));
                None
            }
        }
    }

    async fn restore_all(&mut self, since: Instant) -> Result<Restored, Error> {
        let place = Place::BySource(self.request.scratch.join("restored"));
        let options = restore::Options::default();
        let (repository, manifest) = (self.repository, &self.manifest);
        let (plan, _) =
            crate::restore::plan(repository, self.id, manifest, Selection::whole(), &place, options).await?;
        let targets = plan
            .placements
            .iter()
            .map(|placement| (placement.source.clone(), placement.target.clone()));
        let targets = targets.collect();
        let spool = &self.request.spool;
        let report =
            crate::restore::execute(repository, manifest, plan, spool, self.progress, self.cancel).await?;
        self.report.bytes.verified += report.bytes;
        self.report.notes.extend(metadata_note(&report));
        Ok(Restored {
            targets,
            files: report.files,
            bytes: report.bytes,
            seconds: since.elapsed().as_secs_f64(),
        })
    }

    /// Whether every database opens where it was restored.
    async fn opens(&self, restored: &Restored) -> bool {
        for source in &self.sources {
            let Some(lance) = source.database() else { continue };
            let options = &self.request.probe;
            let program = probe::find(
                options.probes.as_deref(),
                options.beside.as_deref(),
                lance.newest_writer(),
            );
            let (Some(program), Some(path)) = (program, restored.targets.get(&source.record.name)) else {
                return false;
            };
            let job = Job::open(Location::Directory { path: path.clone() });
            let run = host::Options {
                deadline: options.deadline,
                ..host::Options::new(program)
            };
            let outcome = host::run(&run, &job, None, |_| {}, self.cancel).await;
            let open = |path: &str| {
                outcome
                    .facts
                    .table(path)
                    .is_some_and(|table| table.version.is_some())
            };
            if outcome.ended.fault().is_some() || !lance.tables.iter().all(|table| open(&table.path)) {
                return false;
            }
        }
        true
    }

    /// Asks again of what lies in scratch, and writes to it.
    pub(super) async fn ask_restored(&mut self, restored: Option<&Restored>) {
        let Some(restored) = restored else { return };
        let since = Instant::now();
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            let begun = Instant::now();
            let name = &source.record.name;
            let check = match (restored.targets.get(name), &source.stamp) {
                (None, _) => {
                    judge::unasked(Rung::Restore, Cause::Internal, name, "nothing of it was restored")
                }
                (Some(path), Some(Stamp::Lancedb(_))) => self.restored_database(index, path, restored).await,
                (Some(path), Some(Stamp::AuditLog(log))) => self.restored_log(log, path, restored).await,
                (Some(_), None) => restored_only(restored),
            };
            let seconds = begun.elapsed().as_secs_f64();
            self.sources[index].checks.push(CheckResult { seconds, ..check });
        }
        self.phase(
            "tables, content, queries, audit and write test of the restored copy",
            since,
        );
    }

    async fn restored_database(&self, index: usize, path: &Path, restored: &Restored) -> CheckResult {
        let source = &self.sources[index];
        let Some(lance) = source.database() else {
            return restored_only(restored);
        };
        let asked = Asked {
            lance,
            recorded: self.facts.databases.get(&source.record.name),
            key: row_key(self.repository),
            write_test: true,
        };
        let location = Location::Directory {
            path: path.to_owned(),
        };
        let answers = tables::ask(location, None, asked, &self.request.probe, self.cancel).await;
        let asked: Vec<CheckResult> = answers.checks.into_iter().chain(answers.write_test).collect();
        combined(&asked, restored)
    }

    async fn restored_log(&self, log: &LogStamp, path: &Path, restored: &Restored) -> CheckResult {
        let mut segments: Vec<audit::Segment> = Vec::new();
        for segment in &log.facts.segments {
            let name = &segment.state.name;
            match File::open(path.join(name)) {
                Ok(file) => segments.push((name.clone(), Box::new(file))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return judge::unasked(Rung::Restore, Cause::Internal, name, error.to_string()),
            }
        }
        let check = audit::ask_blocking(log.clone(), segments, self.cancel).await;
        combined(&[check], restored)
    }
}

/// All that was asked of a restored source as one check.
fn combined(asked: &[CheckResult], restored: &Restored) -> CheckResult {
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
        figure: format!("{}; {}", restored.figure(), figures.join("; ")),
        findings: judge::limited(findings.collect()),
        seconds: 0.0,
    }
}

/// A source of an unknown kind: its bytes are back, nothing more can be asked.
fn restored_only(restored: &Restored) -> CheckResult {
    combined(&[], restored)
}

impl Restored {
    fn figure(&self) -> String {
        let bytes = indicatif::BinaryBytes(self.bytes);
        format!("{} files, {bytes} restored in {:.1} s", self.files, self.seconds)
    }

    /// What restoring says of the bytes: every one was opened, hashed, and read back from disk.
    pub(super) fn bytes_check(&self) -> CheckResult {
        CheckResult {
            rung: Rung::Bytes,
            outcome: Outcome::Passed,
            figure: format!(
                "{} restored, every chunk and file hash right",
                indicatif::BinaryBytes(self.bytes)
            ),
            findings: Vec::new(),
            seconds: self.seconds,
        }
    }
}

fn failed(error: &Error) -> CheckResult {
    let outcome = match error {
        Error::Vault(error) if error.is_damage() => Outcome::Failed,
        Error::Vault(error) if error.is_no_space() => Outcome::Inconclusive(Cause::NoSpace),
        Error::Vault(error) if error.is_cancelled() => Outcome::Inconclusive(Cause::Cancelled),
        Error::Vault(
            restore::Error::Fetch { .. } | restore::Error::List { .. } | restore::Error::Repository { .. },
        ) => Outcome::Inconclusive(Cause::StoreUnavailable),
        Error::Vault(_) | Error::Stopped(_) | Error::NoTable { .. } => Outcome::Inconclusive(Cause::Internal),
        Error::Patch { .. } => Outcome::Failed,
    };
    CheckResult {
        rung: Rung::Restore,
        outcome,
        figure: "not restored".to_owned(),
        findings: vec![Finding {
            subject: "restore".to_owned(),
            what: in_one_line(error),
        }],
        seconds: 0.0,
    }
}

fn metadata_note(report: &restore::Report) -> Option<String> {
    let first = report.metadata_missing.first()?;
    Some(format!(
        "{} pieces of metadata could not be put back by this user, such as {} of {}: {}",
        report.metadata_missing_count, first.what, first.path, first.reason
    ))
}
