//! Certificates: which were issued, and which are refused before their time is over.

use std::collections::BTreeSet;

use dr_proto::model::HostName;
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::audit;
use crate::column::{get, maybe_parsed, maybe_time, micros, time};
use crate::error::{During as _, Error, Result};
use crate::store::{Change, Store};

/// Certificates issued and revoked.
#[derive(Debug, Clone, Copy)]
pub struct Certificates<'a>(pub(crate) &'a Store);

/// A certificate that was issued or seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number, hex.
    pub serial: String,
    /// The identity in it, a URI.
    pub identity: String,
    /// The host that it speaks for, if it is an agent's.
    pub host: Option<HostName>,
    /// When it was issued, or first seen.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// A certificate and whether it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// The certificate.
    pub certificate: Certificate,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

/// What is refused at the door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Serial numbers of certificates.
    pub serials: BTreeSet<String>,
    /// Hosts, whatever certificate they come with: revoked or retired.
    pub hosts: BTreeSet<HostName>,
}

impl Revocations {
    /// Whether a peer with this certificate is refused.
    pub fn refuses(&self, serial: &str, host: Option<&HostName>) -> bool {
        self.serials.contains(serial) || host.is_some_and(|host| self.hosts.contains(host))
    }
}

impl Certificates<'_> {
    /// Files a renewed certificate. (The first one of a host is filed with its token.)
    pub async fn record(&self, certificate: &Certificate, by: &str) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        insert(&mut tx, certificate).await?;
        let details = json!({ "serial": certificate.serial, "expires": certificate.expires });
        audit::append(
            &mut tx,
            now,
            by,
            "certificate.renew",
            &certificate.identity,
            &details,
        )
        .await?;
        tx.commit().await.during("commit a certificate")
    }

    /// Refuses one certificate from now on, whoever holds it.
    pub async fn revoke(&self, serial: &str, reason: &str, by: &str) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query(
            "UPDATE certificates SET revoked = ?2, reason = ?3 WHERE serial = ?1 AND revoked IS NULL",
        )
        .bind(serial)
        .bind(micros(now))
        .bind(reason)
        .execute(&mut *tx)
        .await
        .during("revoke a certificate")?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound {
                kind: "certificate that is not revoked yet",
                name: serial.to_owned(),
            });
        }
        audit::append(
            &mut tx,
            now,
            by,
            "certificate.revoke",
            serial,
            &json!({ "reason": reason }),
        )
        .await?;
        tx.commit().await.during("commit a revocation")?;
        self.0.tell(Change::Revocations);
        Ok(())
    }

    /// Everything that is refused at the door; what has expired anyway is left out.
    pub async fn revocations(&self) -> Result<Revocations> {
        let rows = sqlx::query("SELECT serial FROM certificates WHERE revoked IS NOT NULL AND expires > ?")
            .bind(micros(self.0.now()))
            .fetch_all(self.0.readers())
            .await
            .during("read revoked certificates")?;
        let serials = rows.iter().map(|row| get(row, "serial")).collect::<Result<_>>()?;
        let rows = sqlx::query("SELECT host FROM hosts WHERE state IN ('revoked', 'retired')")
            .fetch_all(self.0.readers())
            .await
            .during("read barred hosts")?;
        let hosts = rows
            .iter()
            .map(|row| crate::column::parsed(row, "host"))
            .collect::<Result<_>>()?;
        Ok(Revocations { serials, hosts })
    }

    /// Certificates whose time is not over, by identity, the newest of each last.
    pub async fn list(&self) -> Result<Vec<CertificateRecord>> {
        let rows = sqlx::query("SELECT * FROM certificates WHERE expires > ? ORDER BY identity, issued")
            .bind(micros(self.0.now()))
            .fetch_all(self.0.readers())
            .await
            .during("list certificates")?;
        rows.iter().map(record).collect()
    }
}

/// Files a certificate inside a transaction. The same serial again changes nothing.
pub(crate) async fn insert(tx: &mut SqliteConnection, certificate: &Certificate) -> Result<()> {
    sqlx::query(
        "INSERT INTO certificates (serial, identity, host, issued, expires) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (serial) DO NOTHING",
    )
    .bind(&certificate.serial)
    .bind(&certificate.identity)
    .bind(certificate.host.as_ref().map(HostName::as_str))
    .bind(micros(certificate.issued))
    .bind(micros(certificate.expires))
    .execute(tx)
    .await
    .during("file a certificate")?;
    Ok(())
}

/// Revokes all certificates of a host, and the one with `serial` if that came from elsewhere.
pub(crate) async fn revoke_all(
    tx: &mut SqliteConnection,
    host: &HostName,
    serial: Option<&str>,
    now: Timestamp,
    reason: &str,
) -> Result<()> {
    if let Some(serial) = serial {
        let foreign = sqlx::query(
            "INSERT INTO certificates (serial, identity, host, issued, expires)
             SELECT ?1, 'agent ' || ?2, ?2, ?3, coalesce(certificate_expires, ?4) FROM hosts WHERE host = ?2
             ON CONFLICT (serial) DO NOTHING",
        )
        .bind(serial)
        .bind(host.as_str())
        .bind(micros(now))
        .bind(micros(Timestamp::MAX));
        foreign
            .execute(&mut *tx)
            .await
            .during("file a certificate from elsewhere")?;
    }
    sqlx::query("UPDATE certificates SET revoked = ?2, reason = ?3 WHERE host = ?1 AND revoked IS NULL")
        .bind(host.as_str())
        .bind(micros(now))
        .bind(reason)
        .execute(tx)
        .await
        .during("revoke a host's certificates")?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<CertificateRecord> {
    Ok(CertificateRecord {
        certificate: Certificate {
            serial: get(row, "serial")?,
            identity: get(row, "identity")?,
            host: maybe_parsed(row, "host")?,
            issued: time(row, "issued")?,
            expires: time(row, "expires")?,
        },
        revoked: maybe_time(row, "revoked")?,
        reason: get(row, "reason")?,
    })
}
