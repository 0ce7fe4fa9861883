//! The coordinator's own audit log: who changed what, each entry chained to the one before.
//!
//! # Consistency
//! An entry's hash is BLAKE3 over its fields, each with its length, and the hash of the entry before. A row that holds
//! the chain's bounds is written with every entry: an entry that was edited, taken out, put elsewhere, or cut off at
//! either end does not fit any more. Whoever rewrites the whole log and its bounds is found only by a head that was
//! noted elsewhere; that is why [`Audit::verify`] takes one, and why the head belongs into backups and dashboards.
//! Entries older than the retention time are taken off the old end; the entry that says so is part of the chain.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::column::{count, get, integer, micros, time};
use crate::error::{During as _, Error, Result};
use crate::store::Store;

/// The coordinator's own audit log.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a>(pub(crate) &'a Store);

/// Says which layout of fields a hash covers.
const DOMAIN: &[u8] = b"drctl audit 1";
/// The hash before the first entry.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Entries that a walk reads at once.
const WALK: i64 = 1_000;
/// The most entries that one list holds.
const LONGEST: u32 = 1_000;
/// The action of the entry that says what retention took off.
const PRUNED: &str = "audit.prune";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who: a certificate's identity, or `coordinator`.
    pub actor: String,
    /// What: `plan.apply`, `call.refused`.
    pub action: String,
    /// On what.
    pub subject: String,
    /// Particulars, JSON.
    pub details: String,
    /// Hash of this entry and of all before it, hex.
    pub hash: String,
}

/// The newest entry of a chain: its number and its hash. Written `41:9f…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the newest entry; 0 if there is none.
    pub number: u64,
    /// Its hash, hex.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hash)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a head of an audit log: `NUMBER:HASH` is expected");
        let (number, hash) = text.split_once(':').ok_or_else(bad)?;
        let whole = hash.len() == NOTHING.len() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        match number.parse() {
            Ok(number) if whole => Ok(Self {
                number,
                hash: hash.to_ascii_lowercase(),
            }),
            _ => Err(bad()),
        }
    }
}

/// What a walk of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Every entry fits.
    Intact {
        /// How many there are.
        entries: u64,
        /// The newest.
        head: Head,
    },
    /// Something was changed.
    Broken {
        /// Entries that fit before it.
        entries: u64,
        /// The first number that does not fit.
        at: u64,
        /// What does not.
        reason: String,
    },
}

/// The ends of the chain.
#[derive(Debug, Clone)]
struct Bounds {
    before_first: u64,
    before_hash: String,
    last: u64,
    last_hash: String,
}

