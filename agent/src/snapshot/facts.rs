//! Facts: what a probe measures of a cut, on the held files, for drills to compare with.
//!
//! A probe that fails never stops a backup: the snapshot stands, and the drill says that there is nothing to
//! compare with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dr_lance::PinnedEntry;
use dr_probe_wire::facts::Facts as DatabaseFacts;
use dr_probe_wire::host::{self, Outcome as ProbeOutcome};
use dr_probe_wire::job::{ContentJob, Job, KnownTable, Limits, Location, Queries, RowKey};
use dr_vault::failpoint;
use dr_vault::progress::Progress;
use dr_vault::{Repository, SnapshotId};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::cut::{Content, Cut};
use crate::limits;
use crate::probe::{self, PinnedTree};
use crate::stamp::Stamp;

/// How facts are measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configured folder of probes.
    pub probes: Option<PathBuf>,
    /// The folder of the agent's own program.
    pub beside: Option<PathBuf>,
    /// The most memory that a probe may use, in bytes.
    pub memory: u64,
    /// The longest that measuring one source may take.
    pub budget: Duration,
    /// Golden queries per indexed column.
    pub queries: u32,
    /// Rows that each asks for.
    pub k: u32,
    /// Counts how probes end.
    pub exits: probe::Exits,
    /// Learns how far measuring is.
    pub progress: Progress,
}

/// The facts of one snapshot, as sealed in the repository.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// By name of source; only databases have facts.
    pub databases: BTreeMap<String, DatabaseFacts>,
}

/// What came of measuring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum FactsOutcome {
    /// Measured and sealed.
    Stored {
        /// Tables measured.
        tables: usize,
        /// Rows that had to be read; the others were known from the snapshot before.
        rows_read: u64,
        /// Rewrites since the snapshot before, as compaction does them, whose rows were held against what was
        /// measured then.
        rewrites: u64,
        /// Golden queries recorded.
        queries: usize,
        /// What went wrong with single tables.
        faults: Vec<String>,
        /// What of it disproves the data.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        disproved: Vec<Disproved>,
    },
    /// Nothing is stored, for this reason; the snapshot stands.
    Missing {
        /// Why.
        reason: String,
        /// What of it disproves the data.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        disproved: Vec<Disproved>,
    },
    /// There is no database among the sources.
    NothingToMeasure,
    /// They were not asked for.
    NotAsked,
}

impl FactsOutcome {
    /// Nothing is stored, and nothing is said against the data.
    pub(super) fn missing(reason: impl Into<String>) -> Self {
        Self::Missing {
            reason: reason.into(),
            disproved: Vec::new(),
        }
    }

    /// Data whose stored bytes are those of the source, and that can not be used all the same.
    pub fn disproved(&self) -> &[Disproved] {
        match self {
            Self::Stored { disproved, .. } | Self::Missing { disproved, .. } => disproved,
            Self::NothingToMeasure | Self::NotAsked => &[],
        }
    }
}

/// Data that was stored as it is on the host and can not be decoded, or contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disproved {
    /// The source.
    pub source: String,
    /// The table; `None`: the database as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What the probe says.
    pub reason: String,
}

impl fmt::Display for Disproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {}", self.source)?;
        if let Some(table) = &self.table {
            write!(f, ", {table}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The key of row hashes of a repository: it opens nothing, and without it sums say nothing about rows.
pub fn row_key(repository: &Repository) -> RowKey {
    RowKey(repository.derived_key("drctl 2026-11-23 row digests 1"))
}

/// Measures and seals the facts of a committed snapshot.
#[tracing::instrument(name = "facts", skip_all, fields(otel.status_code = tracing::field::Empty))]
pub(super) async fn measure(
    repository: &Repository,
    snapshot: &SnapshotId,
    previous: Option<SnapshotId>,
    cut: &Arc<Cut>,
    stamps: &[Stamp],
    options: Options,
    cancel: &CancellationToken,
) -> FactsOutcome {
    let known = match previous {
        Some(previous) => match load(repository, &previous).await {
            Ok(known) => known.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%previous, %error, "facts can not be taken over from the previous snapshot: all is read");
                Facts::default()
            }
        },
        None => Facts::default(),
    };
    let mut facts = Facts::default();
    let (mut faults, mut disproved) = (Vec::new(), Vec::new());
    for (at, (held, stamp)) in cut.sources.iter().zip(stamps).enumerate() {
        let (Content::Database(collected), Stamp::Lancedb(lance)) = (&held.content, stamp) else {
            continue;
        };
        let name = &held.source.name;
        let Some(program) = probe::find(
            options.probes.as_deref(),
            options.beside.as_deref(),
            lance.newest_writer(),
        ) else {
            faults.push(format!(
                "{name}: no probe is installed that reads what {} wrote",
                writer(lance.newest_writer())
            ));
            continue;
        };
        let transactions = transactions(cut, at).await;
        let tree = Arc::new(PinnedTree::new(collected.entries.iter().chain(&transactions)));
        let known = known
            .databases
            .get(name)
            .map(DatabaseFacts::known)
            .unwrap_or_default();
        let job = job(row_key(repository), &lance.canonical_root, known, &options);
        let run = host::Options {
            deadline: options.budget,
            ..host::Options::new(program)
        };
        options.progress.step(format!("starting a probe on {name}"));
        let outcome = host::run(
            &run,
            &job,
            Some(tree),
            |event| {
                probe::show(&options.progress, event);
                failpoint::reach("facts.probing");
            },
            cancel,
        )
        .await;
        options.exits.count(&outcome.ended);
        faults.extend(told(name, &outcome));
        disproved.extend(disproofs(name, &outcome));
        if !outcome.facts.tables.is_empty() {
            facts.databases.insert(name.clone(), outcome.facts);
        }
    }
    if facts.databases.is_empty() {
        return match faults.is_empty() {
            true => FactsOutcome::NothingToMeasure,
            false => FactsOutcome::Missing {
                reason: faults.join("; "),
                disproved,
            },
        };
    }
    failpoint::reach("facts.measured");
    options.progress.step("sealing the facts");
    if let Err(error) = store(repository, snapshot, &facts).await {
        return FactsOutcome::Missing {
            reason: format!("the facts could not be stored: {error}"),
            disproved,
        };
    }
    failpoint::reach("facts.stored");
    summary(&facts, faults, disproved)
}

