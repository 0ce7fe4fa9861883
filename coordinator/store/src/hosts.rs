//! Hosts: who they are, what their agents said of themselves, and whether they may come in.

use std::fmt;
use std::str::FromStr;

use dr_proto::model::{Allow, Hello, HostName, Labels};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::audit;
use crate::column::{get, json, maybe_time, micros, parsed, small, time, to_json};
use crate::error::{During as _, Error, Result};
use crate::store::{Change, Store};

/// Hosts and what their agents said of themselves.
#[derive(Debug, Clone, Copy)]
pub struct Hosts<'a>(pub(crate) &'a Store);

/// What is known of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Its name.
    pub host: HostName,
    /// Whether it may come in. Whether it is connected at this moment only the gateway knows.
    pub state: HostState,
    /// Its labels.
    pub labels: Labels,
    /// When it was first heard of.
    pub created: Timestamp,
    /// When it first came in.
    pub enrolled: Option<Timestamp>,
    /// When it was last heard; written in batches, so up to a minute behind the gateway.
    pub last_seen: Option<Timestamp>,
    /// The process of its agent that was last seen.
    pub incarnation: Option<String>,
    /// Version of its agent.
    pub version: Option<String>,
    /// Minor version of the protocol that its agent speaks.
    pub protocol: Option<u32>,
    /// What its agent understands beyond version 0 of the protocol.
    pub capabilities: Vec<String>,
    /// The most that may be asked of it.
    pub allow: Allow,
    /// Where its repository is, without secrets.
    pub repository: Option<String>,
    /// Whether its repository is encrypted.
    pub repository_encrypted: bool,
    /// Versions of its probes.
    pub probes: Vec<String>,
    /// Why nothing starts there, if its own suspend file says so.
    pub suspended: Option<String>,
    /// Its clock minus ours, when it last said hello.
    pub clock_skew: Option<SignedDuration>,
    /// The certificate that it last came in with.
    pub certificate_serial: Option<String>,
    /// When that certificate ends.
    pub certificate_expires: Option<Timestamp>,
    /// Why it is revoked or retired.
    pub reason: Option<String>,
    /// Whether what its agent remembers has been filed.
    pub history_filed: bool,
    /// The store was recovered from a copy since: what happened after the copy is known only to the agent, and nothing
    /// may be handed to it before that is filed.
    pub recalled: bool,
    /// It came in by a token that wants an approval, and has none yet: it gets nothing to do.
    pub pending: bool,
    /// Which machine carries the name, from 1.
    pub machine: u32,
    /// Since when the machine that takes the place of a lost one is waited for.
    pub awaited: Option<Timestamp>,
}

impl HostRecord {
    /// Whether work may be handed to it.
    pub fn may_work(&self) -> bool {
        self.state.is_welcome() && !self.pending
    }
}

/// Whether a host may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostState {
    /// Known from a token or an inventory; never attached.
    Expected,
    /// It came in at least once.
    Enrolled,
    /// Its certificates are refused until it enrols anew.
    Revoked,
    /// Gone for good.
    Retired,
}

impl HostState {
    const ALL: [Self; 4] = [Self::Expected, Self::Enrolled, Self::Revoked, Self::Retired];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Enrolled => "enrolled",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }

    /// Whether it may come in.
    pub fn is_welcome(self) -> bool {
        matches!(self, Self::Expected | Self::Enrolled)
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HostState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| format!("`{text}` is not a state of a host"))
    }
}

/// What the gateway knows when a host says hello.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// What its agent said.
    pub hello: &'a Hello,
    /// Its clock minus ours.
    pub clock_skew: SignedDuration,
    /// The certificate that it came with.
    pub certificate_serial: &'a str,
    /// When that ends.
    pub certificate_expires: Timestamp,
}

/// What a host is told when it has come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Its labels.
    pub labels: Labels,
    /// Nothing of its past is known here: ask for what its agent remembers.
    pub wants_history: bool,
    /// It was never here before.
    pub first: bool,
    /// Nobody has approved it yet: it gets nothing to do.
    pub pending: bool,
}

/// Every column, in no particular order.
const COLUMNS: &str =
    "SELECT host, state, labels, created, enrolled, last_seen, incarnation, version, protocol,
    capabilities, allow, repository, repository_encrypted, probes, suspended, clock_skew, certificate_serial,
    certificate_expires, reason, history_filed, recalled, pending, machine, awaited FROM hosts";

