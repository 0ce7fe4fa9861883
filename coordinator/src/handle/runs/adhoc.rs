//! One request of an operator, as a run: which hosts it takes, and what each is asked.

use std::time::Duration;

use dr_proto::model::{DrillKind, HostName, Selector, SnapshotWork, Work};
use dr_store::hosts::HostRecord;
use dr_store::runs::{NewRun, NewTask, Origin, Rollout};
use jiff::{SignedDuration, Timestamp};

use super::super::Error;

/// How long a task may take if nobody says.
const USUAL: Duration = Duration::from_secs(4 * 3_600);
/// How long it may take at the most.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// One request of an operator.
#[derive(Debug, Clone)]
pub struct AdHoc {
    /// The hosts that do the work.
    pub hosts: Hosts,
    /// What is asked.
    pub work: Work,
    /// How long a task may take; `None`: four hours.
    pub deadline: Option<Duration>,
    /// Why.
    pub reason: String,
}

/// Which hosts.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// One.
    One(HostName),
    /// Those that a selector picks.
    Select(Selector),
}

/// Who asks, and by which id and trace.
#[derive(Debug, Clone)]
pub struct Request {
    /// Chosen by the caller: the same id starts one run.
    pub id: String,
    /// The identity that asks.
    pub by: String,
    /// The trace that the run belongs to.
    pub traceparent: Option<String>,
}

/// The run that the request makes of the hosts as they are known now.
pub(super) fn plan(
    adhoc: &AdHoc,
    request: &Request,
    known: &[HostRecord],
    now: Timestamp,
) -> Result<NewRun, Error> {
    check(&adhoc.work)?;
    let agents = agents(&adhoc.hosts, known)?;
    if agents.len() > 1 && adhoc.work.from_host().is_some() {
        return Err(Error::Invalid {
            field: "from_host",
            reason: format!(
                "one host can work on another's repository at a time, and {} are selected",
                agents.len()
            ),
        });
    }
    let allowance = allowance(adhoc.deadline)?;
    let patience = SignedDuration::try_from(allowance).unwrap_or(SignedDuration::MAX);
    let tasks: Vec<NewTask> = agents
        .into_iter()
        .map(|agent| NewTask {
            host: adhoc.work.from_host().cloned().unwrap_or_else(|| agent.clone()),
            agent,
            wave: 1,
            work: adhoc.work.clone(),
            not_before: now,
            // A host that is away for as long as the work may take is not waited for.
            start_by: now.checked_add(patience).ok(),
            allowance,
            retries: 0,
        })
        .collect();
    Ok(NewRun {
        slot: None,
        work: adhoc.work.to_string(),
        origin: Origin::Operator,
        requested_by: request.by.clone(),
        reason: adhoc.reason.clone(),
        request_id: Some(request.id.clone()),
        traceparent: request.traceparent.clone(),
        explanation: String::new(),
        rollout: Rollout {
            waves: 1,
            stop_failed: None,
            stop_inconclusive: None,
            coverage: None,
            targets: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        },
        excluded: Vec::new(),
        tasks,
    })
}

/// What no agent could do, refused before it is asked.
fn check(work: &Work) -> Result<(), Error> {
    let invalid = |field, reason: String| Err(Error::Invalid { field, reason });
    match work {
        Work::Drill(drill) if drill.snapshot.is_empty() => invalid(
            "drill.snapshot",
            "nothing is named; `latest` or the start of an id is expected".to_owned(),
        ),
        Work::Drill(drill) if matches!(drill.kind, DrillKind::Failover | DrillKind::Negative) => invalid(
            "drill.kind",
            format!(
                "drills of kind {} are not part of this version; verify and restore are",
                drill.kind
            ),
        ),
        Work::Snapshot(SnapshotWork {
            accept: true,
            reason: None,
            ..
        }) => invalid(
            "snapshot.reason",
            "a cut that looks suspect is accepted only with a reason".to_owned(),
        ),
        Work::Restore(restore) if !restore.to.is_absolute() => invalid(
            "restore.to",
            format!("`{}` is not an absolute path", restore.to.display()),
        ),
        _ => Ok(()),
    }
}

fn allowance(deadline: Option<Duration>) -> Result<Duration, Error> {
    let allowance = deadline.unwrap_or(USUAL);
    if allowance < Duration::from_secs(1) || allowance > LONGEST {
        return Err(Error::Invalid {
            field: "deadline",
            reason: format!("{} s is not between a second and a week", allowance.as_secs_f64()),
        });
    }
    Ok(allowance)
}

fn agents(hosts: &Hosts, known: &[HostRecord]) -> Result<Vec<HostName>, Error> {
    match hosts {
        Hosts::One(host) => {
            let record = known
                .iter()
                .find(|record| record.host == *host)
                .ok_or_else(|| Error::NotFound {
                    kind: "host",
                    name: host.to_string(),
                })?;
            if !record.may_work() {
                return Err(Error::NotWelcome {
                    host: host.clone(),
                    state: if record.pending {
                        "pending"
                    } else {
                        record.state.name()
                    },
                });
            }
            Ok(vec![host.clone()])
        }
        Hosts::Select(selector) => {
            let picked: Vec<HostName> = known
                .iter()
                .filter(|record| record.may_work() && selector.matches(&record.host, &record.labels))
                .map(|record| record.host.clone())
                .collect();
            if picked.is_empty() {
                return Err(Error::NoHosts {
                    select: selector.to_string(),
                });
            }
            Ok(picked)
        }
    }
}
