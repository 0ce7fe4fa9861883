//! Incarnations of the coordinator: a number that grows with each start and is the first half of every fence.

use std::fmt;

use jiff::Timestamp;

use crate::column::{count, get, integer, micros, time};
use crate::error::{During as _, Result};
use crate::store::Store;

/// Incarnations of the coordinator.
#[derive(Debug, Clone, Copy)]
pub struct Epochs<'a>(pub(crate) &'a Store);

/// One incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub number: u64,
    /// When it started.
    pub started: Timestamp,
    /// The program's version.
    pub version: String,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (version {}, since {})",
            self.number, self.version, self.started
        )
    }
}

impl Epochs<'_> {
    /// Begins the next incarnation. Call once at the start of a coordinator, before anything is handed out.
    ///
    /// Its number is greater than every earlier one and than every fence that the store has seen, also one that an
    /// agent brought back to a store that was recovered from an older copy.
    pub async fn begin(&self, version: &str) -> Result<Epoch> {
        let started = self.0.now();
        let row = sqlx::query(
            "INSERT INTO epochs (epoch, started, version)
             SELECT 1 + max(coalesce((SELECT max(epoch) FROM epochs), 0),
                            coalesce((SELECT max(epoch) FROM tasks), 0)), ?1, ?2
             RETURNING epoch",
        )
        .bind(micros(started))
        .bind(version)
        .fetch_one(self.0.writer())
        .await
        .during("begin an incarnation")?;
        Ok(Epoch {
            number: count(&row, "epoch")?,
            started,
            version: version.to_owned(),
        })
    }

    /// The newest incarnation, if a coordinator ever ran on this store.
    pub async fn newest(&self) -> Result<Option<Epoch>> {
        let row = sqlx::query("SELECT epoch, started, version FROM epochs ORDER BY epoch DESC LIMIT 1")
            .fetch_optional(self.0.readers())
            .await
            .during("read the newest incarnation")?;
        row.map(|row| {
            Ok(Epoch {
                number: count(&row, "epoch")?,
                started: time(&row, "started")?,
                version: get(&row, "version")?,
            })
        })
        .transpose()
    }

    /// Whether `epoch` is still the newest: a coordinator that finds another one must stop handing out work.
    pub async fn is_newest(&self, epoch: u64) -> Result<bool> {
        let newer: Option<i64> = sqlx::query_scalar("SELECT epoch FROM epochs WHERE epoch > ? LIMIT 1")
            .bind(integer(epoch))
            .fetch_optional(self.0.readers())
            .await
            .during("look for a newer incarnation")?;
        Ok(newer.is_none())
    }
}