impl Hosts<'_> {
    /// One host.
    pub async fn get(&self, host: &HostName) -> Result<Option<HostRecord>> {
        let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE host = ?"));
        let row = sqlx::query(sql)
            .bind(host.as_str())
            .fetch_optional(self.0.readers())
            .await
            .during("read a host")?;
        row.as_ref().map(record).transpose()
    }

    /// All hosts, by name; also those that are revoked or retired.
    pub async fn list(&self) -> Result<Vec<HostRecord>> {
        let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY host"));
        let rows = sqlx::query(sql)
            .fetch_all(self.0.readers())
            .await
            .during("list hosts")?;
        rows.iter().map(record).collect()
    }

    /// Files that a host has come in. A host that was never heard of is welcome if its certificate is: certificates
    /// may come from an authority of the operator's own. One that is revoked or retired is refused.
    pub async fn admit(&self, arrival: &Arrival<'_>) -> Result<Admitted> {
        let host = &arrival.hello.host;
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let before = read(&mut tx, host).await?;
        if let Some(known) = &before
            && !known.state.is_welcome()
        {
            return Err(Error::Barred {
                host: host.clone(),
                state: known.state.name(),
                reason: known
                    .reason
                    .clone()
                    .unwrap_or_else(|| "no reason was given".to_owned()),
            });
        }
        write_arrival(&mut tx, arrival, now).await?;
        let first = before.as_ref().is_none_or(|known| known.enrolled.is_none());
        if first {
            let details = json!({ "serial": arrival.certificate_serial, "version": arrival.hello.version });
            let actor = format!("agent {host}");
            audit::append(&mut tx, now, &actor, "agent.attach", host.as_str(), &details).await?;
        }
        tx.commit().await.during("commit a host's arrival")?;
        self.0.tell(Change::Hosts);
        let pending = before.as_ref().is_some_and(|known| known.pending);
        Ok(Admitted {
            // What a host says of its past counts only once somebody has said that it is the right one.
            wants_history: !pending && before.as_ref().is_none_or(|known| !known.history_filed),
            pending,
            labels: before.map(|known| known.labels).unwrap_or_default(),
            first,
        })
    }

    /// Files when hosts were last heard, many at once. An older moment changes nothing.
    pub async fn seen(&self, hosts: &[(HostName, Timestamp)]) -> Result<()> {
        if hosts.is_empty() {
            return Ok(());
        }
        let mut tx = self.0.begin().await?;
        for (host, at) in hosts {
            sqlx::query("UPDATE hosts SET last_seen = ?2 WHERE host = ?1 AND coalesce(last_seen, 0) < ?2")
                .bind(host.as_str())
                .bind(micros(*at))
                .execute(&mut *tx)
                .await
                .during("file when a host was seen")?;
        }
        tx.commit().await.during("commit when hosts were seen")
    }

    /// Files whether a host's own suspend file stops work there. True if that changed.
    pub async fn set_suspended(&self, host: &HostName, reason: Option<&str>) -> Result<bool> {
        let done = sqlx::query("UPDATE hosts SET suspended = ?2 WHERE host = ?1 AND suspended IS NOT ?2")
            .bind(host.as_str())
            .bind(reason)
            .execute(self.0.writer())
            .await
            .during("file a host's own suspension")?;
        let changed = done.rows_affected() > 0;
        if changed {
            self.0.tell(Change::Hosts);
        }
        Ok(changed)
    }

    /// Files that what the host's agent remembers has been taken over.
    pub async fn set_history_filed(&self, host: &HostName) -> Result<()> {
        sqlx::query(
            "UPDATE hosts SET history_filed = ?2, recalled = 0 WHERE host = ?1 AND history_filed IS NULL",
        )
        .bind(host.as_str())
        .bind(micros(self.0.now()))
        .execute(self.0.writer())
        .await
        .during("file a host's history")?;
        self.0.tell(Change::Hosts);
        Ok(())
    }

    /// After the store was recovered from a copy: asks every agent again for what it remembers, and holds back its
    /// tasks until that is filed, so that nothing that happened since the copy is done twice.
    pub async fn recall_histories(&self) -> Result<()> {
        sqlx::query("UPDATE hosts SET history_filed = NULL, recalled = 1")
            .execute(self.0.writer())
            .await
            .during("ask for all histories again")?;
        self.0.tell(Change::Hosts);
        Ok(())
    }

    /// Replaces a host's labels.
    pub async fn set_labels(&self, host: &HostName, labels: &Labels, by: &str) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query("UPDATE hosts SET labels = ?2 WHERE host = ?1")
            .bind(host.as_str())
            .bind(to_json(labels, "labels")?)
            .execute(&mut *tx)
            .await
            .during("label a host")?;
        if done.rows_affected() == 0 {
            return Err(unknown(host));
        }
        let details = json!({ "labels": labels });
        audit::append(&mut tx, now, by, "agent.label", host.as_str(), &details).await?;
        tx.commit().await.during("commit a host's labels")?;
        self.0.tell(Change::Hosts);
        Ok(())
    }

    /// Refuses the host and every certificate that it was given, until it enrols anew. `serial` is that of the
    /// certificate on its live stream, if there is one: it may have come from another authority.
    pub async fn revoke(&self, host: &HostName, reason: &str, by: &str, serial: Option<&str>) -> Result<()> {
        self.bar(host, HostState::Revoked, reason, by, serial).await
    }

    /// The host is gone for good: refused, and no longer expected.
    pub async fn retire(&self, host: &HostName, reason: &str, by: &str, serial: Option<&str>) -> Result<()> {
        self.bar(host, HostState::Retired, reason, by, serial).await
    }

    async fn bar(
        &self,
        host: &HostName,
        state: HostState,
        reason: &str,
        by: &str,
        serial: Option<&str>,
    ) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query("UPDATE hosts SET state = ?2, reason = ?3, awaited = NULL WHERE host = ?1")
            .bind(host.as_str())
            .bind(state.name())
            .bind(reason)
            .execute(&mut *tx)
            .await
            .during("bar a host")?;
        if done.rows_affected() == 0 {
            return Err(unknown(host));
        }
        crate::certificates::revoke_all(&mut tx, host, serial, now, reason).await?;
        let action = if state == HostState::Retired {
            "agent.retire"
        } else {
            "agent.revoke"
        };
        let details = json!({ "reason": reason });
        audit::append(&mut tx, now, by, action, host.as_str(), &details).await?;
        tx.commit().await.during("commit a barred host")?;
        self.0.tell(Change::Revocations);
        self.0.tell(Change::Hosts);
        Ok(())
    }
}