/// What the commits since the snapshot before say they did, as far as it lies on the host; by place of the source.
async fn transactions(cut: &Arc<Cut>, source: usize) -> Vec<Arc<PinnedEntry>> {
    let cut = Arc::clone(cut);
    let read = move || match &cut.sources[source].content {
        Content::Database(collected) => collected.transactions(),
        Content::Log(_) => Vec::new(),
    };
    // Without them rewrites are not judged, and nothing else is missing.
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn writer(version: Option<&str>) -> String {
    version.map_or_else(
        || "an unknown version of Lance".to_owned(),
        |version| format!("Lance {version}"),
    )
}

fn job(key: RowKey, origin: &str, known: Vec<KnownTable>, options: &Options) -> Job {
    Job {
        validate: true,
        prewarm: true,
        content: Some(ContentJob {
            key,
            known,
            undeleted: true,
        }),
        queries: Some(Queries::Choose {
            seed: 1,
            count: options.queries,
            k: options.k,
        }),
        limits: Limits {
            memory: options.memory,
            cpu_seconds: options.budget.as_secs().max(1),
            threads: u32::try_from(limits::threads()).unwrap_or(u32::MAX),
            ..Limits::default()
        },
        ..Job::open(Location::Tree {
            origin: Some(origin.to_owned()),
        })
    }
}

/// What a probe complained of, in sentences.
fn told(source: &str, outcome: &ProbeOutcome) -> Vec<String> {
    let ended = outcome
        .ended
        .fault()
        .map(|(kind, message)| format!("{source}: {kind}: {message}"));
    let tables = outcome.facts.tables.iter();
    let faults = tables.flat_map(|table| {
        table
            .faults
            .iter()
            .map(move |fault| format!("{source}: {}: {fault}", table.path))
    });
    ended.into_iter().chain(faults).collect()
}

/// What disproves the data: the files are held and were read through, so nothing but they can be at fault.
fn disproofs(source: &str, outcome: &ProbeOutcome) -> Vec<Disproved> {
    let disproved = |table: Option<&str>, reason: String| Disproved {
        source: source.to_owned(),
        table: table.map(str::to_owned),
        reason,
    };
    let tables = outcome.facts.tables.iter().flat_map(|table| {
        let faults = table.faults.iter().filter(|fault| fault.kind.disproves());
        faults.map(|fault| disproved(Some(&table.path), fault.to_string()))
    });
    let mut all: Vec<Disproved> = tables.collect();
    if let Some((_, message)) = outcome.ended.fault().filter(|(kind, _)| kind.disproves()) {
        all.push(disproved(None, message));
    }
    all
}

fn summary(facts: &Facts, faults: Vec<String>, disproved: Vec<Disproved>) -> FactsOutcome {
    let tables = || facts.databases.values().flat_map(|database| &database.tables);
    FactsOutcome::Stored {
        tables: tables().count(),
        rows_read: tables()
            .filter_map(|table| table.content.as_ref())
            .map(|content| content.rows_read)
            .sum(),
        rewrites: tables()
            .filter_map(|table| table.content.as_ref())
            .map(|content| content.rewrites)
            .sum(),
        queries: tables().map(|table| table.golden.len()).sum(),
        faults,
        disproved,
    }
}

async fn store(repository: &Repository, snapshot: &SnapshotId, facts: &Facts) -> Result<(), dr_vault::Error> {
    let text = serde_json::to_vec(facts).map_err(|error| dr_vault::Error::Internal {
        reason: format!("facts as JSON: {error}"),
    })?;
    repository.put_facts(snapshot, &text).await.map(|_| ())
}

/// The facts of a snapshot; `None` if none were stored.
pub async fn load(repository: &Repository, snapshot: &SnapshotId) -> Result<Option<Facts>, dr_vault::Error> {
    let Some(text) = repository.facts(snapshot).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| dr_vault::Error::Internal {
            reason: format!("facts of {snapshot}: {error}"),
        })
}
