//! Consistent copies of the store, and whether a copy is whole.

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::audit::Chain;
use crate::column::count;
use crate::error::{During as _, Error, Result};
use crate::store::Store;

/// What a copy was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The newest incarnation in it.
    pub epoch: u64,
    /// Runs.
    pub runs: u64,
    /// The audit log's chain.
    pub audit: Chain,
}

impl Store {
    /// Writes a consistent copy to `to`, which must not exist, while the store goes on.
    pub async fn copy_to(&self, to: &Path) -> Result<()> {
        let target = to.to_str().ok_or_else(|| Error::Copy {
            path: to.to_owned(),
            reason: "the path is not UTF-8".to_owned(),
        })?;
        // A reader would do, but readers are set to refuse every write, also into another file.
        let mut connection = SqliteConnectOptions::new()
            .filename(self.path())
            .disable_statement_logging()
            .connect()
            .await
            .during("open the store for a copy")?;
        let done = sqlx::query("VACUUM INTO ?")
            .bind(target)
            .execute(&mut connection)
            .await;
        connection.close().await.during("close the store after a copy")?;
        done.during("copy the store").map(|_| ())
    }

    /// Whether the file at `path` is a whole store: SQLite's own integrity check, foreign keys, and the audit chain.
    pub async fn check_copy(path: &Path) -> Result<Checked> {
        let mut copy = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })?;
        let found = check(&mut copy, path).await;
        copy.close().await.during("close a copy")?;
        found
    }
}

async fn check(copy: &mut SqliteConnection, path: &Path) -> Result<Checked> {
    let damaged = |reason: String| Error::Copy {
        path: path.to_owned(),
        reason,
    };
    let said: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut *copy)
        .await
        .during("check a copy's integrity")?;
    if said != "ok" {
        return Err(damaged(format!("SQLite finds it damaged: {said}")));
    }
    let dangling = sqlx::query("PRAGMA foreign_key_check")
        .fetch_optional(&mut *copy)
        .await
        .during("check a copy's references")?;
    if dangling.is_some() {
        return Err(damaged("a row refers to one that is not there".to_owned()));
    }
    let row = sqlx::query(
        "SELECT (SELECT coalesce(max(epoch), 0) FROM epochs) AS epoch, (SELECT count(*) FROM runs) AS runs",
    )
    .fetch_one(&mut *copy)
    .await
    .during("read what a copy holds")?;
    Ok(Checked {
        epoch: count(&row, "epoch")?,
        runs: count(&row, "runs")?,
        audit: crate::audit::walk(copy, None).await?,
    })
}
