//! What hosts protect: sources, snapshots, and what the snapshots of a source say together.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_proto::model::{HoldInfo, HostName, Inventory, SnapshotInfo, SourceInfo, Verification};
use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::column::{
    count, get, integer, json, maybe_count, maybe_json, micros, parsed, span, span_micros, time, to_json,
};
use crate::error::{During as _, Error, Result};
use crate::store::{Change, Store};

/// Sources and snapshots of hosts.
#[derive(Debug, Clone, Copy)]
pub struct Inventories<'a>(pub(crate) &'a Store);

/// When a host last said what it protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryRecord {
    /// The host.
    pub host: HostName,
    /// When it came.
    pub received: Timestamp,
    /// Why snapshots could not be listed.
    pub snapshots_problem: Option<String>,
    /// Bytes that the repository holds.
    pub stored_bytes: u64,
    /// How much of its packs was verified lately; `None`: never said.
    pub verification: Option<Verification>,
}

/// A source of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// The host.
    pub host: HostName,
    /// The source.
    pub source: SourceInfo,
    /// When it was first heard of.
    pub first_seen: Timestamp,
}

/// A snapshot of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// The host.
    pub host: HostName,
    /// The snapshot.
    pub snapshot: SnapshotInfo,
}

/// The most snapshots that are listed at once.
pub const MOST_SNAPSHOTS: u32 = 100_000;

/// The period of which the worst gap is told. A gap that is long mended should not be told for ever.
pub const PERIOD: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What the snapshots of one source say together. Suspect snapshots protect nothing and do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// The host.
    pub host: HostName,
    /// The source.
    pub source: String,
    /// The oldest cut that is still there.
    pub first: Timestamp,
    /// The newest.
    pub last: Timestamp,
    /// The longest time between two consecutive cuts of which the later lies in the last seven days ([`PERIOD`]).
    pub worst_gap: Duration,
    /// How many there are.
    pub snapshots: u64,
}

impl Inventories<'_> {
    /// Replaces what a host said it protects.
    pub async fn replace(&self, host: &HostName, inventory: &Inventory) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        if crate::hosts::read(&mut tx, host).await?.is_none() {
            return Err(Error::NotFound {
                kind: "host",
                name: host.to_string(),
            });
        }
        sqlx::query(
            "INSERT INTO inventories (host, received, snapshots_problem, stored_bytes, pack_bytes, verified_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (host) DO UPDATE SET received = excluded.received,
                 snapshots_problem = excluded.snapshots_problem, stored_bytes = excluded.stored_bytes,
                 pack_bytes = coalesce(excluded.pack_bytes, pack_bytes),
                 verified_bytes = coalesce(excluded.verified_bytes, verified_bytes)",
        )
        .bind(host.as_str())
        .bind(micros(now))
        .bind(&inventory.snapshots_problem)
        .bind(integer(inventory.stored_bytes))
        .bind(inventory.verification.map(|share| integer(share.packs)))
        .bind(inventory.verification.map(|share| integer(share.verified)))
        .execute(&mut *tx)
        .await
        .during("file an inventory")?;
        replace_sources(&mut tx, host, &inventory.sources, now).await?;
        // A list that could not be made says nothing of what is there: the last one stays.
        if inventory.snapshots_problem.is_none() {
            replace_snapshots(&mut tx, host, &inventory.snapshots).await?;
            replace_newest(&mut tx, host, &inventory.snapshots).await?;
            replace_cuts(&mut tx, host, &inventory.snapshots, now).await?;
        }
        tx.commit().await.during("commit an inventory")?;
        self.0.tell(Change::Hosts);
        Ok(())
    }

    /// When a host last said what it protects, if it ever did.
    pub async fn get(&self, host: &HostName) -> Result<Option<InventoryRecord>> {
        let row = sqlx::query("SELECT * FROM inventories WHERE host = ?")
            .bind(host.as_str())
            .fetch_optional(self.0.readers())
            .await
            .during("read an inventory")?;
        row.as_ref().map(inventory).transpose()
    }

    /// The same of all hosts.
    pub async fn list(&self) -> Result<Vec<InventoryRecord>> {
        let rows = sqlx::query("SELECT * FROM inventories ORDER BY host")
            .fetch_all(self.0.readers())
            .await
            .during("list inventories")?;
        rows.iter().map(inventory).collect()
    }

    /// Sources of one host or of all, by host and name.
    pub async fn sources(&self, host: Option<&HostName>) -> Result<Vec<SourceRecord>> {
        let rows =
            sqlx::query("SELECT * FROM sources WHERE ?1 IS NULL OR host = ?1 ORDER BY host, name, path")
                .bind(host.map(HostName::as_str))
                .fetch_all(self.0.readers())
                .await
                .during("list sources")?;
        rows.iter().map(source).collect()
    }

    /// Snapshots of one host or of all, newest first; at most [`MOST_SNAPSHOTS`].
    pub async fn snapshots(&self, host: Option<&HostName>) -> Result<Vec<SnapshotRecord>> {
        let sql =
            "SELECT * FROM snapshots WHERE ?1 IS NULL OR host = ?1 ORDER BY cut DESC, host, id LIMIT ?2";
        let rows = sqlx::query(sql)
            .bind(host.map(HostName::as_str))
            .bind(MOST_SNAPSHOTS)
            .fetch_all(self.0.readers())
            .await
            .during("list snapshots")?;
        rows.iter().map(snapshot).collect()
    }

    /// Bytes of the newest snapshot of each host that is not suspect: what a restore drill fetches at the most.
    pub async fn newest_bytes(&self) -> Result<BTreeMap<HostName, u64>> {
        let rows = sqlx::query("SELECT host, newest_bytes FROM inventories ORDER BY host")
            .fetch_all(self.0.readers())
            .await
            .during("read sizes of newest snapshots")?;
        rows.iter()
            .map(|row| Ok((parsed(row, "host")?, count(row, "newest_bytes")?)))
            .collect()
    }

    /// What the snapshots of each source say together, by host and source.
    pub async fn cuts(&self) -> Result<Vec<Cuts>> {
        let rows = sqlx::query("SELECT * FROM cuts ORDER BY host, source")
            .fetch_all(self.0.readers())
            .await
            .during("read cuts")?;
        rows.iter().map(cuts).collect()
    }
}

