//! Tells agents of plans that cover them and of suspensions, when these change.
//!
//! # Overview
//! One pass compares what every connected agent was last told with what the store says now, and sends the difference.
//! It runs when the store changed, when a stream was opened, and now and then. An agent keeps the last set of plans and
//! goes on by it when no coordinator answers.

use std::collections::HashMap;
use std::time::Duration;

use dr_proto::model::{CoordinatorMessage, HostName, Labels, PlanText, Suspension};
use dr_store::hosts::HostRecord;
use dr_store::{Change, SharedClock, Store};
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, sleep};
use tokio_util::sync::CancellationToken;

use super::live::Live;
use crate::handle::{self, ActivePlan};
use crate::scope::Scope;

/// A pass without word of a change: new streams are told within this.
const EVERY: Duration = Duration::from_secs(1);
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(100);

/// Tells agents of plans and suspensions.
#[derive(Debug)]
pub struct Announcer {
    store: Store,
    clock: SharedClock,
    live: Live,
    told: HashMap<HostName, Told>,
    /// Something changed since the last pass over all agents.
    stale: bool,
}

/// What one stream was told.
#[derive(Debug, PartialEq)]
struct Told {
    stream: u64,
    plans: Vec<PlanText>,
    suspension: Suspension,
}

impl Announcer {
    /// Announces what is in `store` to the streams in `live`.
    pub fn new(store: Store, clock: SharedClock, live: Live) -> Self {
        Self {
            store,
            clock,
            live,
            told: HashMap::new(),
            stale: true,
        }
    }

    /// Announces until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut changes = self.store.changes();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
                change = changes.recv() => match change {
                    Ok(Change::Plans | Change::Suspensions | Change::Hosts) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        sleep(GATHER).await;
                        // A pass sees what all of them changed.
                        while !matches!(
                            changes.try_recv(),
                            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
                        ) {}
                        self.stale = true;
                    }
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
            if let Err(error) = self.pass().await {
                let error = dr_terminal::in_one_line(&error);
                tracing::error!(%error, "agents could not be told of plans and suspensions; trying again");
            }
        }
    }

    /// Tells those who must be told.
    async fn pass(&mut self) -> Result<(), handle::Error> {
        let usable: HashMap<HostName, u64> = self.live.usable().into_iter().collect();
        self.told
            .retain(|host, told| usable.get(host) == Some(&told.stream));
        // Suspensions end by themselves: whoever was told of one is looked at each time.
        let due = self.stale
            || usable.len() > self.told.len()
            || self.told.values().any(|told| told.suspension.reason.is_some());
        if !due {
            return Ok(());
        }
        let plans = handle::enabled_plans(&self.store).await?;
        let suspensions = self.suspensions().await?;
        for record in self.store.hosts().list().await? {
            let Some(stream) = usable.get(&record.host) else {
                continue;
            };
            let new = Told {
                stream: *stream,
                plans: if record.pending {
                    Vec::new()
                } else {
                    covering(&plans, &record, self.clock.now())
                },
                suspension: suspension(&suspensions, &record.host, &record.labels),
            };
            self.tell(&record.host, new);
        }
        self.stale = false;
        Ok(())
    }

    fn tell(&mut self, host: &HostName, new: Told) {
        let old = self.told.get(host);
        if old.is_none_or(|old| old.plans != new.plans) {
            self.send(host, CoordinatorMessage::Plans(new.plans.clone()));
        }
        if old.is_none_or(|old| old.suspension != new.suspension) {
            self.send(host, CoordinatorMessage::Suspension(new.suspension.clone()));
        }
        self.told.insert(host.clone(), new);
    }

    /// An agent that is gone meanwhile is told after its next hello.
    fn send(&self, host: &HostName, message: CoordinatorMessage) {
        if let Err(error) = self.live.send(host, message) {
            tracing::debug!(%host, %error, "an announcement was not queued");
        }
    }

    async fn suspensions(&self) -> Result<Vec<(Scope, Suspension)>, handle::Error> {
        let active = self.store.suspensions().active().await?;
        Ok(active
            .into_iter()
            .filter_map(|entry| {
                // One that can not be read is an error of the reconcilers, which then start nothing.
                let scope = entry.scope.parse().ok()?;
                let suspension = Suspension {
                    reason: Some(format!("{} ({})", entry.reason, entry.by)),
                    until: Some(entry.until),
                };
                Some((scope, suspension))
            })
            .collect())
    }
}

fn covering(plans: &[ActivePlan], record: &HostRecord, now: jiff::Timestamp) -> Vec<PlanText> {
    let covers = |plan: &&ActivePlan| plan.selects(&record.host, &record.labels, now);
    plans.iter().filter(covers).map(ActivePlan::text).collect()
}

/// The suspension that holds the host up longest; the store lists that first.
fn suspension(suspensions: &[(Scope, Suspension)], host: &HostName, labels: &Labels) -> Suspension {
    let held = suspensions.iter().find(|(scope, _)| scope.covers(host, labels));
    held.map(|(_, suspension)| suspension.clone()).unwrap_or_default()
}
