//! Runs: one slot of a plan over the fleet, or one request of an operator.
//!
//! # Crash consistency
//! A run and its tasks are made in one transaction, together with the plan's cursor. A run's end is derived from its
//! tasks and may be derived again at any time.

mod change;
mod create;
mod record;
mod settle;

use dr_proto::model::{HostName, RunId};

pub use create::{Created, NewRun, NewTask, PlanSlot};
pub use record::{Excluded, Origin, Rollout, RunRecord};
pub use settle::Settled;

pub(crate) use create::{insert, insert_task};
pub(crate) use record::read;

use crate::column::parsed;
use crate::error::{During as _, Error, Result};
use crate::store::Store;
use record::{COLUMNS, record};

/// Runs.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a>(pub(crate) &'a Store);

/// The most runs that one page holds.
const LONGEST: u32 = 1_000;
/// The shortest start of an id that is looked up.
const SHORTEST_START: usize = 4;

/// Which runs a list holds.
#[derive(Debug, Clone, Default)]
pub struct RunFilter<'a> {
    /// Of this plan.
    pub plan: Option<&'a str>,
    /// With a task of, or on, this host.
    pub host: Option<&'a HostName>,
    /// That have not ended.
    pub active_only: bool,
    /// Older than this run.
    pub before: Option<RunId>,
    /// How many; at most 1,000.
    pub limit: u32,
}

impl Runs<'_> {
    /// One run.
    pub async fn get(&self, id: RunId) -> Result<Option<RunRecord>> {
        let mut reader = self.0.readers().acquire().await.during("read a run")?;
        read(&mut reader, id).await
    }

    /// The run with this id, or whose id starts like this.
    pub async fn find(&self, start: &str) -> Result<RunRecord> {
        let unknown = || Error::NotFound {
            kind: "run",
            name: start.to_owned(),
        };
        let plain = start.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if start.len() < SHORTEST_START || !plain {
            return Err(unknown());
        }
        let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id GLOB ? || '*' ORDER BY id LIMIT 100"));
        let rows = sqlx::query(sql)
            .bind(start.to_ascii_lowercase())
            .fetch_all(self.0.readers())
            .await
            .during("find a run")?;
        match rows.as_slice() {
            [] => Err(unknown()),
            [row] => record(row),
            several => Err(Error::Ambiguous {
                kind: "run",
                start: start.to_owned(),
                count: several.len(),
            }),
        }
    }

    /// Runs, newest first.
    pub async fn list(&self, filter: &RunFilter<'_>) -> Result<Vec<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE (?1 IS NULL OR plan = ?1)
               AND (?2 IS NULL OR EXISTS (SELECT 1 FROM tasks WHERE run = runs.id AND (host = ?2 OR agent = ?2)))
               AND (NOT ?3 OR state IN ('pending', 'running', 'cancelling'))
               AND (?4 IS NULL OR id < ?4)
             ORDER BY id DESC LIMIT ?5"
        ));
        let rows = sqlx::query(sql)
            .bind(filter.plan)
            .bind(filter.host.map(HostName::as_str))
            .bind(filter.active_only)
            .bind(filter.before.map(|run| run.to_string()))
            .bind(filter.limit.min(LONGEST))
            .fetch_all(self.0.readers())
            .await
            .during("list runs")?;
        rows.iter().map(record).collect()
    }

    /// All runs that have not ended, oldest first.
    pub async fn active(&self) -> Result<Vec<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE state IN ('pending', 'running', 'cancelling') ORDER BY id"
        ));
        let rows = sqlx::query(sql)
            .fetch_all(self.0.readers())
            .await
            .during("list runs that have not ended")?;
        rows.iter().map(record).collect()
    }

    /// The run of a plan's slot.
    pub async fn of_slot(&self, plan: &str, slot: jiff::Timestamp) -> Result<Option<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE plan = ?1 AND slot = ?2"));
        let row = sqlx::query(sql)
            .bind(plan)
            .bind(crate::column::micros(slot))
            .fetch_optional(self.0.readers())
            .await
            .during("read the run of a slot")?;
        row.as_ref().map(record).transpose()
    }

    /// The newest run of a plan, by slot.
    pub async fn newest_of(&self, plan: &str) -> Result<Option<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE plan = ?1 ORDER BY slot DESC LIMIT 1"));
        let row = sqlx::query(sql)
            .bind(plan)
            .fetch_optional(self.0.readers())
            .await
            .during("read a plan's newest run")?;
        row.as_ref().map(record).transpose()
    }

    /// The newest run of a plan whose slot is not later than `until`.
    pub async fn newest_until(&self, plan: &str, until: jiff::Timestamp) -> Result<Option<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE plan = ?1 AND slot <= ?2 ORDER BY slot DESC LIMIT 1"
        ));
        let row = sqlx::query(sql)
            .bind(plan)
            .bind(crate::column::micros(until))
            .fetch_optional(self.0.readers())
            .await
            .during("read a plan's newest run until a slot")?;
        row.as_ref().map(record).transpose()
    }

    /// The runs of a plan whose slots lie in this span, both ends included, oldest slot first, at most 1,000.
    pub async fn of_plan_between(
        &self,
        plan: &str,
        from: jiff::Timestamp,
        to: jiff::Timestamp,
    ) -> Result<Vec<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE plan = ?1 AND slot BETWEEN ?2 AND ?3 ORDER BY slot LIMIT ?4"
        ));
        let rows = sqlx::query(sql)
            .bind(plan)
            .bind(crate::column::micros(from))
            .bind(crate::column::micros(to))
            .bind(LONGEST)
            .fetch_all(self.0.readers())
            .await
            .during("read runs of a plan")?;
        rows.iter().map(record).collect()
    }

    /// Ids of runs that have not ended although all their tasks have.
    pub async fn to_settle(&self) -> Result<Vec<RunId>> {
        let rows = sqlx::query(
            "SELECT id FROM runs WHERE state IN ('running', 'cancelling') AND NOT EXISTS (
                 SELECT 1 FROM tasks WHERE run = runs.id AND state IN ('queued', 'offered', 'running'))
             ORDER BY id",
        )
        .fetch_all(self.0.readers())
        .await
        .during("look for runs to settle")?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }
}
