//! What drills said of single sources: what objectives are measured by.

use std::time::Duration;

use dr_proto::model::{DrillKind, HostName, ProofLevel, Report, TaskId, Verdict};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::column::{get, maybe_span, micros, parsed, span_micros, time, word};
use crate::error::{During as _, Result};
use crate::store::Store;

/// What drills said of single sources.
#[derive(Debug, Clone, Copy)]
pub struct Proofs<'a>(pub(crate) &'a Store);

/// What one drill said of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofRecord {
    /// The task that ran the drill.
    pub task: TaskId,
    /// The host that was rehearsed.
    pub host: HostName,
    /// The source.
    pub source: String,
    /// The kind of drill.
    pub kind: DrillKind,
    /// What it concluded.
    pub verdict: Verdict,
    /// How deep it went.
    pub proof: ProofLevel,
    /// When the drill had finished.
    pub at: Timestamp,
    /// How long the restore took until everything could be used, if there was one.
    pub time_to_usable: Option<Duration>,
    /// Age of the newest cut when the drill began.
    pub rpo: Option<Duration>,
    /// The snapshot.
    pub snapshot: Option<String>,
}

impl Proofs<'_> {
    /// The newest drill of each source and proof level that passed, by host and source, deepest level last.
    pub async fn passed(&self) -> Result<Vec<ProofRecord>> {
        let rows = sqlx::query(
            "SELECT *, max(at) FROM proofs WHERE verdict = 'passed' GROUP BY host, source, proof
             ORDER BY host, source, at",
        )
        .fetch_all(self.0.readers())
        .await
        .during("read passed drills")?;
        rows.iter().map(record).collect()
    }

    /// The newest drill of each source and kind, whatever it concluded, by host and source.
    pub async fn newest(&self) -> Result<Vec<ProofRecord>> {
        let rows = sqlx::query(
            "SELECT *, max(at) FROM proofs GROUP BY host, source, kind ORDER BY host, source, kind",
        )
        .fetch_all(self.0.readers())
        .await
        .during("read the newest drills")?;
        rows.iter().map(record).collect()
    }
}

/// Files what a report says of each source, inside a transaction.
pub(crate) async fn file(
    tx: &mut SqliteConnection,
    task: TaskId,
    host: &HostName,
    report: &Report,
) -> Result<()> {
    for source in &report.sources {
        sqlx::query(
            "INSERT INTO proofs (task, host, source, kind, verdict, proof, at, time_to_usable, rpo, snapshot)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (task, source) DO UPDATE SET verdict = excluded.verdict, proof = excluded.proof,
                 at = excluded.at, time_to_usable = excluded.time_to_usable, rpo = excluded.rpo,
                 snapshot = excluded.snapshot",
        )
        .bind(task.to_string())
        .bind(host.as_str())
        .bind(&source.name)
        .bind(report.kind.to_string())
        .bind(source.verdict.to_string())
        .bind(source.proof.to_string())
        .bind(micros(report.finished))
        .bind(seconds(report.time_to_usable).map(span_micros))
        .bind(seconds(report.rpo.at_loss).map(span_micros))
        .bind(report.snapshot.as_ref().map(|snapshot| &snapshot.id))
        .execute(&mut *tx)
        .await
        .during("file what a drill said of a source")?;
    }
    Ok(())
}

/// A length of time that a report gives in seconds; what no clock can have measured is left out.
pub(crate) fn seconds(value: Option<f64>) -> Option<Duration> {
    value.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn record(row: &SqliteRow) -> Result<ProofRecord> {
    Ok(ProofRecord {
        task: parsed(row, "task")?,
        host: parsed(row, "host")?,
        source: get(row, "source")?,
        kind: parsed(row, "kind")?,
        verdict: word(row, "verdict")?,
        proof: word(row, "proof")?,
        at: time(row, "at")?,
        time_to_usable: maybe_span(row, "time_to_usable")?,
        rpo: maybe_span(row, "rpo")?,
        snapshot: get(row, "snapshot")?,
    })
}
