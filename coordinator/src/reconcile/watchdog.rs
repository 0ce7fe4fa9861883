//! What needs somebody: computed from the store, never from what a reconciler says of itself.
//!
//! # Overview
//! A scheduler that hangs makes no run and reports no error; a reaper that hangs ends nothing. So the slots that should
//! have been started are computed here once more from the plans' texts, what should have ended is found by its times,
//! and a reconciler counts by when it last succeeded. Every concern says what to do.

use std::collections::BTreeSet;
use std::time::Duration;

use dr_proto::model::{HostName, RunState, TaskState, Verdict};
use dr_store::hosts::{HostRecord, HostState};
use dr_store::plans::PlanRecord;
use dr_store::{Result, Store};
use jiff::{SignedDuration, Timestamp};

use super::fleet::FleetState;
use super::missing::{self, Difference};
use super::objectives::{Breach, Readiness};
use super::reaper::spoken;
use super::scheduler;

mod hosts;
mod plans;
mod work;

pub(crate) use work::oldest_overdue;

/// A slot that nobody started for so long is overdue.
const OVERDUE: SignedDuration = SignedDuration::from_hours(1);
/// What should have ended and has not for so long is stuck.
const STUCK: SignedDuration = SignedDuration::from_mins(15);
/// A reconciler that did not succeed for so long has stopped.
pub const STALLED: SignedDuration = SignedDuration::from_mins(10);
/// What may stay as it is for a day before somebody should look.
const A_DAY: SignedDuration = SignedDuration::from_hours(24);
/// A source that left is spoken of for so long after its last snapshot.
const A_MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
/// More than this share of the agents lost is an outage, not a broken host: a twentieth.
const OUTAGE: usize = 20;

/// How soon somebody must act. The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Now.
    Page,
    /// This week.
    Ticket,
}

/// Something that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concern {
    /// How soon.
    pub severity: Severity,
    /// The stable word.
    pub kind: &'static str,
    /// The host; `None`: the fleet.
    pub host: Option<HostName>,
    /// The source; `None`: the host.
    pub source: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// What the watchdog can not read from the store.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Agents that are connected at this moment.
    pub connected: &'a BTreeSet<HostName>,
    /// How the sources stand against their objectives.
    pub readiness: &'a [Readiness],
    /// An agent that was silent for so long is lost.
    pub lost_after: Duration,
    /// A clock that is off by more than this is a problem.
    pub max_clock_skew: Duration,
    /// A host that should be there and was not for so long is missing.
    pub missing_after: Duration,
}

/// Everything that needs somebody, worst first.
pub async fn look(store: &Store, surroundings: &Surroundings<'_>) -> Result<Vec<Concern>> {
    let now = store.clock().now();
    let mut concerns = Vec::new();
    let fleet = FleetState::read(store).await?;
    let plans = store.plans().list().await?;
    let hosts = store.hosts().list().await?;
    concerns.extend(unready(surroundings.readiness));
    let expected = match store.expected().list().await? {
        Some(list) => {
            let around = surroundings;
            missing::compare(&list, &hosts, around.connected, around.missing_after, now)
        }
        None => Difference::default(),
    };
    concerns.extend(hosts::lost(&hosts, &expected, surroundings, now));
    concerns.extend(hosts::unlike(&expected, &hosts));
    concerns.extend(hosts::odd(&hosts, surroundings));
    concerns.extend(hosts::waiting(&hosts));
    concerns.extend(hosts::damaged(&fleet));
    concerns.extend(hosts::uncovered(store, &fleet, &plans, now).await?);
    concerns.extend(hosts::unprotected(store, &fleet, &plans).await?);
    concerns.extend(hosts::gone(store, &fleet, now).await?);
    concerns.extend(disproved(store).await?);
    concerns.extend(plans::idle(&plans, &fleet, now));
    concerns.extend(plans::not_passed(store, &plans).await?);
    concerns.extend(work::unanswered(store, now).await?);
    concerns.extend(work::overdue(store, &plans, &fleet, now).await?);
    concerns.extend(work::stuck(store, now).await?);
    concerns.extend(stalled(store, now).await?);
    concerns.sort();
    Ok(concerns)
}

