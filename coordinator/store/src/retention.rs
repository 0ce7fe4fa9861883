//! History ends: what is older than its retention time is forgotten, in small batches.
//!
//! # Crash consistency
//! Each batch is one transaction. What a crash leaves is old enough to be taken by the next pass.

use jiff::{SignedDuration, Timestamp};

use crate::column::micros;
use crate::error::{During as _, Result};
use crate::store::Store;

/// Runs that one batch forgets.
const BATCH: u32 = 200;
/// Audit entries that one batch forgets.
const AUDIT_BATCH: u32 = 5_000;
/// Batches of one pass: what is left waits for the next.
const BATCHES: u32 = 50;

const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs, with their tasks, events and documents.
    pub runs: u64,
    /// Measurements of drills that newer ones of the same source stand for.
    pub proofs: u64,
    /// Ended suspensions, tokens and certificates.
    pub entries: u64,
    /// Entries of the audit log.
    pub audit: u64,
}

impl Store {
    /// Forgets runs that ended before `runs` and audit entries from before `audit`. The newest passed drill of each
    /// source stays whatever its age: "never proved" and "proved long ago" are different things.
    pub async fn prune(&self, runs: Timestamp, audit: Timestamp) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for _ in 0..BATCHES {
            let gone = self.prune_runs(runs).await?;
            pruned.runs += gone;
            if gone < u64::from(BATCH) {
                break;
            }
        }
        pruned.proofs = self.prune_proofs(runs).await?;
        pruned.entries = self.prune_entries(runs).await?;
        // A day's worth at a time: each prune walks the whole chain first.
        let due = audit.saturating_sub(A_DAY).unwrap_or(Timestamp::MIN);
        if self.audit().oldest().await?.is_none_or(|oldest| oldest >= due) {
            return Ok(pruned);
        }
        for _ in 0..BATCHES {
            let gone = self.audit().prune(audit, AUDIT_BATCH).await?;
            pruned.audit += gone;
            if gone < u64::from(AUDIT_BATCH) {
                break;
            }
        }
        Ok(pruned)
    }

    async fn prune_runs(&self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM runs WHERE id IN (
                 SELECT id FROM runs WHERE finished < ?1
                   AND state NOT IN ('pending', 'running', 'cancelling') LIMIT ?2)",
        )
        .bind(micros(before))
        .bind(BATCH)
        .execute(self.writer())
        .await
        .during("forget old runs")?;
        crate::failpoint::reach("store.prune");
        Ok(done.rows_affected())
    }

    async fn prune_proofs(&self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM proofs WHERE at < ?1 AND EXISTS (
                 SELECT 1 FROM proofs AS newer WHERE newer.host = proofs.host AND newer.source = proofs.source
                   AND newer.proof = proofs.proof AND newer.verdict = proofs.verdict AND newer.at > proofs.at)",
        )
        .bind(micros(before))
        .execute(self.writer())
        .await
        .during("forget old measurements")?;
        Ok(done.rows_affected())
    }

    async fn prune_entries(&self, before: Timestamp) -> Result<u64> {
        const OLD: [&str; 4] = [
            "DELETE FROM suspensions WHERE until < ?1",
            "DELETE FROM tokens WHERE expires < ?1",
            "DELETE FROM certificates WHERE expires < ?1",
            "DELETE FROM plan_texts WHERE applied < ?1 AND hash NOT IN (SELECT hash FROM plans)
                 AND hash NOT IN (SELECT plan_hash FROM runs WHERE plan_hash IS NOT NULL)",
        ];
        let mut entries = 0;
        for sql in OLD {
            let done = sqlx::query(sql)
                .bind(micros(before))
                .execute(self.writer())
                .await
                .during("forget old entries")?;
            entries += done.rows_affected();
        }
        Ok(entries)
    }

    /// Bytes of the database file and how many runs it holds, for metrics.
    pub async fn size(&self) -> Result<(u64, u64)> {
        let pages: i64 =
            sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
                .fetch_one(self.readers())
                .await
                .during("measure the store")?;
        let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM runs")
            .fetch_one(self.readers())
            .await
            .during("count runs")?;
        Ok((pages.unsigned_abs(), runs.unsigned_abs()))
    }
}
