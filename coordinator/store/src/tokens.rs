//! Enrolment tokens: each lets one host in, once.

use dr_proto::model::{HostName, Labels};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::audit;
use crate::certificates::{self, Certificate};
use crate::column::{get, json, maybe_parsed, maybe_time, micros, time, to_json};
use crate::error::{During as _, Error, Result, TokenProblem};
use crate::hosts;
use crate::store::{Change, Store};

/// Enrolment tokens.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a>(pub(crate) &'a Store);

/// A token that an operator asks for. Only the hash of its secret is kept.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// Its public half.
    pub id: &'a str,
    /// Hash of its secret half, hex.
    pub secret_hash: &'a str,
    /// The host that it enrols; `None`: any.
    pub host: Option<&'a HostName>,
    /// Labels that the host will have.
    pub labels: &'a Labels,
    /// How long it may be used.
    pub valid_for: SignedDuration,
    /// Whether the host gets nothing to do before an operator approves it.
    pub needs_approval: bool,
    /// The operator.
    pub by: &'a str,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its public half.
    pub id: String,
    /// The host that it enrols; `None`: any.
    pub host: Option<HostName>,
    /// Labels that the host will have.
    pub labels: Labels,
    /// When it was made.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was withdrawn.
    pub withdrawn: Option<Timestamp>,
    /// When it was used.
    pub used: Option<Timestamp>,
    /// The host that used it.
    pub used_by: Option<HostName>,
    /// Whether the host gets nothing to do before an operator approves it.
    pub needs_approval: bool,
    used_key: Option<String>,
}

/// An agent that asks to be let in.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// Hash of the secret that it sent, hex.
    pub secret_hash: &'a str,
    /// The host that it says it is.
    pub host: &'a HostName,
    /// Fingerprint of its public key.
    pub key: &'a str,
}

impl Tokens<'_> {
    /// Files a new token.
    pub async fn create(&self, token: &NewToken<'_>) -> Result<TokenRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let found = insert(&mut tx, token, now).await?;
        let details = json!({ "host": token.host, "labels": token.labels, "expires": found.expires,
            "needs_approval": token.needs_approval });
        audit::append(&mut tx, now, token.by, "token.create", token.id, &details).await?;
        tx.commit().await.during("commit a token")?;
        Ok(found)
    }

    /// All tokens whose time is not over for longer than a week, newest first.
    pub async fn list(&self) -> Result<Vec<TokenRecord>> {
        let week = SignedDuration::from_hours(7 * 24);
        let oldest = self.0.now().saturating_sub(week).unwrap_or(Timestamp::MIN);
        let rows =
            sqlx::query("SELECT * FROM tokens WHERE expires > ? ORDER BY created DESC, id LIMIT 10000")
                .bind(micros(oldest))
                .fetch_all(self.0.readers())
                .await
                .during("list tokens")?;
        rows.iter().map(record).collect()
    }

    /// Whether the token would let the applicant in, before a certificate is signed for it.
    pub async fn check(&self, applicant: &Applicant<'_>) -> Result<TokenRecord> {
        let row = sqlx::query("SELECT * FROM tokens WHERE secret_hash = ?")
            .bind(applicant.secret_hash)
            .fetch_optional(self.0.readers())
            .await
            .during("read a token")?;
        let token = row.as_ref().map(record).transpose()?;
        judge(token, applicant, self.0.now())
    }

    /// Uses the token up and files the host and its certificate, all or nothing. The same applicant with the same
    /// key may come again while the token lasts, because the answer may have got lost.
    pub async fn redeem(&self, applicant: &Applicant<'_>, certificate: &Certificate) -> Result<TokenRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let token = judge(by_hash(&mut tx, applicant.secret_hash).await?, applicant, now)?;
        let retired = hosts::read(&mut tx, applicant.host).await?;
        if let Some(known) = retired.filter(|known| known.state == hosts::HostState::Retired) {
            return Err(Error::Barred {
                host: known.host,
                state: "retired",
                reason: known.reason.unwrap_or_else(|| "no reason was given".to_owned()),
            });
        }
        sqlx::query("UPDATE tokens SET used = coalesce(used, ?2), used_by = ?3, used_key = ?4 WHERE id = ?1")
            .bind(&token.id)
            .bind(micros(now))
            .bind(applicant.host.as_str())
            .bind(applicant.key)
            .execute(&mut *tx)
            .await
            .during("use a token")?;
        hosts::enrol(&mut tx, applicant.host, &token.labels, token.needs_approval, now).await?;
        certificates::insert(&mut tx, certificate).await?;
        let details = json!({ "token": token.id, "serial": certificate.serial });
        let actor = format!("agent {}", applicant.host);
        audit::append(
            &mut tx,
            now,
            &actor,
            "agent.enroll",
            applicant.host.as_str(),
            &details,
        )
        .await?;
        crate::failpoint::reach("store.enroll");
        tx.commit().await.during("commit an enrolment")?;
        self.0.tell(Change::Revocations);
        self.0.tell(Change::Hosts);
        Ok(token)
    }

    /// Makes a token useless.
    pub async fn withdraw(&self, id: &str, by: &str) -> Result<()> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query("UPDATE tokens SET withdrawn = coalesce(withdrawn, ?2) WHERE id = ?1")
            .bind(id)
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .during("withdraw a token")?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound {
                kind: "token",
                name: id.to_owned(),
            });
        }
        audit::append(&mut tx, now, by, "token.withdraw", id, &json!({})).await?;
        tx.commit().await.during("commit a withdrawn token")
    }
}

