//! The machine behind a host's name: approved before it works, replaced when it is lost.
//!
//! # Consistency
//! A replacement is one transaction: the old machine's certificates are refused from the moment at which the token for
//! the new one exists, and not without it.

use dr_proto::model::HostName;
use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::audit;
use crate::column::micros;
use crate::error::{During as _, Error, Result};
use crate::hosts::{self, HostRecord, HostState, Hosts};
use crate::store::Change;
use crate::tokens::{self, NewToken, TokenRecord};

/// A machine to be replaced.
#[derive(Debug, Clone)]
pub struct Replacement<'a> {
    /// The host whose machine was rebuilt or lost.
    pub host: &'a HostName,
    /// Why.
    pub reason: &'a str,
    /// The operator.
    pub by: &'a str,
    /// The certificate on the host's live stream, if there is one: it may have come from another authority.
    pub serial: Option<&'a str>,
    /// The token for the new machine. The host and its labels are taken from the store.
    pub token: NewToken<'a>,
}

impl Hosts<'_> {
    /// Refuses the old machine and makes a token for the new one. Labels, plans' runs and proofs of the host stay.
    pub async fn replace(&self, new: &Replacement<'_>) -> Result<TokenRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let known = hosts::read(&mut tx, new.host).await?;
        let known = known.ok_or_else(|| Error::NotFound {
            kind: "host",
            name: new.host.to_string(),
        })?;
        if known.state == HostState::Retired {
            return Err(Error::Barred {
                host: known.host,
                state: known.state.name(),
                reason: known.reason.unwrap_or_else(|| "no reason was given".to_owned()),
            });
        }
        let reason = format!("its machine was replaced: {}", new.reason);
        await_new(&mut tx, new.host, &reason, now).await?;
        crate::certificates::revoke_all(&mut tx, new.host, new.serial, now, &reason).await?;
        tokens::withdraw_unused(&mut tx, new.host, now).await?;
        let token = NewToken {
            host: Some(new.host),
            labels: &known.labels,
            ..new.token.clone()
        };
        let token = tokens::insert(&mut tx, &token, now).await?;
        let details =
            json!({ "reason": new.reason, "token": token.id, "needs_approval": token.needs_approval });
        audit::append(&mut tx, now, new.by, "agent.replace", new.host.as_str(), &details).await?;
        tx.commit().await.during("commit a replacement")?;
        self.0.tell(Change::Revocations);
        self.0.tell(Change::Hosts);
        Ok(token)
    }

    /// Lets a host work that waits for it. One that does not wait stays as it is.
    pub async fn approve(&self, host: &HostName, by: &str) -> Result<HostRecord> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let done = sqlx::query("UPDATE hosts SET pending = 0 WHERE host = ?1 AND pending = 1")
            .bind(host.as_str())
            .execute(&mut *tx)
            .await
            .during("approve a host")?;
        let known = hosts::read(&mut tx, host).await?;
        let known = known.ok_or_else(|| Error::NotFound {
            kind: "host",
            name: host.to_string(),
        })?;
        if done.rows_affected() > 0 {
            let details = json!({ "serial": known.certificate_serial, "machine": known.machine });
            audit::append(&mut tx, now, by, "agent.approve", host.as_str(), &details).await?;
        }
        tx.commit().await.during("commit an approval")?;
        self.0.tell(Change::Hosts);
        Ok(known)
    }

    /// Whether a host waits for its approval.
    pub async fn is_pending(&self, host: &HostName) -> Result<bool> {
        let pending: Option<bool> = sqlx::query_scalar("SELECT pending FROM hosts WHERE host = ?")
            .bind(host.as_str())
            .fetch_optional(self.0.readers())
            .await
            .during("read whether a host is approved")?;
        Ok(pending.unwrap_or(false))
    }
}

/// The host is refused until its new machine enrols. A second replacement before that is of no further machine.
async fn await_new(tx: &mut SqliteConnection, host: &HostName, reason: &str, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE hosts SET state = 'revoked', reason = ?2, machine = machine + (awaited IS NULL),
             awaited = coalesce(awaited, ?3) WHERE host = ?1",
    )
    .bind(host.as_str())
    .bind(reason)
    .bind(micros(now))
    .execute(tx)
    .await
    .during("replace a host's machine")?;
    Ok(())
}
