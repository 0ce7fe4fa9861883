//! Plans in force: their text, and up to which slot they have been dealt with.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::audit;
use crate::column::{get, micros, time};
use crate::error::{During as _, Error, Result};
use crate::store::{Change, Store};

/// Plans in force.
#[derive(Debug, Clone, Copy)]
pub struct Plans<'a>(pub(crate) &'a Store);

/// A plan to put in force. Its text was parsed and validated by the caller.
#[derive(Debug, Clone, Copy)]
pub struct NewPlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its text, TOML.
    pub text: &'a str,
    /// BLAKE3 of the text, hex.
    pub hash: &'a str,
    /// The hash that the caller believes to be in force; `None`: whatever there is.
    pub expected_hash: Option<&'a str>,
    /// The operator.
    pub by: &'a str,
}

/// A plan in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRecord {
    /// Its name.
    pub name: String,
    /// Its text, TOML.
    pub text: String,
    /// BLAKE3 of the text, hex.
    pub hash: String,
    /// Whether its slots are started.
    pub enabled: bool,
    /// When this text was applied.
    pub applied: Timestamp,
    /// By whom.
    pub applied_by: String,
    /// Since when its slots are started: it was made or enabled then.
    pub since: Timestamp,
    /// Slots up to here are dealt with.
    pub cursor: Timestamp,
}

/// What an application did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// There was no plan of that name.
    Created,
    /// The text is another one.
    Replaced,
    /// The same text was in force.
    Unchanged,
}

impl Plans<'_> {
    /// Puts a plan in force. A new plan is enabled; one that is replaced stays as it is. Slots that lie before this
    /// moment are not started: a plan looks forward from when it was first applied.
    pub async fn apply(&self, plan: &NewPlan<'_>) -> Result<(PlanRecord, Applied)> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let before = read(&mut tx, plan.name).await?;
        let found = before.as_ref().map(|known| known.hash.as_str());
        if let Some(expected) = plan.expected_hash
            && found != Some(expected)
        {
            return Err(changed(plan.name, expected, found));
        }
        let applied = match found {
            None => Applied::Created,
            Some(hash) if hash == plan.hash => Applied::Unchanged,
            Some(_) => Applied::Replaced,
        };
        if applied != Applied::Unchanged {
            write(&mut tx, plan, now, true).await?;
            let details = json!({ "hash": plan.hash, "replaces": found });
            audit::append(&mut tx, now, plan.by, "plan.apply", plan.name, &details).await?;
        }
        let after = read(&mut tx, plan.name)
            .await?
            .ok_or_else(|| unknown(plan.name))?;
        tx.commit().await.during("commit a plan")?;
        if applied != Applied::Unchanged {
            self.0.tell(Change::Plans);
        }
        Ok((after, applied))
    }

    /// Takes a plan over from what an agent remembers, if no plan of that name is in force. It comes in disabled:
    /// agents may remember different texts, and only an operator knows which one holds. True if it was taken.
    pub async fn recover(&self, plan: &NewPlan<'_>) -> Result<bool> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        if read(&mut tx, plan.name).await?.is_some() {
            return Ok(false);
        }
        write(&mut tx, plan, now, false).await?;
        let details = json!({ "hash": plan.hash });
        audit::append(&mut tx, now, plan.by, "plan.recover", plan.name, &details).await?;
        tx.commit().await.during("commit a recovered plan")?;
        self.0.tell(Change::Plans);
        Ok(true)
    }

    /// Takes a plan's cursor back from a future that never came, if it still stands there.
    pub async fn rewind(&self, name: &str, from: Timestamp, to: Timestamp) -> Result<()> {
        let mut tx = self.0.begin().await?;
        sqlx::query("UPDATE plans SET cursor = ?3 WHERE name = ?1 AND cursor = ?2")
            .bind(name)
            .bind(micros(from))
            .bind(micros(to))
            .execute(&mut *tx)
            .await
            .during("take a plan's cursor back")?;
        tx.commit().await.during("commit a cursor that was taken back")
    }

    /// All plans, by name.
    pub async fn list(&self) -> Result<Vec<PlanRecord>> {
        let rows = sqlx::query("SELECT * FROM plans ORDER BY name")
            .fetch_all(self.0.readers())
            .await
            .during("list plans")?;
        rows.iter().map(record).collect()
    }

    /// One plan.
    pub async fn get(&self, name: &str) -> Result<Option<PlanRecord>> {
        let mut reader = self.0.readers().acquire().await.during("read a plan")?;
        read(&mut reader, name).await
    }

    /// The text that a hash stands for, of any plan that was ever in force here.
    pub async fn text(&self, hash: &str) -> Result<Option<String>> {
        sqlx::query_scalar("SELECT text FROM plan_texts WHERE hash = ?")
            .bind(hash)
            .fetch_optional(self.0.readers())
            .await
            .during("read a plan's text")
    }

    /// Takes a plan out of force. Its runs stay, and what runs goes on.
    pub async fn delete(&self, name: &str, by: &str) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query("DELETE FROM plans WHERE name = ?")
            .bind(name)
            .execute(&mut *tx)
            .await
            .during("delete a plan")?;
        if done.rows_affected() == 0 {
            return Err(unknown(name));
        }
        audit::append(&mut tx, now, by, "plan.delete", name, &json!({})).await?;
        tx.commit().await.during("commit a deleted plan")?;
        self.0.tell(Change::Plans);
        Ok(())
    }

    /// Starts or stops starting a plan's slots. Slots that went by while it was disabled are not made up for.
    pub async fn enable(&self, name: &str, enabled: bool, by: &str) -> Result<PlanRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let before = read(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
        if before.enabled == enabled {
            return Ok(before);
        }
        sqlx::query(
            "UPDATE plans SET enabled = ?2, since = CASE WHEN ?2 THEN ?3 ELSE since END,
                 cursor = CASE WHEN ?2 THEN max(cursor, ?3) ELSE cursor END WHERE name = ?1",
        )
        .bind(name)
        .bind(enabled)
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .during("enable a plan")?;
        let action = if enabled { "plan.enable" } else { "plan.disable" };
        audit::append(&mut tx, now, by, action, name, &json!({})).await?;
        let after = read(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
        tx.commit().await.during("commit an enabled plan")?;
        self.0.tell(Change::Plans);
        Ok(after)
    }
}