/// Files a token inside a transaction.
pub(crate) async fn insert(
    tx: &mut SqliteConnection,
    token: &NewToken<'_>,
    now: Timestamp,
) -> Result<TokenRecord> {
    let expires = now.checked_add(token.valid_for).unwrap_or(Timestamp::MAX);
    sqlx::query(
        "INSERT INTO tokens (id, secret_hash, host, labels, created, created_by, expires, needs_approval)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(token.id)
    .bind(token.secret_hash)
    .bind(token.host.map(HostName::as_str))
    .bind(to_json(token.labels, "labels")?)
    .bind(micros(now))
    .bind(token.by)
    .bind(micros(expires))
    .bind(token.needs_approval)
    .execute(&mut *tx)
    .await
    .during("file a token")?;
    by_hash(tx, token.secret_hash)
        .await?
        .ok_or(Error::Token(TokenProblem::Unknown))
}

/// Makes tokens useless that were made for this host and not used.
pub(crate) async fn withdraw_unused(
    tx: &mut SqliteConnection,
    host: &HostName,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE tokens SET withdrawn = ?2 WHERE host = ?1 AND used IS NULL AND withdrawn IS NULL")
        .bind(host.as_str())
        .bind(micros(now))
        .execute(tx)
        .await
        .during("withdraw a host's tokens")?;
    Ok(())
}

async fn by_hash(tx: &mut SqliteConnection, hash: &str) -> Result<Option<TokenRecord>> {
    let row = sqlx::query("SELECT * FROM tokens WHERE secret_hash = ?")
        .bind(hash)
        .fetch_optional(tx)
        .await
        .during("read a token")?;
    row.as_ref().map(record).transpose()
}

fn judge(token: Option<TokenRecord>, applicant: &Applicant<'_>, now: Timestamp) -> Result<TokenRecord> {
    let token = token.ok_or(Error::Token(TokenProblem::Unknown))?;
    let again =
        token.used_key.as_deref() == Some(applicant.key) && token.used_by.as_ref() == Some(applicant.host);
    let problem = if token.withdrawn.is_some() {
        Some(TokenProblem::Withdrawn)
    } else if token.used.is_some() && !again {
        Some(TokenProblem::Used)
    } else if token.expires <= now {
        Some(TokenProblem::Expired)
    } else if token.host.as_ref().is_some_and(|host| host != applicant.host) {
        Some(TokenProblem::OtherHost)
    } else {
        None
    };
    match problem {
        Some(problem) => Err(Error::Token(problem)),
        None => Ok(token),
    }
}

fn record(row: &SqliteRow) -> Result<TokenRecord> {
    Ok(TokenRecord {
        id: get(row, "id")?,
        host: maybe_parsed(row, "host")?,
        labels: json(row, "labels")?,
        created: time(row, "created")?,
        created_by: get(row, "created_by")?,
        expires: time(row, "expires")?,
        withdrawn: maybe_time(row, "withdrawn")?,
        used: maybe_time(row, "used")?,
        used_by: maybe_parsed(row, "used_by")?,
        needs_approval: get(row, "needs_approval")?,
        used_key: get(row, "used_key")?,
    })
}