impl Audit<'_> {
    /// Appends an entry. Methods of the store that take a `by` write their own.
    pub async fn append(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        details: &Value,
    ) -> Result<AuditRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let entry = append(&mut tx, now, actor, action, subject, details).await?;
        tx.commit().await.during("commit an audit entry")?;
        Ok(entry)
    }

    /// Entries before `before` (0: all), newest first, at most `limit` and never more than 1,000.
    pub async fn list(&self, before: u64, limit: u32) -> Result<Vec<AuditRecord>> {
        let before = if before == 0 { i64::MAX } else { integer(before) };
        let rows = sqlx::query("SELECT * FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2")
            .bind(before)
            .bind(limit.min(LONGEST))
            .fetch_all(self.0.readers())
            .await
            .during("list audit entries")?;
        rows.iter().map(record).collect()
    }

    /// When the oldest entry that is still there was written.
    pub async fn oldest(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT at FROM audit ORDER BY number LIMIT 1")
            .fetch_optional(self.0.readers())
            .await
            .during("read the oldest audit entry")?;
        row.as_ref().map(|row| time(row, "at")).transpose()
    }

    /// The newest entry.
    pub async fn head(&self) -> Result<Head> {
        let mut reader = self
            .0
            .readers()
            .acquire()
            .await
            .during("read the audit log's head")?;
        let bounds = bounds(&mut reader).await?;
        Ok(Head {
            number: bounds.last,
            hash: bounds.last_hash,
        })
    }

    /// Walks the whole chain. `noted` is a head that was written down elsewhere: it must be part of the chain.
    pub async fn verify(&self, noted: Option<&Head>) -> Result<Chain> {
        let mut reader = self.0.readers().begin().await.during("read the audit log")?;
        let found = walk(&mut reader, noted).await?;
        reader.rollback().await.during("end a read of the audit log")?;
        Ok(found)
    }

    /// Takes entries older than `before` off the old end, at most `most`, and says so in the chain. Nothing happens
    /// if the chain does not fit: damage is not tidied away.
    pub async fn prune(&self, before: Timestamp, most: u32) -> Result<u64> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let newest = sqlx::query(
            "SELECT number, hash FROM (SELECT number, hash, at FROM audit ORDER BY number LIMIT ?2)
             WHERE at < ?1 ORDER BY number DESC LIMIT 1",
        )
        .bind(micros(before))
        .bind(most)
        .fetch_optional(&mut *tx)
        .await
        .during("look for old audit entries")?;
        let Some(newest) = newest else {
            return Ok(0);
        };
        if let Chain::Broken { at, reason, .. } = walk(&mut tx, None).await? {
            tracing::error!(at, reason, "the audit log is broken: nothing is pruned from it");
            return Ok(0);
        }
        let (number, hash) = (count(&newest, "number")?, get::<String>(&newest, "hash")?);
        let done = sqlx::query("DELETE FROM audit WHERE number <= ?")
            .bind(integer(number))
            .execute(&mut *tx)
            .await
            .during("prune the audit log")?;
        sqlx::query("UPDATE audit_bounds SET before_first = ?1, before_hash = ?2")
            .bind(integer(number))
            .bind(&hash)
            .execute(&mut *tx)
            .await
            .during("move the audit log's start")?;
        let details = json!({ "up_to": number, "hash": hash, "entries": done.rows_affected() });
        append(&mut tx, now, "coordinator", PRUNED, "audit", &details).await?;
        tx.commit().await.during("commit a pruned audit log")?;
        Ok(done.rows_affected())
    }
}

/// Appends an entry inside a transaction, so that a change and its entry stand or fall together.
pub(crate) async fn append(
    tx: &mut SqliteConnection,
    at: Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    details: &Value,
) -> Result<AuditRecord> {
    let bounds = bounds(tx).await?;
    let mut entry = AuditRecord {
        number: bounds.last + 1,
        at,
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        details: details.to_string(),
        hash: String::new(),
    };
    entry.hash = hash(&entry, &bounds.last_hash);
    sqlx::query(
        "INSERT INTO audit (number, at, actor, action, subject, details, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(integer(entry.number))
    .bind(micros(entry.at))
    .bind(&entry.actor)
    .bind(&entry.action)
    .bind(&entry.subject)
    .bind(&entry.details)
    .bind(&entry.hash)
    .execute(&mut *tx)
    .await
    .during("append to the audit log")?;
    sqlx::query(
        "INSERT INTO audit_bounds (one, before_first, before_hash, last, last_hash) VALUES (1, ?1, ?2, ?3, ?4)
         ON CONFLICT (one) DO UPDATE SET last = excluded.last, last_hash = excluded.last_hash",
    )
    .bind(integer(bounds.before_first))
    .bind(&bounds.before_hash)
    .bind(integer(entry.number))
    .bind(&entry.hash)
    .execute(tx)
    .await
    .during("move the audit log's head")?;
    Ok(entry)
}

async fn bounds(connection: &mut SqliteConnection) -> Result<Bounds> {
    let row =
        sqlx::query("SELECT before_first, before_hash, last, last_hash FROM audit_bounds WHERE one = 1")
            .fetch_optional(connection)
            .await
            .during("read the audit log's bounds")?;
    match row {
        Some(row) => Ok(Bounds {
            before_first: count(&row, "before_first")?,
            before_hash: get(&row, "before_hash")?,
            last: count(&row, "last")?,
            last_hash: get(&row, "last_hash")?,
        }),
        None => Ok(Bounds {
            before_first: 0,
            before_hash: NOTHING.to_owned(),
            last: 0,
            last_hash: NOTHING.to_owned(),
        }),
    }
}

/// Where a walk stands.
struct Walk<'a> {
    entries: u64,
    number: u64,
    hash: String,
    /// What the newest entry about pruning says of the chain's start.
    pruned: Option<(u64, String)>,
    noted: Option<&'a Head>,
}

