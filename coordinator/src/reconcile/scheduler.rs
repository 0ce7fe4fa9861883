//! Makes the runs of slots that are due.
//!
//! # Overview
//! For each enabled plan a pass asks what is due since the slot that was last dealt with, plans it with the fleet as it
//! is now, and makes the run with all its tasks in one transaction. A slot that has to wait for another plan is
//! announced: a pending run says what it waits for.
//!
//! A plan that goes after another takes the hosts on which that one passed, and those which it does not cover. Hosts
//! on which it did not pass are left out, and said so. If it has not ended when the window closes, the slot ends
//! inconclusive.
//!
//! # Consistency
//! (plan, slot) is unique and the plan's hash is checked in the same transaction: two schedulers, or a plan that is
//! replaced meanwhile, make no second run and no run of an old text.
//!
//! A clock that was ahead leaves cursors in the future; they go back to the newest run that is not, and the uniqueness
//! of slots keeps what was run from being run again.
//!
//! # Crash consistency
//! The plan's cursor moves in the transaction that makes the run. What a crash prevents is due at the next pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use dr_proto::model::plan::Plan;
use dr_proto::model::{HostName, RunId, RunState, Slot, TaskState};
use dr_store::plans::PlanRecord;
use dr_store::runs::{Created, NewRun, Origin, PlanSlot, Rollout, RunRecord};
use dr_store::{Error as StoreError, Store};
use dr_terminal::in_one_line;
use jiff::{SignedDuration, Timestamp};

use super::driver::{Error, Reconciler};
use super::fleet::FleetState;
use super::planner::{self, Start};
use super::trace;

/// Who asks for what the clock makes due.
const COORDINATOR: &str = "coordinator";
/// A clock that is corrected by less than this is no reason to look back.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// Slots of one plan that one pass deals with: the rest is due at the next.
const SLOTS: usize = 100;

/// Makes the runs of slots that are due.
#[derive(Debug, Clone)]
pub struct Scheduler {
    store: Store,
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// Enabled plans.
    pub plans: usize,
    /// Runs made.
    pub runs: usize,
    /// Slots that wait for another plan.
    pub waiting: BTreeSet<Slot>,
    /// Announced runs that will never begin.
    pub given_up: usize,
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} plans, {} runs made, {} slots waiting for another plan",
            self.plans,
            self.runs,
            self.waiting.len()
        )?;
        if self.given_up > 0 {
            write!(f, ", {} given up", self.given_up)?;
        }
        Ok(())
    }
}

/// What a plan's predecessor says of a slot.
enum Predecessor {
    /// It ended: these hosts are held up.
    Ended(BTreeMap<HostName, String>),
    /// It has not.
    Waits(String),
    /// It never will.
    Never(String),
}

