//! Goes on with the last plans while no coordinator answers.
//!
//! # Overview
//! Every ten seconds, while no coordinator has answered for [`GRACE`]: each plan that this host was given, that covers
//! it and that needs nobody else (snapshots and verify drills), is looked at for a slot that is due. The slot becomes
//! a task under the agent's own key and carries plan and slot, so that the coordinator files its result where its own
//! would have been, and asks for nothing twice.
//!
//! # Consistency
//! Slots, windows and this host's share of the jitter come from the plan's text alone: they are those that the
//! coordinator would have used. A slot that was handed out, done or begun here is known by the journal. Slots from
//! before the coordinator was lost were its own to start.
//!
//! Nothing starts while the host's suspend file is there, while the coordinator's last word is that it is suspended
//! and that has not ended by itself, nor after `offline_schedule`: a host that nobody has spoken to for so long may be
//! one that nobody knows of any more.

use std::time::Duration;

use dr_proto::model::plan::{Member, Plan};
use dr_proto::model::{
    Fence, HostName, Inventory, Labels, PlanText, RunId, Slot, StartTask, TaskId, TaskKey,
};
use dr_vault::clock::SharedClock;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desk::{self, Desk, OFFLINE_EPOCH};
use super::gate::{self, Gate};
use super::link::Standing;

/// A coordinator that is away for less than this is being restarted.
pub const GRACE: Duration = Duration::from_secs(90);
/// How often plans are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// The schedule of a host that no coordinator answers.
#[derive(Debug)]
pub struct Offline {
    /// This host.
    pub host: HostName,
    /// How long the last plans go on.
    pub lasts: Duration,
    /// Where tasks go.
    pub desk: Desk,
    /// The host's own switch.
    pub gate: Gate,
    /// How the agent stands to a coordinator.
    pub standing: watch::Receiver<Standing>,
    /// What the host protects.
    pub inventory: watch::Receiver<Option<Inventory>>,
    /// Tells the time.
    pub clock: SharedClock,
}

/// What a look at the plans came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// A coordinator answers, or did a moment ago.
    NotNeeded,
    /// Nothing may start.
    Held(String),
    /// These slots were begun; none, if none was due.
    Began(Vec<Slot>),
}

impl Offline {
    /// Looks again and again, until cancelled.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), desk::Error> {
        let mut tick = tokio::time::interval(EVERY);
        let mut last = Looked::NotNeeded;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let looked = self.look().await?;
            match &looked {
                Looked::Held(reason) if looked != last => {
                    tracing::warn!(
                        reason,
                        "no coordinator answers, and plans do not go on without one"
                    );
                }
                Looked::Began(slots) => {
                    for slot in slots {
                        tracing::info!(plan = slot.plan, slot = %slot.at, "no coordinator answers: the plan goes on");
                    }
                }
                Looked::Held(_) | Looked::NotNeeded => {}
            }
            last = looked;
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// When a worker thread died.
    pub async fn look(&self) -> Result<Looked, desk::Error> {
        let now = self.clock.now();
        let since = match &*self.standing.borrow() {
            Standing::Attached { .. } => return Ok(Looked::NotNeeded),
            Standing::Away { since, .. } => *since,
        };
        if now.duration_since(since).unsigned_abs() < GRACE {
            return Ok(Looked::NotNeeded);
        }
        let (contact, plans, labels, suspension) = self
            .desk
            .recall(|memory| {
                (
                    memory.contact(),
                    memory.plans().to_vec(),
                    memory.labels().clone(),
                    memory.suspension().clone(),
                )
            })
            .await?;
        let Some(contact) = contact else {
            return Ok(Looked::NotNeeded);
        };
        if let Some(reason) = gate::suspended(&suspension, now) {
            return Ok(Looked::Held(format!(
                "the coordinator suspended this host: {reason}"
            )));
        }
        if now.duration_since(contact).unsigned_abs() > self.lasts {
            return Ok(Looked::Held(format!(
                "no coordinator has answered since {contact:.0}, longer than `[coordinator].offline_schedule`"
            )));
        }
        let gate = self.gate.clone();
        if let Some(reason) = tokio::task::spawn_blocking(move || gate.closed()).await? {
            return Ok(Looked::Held(format!("this host is suspended: {reason}")));
        }
        let mut began = Vec::new();
        for text in &plans {
            began.extend(self.begin(text, &labels, contact, now).await?);
        }
        Ok(Looked::Began(began))
    }

    /// Begins the slot of a plan that is due, if one is.
    async fn begin(
        &self,
        text: &PlanText,
        labels: &Labels,
        contact: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Slot>, desk::Error> {
        let plan = match Plan::parse(&text.text) {
            Ok(plan) => plan,
            Err(errors) => {
                tracing::warn!(plan = text.name, %errors, "a plan of a newer coordinator can not be read here");
                return Ok(None);
            }
        };
        if !plan.action.goes_on_offline() {
            return Ok(None);
        }
        let name = plan.name.clone();
        let done = self.desk.recall(move |memory| memory.newest_slot(&name)).await?;
        let due = plan
            .schedule
            .due(done.map_or(contact, |done| done.max(contact)), now);
        let Some(at) = due.start else {
            return Ok(None);
        };
        let slot = Slot {
            plan: plan.name.clone(),
            at,
        };
        let waits = plan.schedule.not_before(&plan.name, at, &self.host) > now;
        if waits || self.desk.knows_slot(slot.clone()).await? {
            return Ok(None);
        }
        let sources = self
            .inventory
            .borrow()
            .as_ref()
            .map(|inventory| inventory.sources.clone());
        let member = Member {
            host: &self.host,
            labels,
            sources: sources.as_deref(),
        };
        let coverage = plan.covers(member, now);
        if !coverage.is_covered() {
            return Ok(None);
        }
        let task = StartTask {
            key: TaskKey {
                task: TaskId::new(now),
                fence: Fence {
                    epoch: OFFLINE_EPOCH,
                    attempt: 1,
                },
            },
            work: plan.work_for(&self.host, &coverage, &self.host),
            deadline: plan.limits.deadline,
            slot: Some(slot.clone()),
            run: RunId::new(now),
            traceparent: None,
        };
        self.desk.start(task, now).await?;
        Ok(Some(slot))
    }
}

#[cfg(test)]
mod tests;
