//! Is this host's recovery still worth something: the repository is as new as remembered, the last snapshot and the
//! last proof are young enough, and live files that can never change are still what was captured.
//!
//! ## Consistency
//! Data files of LanceDB are written once. A live file whose inode, time and length are those of the cut but whose
//! bytes are not has rotted on the disk; one that was replaced meanwhile is another file and says nothing. Re-hashing
//! goes on where the last one stopped, so that a small budget covers everything in turn.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dr_proto::model::{Finding, Report, Verdict};
use dr_vault::progress::{Phase, Progress};
use dr_vault::tree::{ContentHash, Entry, Identity, Record, TreeStream, content_hasher};
use dr_vault::{Freshness, Manifest, Repository, SourceRecord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Checked, MOST, limited};
use crate::config::{Period, Size};

/// What is old, and how much to read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The newest snapshot may be this old.
    pub snapshot_age: Period,
    /// The newest passed drill may be this old.
    pub proof_age: Period,
    /// The most bytes to re-hash.
    pub budget: Size,
    /// Where the place to go on from is remembered.
    pub cursor: PathBuf,
}

/// Why integrity could not be asked about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository failed.
    #[error("read the repository")]
    Repository(#[from] dr_vault::Error),
    /// A file list could not be read.
    #[error("read the file list of source `{name}`")]
    List {
        /// The source.
        name: String,
        /// What stood in the way.
        source: dr_vault::tree::StreamError,
    },
    /// The worker that hashes ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Asks everything.
///
/// # Errors
/// When the repository cannot be read; what is wrong with live data is in the answers.
pub async fn check(
    repository: &Repository,
    options: &Options,
    now: Timestamp,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Vec<Checked>, Error> {
    let mut checked = vec![freshness(repository).await?];
    let newest = newest(repository).await?;
    checked.push(snapshot_age(newest.as_ref(), options, now));
    checked.push(proof_age(repository, options, now).await?);
    if let Some(manifest) = newest {
        repository.sync_index().await?;
        progress.enter(Phase::Verifying);
        let mut cursor = Cursor::load(&options.cursor);
        let mut budget = options.budget.0;
        for source in manifest.sources.iter().filter(|source| source.kind == "lancedb") {
            let walk = Walk {
                repository,
                source,
                progress,
                cancel,
            };
            checked.push(walk.run(&mut cursor, &mut budget).await?);
        }
        cursor.save(&options.cursor);
    }
    Ok(checked)
}

async fn freshness(repository: &Repository) -> Result<Checked, Error> {
    const SUBJECT: &str = "repository";
    Ok(match repository.freshness().await? {
        Freshness::Fresh => Checked::new(SUBJECT, Verdict::Passed, "as new as this host remembers"),
        Freshness::Unknown => Checked::new(
            SUBJECT,
            Verdict::Passed,
            "freshness unknown: nothing remembered here",
        ),
        Freshness::RolledBack { expected, .. } => {
            let mut checked = Checked::new(SUBJECT, Verdict::Failed, "an older state was put back");
            let what = format!("snapshot {expected} is remembered here and gone from the repository");
            checked.findings.push(Finding {
                subject: SUBJECT.to_owned(),
                what,
            });
            checked
        }
    })
}

/// The newest snapshot that is not suspect.
async fn newest(repository: &Repository) -> Result<Option<Manifest>, Error> {
    let mut all = repository.snapshots().await?;
    all.sort_by_key(|info| info.time);
    for info in all.iter().rev() {
        let manifest = repository.manifest(&info.id).await?;
        if manifest.suspect.is_none() {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

fn age(of: Timestamp, now: Timestamp) -> Period {
    Period(Duration::from_secs(
        now.duration_since(of).unsigned_abs().as_secs(),
    ))
}

fn snapshot_age(newest: Option<&Manifest>, options: &Options, now: Timestamp) -> Checked {
    const SUBJECT: &str = "newest snapshot";
    let Some(manifest) = newest else {
        return overdue(
            SUBJECT,
            "none".to_owned(),
            "no snapshot that is not suspect: `dr-agent snapshot` takes one",
        );
    };
    let age = age(manifest.created, now);
    let figure = format!("{age} old");
    if age <= options.snapshot_age {
        return Checked::new(SUBJECT, Verdict::Passed, figure);
    }
    overdue(
        SUBJECT,
        figure,
        &format!(
            "older than {}: what came since would be lost",
            options.snapshot_age
        ),
    )
}

fn overdue(subject: &str, figure: String, what: &str) -> Checked {
    let mut checked = Checked::new(subject, Verdict::Inconclusive, figure);
    checked.findings.push(Finding {
        subject: subject.to_owned(),
        what: what.to_owned(),
    });
    checked
}

/// The newest drill that passed, as recorded in the repository.
async fn proof_age(repository: &Repository, options: &Options, now: Timestamp) -> Result<Checked, Error> {
    const SUBJECT: &str = "newest proof";
    let mut drills = repository.drills().await?;
    drills.sort_by_key(|drill| drill.time);
    for drill in drills.iter().rev() {
        let record = repository.record(&drill.object).await?;
        let Ok(report) = serde_json::from_slice::<Report>(&record) else {
            // Of another release: it counts as no proof, so that a drill is due rather sooner.
            continue;
        };
        if report.verdict != Verdict::Passed {
            continue;
        }
        let age = age(report.finished, now);
        let figure = format!("{age} old, {} drill to level {}", report.kind, report.proof);
        if age <= options.proof_age {
            return Ok(Checked::new(SUBJECT, Verdict::Passed, figure));
        }
        return Ok(overdue(
            SUBJECT,
            figure,
            &format!("older than {}: `dr-agent drill`", options.proof_age),
        ));
    }
    Ok(overdue(
        SUBJECT,
        "none".to_owned(),
        "no drill has passed yet: `dr-agent drill` rehearses a restore",
    ))
}

/// Where re-hashing stopped, by source.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor(BTreeMap<String, String>);

impl Cursor {
    fn load(path: &Path) -> Self {
        std::fs::read(path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Losing it only means to begin at the start again.
    fn save(&self, path: &Path) {
        let saved = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|text| std::fs::write(path, text));
        if let Err(error) = saved {
            tracing::warn!(path = %path.display(), %error, "the next check re-hashes from the start");
        }
    }
}

/// A file of the snapshot to compare with the live one.
struct Candidate {
    path: PathBuf,
    shown: String,
    identity: Identity,
    hash: ContentHash,
}

#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    left_out: u64,
    rotten: Vec<Finding>,
}

struct Walk<'a> {
    repository: &'a Repository,
    source: &'a SourceRecord,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Walk<'_> {
    async fn run(&self, cursor: &mut Cursor, budget: &mut u64) -> Result<Checked, Error> {
        let from = cursor.0.get(&self.source.name).cloned().unwrap_or_default();
        let mut tally = Tally::default();
        let stopped = self
            .pass(|shown| shown > from.as_str(), budget, &mut tally)
            .await?;
        let reached = match stopped {
            Some(reached) => Some(reached),
            // The end was reached: what lies before the place where this began comes next.
            None if !from.is_empty() => {
                self.pass(|shown| shown <= from.as_str(), budget, &mut tally)
                    .await?
            }
            None => None,
        };
        match reached {
            Some(reached) => cursor.0.insert(self.source.name.clone(), reached),
            None => cursor.0.remove(&self.source.name),
        };
        Ok(self.judged(tally))
    }

    /// Compares the wanted files until the budget is used up; then the last one that was compared.
    async fn pass(
        &self,
        wanted: impl Fn(&str) -> bool,
        budget: &mut u64,
        tally: &mut Tally,
    ) -> Result<Option<String>, Error> {
        let list = |source| Error::List {
            name: self.source.name.clone(),
            source,
        };
        let mut stream = TreeStream::open(self.repository, &self.source.tree);
        let mut open: Option<Entry> = None;
        let mut last = None;
        while let Some(record) = stream.next().await.map_err(list)? {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match record {
                Record::Entry(entry) => open = Some(entry),
                Record::Chunks(_) => {}
                Record::End(hash) => {
                    let Some(candidate) = open.take().and_then(|entry| self.candidate(&entry, hash)) else {
                        continue;
                    };
                    if !wanted(&candidate.shown) {
                        continue;
                    }
                    if candidate.identity.len > *budget {
                        tally.left_out += 1;
                        return Ok(last.or(Some(candidate.shown)));
                    }
                    *budget -= candidate.identity.len;
                    last = Some(candidate.shown.clone());
                    self.compare(candidate, tally).await?;
                }
            }
        }
        Ok(None)
    }

    fn candidate(&self, entry: &Entry, hash: ContentHash) -> Option<Candidate> {
        let shown = entry.path.to_string();
        let path = Path::new(&self.source.root).join(&shown);
        entry.identity.map(|identity| Candidate {
            path,
            shown,
            identity,
            hash,
        })
    }

    async fn compare(&self, candidate: Candidate, tally: &mut Tally) -> Result<(), Error> {
        let hasher = content_hasher(self.repository);
        let (path, identity) = (candidate.path.clone(), candidate.identity);
        let hashed = tokio::task::spawn_blocking(move || hash_if_same(&path, identity, hasher)).await?;
        match hashed {
            Ok(None) => {}
            Ok(Some(hash)) => {
                tally.files += 1;
                tally.bytes += candidate.identity.len;
                self.progress.advance(candidate.identity.len);
                if hash != candidate.hash {
                    let what = "its bytes are not those of the cut, though nobody wrote it: it rotted on the disk; \
                                the snapshot holds the right ones";
                    tally.rotten.push(Finding {
                        subject: candidate.shown,
                        what: what.to_owned(),
                    });
                }
            }
            Err(error) => tally.rotten.push(Finding {
                subject: candidate.shown,
                what: format!("cannot be read any more: {error}"),
            }),
        }
        Ok(())
    }

    fn judged(&self, tally: Tally) -> Checked {
        let verdict = if tally.rotten.is_empty() {
            Verdict::Passed
        } else {
            Verdict::Failed
        };
        let rest = if tally.left_out > 0 {
            "; the budget ended it, the next check goes on"
        } else {
            ""
        };
        let figure = format!(
            "{} unchanged files re-hashed, {}{rest}",
            tally.files,
            Size(tally.bytes)
        );
        let mut checked = Checked::new(&self.source.name, verdict, figure);
        checked.findings = limited(tally.rotten, MOST);
        checked
    }
}

/// The live file's hash, if it is the one of the cut: same inode, time and length.
fn hash_if_same(path: &Path, then: Identity, mut hasher: blake3::Hasher) -> io::Result<Option<ContentHash>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Cleaned up by the application, or out of reach: nothing to compare.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let now = Identity::of(&file)?;
    // Device numbers change over a reboot.
    if (now.inode, now.mtime_ns, now.len) != (then.inode, then.mtime_ns, then.len) {
        return Ok(None);
    }
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(ContentHash::of(&hasher))),
            read => {
                hasher.update(buffer.get(..read).unwrap_or_default());
            }
        }
    }
}
