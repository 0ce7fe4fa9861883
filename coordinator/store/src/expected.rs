//! Hosts that should be there: a list that is replaced as a whole.

use std::collections::BTreeMap;

use dr_proto::model::HostName;
use dr_proto::model::expected::ExpectedHost;
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::audit;
use crate::column::{get, micros, parsed, time, to_json};
use crate::error::{During as _, Result};
use crate::store::{Change, Store};

/// Hosts that should be there.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a>(pub(crate) &'a Store);

/// The list as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedList {
    /// When it was handed over.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Since when each host is in it.
    pub hosts: BTreeMap<HostName, Timestamp>,
}

/// What handing a list over changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Hosts that were not in the list before.
    pub added: u64,
    /// Hosts that left it.
    pub removed: u64,
}

impl Expected<'_> {
    /// Replaces the list. Hosts in it become known and get its labels; those that are known keep their state, a retired
    /// host stays retired. Hosts that leave the list stay known.
    pub async fn replace(&self, hosts: &[ExpectedHost], by: &str) -> Result<Imported> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let names: Vec<&str> = hosts.iter().map(|host| host.host.as_str()).collect();
        let gone = sqlx::query("DELETE FROM expected WHERE host NOT IN (SELECT value FROM json_each(?1))")
            .bind(to_json(&names, "names of expected hosts")?)
            .execute(&mut *tx)
            .await
            .during("drop hosts from the list")?;
        let mut done = Imported {
            removed: gone.rows_affected(),
            added: 0,
        };
        for host in hosts {
            done.added += expect(&mut tx, host, now).await?;
        }
        sqlx::query(
            "INSERT INTO expected_import (one, at, by) VALUES (1, ?1, ?2)
             ON CONFLICT (one) DO UPDATE SET at = excluded.at, by = excluded.by",
        )
        .bind(micros(now))
        .bind(by)
        .execute(&mut *tx)
        .await
        .during("note who handed the list over")?;
        let details = json!({ "hosts": hosts.len(), "added": done.added, "removed": done.removed });
        audit::append(&mut tx, now, by, "inventory.import", "fleet", &details).await?;
        tx.commit().await.during("commit expected hosts")?;
        self.0.tell(Change::Hosts);
        Ok(done)
    }

    /// The list; `None` if none was ever handed over.
    pub async fn list(&self) -> Result<Option<ExpectedList>> {
        let import = sqlx::query("SELECT at, by FROM expected_import")
            .fetch_optional(self.0.readers())
            .await
            .during("read who handed the list over")?;
        let Some(import) = import else {
            return Ok(None);
        };
        let rows = sqlx::query("SELECT host, since FROM expected ORDER BY host")
            .fetch_all(self.0.readers())
            .await
            .during("list expected hosts")?;
        let hosts = rows
            .iter()
            .map(|row| Ok((parsed(row, "host")?, time(row, "since")?)))
            .collect::<Result<_>>()?;
        Ok(Some(ExpectedList {
            at: time(&import, "at")?,
            by: get(&import, "by")?,
            hosts,
        }))
    }
}

/// Enters one host; 1 if it was not in the list.
async fn expect(tx: &mut SqliteConnection, host: &ExpectedHost, now: Timestamp) -> Result<u64> {
    sqlx::query(
        "INSERT INTO hosts (host, state, labels, created) VALUES (?1, 'expected', ?2, ?3)
         ON CONFLICT (host) DO UPDATE SET labels = excluded.labels WHERE labels <> excluded.labels",
    )
    .bind(host.host.as_str())
    .bind(to_json(&host.labels, "labels")?)
    .bind(micros(now))
    .execute(&mut *tx)
    .await
    .during("expect a host")?;
    let new = sqlx::query("INSERT INTO expected (host, since) VALUES (?1, ?2) ON CONFLICT (host) DO NOTHING")
        .bind(host.host.as_str())
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .during("enter a host into the list")?;
    Ok(new.rows_affected())
}