pub(crate) async fn walk(connection: &mut SqliteConnection, noted: Option<&Head>) -> Result<Chain> {
    let bounds = bounds(connection).await?;
    let mut walk = Walk {
        entries: 0,
        number: bounds.before_first,
        hash: bounds.before_hash.clone(),
        pruned: None,
        noted,
    };
    loop {
        let rows = sqlx::query("SELECT * FROM audit WHERE number > ?1 ORDER BY number LIMIT ?2")
            .bind(integer(walk.number))
            .bind(WALK)
            .fetch_all(&mut *connection)
            .await
            .during("walk the audit log")?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            if let Err(reason) = walk.step(row) {
                return Ok(walk.broken(walk.number + 1, reason));
            }
        }
    }
    let stray: i64 = sqlx::query("SELECT count(*) AS n FROM audit WHERE number <= ?")
        .bind(integer(bounds.before_first))
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get("n"))
        .during("look for stray audit entries")?;
    Ok(walk.end(&bounds, stray))
}

impl Walk<'_> {
    fn step(&mut self, row: &SqliteRow) -> Result<(), String> {
        let entry = record(row).map_err(|error| error.to_string())?;
        if entry.number != self.number + 1 {
            return Err(format!(
                "entry {} is missing: {} follows {}",
                self.number + 1,
                entry.number,
                self.number
            ));
        }
        if hash(&entry, &self.hash) != entry.hash {
            return Err(format!(
                "entry {} was changed, or stands where it was not written",
                entry.number
            ));
        }
        if let Some(noted) = self.noted.filter(|noted| noted.number == entry.number)
            && noted.hash != entry.hash
        {
            return Err(format!(
                "entry {} is not the one that was noted: the log was rewritten",
                entry.number
            ));
        }
        if entry.action == PRUNED {
            self.pruned = pruned_to(&entry.details);
        }
        self.entries += 1;
        self.number = entry.number;
        self.hash = entry.hash;
        Ok(())
    }

    fn end(self, bounds: &Bounds, stray: i64) -> Chain {
        let start = (bounds.before_first, bounds.before_hash.clone());
        if self.number != bounds.last || self.hash != bounds.last_hash {
            let reason = format!(
                "entries {} to {} are missing at the end",
                self.number + 1,
                bounds.last
            );
            return self.broken(self.number + 1, reason);
        }
        if stray > 0 {
            return self.broken(
                bounds.before_first,
                "entries stand before the start of the chain".to_owned(),
            );
        }
        if start.0 > 0 && self.pruned.as_ref() != Some(&start) {
            let reason = format!(
                "entries up to {} are missing, and no entry says that they were pruned",
                start.0
            );
            return self.broken(1, reason);
        }
        if let Some(noted) = self.noted.filter(|noted| noted.number > self.number) {
            let reason = format!(
                "entry {} was noted and is not there: the end was cut off",
                noted.number
            );
            return self.broken(self.number + 1, reason);
        }
        Chain::Intact {
            entries: self.entries,
            head: Head {
                number: self.number,
                hash: self.hash,
            },
        }
    }

    fn broken(&self, at: u64, reason: String) -> Chain {
        Chain::Broken {
            entries: self.entries,
            at,
            reason,
        }
    }
}

fn pruned_to(details: &str) -> Option<(u64, String)> {
    let details: Value = serde_json::from_str(details).ok()?;
    let hash = details.get("hash")?.as_str()?;
    Some((details.get("up_to")?.as_u64()?, hash.to_owned()))
}

fn hash(entry: &AuditRecord, previous: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    let (number, at) = (entry.number.to_be_bytes(), micros(entry.at).to_be_bytes());
    let fields: [&[u8]; 7] = [
        previous.as_bytes(),
        &number,
        &at,
        entry.actor.as_bytes(),
        entry.action.as_bytes(),
        entry.subject.as_bytes(),
        entry.details.as_bytes(),
    ];
    for field in fields {
        hasher.update(&(field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    hasher.finalize().to_hex().to_string()
}

fn record(row: &SqliteRow) -> Result<AuditRecord, Error> {
    Ok(AuditRecord {
        number: count(row, "number")?,
        at: time(row, "at")?,
        actor: get(row, "actor")?,
        action: get(row, "action")?,
        subject: get(row, "subject")?,
        details: get(row, "details")?,
        hash: get(row, "hash")?,
    })
}
