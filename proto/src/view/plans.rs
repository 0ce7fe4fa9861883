//! Plans, and what their next run would do.

use jiff::Timestamp;
use serde::Serialize;

use super::read::{MOST, some};
use crate::model::{RunState, Work};
use crate::wire::read::{inner, list};
use crate::wire::task::{run_state, word};
use crate::wire::time::{maybe_moment, moment};
use crate::{v1, wire};

/// A plan as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its text, TOML.
    pub text: String,
    /// Hash of the text: verdicts are bound to it.
    pub hash: String,
    /// Whether its slots start runs.
    pub enabled: bool,
    /// When it was applied.
    pub applied: Timestamp,
    /// By whom.
    pub applied_by: String,
    /// Its next slot; `None` if it runs after another plan, or is disabled.
    pub next_slot: Option<Timestamp>,
    /// Its newest run; `None`: none yet.
    pub last_run: Option<String>,
    /// Where that run stands.
    pub last_state: Option<RunState>,
    /// How many hosts it covers.
    pub hosts: u32,
}

/// What applying a plan changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// There was none of that name.
    Created,
    /// There was another.
    Replaced,
    /// There was this one.
    Unchanged,
}

/// The answer to applying a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// What changed.
    pub change: Change,
    /// The plan.
    pub plan: Plan,
}

/// What a plan's next run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The plan.
    pub name: String,
    /// The slot.
    pub slot: Timestamp,
    /// One entry a host.
    pub hosts: Vec<PreviewHost>,
    /// Hosts that match and are left out.
    pub excluded: Vec<Excluded>,
    /// Bytes of the sources' newest snapshots.
    pub bytes: u64,
    /// What to look at before the run.
    pub warnings: Vec<String>,
}

/// One host of a preview.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewHost {
    /// The host.
    pub host: String,
    /// The agent that does the work.
    pub on: String,
    /// Sources that are covered.
    pub sources: Vec<String>,
    /// Bytes of their newest snapshots.
    pub bytes: u64,
    /// The wave, from 1.
    pub wave: u32,
    /// What its agent will be asked.
    pub work: Work,
    /// When its task may start at the earliest.
    pub not_before: Timestamp,
}

/// A host that matches and is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The host.
    pub host: String,
    /// Why.
    pub reason: String,
}

impl TryFrom<v1::Plan> for Plan {
    type Error = wire::Error;

    fn try_from(plan: v1::Plan) -> Result<Self, wire::Error> {
        let v1::Plan {
            name,
            text: toml,
            hash,
            enabled,
            applied,
            applied_by,
            next_slot,
            last_run,
            last_state,
            hosts,
        } = plan;
        Ok(Self {
            name,
            text: toml,
            hash,
            enabled,
            applied: moment("applied", applied)?,
            applied_by,
            next_slot: maybe_moment("next_slot", next_slot)?,
            last_run: some(last_run),
            last_state: match last_state {
                0 => None,
                known => Some(run_state("last_state", known)?),
            },
            hosts,
        })
    }
}

impl TryFrom<v1::ApplyPlanResponse> for Applied {
    type Error = wire::Error;

    fn try_from(answer: v1::ApplyPlanResponse) -> Result<Self, wire::Error> {
        use v1::apply_plan_response::Change as Wire;
        let v1::ApplyPlanResponse { plan, change } = answer;
        let change = match word("change", change)? {
            Wire::Created => Change::Created,
            Wire::Replaced => Change::Replaced,
            Wire::Unchanged => Change::Unchanged,
            Wire::Unspecified => return Err(wire::Error::Missing("change".to_owned())),
        };
        Ok(Self {
            change,
            plan: inner("plan", plan)?,
        })
    }
}

impl TryFrom<v1::PlanPreview> for Preview {
    type Error = wire::Error;

    fn try_from(preview: v1::PlanPreview) -> Result<Self, wire::Error> {
        let v1::PlanPreview {
            name,
            slot,
            hosts,
            excluded,
            bytes,
            warnings,
        } = preview;
        Ok(Self {
            name,
            slot: moment("slot", slot)?,
            hosts: list("hosts", hosts, MOST)?,
            excluded: excluded.into_iter().map(Excluded::from).collect(),
            bytes,
            warnings,
        })
    }
}

impl TryFrom<v1::PreviewHost> for PreviewHost {
    type Error = wire::Error;

    fn try_from(host: v1::PreviewHost) -> Result<Self, wire::Error> {
        let v1::PreviewHost {
            host,
            on,
            sources,
            bytes,
            wave,
            work,
            not_before,
        } = host;
        Ok(Self {
            on: some(on).unwrap_or_else(|| host.clone()),
            host,
            sources,
            bytes,
            wave,
            work: inner("work", work)?,
            not_before: moment("not_before", not_before)?,
        })
    }
}

impl From<v1::PreviewExcluded> for Excluded {
    fn from(excluded: v1::PreviewExcluded) -> Self {
        let v1::PreviewExcluded { host, reason } = excluded;
        Self { host, reason }
    }
}