async fn replace_sources(
    tx: &mut SqliteConnection,
    host: &HostName,
    sources: &[SourceInfo],
    now: Timestamp,
) -> Result<()> {
    for source in sources {
        sqlx::query(
            "INSERT INTO sources (host, name, kind, path, problem, damaged, configured, first_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (host, name, path) DO UPDATE SET kind = excluded.kind, problem = excluded.problem,
                 damaged = excluded.damaged, configured = excluded.configured",
        )
        .bind(host.as_str())
        .bind(&source.name)
        .bind(&source.kind)
        .bind(&source.path)
        .bind(&source.problem)
        .bind(source.damaged)
        .bind(source.configured)
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .during("file a source")?;
    }
    let kept: Vec<[&str; 2]> = sources
        .iter()
        .map(|s| [s.name.as_str(), s.path.as_str()])
        .collect();
    sqlx::query(
        "DELETE FROM sources WHERE host = ?1 AND NOT EXISTS (
             SELECT 1 FROM json_each(?2) WHERE value ->> 0 = sources.name AND value ->> 1 = sources.path)",
    )
    .bind(host.as_str())
    .bind(to_json(&kept, "names of sources")?)
    .execute(tx)
    .await
    .during("drop sources that are gone")?;
    Ok(())
}

async fn replace_snapshots(
    tx: &mut SqliteConnection,
    host: &HostName,
    snapshots: &[SnapshotInfo],
) -> Result<()> {
    for snapshot in snapshots {
        sqlx::query(
            "INSERT INTO snapshots (host, id, cut, exact, suspect, reason, bytes, sources, hold)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (host, id) DO UPDATE SET suspect = excluded.suspect, reason = excluded.reason,
                 hold = excluded.hold
             WHERE suspect IS NOT excluded.suspect OR reason IS NOT excluded.reason OR hold IS NOT excluded.hold",
        )
        .bind(host.as_str())
        .bind(&snapshot.id)
        .bind(micros(snapshot.cut))
        .bind(snapshot.exact)
        .bind(&snapshot.suspect)
        .bind(&snapshot.reason)
        .bind(integer(snapshot.bytes))
        .bind(to_json(&snapshot.sources, "sources of a snapshot")?)
        .bind(hold_column(snapshot.hold.as_ref())?)
        .execute(&mut *tx)
        .await
        .during("file a snapshot")?;
    }
    let kept: Vec<&str> = snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    sqlx::query("DELETE FROM snapshots WHERE host = ?1 AND id NOT IN (SELECT value FROM json_each(?2))")
        .bind(host.as_str())
        .bind(to_json(&kept, "ids of snapshots")?)
        .execute(tx)
        .await
        .during("drop snapshots that are gone")?;
    Ok(())
}

fn hold_column(hold: Option<&HoldInfo>) -> Result<Option<String>> {
    hold.map(|hold| to_json(hold, "the hold of a snapshot"))
        .transpose()
}

async fn replace_newest(
    tx: &mut SqliteConnection,
    host: &HostName,
    snapshots: &[SnapshotInfo],
) -> Result<()> {
    let sound = snapshots.iter().filter(|snapshot| snapshot.suspect.is_none());
    let bytes = sound
        .max_by_key(|snapshot| snapshot.cut)
        .map_or(0, |snapshot| snapshot.bytes);
    sqlx::query("UPDATE inventories SET newest_bytes = ?2 WHERE host = ?1")
        .bind(host.as_str())
        .bind(integer(bytes))
        .execute(tx)
        .await
        .during("file the size of the newest snapshot")?;
    Ok(())
}