/// Reads a host inside a transaction.
pub(crate) async fn read(tx: &mut SqliteConnection, host: &HostName) -> Result<Option<HostRecord>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE host = ?")))
        .bind(host.as_str())
        .fetch_optional(tx)
        .await
        .during("read a host")?;
    row.as_ref().map(record).transpose()
}

/// Lets a host in by a token: what barred it is over.
pub(crate) async fn enrol(
    tx: &mut SqliteConnection,
    host: &HostName,
    labels: &Labels,
    needs_approval: bool,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO hosts (host, state, labels, created, enrolled, pending)
         VALUES (?1, 'enrolled', ?2, ?3, ?3, ?4)
         ON CONFLICT (host) DO UPDATE SET state = 'enrolled', reason = NULL, labels = excluded.labels,
             enrolled = coalesce(enrolled, excluded.enrolled), pending = excluded.pending, awaited = NULL",
    )
    .bind(host.as_str())
    .bind(to_json(labels, "labels")?)
    .bind(micros(now))
    .bind(needs_approval)
    .execute(tx)
    .await
    .during("enrol a host")?;
    Ok(())
}

async fn write_arrival(tx: &mut SqliteConnection, arrival: &Arrival<'_>, now: Timestamp) -> Result<()> {
    let hello = arrival.hello;
    let skew = i64::try_from(arrival.clock_skew.as_micros()).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO hosts (host, state, created, enrolled, last_seen, incarnation, version, protocol, capabilities,
             allow, repository, repository_encrypted, probes, suspended, clock_skew, certificate_serial,
             certificate_expires)
         VALUES (?1, 'enrolled', ?2, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (host) DO UPDATE SET state = 'enrolled', enrolled = coalesce(enrolled, excluded.enrolled),
             last_seen = excluded.last_seen, incarnation = excluded.incarnation, version = excluded.version,
             protocol = excluded.protocol, capabilities = excluded.capabilities, allow = excluded.allow,
             repository = excluded.repository, repository_encrypted = excluded.repository_encrypted,
             probes = excluded.probes, suspended = excluded.suspended, clock_skew = excluded.clock_skew,
             certificate_serial = excluded.certificate_serial, certificate_expires = excluded.certificate_expires",
    )
    .bind(hello.host.as_str())
    .bind(micros(now))
    .bind(&hello.incarnation)
    .bind(&hello.version)
    .bind(hello.protocol)
    .bind(to_json(&hello.capabilities, "capabilities")?)
    .bind(to_json(&hello.allow, "what a host allows")?)
    .bind(&hello.repository)
    .bind(hello.repository_encrypted)
    .bind(to_json(&hello.probes, "probes")?)
    .bind(&hello.suspended)
    .bind(skew)
    .bind(arrival.certificate_serial)
    .bind(micros(arrival.certificate_expires))
    .execute(tx)
    .await
    .during("file a host's arrival")?;
    Ok(())
}

fn unknown(host: &HostName) -> Error {
    Error::NotFound {
        kind: "host",
        name: host.to_string(),
    }
}

fn record(row: &SqliteRow) -> Result<HostRecord> {
    Ok(HostRecord {
        host: parsed(row, "host")?,
        state: parsed(row, "state")?,
        labels: json(row, "labels")?,
        created: time(row, "created")?,
        enrolled: maybe_time(row, "enrolled")?,
        last_seen: maybe_time(row, "last_seen")?,
        incarnation: get(row, "incarnation")?,
        version: get(row, "version")?,
        protocol: get(row, "protocol")?,
        capabilities: json(row, "capabilities")?,
        allow: json(row, "allow")?,
        repository: get(row, "repository")?,
        repository_encrypted: get(row, "repository_encrypted")?,
        probes: json(row, "probes")?,
        suspended: get(row, "suspended")?,
        clock_skew: get::<Option<i64>>(row, "clock_skew")?.map(SignedDuration::from_micros),
        certificate_serial: get(row, "certificate_serial")?,
        certificate_expires: maybe_time(row, "certificate_expires")?,
        reason: get(row, "reason")?,
        history_filed: maybe_time(row, "history_filed")?.is_some(),
        recalled: get(row, "recalled")?,
        pending: get(row, "pending")?,
        machine: small(row, "machine")?,
        awaited: maybe_time(row, "awaited")?,
    })
}
