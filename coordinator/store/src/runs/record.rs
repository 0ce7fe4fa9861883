//! A run as the store holds it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use dr_proto::model::{HostName, RunId, RunState, Slot, TaskState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::column::{get, json, maybe_time, parsed, time};
use crate::error::{During as _, Result};

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// The plan's slot; `None`: an operator's request.
    pub slot: Option<Slot>,
    /// Hash of the plan that it was made from.
    pub plan_hash: Option<String>,
    /// What it asks, for people: `snapshot`, `drill verify`.
    pub work: String,
    /// What made it.
    pub origin: Origin,
    /// Who asked.
    pub requested_by: String,
    /// Why; empty if not said.
    pub reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// When its first task was handed out.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How often it was tried again after it had ended.
    pub retries: u32,
    /// When it was last.
    pub retried: Option<Timestamp>,
    /// Why it stands where it stands; empty if there is nothing to explain.
    pub explanation: String,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// How it goes over the fleet.
    pub rollout: Rollout,
    /// Hosts that were selected and left out.
    pub excluded: Vec<Excluded>,
    /// How many of its tasks are in each state.
    pub tasks: BTreeMap<TaskState, u32>,
}

/// How a run goes over the fleet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rollout {
    /// How many waves there are.
    pub waves: u32,
    /// The rest is not started if more than this share of the finished tasks failed: 0 to 1.
    pub stop_failed: Option<f64>,
    /// The rest is not started if more than this share of the finished tasks was inconclusive: 0 to 1.
    pub stop_inconclusive: Option<f64>,
    /// The run proves too little if fewer than this share of the hosts passed: 0 to 1.
    pub coverage: Option<f64>,
    /// Hosts that should have taken part: those with a task, and those left out for a passing reason. A host that the
    /// plan itself excludes is not one of them.
    pub targets: u32,
}

/// A host that was selected and left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// The host.
    pub host: HostName,
    /// Why.
    pub reason: String,
    /// The plan itself says so; otherwise the host is missed.
    pub by_plan: bool,
}

/// What made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A plan's slot.
    Schedule,
    /// An operator.
    Operator,
    /// An agent that worked through a plan's slot while no coordinator answered.
    Agent,
    /// What an agent remembered for a coordinator that had lost its store.
    Recovered,
}

impl Origin {
    const ALL: [Self; 4] = [Self::Schedule, Self::Operator, Self::Agent, Self::Recovered];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Operator => "operator",
            Self::Agent => "agent",
            Self::Recovered => "recovered",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|origin| origin.name() == text);
        found.ok_or_else(|| format!("`{text}` is not the origin of a run"))
    }
}

/// Every column and the counts of tasks.
pub(super) const COLUMNS: &str =
    "SELECT id, plan, plan_hash, slot, work, state, origin, requested_by, reason, created,
    started, finished, retries, retried, explanation, traceparent, rollout, excluded,
    (SELECT json_group_object(state, n) FROM (
        SELECT state, count(*) AS n FROM tasks WHERE run = runs.id GROUP BY state)) AS counts
    FROM runs";

/// Reads a run, inside a transaction or not.
pub(crate) async fn read(connection: &mut SqliteConnection, id: RunId) -> Result<Option<RunRecord>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?")))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .during("read a run")?;
    row.as_ref().map(record).transpose()
}

pub(super) fn record(row: &SqliteRow) -> Result<RunRecord> {
    let plan: Option<String> = get(row, "plan")?;
    let at = maybe_time(row, "slot")?;
    Ok(RunRecord {
        id: parsed(row, "id")?,
        state: parsed(row, "state")?,
        slot: plan.zip(at).map(|(plan, at)| Slot { plan, at }),
        plan_hash: get(row, "plan_hash")?,
        work: get(row, "work")?,
        origin: parsed(row, "origin")?,
        requested_by: get(row, "requested_by")?,
        reason: get(row, "reason")?,
        created: time(row, "created")?,
        started: maybe_time(row, "started")?,
        finished: maybe_time(row, "finished")?,
        retries: get(row, "retries")?,
        retried: maybe_time(row, "retried")?,
        explanation: get(row, "explanation")?,
        traceparent: get(row, "traceparent")?,
        rollout: json(row, "rollout")?,
        excluded: json(row, "excluded")?,
        tasks: json(row, "counts")?,
    })
}
