//! The rungs that are asked in place: straight from the repository, with nothing else in reach.

use std::sync::Arc;

use dr_probe_wire::job::Location;
use dr_proto::model::{Cause, CheckResult, Finding, Outcome, Rung};
use dr_vault::read::{self, SourceReader};
use dr_vault::tree::TreePath;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::proved::{self, Proof};
use super::tables::{self, Asked};
use super::{Drill, audit};
use crate::error::in_one_line;
use crate::probe::SnapshotTree;
use crate::snapshot::row_key;
use crate::stamp::Stamp;

impl Drill<'_> {
    /// Rungs 3 to 5 of every database.
    pub(super) async fn databases(&mut self) {
        let since = Instant::now();
        for index in 0..self.sources.len() {
            if self.sources[index].database().is_some() {
                self.database(index).await;
            }
        }
        self.phase("tables, content, queries in place", since);
    }

    async fn database(&mut self, index: usize) {
        let name = self.sources[index].record.name.clone();
        let rungs = [Rung::Tables, Rung::Content, Rung::Queries];
        if self.store.circuit.away().is_some() {
            let checks = rungs
                .into_iter()
                .filter_map(|rung| self.away(rung))
                .collect::<Vec<_>>();
            self.sources[index].checks.extend(checks);
            return;
        }
        let opened = match self.reader.source(&name).await {
            Ok(opened) => opened,
            Err(error) => {
                let checks = rungs.map(|rung| unread(rung, &error));
                self.sources[index].checks.extend(checks);
                return;
            }
        };
        let tree = Arc::new(SnapshotTree::new(opened));
        let source = &self.sources[index];
        let Some(lance) = source.database() else { return };
        let recorded = self.facts.databases.get(&name);
        let asked = Asked {
            lance,
            recorded,
            known: recorded
                .map(|facts| self.proved.known(&name, facts))
                .unwrap_or_default(),
            key: row_key(self.repository),
            write_test: false,
        };
        let location = Location::Tree {
            origin: Some(lance.canonical_root.clone()),
        };
        self.progress.step(format!("starting a probe on {name}"));
        let probe = &self.request.probe;
        let answers = tables::ask(location, Some(tree), asked, probe, self.progress, self.cancel).await;
        self.report.probe = self.report.probe.take().or(answers.probe);
        let (mut scanned, mut unscanned) = (Vec::new(), Vec::new());
        for table in &answers.proved {
            match self.proved.excuse(&name, table) {
                Some(why) => unscanned.push(format!("{} {why}", table.path)),
                None => scanned.extend(Proof::of(&name, table)),
            }
        }
        proved::append(self.repository, scanned).await;
        let source = &mut self.sources[index];
        source.checks.extend(answers.checks);
        source.notes.extend(answers.notes);
        let content = source.checks.iter_mut().find(|check| check.rung == Rung::Content);
        if let Some(check) = content.filter(|_| !unscanned.is_empty()) {
            check.figure = format!(
                "{}; {} tables not scanned, see the notes",
                check.figure,
                unscanned.len()
            );
        }
        source.notes.extend(unscanned);
    }

    /// Rung 6 of every log.
    pub(super) async fn logs(&mut self) {
        let since = Instant::now();
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            let Some(Stamp::AuditLog(log)) = source.stamp.clone() else {
                continue;
            };
            let begun = Instant::now();
            self.progress.step(format!("reading {}", source.record.name));
            let check = match self.away(Rung::Audit) {
                Some(away) => away,
                None => match self.reader.source(&source.record.name).await {
                    Ok(opened) => self.log(*log, opened).await,
                    Err(error) => unread(Rung::Audit, &error),
                },
            };
            let seconds = begun.elapsed().as_secs_f64();
            self.sources[index].checks.push(CheckResult { seconds, ..check });
        }
        self.phase("audit in place", since);
    }

    async fn log(&self, log: crate::stamp::LogStamp, opened: SourceReader) -> CheckResult {
        let mut segments: Vec<audit::Segment> = Vec::new();
        for name in log.files() {
            let node = match TreePath::new(name) {
                Ok(path) => opened.lookup(&path).await,
                Err(_) => Ok(None),
            };
            match node {
                Ok(Some(node)) => {
                    segments.push((name.to_owned(), Box::new(opened.file(node, Handle::current()))));
                }
                // The comparison with the stamp says that it is not there.
                Ok(None) => {}
                Err(error) => return unread(Rung::Audit, &error),
            }
        }
        audit::ask_blocking(self.captured(log), segments, self.cancel).await
    }

    /// A log of this snapshot.
    pub(super) fn captured(&self, log: crate::stamp::LogStamp) -> audit::Captured {
        let accepted = self.manifest.accepted.is_some();
        audit::Captured { log, accepted }
    }
}

/// A source that could not be opened at all: damage disproves it, anything else says nothing.
pub(super) fn unread(rung: Rung, error: &read::Error) -> CheckResult {
    let damaged = error.is_damage();
    CheckResult {
        rung,
        outcome: if damaged {
            Outcome::Failed
        } else {
            Outcome::Inconclusive(Cause::StoreUnavailable)
        },
        figure: "not read".to_owned(),
        findings: vec![Finding {
            subject: "file list".to_owned(),
            what: in_one_line(error),
        }],
        seconds: 0.0,
    }
}
