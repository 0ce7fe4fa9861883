//! The store itself: connections, transactions, and word of what changed.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{RunId, TaskId};
use jiff::Timestamp;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, SqlSafeStr as _, Sqlite, Transaction};
use tokio::sync::broadcast;

use crate::audit::Audit;
use crate::certificates::Certificates;
use crate::clock::{SharedClock, to_microsecond};
use crate::epochs::Epochs;
use crate::error::{During as _, Error, Result};
use crate::events::Events;
use crate::expected::Expected;
use crate::hosts::Hosts;
use crate::inventory::Inventories;
use crate::notes::Notes;
use crate::plans::Plans;
use crate::proofs::Proofs;
use crate::reconcilers::Reconcilers;
use crate::results::Results;
use crate::runs::Runs;
use crate::suspensions::Suspensions;
use crate::tasks::Tasks;
use crate::tokens::Tokens;

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(10);
/// How long a call waits for a connection of ours.
const ACQUIRE: Duration = Duration::from_secs(30);
/// Connections that read.
const READERS: u32 = 4;
/// Changes that a slow listener may be behind before it is told that it missed some.
const CHANGES: usize = 1_024;

/// The coordinator's memory. A clone is the same store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    clock: SharedClock,
    changes: broadcast::Sender<Change>,
}

/// Something was committed that others may wait for. It carries no state: whoever hears it reads the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A run, or the tasks of one, changed.
    Run(RunId),
    /// A task changed.
    Task {
        /// The task.
        task: TaskId,
        /// Its run.
        run: RunId,
    },
    /// A plan was applied, deleted, enabled or disabled.
    Plans,
    /// A suspension began or ended.
    Suspensions,
    /// A host's state, labels or inventory changed.
    Hosts,
    /// A certificate or a host was revoked.
    Revocations,
}

impl Store {
    /// Opens the store at `url` (`sqlite:///var/lib/dr-coordinator/state.db`), makes it if it is not there, and brings
    /// its schema up to date.
    pub async fn open(url: &str, clock: SharedClock) -> Result<Self> {
        let path = path_of(url)?;
        let failed = |source| Error::Open {
            path: path.clone(),
            source,
        };
        create_private(&path)
            .await
            .map_err(|error| failed(sqlx::Error::Io(error)))?;
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options(&path))
            .await
            .map_err(failed)?;
        migrator().run(&writer).await.map_err(|source| Error::Migrate {
            path: path.clone(),
            source,
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options(&path).pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        let (changes, _) = broadcast::channel(CHANGES);
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                writer,
                readers,
                clock,
                changes,
            }),
        })
    }

    /// The file that a URL of a store names.
    pub fn file_of(url: &str) -> Result<PathBuf> {
        path_of(url)
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The clock that the store was opened with.
    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// Word of commits from now on. A listener that falls behind is told so and reads the store afresh.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Writes and reads back a row: whether the store can be written at all.
    pub async fn ping(&self) -> Result<()> {
        let mut tx = self.begin().await?;
        let done =
            sqlx::query("UPDATE epochs SET version = version WHERE epoch = (SELECT max(epoch) FROM epochs)")
                .execute(&mut *tx)
                .await
                .during("try a write")?;
        tracing::trace!(rows = done.rows_affected(), "the store takes writes");
        tx.commit().await.during("try a commit")
    }

    /// Waits for statements under way and closes all connections.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    /// Certificates issued and revoked.
    pub fn certificates(&self) -> Certificates<'_> {
        Certificates(self)
    }

    /// The coordinator's own audit log.
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// Incarnations of the coordinator.
    pub fn epochs(&self) -> Epochs<'_> {
        Epochs(self)
    }

    /// Steps in the lives of tasks.
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    /// Hosts that should be there.
    pub fn expected(&self) -> Expected<'_> {
        Expected(self)
    }

    /// Hosts and what their agents said of themselves.
    pub fn hosts(&self) -> Hosts<'_> {
        Hosts(self)
    }

    /// Sources and snapshots of hosts.
    pub fn inventories(&self) -> Inventories<'_> {
        Inventories(self)
    }

    /// What operators wrote beside runs.
    pub fn notes(&self) -> Notes<'_> {
        Notes(self)
    }

    /// Plans in force.
    pub fn plans(&self) -> Plans<'_> {
        Plans(self)
    }

    /// What drills said of single sources.
    pub fn proofs(&self) -> Proofs<'_> {
        Proofs(self)
    }

    /// How the reconcilers do.
    pub fn reconcilers(&self) -> Reconcilers<'_> {
        Reconcilers(self)
    }

    /// Results of tasks and their documents.
    pub fn results(&self) -> Results<'_> {
        Results(self)
    }

    /// Runs.
    pub fn runs(&self) -> Runs<'_> {
        Runs(self)
    }

    /// Suspensions.
    pub fn suspensions(&self) -> Suspensions<'_> {
        Suspensions(self)
    }

    /// Tasks.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks(self)
    }

    /// Enrolment tokens.
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens(self)
    }

    /// The present moment by the store's clock, to the microsecond.
    pub(crate) fn now(&self) -> Timestamp {
        to_microsecond(self.inner.clock.now())
    }

    /// Where reads go.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    /// Where writes outside of a transaction go.
    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.inner.writer
    }

    /// A transaction that holds the write lock from its start: what it reads stays true until it commits.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.inner
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .during("begin a transaction")
    }

    /// Tells whoever listens; nobody may.
    pub(crate) fn tell(&self, change: Change) {
        let listeners = self.inner.changes.send(change).unwrap_or(0);
        tracing::trace!(?change, listeners, "committed");
    }
}

/// Makes the file, if it is not there, so that nobody else can read it; SQLite's journals take its mode over.
async fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).await.map(|_| ())
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .disable_statement_logging()
}

/// The file that `url` names.
fn path_of(url: &str) -> Result<PathBuf> {
    let bad = || Error::Url(url.to_owned());
    let rest = url.strip_prefix("sqlite://").ok_or_else(bad)?;
    if rest.starts_with('/') && rest.len() > 1 && !rest.ends_with('/') {
        Ok(PathBuf::from(rest))
    } else {
        Err(bad())
    }
}

/// The schema's history, oldest first. What was released is never changed: a further step is added.
const MIGRATIONS: &[(&str, &str)] = &[
    ("start", include_str!("../migrations/0001_start.sql")),
    ("verified", include_str!("../migrations/0002_verified.sql")),
    ("holds", include_str!("../migrations/0003_holds.sql")),
    ("notes", include_str!("../migrations/0004_notes.sql")),
    ("machines", include_str!("../migrations/0005_machines.sql")),
    ("expected", include_str!("../migrations/0006_expected.sql")),
    ("damaged", include_str!("../migrations/0007_damaged.sql")),
    ("retries", include_str!("../migrations/0008_retries.sql")),
];

fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, (name, sql))| {
        Migration::new(
            version,
            Cow::Borrowed(*name),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator {
        migrations: migrations.collect(),
        ..Migrator::DEFAULT
    }
}
