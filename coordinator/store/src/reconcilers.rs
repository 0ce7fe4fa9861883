//! How the reconcilers do: when each last succeeded, and what it said.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use crate::column::{get, maybe_time, micros, time, to_json};
use crate::error::{During as _, Result};
use crate::store::Store;

/// How the reconcilers do.
#[derive(Debug, Clone, Copy)]
pub struct Reconcilers<'a>(pub(crate) &'a Store);

/// How one reconciler does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcilerRecord {
    /// Its name.
    pub name: String,
    /// Since when it runs: the start of this incarnation.
    pub first_seen: Timestamp,
    /// When a pass last succeeded; `None`: not yet in this incarnation.
    pub last_success: Option<Timestamp>,
    /// When a pass last failed.
    pub last_failure: Option<Timestamp>,
    /// Why the last pass failed; empty if it succeeded.
    pub last_error: String,
    /// What the last successful pass did, for people.
    pub status: String,
}

impl Reconcilers<'_> {
    /// That reconcilers of these names run from now on, and no others: one that never succeeds is missed then, and one
    /// that is switched off is not.
    pub async fn register(&self, names: &[&str]) -> Result<()> {
        let now = micros(self.0.now());
        let mut tx = self.0.begin().await?;
        sqlx::query("DELETE FROM reconcilers WHERE name NOT IN (SELECT value FROM json_each(?))")
            .bind(to_json(names, "names of reconcilers")?)
            .execute(&mut *tx)
            .await
            .during("forget reconcilers that are switched off")?;
        for name in names {
            sqlx::query(
                "INSERT INTO reconcilers (name, first_seen) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET first_seen = excluded.first_seen, last_success = NULL",
            )
            .bind(*name)
            .bind(now)
            .execute(&mut *tx)
            .await
            .during("register a reconciler")?;
        }
        tx.commit().await.during("commit registered reconcilers")
    }

    /// A pass succeeded.
    pub async fn succeeded(&self, name: &str, status: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO reconcilers (name, first_seen, last_success, status) VALUES (?1, ?2, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET last_success = excluded.last_success, status = excluded.status,
                 last_error = ''",
        )
        .bind(name)
        .bind(micros(self.0.now()))
        .bind(status)
        .execute(self.0.writer())
        .await
        .during("note a reconciler's success")?;
        Ok(())
    }

    /// A pass failed.
    pub async fn failed(&self, name: &str, error: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO reconcilers (name, first_seen, last_failure, last_error) VALUES (?1, ?2, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET last_failure = excluded.last_failure, last_error = excluded.last_error",
        )
        .bind(name)
        .bind(micros(self.0.now()))
        .bind(error)
        .execute(self.0.writer())
        .await
        .during("note a reconciler's failure")?;
        Ok(())
    }

    /// All of them, by name.
    pub async fn list(&self) -> Result<Vec<ReconcilerRecord>> {
        let rows = sqlx::query("SELECT * FROM reconcilers ORDER BY name")
            .fetch_all(self.0.readers())
            .await
            .during("list reconcilers")?;
        rows.iter().map(record).collect()
    }
}

fn record(row: &SqliteRow) -> Result<ReconcilerRecord> {
    Ok(ReconcilerRecord {
        name: get(row, "name")?,
        first_seen: time(row, "first_seen")?,
        last_success: maybe_time(row, "last_success")?,
        last_failure: maybe_time(row, "last_failure")?,
        last_error: get(row, "last_error")?,
        status: get(row, "status")?,
    })
}