/// Reads a plan inside a transaction.
pub(crate) async fn read(tx: &mut SqliteConnection, name: &str) -> Result<Option<PlanRecord>> {
    let row = sqlx::query("SELECT * FROM plans WHERE name = ?")
        .bind(name)
        .fetch_optional(tx)
        .await
        .during("read a plan")?;
    row.as_ref().map(record).transpose()
}

/// That slots up to `slot` are dealt with. Never goes back.
pub(crate) async fn advance(tx: &mut SqliteConnection, name: &str, slot: Timestamp) -> Result<()> {
    sqlx::query("UPDATE plans SET cursor = max(cursor, ?2) WHERE name = ?1")
        .bind(name)
        .bind(micros(slot))
        .execute(tx)
        .await
        .during("move a plan's cursor")?;
    Ok(())
}

/// The plan is not what the caller had seen.
pub(crate) fn changed(name: &str, expected: &str, found: Option<&str>) -> Error {
    Error::PlanChanged {
        name: name.to_owned(),
        expected: expected.to_owned(),
        found: found.unwrap_or("none").to_owned(),
    }
}

fn unknown(name: &str) -> Error {
    Error::NotFound {
        kind: "plan",
        name: name.to_owned(),
    }
}

async fn write(tx: &mut SqliteConnection, plan: &NewPlan<'_>, now: Timestamp, enabled: bool) -> Result<()> {
    sqlx::query(
        "INSERT INTO plans (name, text, hash, enabled, applied, applied_by, since, cursor)
         VALUES (?1, ?2, ?3, ?6, ?4, ?5, ?4, ?4)
         ON CONFLICT (name) DO UPDATE SET text = excluded.text, hash = excluded.hash, applied = excluded.applied,
             applied_by = excluded.applied_by",
    )
    .bind(plan.name)
    .bind(plan.text)
    .bind(plan.hash)
    .bind(micros(now))
    .bind(plan.by)
    .bind(enabled)
    .execute(&mut *tx)
    .await
    .during("write a plan")?;
    sqlx::query(
        "INSERT INTO plan_texts (hash, name, text, applied) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (hash) DO NOTHING",
    )
    .bind(plan.hash)
    .bind(plan.name)
    .bind(plan.text)
    .bind(micros(now))
    .execute(tx)
    .await
    .during("keep a plan's text")?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<PlanRecord> {
    Ok(PlanRecord {
        name: get(row, "name")?,
        text: get(row, "text")?,
        hash: get(row, "hash")?,
        enabled: get(row, "enabled")?,
        applied: time(row, "applied")?,
        applied_by: get(row, "applied_by")?,
        since: time(row, "since")?,
        cursor: time(row, "cursor")?,
    })
}
