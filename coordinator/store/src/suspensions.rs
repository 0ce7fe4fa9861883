//! Suspensions: nothing starts in their scope until they end, which they do by themselves.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::audit;
use crate::column::{get, micros, time};
use crate::error::{During as _, Result};
use crate::store::{Change, Store};

/// Suspensions.
#[derive(Debug, Clone, Copy)]
pub struct Suspensions<'a>(pub(crate) &'a Store);

/// A suspension that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspensionRecord {
    /// Its id.
    pub id: String,
    /// `fleet`, `host=NAME`, or a label selector.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// Since when.
    pub created: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Suspensions<'_> {
    /// Suspends `scope` (parsed and validated by the caller). A scope that is suspended already gets the new reason
    /// and end.
    pub async fn begin(
        &self,
        scope: &str,
        reason: &str,
        lasts: SignedDuration,
        by: &str,
    ) -> Result<SuspensionRecord> {
        let now = self.0.now();
        let entry = SuspensionRecord {
            id: Uuid::now_v7().to_string(),
            scope: scope.to_owned(),
            reason: reason.to_owned(),
            by: by.to_owned(),
            created: now,
            until: now.saturating_add(lasts).unwrap_or(Timestamp::MAX),
        };
        let mut tx = self.0.begin().await?;
        sqlx::query("UPDATE suspensions SET ended = ?2, ended_by = ?3 WHERE scope = ?1 AND ended IS NULL AND until > ?2")
            .bind(scope)
            .bind(micros(now))
            .bind(by)
            .execute(&mut *tx)
            .await
            .during("replace a suspension")?;
        sqlx::query(
            "INSERT INTO suspensions (id, scope, reason, by, created, until) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&entry.id)
        .bind(scope)
        .bind(reason)
        .bind(by)
        .bind(micros(now))
        .bind(micros(entry.until))
        .execute(&mut *tx)
        .await
        .during("suspend")?;
        let details = json!({ "reason": reason, "until": entry.until });
        audit::append(&mut tx, now, by, "suspend", scope, &details).await?;
        tx.commit().await.during("commit a suspension")?;
        self.0.tell(Change::Suspensions);
        Ok(entry)
    }

    /// Ends the suspensions of that scope, or the one with that id; says how many there were.
    pub async fn end(&self, scope_or_id: &str, by: &str) -> Result<u32> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query(
            "UPDATE suspensions SET ended = ?2, ended_by = ?3
             WHERE (scope = ?1 OR id = ?1) AND ended IS NULL AND until > ?2",
        )
        .bind(scope_or_id)
        .bind(micros(now))
        .bind(by)
        .execute(&mut *tx)
        .await
        .during("end a suspension")?;
        let ended = u32::try_from(done.rows_affected()).unwrap_or(u32::MAX);
        if ended > 0 {
            audit::append(
                &mut tx,
                now,
                by,
                "resume",
                scope_or_id,
                &json!({ "ended": ended }),
            )
            .await?;
        }
        tx.commit().await.during("commit an ended suspension")?;
        if ended > 0 {
            self.0.tell(Change::Suspensions);
        }
        Ok(ended)
    }

    /// Those in force at this moment, the one that ends last first.
    pub async fn active(&self) -> Result<Vec<SuspensionRecord>> {
        let rows = sqlx::query(
            "SELECT * FROM suspensions WHERE ended IS NULL AND until > ? ORDER BY until DESC, id",
        )
        .bind(micros(self.0.now()))
        .fetch_all(self.0.readers())
        .await
        .during("list suspensions")?;
        rows.iter().map(record).collect()
    }
}

fn record(row: &SqliteRow) -> Result<SuspensionRecord> {
    Ok(SuspensionRecord {
        id: get(row, "id")?,
        scope: get(row, "scope")?,
        reason: get(row, "reason")?,
        by: get(row, "by")?,
        created: time(row, "created")?,
        until: time(row, "until")?,
    })
}