async fn replace_cuts(
    tx: &mut SqliteConnection,
    host: &HostName,
    snapshots: &[SnapshotInfo],
    now: Timestamp,
) -> Result<()> {
    sqlx::query("DELETE FROM cuts WHERE host = ?")
        .bind(host.as_str())
        .execute(&mut *tx)
        .await
        .during("replace cuts")?;
    for cuts in summarise(host, snapshots, now) {
        sqlx::query(
            "INSERT INTO cuts (host, source, first_cut, last_cut, worst_gap, snapshots)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(host.as_str())
        .bind(&cuts.source)
        .bind(micros(cuts.first))
        .bind(micros(cuts.last))
        .bind(span_micros(cuts.worst_gap))
        .bind(integer(cuts.snapshots))
        .execute(&mut *tx)
        .await
        .during("file cuts")?;
    }
    Ok(())
}

/// What the snapshots of each source say together.
fn summarise(host: &HostName, snapshots: &[SnapshotInfo], now: Timestamp) -> Vec<Cuts> {
    let since = now.saturating_sub(PERIOD).unwrap_or(Timestamp::MIN);
    let mut by_source: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.suspect.is_none()) {
        for source in &snapshot.sources {
            by_source.entry(source).or_default().push(snapshot.cut);
        }
    }
    by_source
        .into_iter()
        .filter_map(|(source, mut moments)| {
            moments.sort_unstable();
            let worst_gap = moments
                .windows(2)
                .filter(|pair| pair[1] > since)
                .map(|pair| pair[1].duration_since(pair[0]).unsigned_abs())
                .max()
                .unwrap_or_default();
            Some(Cuts {
                host: host.clone(),
                source: source.to_owned(),
                first: *moments.first()?,
                last: *moments.last()?,
                worst_gap,
                snapshots: moments.len() as u64,
            })
        })
        .collect()
}

fn inventory(row: &SqliteRow) -> Result<InventoryRecord> {
    Ok(InventoryRecord {
        host: parsed(row, "host")?,
        received: time(row, "received")?,
        snapshots_problem: get(row, "snapshots_problem")?,
        stored_bytes: count(row, "stored_bytes")?,
        verification: match (
            maybe_count(row, "pack_bytes")?,
            maybe_count(row, "verified_bytes")?,
        ) {
            (Some(packs), Some(verified)) => Some(Verification { packs, verified }),
            _ => None,
        },
    })
}

fn source(row: &SqliteRow) -> Result<SourceRecord> {
    Ok(SourceRecord {
        host: parsed(row, "host")?,
        source: SourceInfo {
            name: get(row, "name")?,
            kind: get(row, "kind")?,
            path: get(row, "path")?,
            problem: get(row, "problem")?,
            damaged: get(row, "damaged")?,
            configured: get(row, "configured")?,
        },
        first_seen: time(row, "first_seen")?,
    })
}

fn snapshot(row: &SqliteRow) -> Result<SnapshotRecord> {
    Ok(SnapshotRecord {
        host: parsed(row, "host")?,
        snapshot: SnapshotInfo {
            id: get(row, "id")?,
            cut: time(row, "cut")?,
            exact: get(row, "exact")?,
            suspect: get(row, "suspect")?,
            reason: get(row, "reason")?,
            bytes: count(row, "bytes")?,
            sources: json(row, "sources")?,
            hold: maybe_json(row, "hold")?,
        },
    })
}

fn cuts(row: &SqliteRow) -> Result<Cuts> {
    Ok(Cuts {
        host: parsed(row, "host")?,
        source: get(row, "source")?,
        first: time(row, "first_cut")?,
        last: time(row, "last_cut")?,
        worst_gap: span(row, "worst_gap")?,
        snapshots: count(row, "snapshots")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(id: &str, cut: i64, suspect: bool) -> SnapshotInfo {
        SnapshotInfo {
            id: id.to_owned(),
            cut: Timestamp::from_second(cut).unwrap(),
            exact: true,
            suspect: suspect.then(|| "lost more than half".to_owned()),
            reason: None,
            bytes: 1,
            sources: vec!["memory".to_owned()],
            hold: None,
        }
    }

    #[test]
    fn the_worst_gap_leaves_suspect_snapshots_out() {
        let host: HostName = "db-1".parse().unwrap();
        let snapshots = [
            snapshot("c", 300, false),
            snapshot("b", 200, true),
            snapshot("a", 100, false),
        ];
        let now = Timestamp::from_second(400).unwrap();
        let cuts = summarise(&host, &snapshots, now);
        assert_eq!(cuts.len(), 1);
        assert_eq!(cuts[0].worst_gap, Duration::from_secs(200));
        assert_eq!(cuts[0].snapshots, 2);
        assert_eq!(cuts[0].last, Timestamp::from_second(300).unwrap());
        let later = now + SignedDuration::from_hours(8 * 24);
        assert_eq!(summarise(&host, &snapshots, later)[0].worst_gap, Duration::ZERO);
    }
}