/// Objectives that are not met.
fn unready(readiness: &[Readiness]) -> Vec<Concern> {
    let breaches = readiness
        .iter()
        .flat_map(|ready| ready.breached.iter().map(move |breach| (ready, *breach)));
    let mut concerns: Vec<Concern> = breaches
        .filter_map(|(ready, breach)| {
            let (severity, kind, message, remedy) = breached(ready, breach)?;
            let about = of_host(&ready.host, severity, kind, message, remedy.to_owned());
            Some(Concern {
                source: Some(ready.source.clone()),
                ..about
            })
        })
        .collect();
    // Too shallow and too old are one concern.
    concerns.dedup();
    concerns
}

/// What an objective that is not met means, and what to do.
fn breached(ready: &Readiness, breach: Breach) -> Option<(Severity, &'static str, String, &'static str)> {
    let objective = ready.objective.as_ref()?;
    Some(match breach {
        Breach::Rpo => {
            let (severity, message) = stale(ready, objective.rpo?);
            let remedy = "drctl snapshot create, then look why the plan did not";
            (severity, "snapshot_stale", message, remedy)
        }
        Breach::Proof | Breach::ProofAge => {
            let wanted = objective
                .proof
                .map_or_else(String::new, |level| format!(" at level {level}"));
            let message = match ready.last_proof {
                Some(at) => format!("the last drill that passed{wanted} was at {at}"),
                None => format!("no drill has passed{wanted}"),
            };
            let remedy = "drctl drill start, then look at what it reports";
            (Severity::Page, "proof_stale", message, remedy)
        }
        Breach::Rto => {
            let most = spoken(objective.rto?);
            let message = match ready.rto {
                Some(rto) => format!("the last restore took {}, {most} are allowed", spoken(rto)),
                None => format!("no restore was measured, {most} are allowed"),
            };
            let remedy = "drctl drill start --kind restore, and look at its phases";
            (Severity::Ticket, "rto_breached", message, remedy)
        }
    })
}

/// How a recovery point is missed. An old gap is over; an old newest cut grows older.
fn stale(ready: &Readiness, most: Duration) -> (Severity, String) {
    let allowed = spoken(most);
    match (ready.rpo_now, ready.rpo_worst) {
        (Some(age), _) if age > most => {
            let message = format!(
                "the newest snapshot is {} old, {allowed} are allowed",
                spoken(age)
            );
            (Severity::Page, message)
        }
        (Some(_), Some(gap)) => {
            let gap = spoken(gap);
            let message = format!("{gap} lay between two snapshots in the last week, {allowed} are allowed");
            (Severity::Ticket, message)
        }
        _ => (
            Severity::Page,
            format!("there is no snapshot, {allowed} are allowed between two"),
        ),
    }
}

/// Sources whose newest drill of some kind failed.
async fn disproved(store: &Store) -> Result<Vec<Concern>> {
    let newest = store.proofs().newest().await?;
    let failed = newest
        .into_iter()
        .filter(|drill| drill.verdict == Verdict::Failed);
    Ok(failed
        .map(|drill| Concern {
            severity: Severity::Page,
            kind: "drill_failed",
            host: Some(drill.host),
            source: Some(drill.source),
            message: format!("the last {} drill failed at {}", drill.kind, drill.at),
            remedy: format!("drctl report show {}", drill.task),
        })
        .collect())
}

/// Reconcilers that have stopped succeeding.
async fn stalled(store: &Store, now: Timestamp) -> Result<Vec<Concern>> {
    let mut concerns = Vec::new();
    for reconciler in store.reconcilers().list().await? {
        let since = reconciler.last_success.unwrap_or(reconciler.first_seen);
        if now.duration_since(since) <= STALLED {
            continue;
        }
        let why = match reconciler.last_error.as_str() {
            "" => "and no error is known: it hangs, or nothing runs it",
            error => error,
        };
        concerns.push(Concern {
            severity: Severity::Page,
            kind: "reconciler_stalled",
            host: None,
            source: None,
            message: format!("{} has not succeeded since {since}: {why}", reconciler.name),
            remedy: "look at the coordinator's log; if it hangs, restart it: nothing is lost by that"
                .to_owned(),
        });
    }
    Ok(concerns)
}

/// A concern about the fleet.
fn of_fleet(severity: Severity, kind: &'static str, message: String, remedy: &str) -> Concern {
    Concern {
        severity,
        kind,
        host: None,
        source: None,
        message,
        remedy: remedy.to_owned(),
    }
}

/// A concern about a host.
fn of_host(
    host: &HostName,
    severity: Severity,
    kind: &'static str,
    message: String,
    remedy: String,
) -> Concern {
    Concern {
        severity,
        kind,
        host: Some(host.clone()),
        source: None,
        message,
        remedy,
    }
}

#[cfg(test)]
mod tests;