impl Scheduler {
    /// A scheduler of the plans in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn plan(&self, record: &PlanRecord, fleet: &FleetState, done: &mut Scheduled) -> Result<(), Error> {
        let plan = parse(record)?;
        match (&plan.schedule.cron, &plan.schedule.after) {
            (Some(_), _) => self.by_clock(record, &plan, fleet, done).await,
            (None, Some(before)) => self.by_predecessor(record, &plan, before, fleet, done).await,
            (None, None) => Ok(()),
        }
    }

    /// The slot that the clock makes due, if there is one.
    async fn by_clock(
        &self,
        record: &PlanRecord,
        plan: &Plan,
        fleet: &FleetState,
        done: &mut Scheduled,
    ) -> Result<(), Error> {
        let now = self.store.clock().now();
        let due = plan.schedule.due(self.dealt_with(record, now).await?, now);
        let Some(newest) = due.until else {
            return Ok(());
        };
        let Some(slot) = due.start else {
            let why = format!(
                "{} slots passed while no coordinator could start them; the plan says to skip them",
                due.skipped
            );
            return self.make(explained(plan, record, newest, &why), done).await;
        };
        let held = match &plan.schedule.after {
            None => BTreeMap::new(),
            Some(before) => match self.predecessor(before, slot).await? {
                Predecessor::Ended(held) => held,
                Predecessor::Never(why) => return self.make(explained(plan, record, slot, &why), done).await,
                Predecessor::Waits(why) if self.is_out_of_patience(plan, slot).await? => {
                    let why = format!("{why}, and the window is over");
                    return self.make(explained(plan, record, slot, &why), done).await;
                }
                Predecessor::Waits(why) => return self.announce(plan, record, slot, &why, done).await,
            },
        };
        let start = match (due.late, &plan.schedule.after) {
            (true, _) => Start::late(slot, now),
            (false, Some(_)) => Start::held(slot, now),
            (false, None) => Start::on_time(slot),
        };
        let mut run = planner::plan(plan, fleet, start, &held).into_run(
            plan,
            plan_slot(plan, record, slot),
            Origin::Schedule,
            COORDINATOR,
        );
        if due.skipped > 0 && run.explanation.is_empty() {
            run.explanation = format!(
                "{} earlier slots passed while no coordinator could start them",
                due.skipped
            );
        }
        self.make(run, done).await
    }

    /// Up to when a plan's slots are dealt with. A cursor in the future was left by a clock that was ahead: kept, it
    /// would hold up the plan until then. It goes back to the newest run that is not in the future.
    async fn dealt_with(&self, record: &PlanRecord, now: Timestamp) -> Result<Timestamp, Error> {
        if record.cursor.duration_since(now) <= AHEAD {
            return Ok(record.cursor);
        }
        let newest = self.store.runs().newest_until(&record.name, now).await?;
        let slot = newest.and_then(|run| run.slot).map_or(now, |slot| slot.at);
        tracing::warn!(
            plan = record.name,
            was = %record.cursor,
            goes_on_from = %slot,
            "the clock went back: the plan's slots go on from its newest run"
        );
        self.store
            .plans()
            .rewind(&record.name, record.cursor, slot)
            .await?;
        Ok(slot)
    }

    /// Whether a slot has waited for another plan until the end of its window. One that is made up for, because nobody
    /// could start it in its window, has as long again from when it was announced.
    async fn is_out_of_patience(&self, plan: &Plan, slot: Timestamp) -> Result<bool, Error> {
        let now = self.store.clock().now();
        let closes = planner::window_end(plan, slot);
        if now < closes {
            return Ok(false);
        }
        let announced = self.store.runs().of_slot(&plan.name, slot).await?;
        Ok(announced.is_some_and(|run| now >= patience_ends(plan, slot, run.created)))
    }

    /// One run after each run of the plan before, in its slot.
    async fn by_predecessor(
        &self,
        record: &PlanRecord,
        plan: &Plan,
        before: &str,
        fleet: &FleetState,
        done: &mut Scheduled,
    ) -> Result<(), Error> {
        let now = self.store.clock().now();
        let from = self
            .dealt_with(record, now)
            .await?
            .saturating_add(SignedDuration::from_micros(1))
            .unwrap_or(Timestamp::MAX);
        let runs = self.store.runs().of_plan_between(before, from, now).await?;
        for earlier in runs.into_iter().take(SLOTS) {
            let Some(slot) = earlier.slot.as_ref().map(|slot| slot.at) else {
                continue;
            };
            let held = match self.ended(before, &earlier).await? {
                Predecessor::Ended(held) => held,
                Predecessor::Never(why) => {
                    self.make(explained(plan, record, slot, &why), done).await?;
                    continue;
                }
                Predecessor::Waits(why) => return self.announce(plan, record, slot, &why, done).await,
            };
            let planned = planner::plan(plan, fleet, Start::late(slot, now), &held);
            let run = planned.into_run(plan, plan_slot(plan, record, slot), Origin::Schedule, COORDINATOR);
            self.make(run, done).await?;
        }
        Ok(())
    }

    /// What the plan before says of a slot by the clock: its run that was due then, or before.
    async fn predecessor(&self, before: &str, slot: Timestamp) -> Result<Predecessor, Error> {
        let Some(record) = self
            .store
            .plans()
            .get(before)
            .await?
            .filter(|record| record.enabled)
        else {
            return Ok(Predecessor::Never(format!(
                "`{before}`, which goes before, is not in force"
            )));
        };
        let earlier = parse(&record)?;
        // A slot of it that is not dealt with yet is its run to wait for; otherwise the newest run there is.
        let run = match earlier
            .schedule
            .last_slot(slot)
            .filter(|due| *due > record.cursor)
        {
            Some(due) => self.store.runs().of_slot(before, due).await?,
            None => self.store.runs().newest_until(before, slot).await?,
        };
        match run {
            Some(run) => self.ended(before, &run).await,
            None => Ok(Predecessor::Waits(format!(
                "waits for `{before}`, which goes before and has not begun"
            ))),
        }
    }

    /// Which hosts a run that goes before holds up.
    async fn ended(&self, before: &str, run: &RunRecord) -> Result<Predecessor, Error> {
        if !run.state.is_final() {
            return Ok(Predecessor::Waits(format!(
                "waits for run {} of `{before}` to end",
                run.id
            )));
        }
        if run.state == RunState::Cancelled {
            return Ok(Predecessor::Never(format!(
                "run {} of `{before}`, which goes before, was cancelled",
                run.id
            )));
        }
        let mut held: BTreeMap<HostName, String> = run
            .excluded
            .iter()
            .filter(|excluded| !excluded.by_plan)
            .map(|excluded| {
                (
                    excluded.host.clone(),
                    format!("left out of `{before}`: {}", excluded.reason),
                )
            })
            .collect();
        for task in self.store.tasks().of_run(run.id).await? {
            if task.state != TaskState::Passed {
                held.insert(
                    task.host,
                    format!("`{before}` ended {} there: {}", task.state, task.explanation),
                );
            }
        }
        Ok(Predecessor::Ended(held))
    }

    /// Runs that were announced and have not begun.
    async fn announced(&self) -> Result<Vec<(RunId, Slot)>, Error> {
        let active = self.store.runs().active().await?;
        let pending = active.into_iter().filter(|run| run.state == RunState::Pending);
        Ok(pending.filter_map(|run| Some((run.id, run.slot?))).collect())
    }

    async fn make(&self, run: NewRun, done: &mut Scheduled) -> Result<(), Error> {
        match self.store.runs().create(&run).await {
            Ok(Created::New(made)) => {
                tracing::info!(run = %made.id, slot = ?made.slot, tasks = run.tasks.len(), "a run was made");
                if made.state.is_final() {
                    trace::ended(&made);
                }
                done.runs += 1;
                Ok(())
            }
            Ok(Created::Existing(_)) => Ok(()),
            // Replaced, disabled or deleted since this pass read it: the next pass knows the new one.
            Err(StoreError::PlanChanged { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn announce(
        &self,
        plan: &Plan,
        record: &PlanRecord,
        slot: Timestamp,
        why: &str,
        done: &mut Scheduled,
    ) -> Result<(), Error> {
        match self
            .store
            .runs()
            .announce(&explained(plan, record, slot, why))
            .await
        {
            Ok(true) => {
                done.waiting.insert(Slot {
                    plan: plan.name.clone(),
                    at: slot,
                });
                Ok(())
            }
            // Somebody cancelled the pending run: the slot is dealt with.
            Ok(false) => self.make(explained(plan, record, slot, why), done).await,
            Err(StoreError::PlanChanged { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Reconciler for Scheduler {
    type Status = Scheduled;

    fn name(&self) -> &'static str {
        "scheduler"
    }

    async fn pass(&self) -> Result<Scheduled, Error> {
        let mut done = Scheduled::default();
        // Before anything else, so that what another scheduler announces meanwhile is not given up.
        let announced = self.announced().await?;
        let plans = self.store.plans().list().await?;
        let enabled: Vec<PlanRecord> = plans.into_iter().filter(|plan| plan.enabled).collect();
        let fleet = FleetState::read(&self.store).await?;
        done.plans = enabled.len();
        let mut failures = BTreeMap::new();
        for record in &enabled {
            // One plan that fails keeps no other from its slot.
            if let Err(error) = self.plan(record, &fleet, &mut done).await {
                failures.insert(record.name.as_str(), in_one_line(&error));
            }
        }
        for (run, slot) in announced {
            if !done.waiting.contains(&slot) && !failures.contains_key(slot.plan.as_str()) {
                let why = "its plan is not in force any more, or a newer slot took its place";
                done.given_up += usize::from(self.store.runs().give_up(run, why).await?);
            }
        }
        match failures.first_key_value() {
            None => Ok(done),
            Some((plan, first)) => Err(Error::Partly {
                failed: failures.len(),
                all: enabled.len(),
                first: format!("plan `{plan}`: {first}"),
            }),
        }
    }
}

/// Who asks for a plan's run at once, and by which id and trace.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Chosen by the caller: the same id starts one run.
    pub request_id: &'a str,
    /// The identity that asks.
    pub by: &'a str,
    /// The trace that the run belongs to.
    pub traceparent: Option<&'a str>,
}

/// Starts a plan now, as one more slot, whether it is enabled or not. The same request starts it once.
pub async fn start_plan(store: &Store, name: &str, ask: Ask<'_>) -> Result<RunRecord, Error> {
    let record = store
        .plans()
        .get(name)
        .await?
        .ok_or_else(|| StoreError::NotFound {
            kind: "plan",
            name: name.to_owned(),
        })?;
    let plan = parse(&record)?;
    let fleet = FleetState::read(store).await?;
    let start = Start::now(dr_store::clock::to_microsecond(store.clock().now()));
    let slot = PlanSlot {
        scheduled: false,
        ..plan_slot(&plan, &record, start.slot)
    };
    let planned = planner::plan(&plan, &fleet, start, &BTreeMap::new());
    let run = NewRun {
        request_id: Some(ask.request_id.to_owned()),
        traceparent: ask.traceparent.map(str::to_owned),
        ..planned.into_run(&plan, slot, Origin::Operator, ask.by)
    };
    Ok(store.runs().create(&run).await?.into_run())
}

/// A plan that was valid when it was applied; a newer version may have stopped understanding it.
pub fn parse(record: &PlanRecord) -> Result<Plan, Error> {
    Plan::parse(&record.text).map_err(|source| Error::Plan {
        name: record.name.clone(),
        source: Box::new(source),
    })
}

fn plan_slot(plan: &Plan, record: &PlanRecord, slot: Timestamp) -> PlanSlot {
    PlanSlot {
        plan: plan.name.clone(),
        hash: record.hash.clone(),
        at: slot,
        scheduled: true,
    }
}

/// Until when a slot that was announced at `announced` waits for another plan.
pub(super) fn patience_ends(plan: &Plan, slot: Timestamp, announced: Timestamp) -> Timestamp {
    let closes = planner::window_end(plan, slot);
    if announced < closes {
        return closes;
    }
    let window = closes.duration_since(slot);
    announced.saturating_add(window).unwrap_or(Timestamp::MAX)
}

/// A run without tasks that says why.
fn explained(plan: &Plan, record: &PlanRecord, slot: Timestamp, why: &str) -> NewRun {
    NewRun {
        slot: Some(plan_slot(plan, record, slot)),
        work: planner::work_of(plan),
        origin: Origin::Schedule,
        requested_by: COORDINATOR.to_owned(),
        reason: String::new(),
        request_id: None,
        traceparent: None,
        explanation: why.to_owned(),
        rollout: Rollout::default(),
        excluded: Vec::new(),
        tasks: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
