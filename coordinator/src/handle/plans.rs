//! Plans: applying, looking, previewing, and what they cover.

use std::collections::BTreeMap;

use dr_proto::model::plan::{Member, Plan};
use dr_proto::model::{HostName, Labels, PlanText};
use dr_store::plans::{Applied, NewPlan, PlanRecord};
use dr_store::runs::RunRecord;
use dr_store::{SharedClock, Store};
use jiff::Timestamp;

use super::Error;
use crate::reconcile::FleetState;
use crate::reconcile::planner::{self, Planned, Start};

/// Applies and shows plans.
#[derive(Debug, Clone)]
pub struct Plans {
    store: Store,
    clock: SharedClock,
}

/// A plan in force, and how it goes.
#[derive(Debug, Clone)]
pub struct PlanView {
    /// What the store has.
    pub record: PlanRecord,
    /// When it is next due by the clock, if it is enabled and due by the clock at all.
    pub next_slot: Option<Timestamp>,
    /// Its newest run.
    pub last_run: Option<RunRecord>,
    /// How many hosts it covers now.
    pub hosts: u32,
}

/// What the next run of a plan would do.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The plan.
    pub name: String,
    /// The slot that was planned: the next by the clock, else this moment.
    pub slot: Timestamp,
    /// What it does, by the function that the scheduler calls.
    pub planned: Planned,
}

/// An enabled plan.
#[derive(Debug, Clone)]
pub struct ActivePlan(Plan);

impl ActivePlan {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// As agents keep it.
    pub fn text(&self) -> PlanText {
        PlanText::from(&self.0)
    }

    /// Whether it picks the host at this moment, whatever that protects.
    pub fn selects(&self, host: &HostName, labels: &Labels, at: Timestamp) -> bool {
        self.0.select.labels.matches(host, labels) && !self.excludes(host, at)
    }

    /// Whether it would pick the host and leaves it out at this moment.
    pub fn leaves_out(&self, host: &HostName, labels: &Labels, at: Timestamp) -> bool {
        self.0.select.labels.matches(host, labels) && self.excludes(host, at)
    }

    /// Whether it covers a source of the host at this moment.
    pub fn covers(&self, member: Member<'_>, source: &str, at: Timestamp) -> bool {
        let coverage = self.0.covers(member, at);
        coverage.sources().iter().any(|covered| covered == source)
    }

    fn excludes(&self, host: &HostName, at: Timestamp) -> bool {
        let holds = |until: Option<Timestamp>| until.is_none_or(|until| at < until);
        let mut exclusions = self.0.exclude.iter();
        exclusions.any(|exclusion| exclusion.host == *host && holds(exclusion.until))
    }
}

/// All enabled plans. One that this version can not read is left out and said: it came from a newer version.
pub async fn enabled(store: &Store) -> Result<Vec<ActivePlan>, Error> {
    let records = store.plans().list().await?;
    Ok(records
        .into_iter()
        .filter(|record| record.enabled)
        .filter_map(|record| match Plan::parse(&record.text) {
            Ok(plan) => Some(ActivePlan(plan)),
            Err(error) => {
                tracing::error!(plan = record.name, %error, "a plan in force can not be read");
                None
            }
        })
        .collect())
}

impl Plans {
    /// A handle on the plans in `store`.
    pub fn new(store: Store, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// Makes or replaces a plan. With `expected`, only if that is the hash of the plan in force.
    pub async fn apply(
        &self,
        text: &str,
        expected: Option<&str>,
        by: &str,
    ) -> Result<(PlanView, Applied), Error> {
        let plan = parse(text)?;
        let new = NewPlan {
            name: &plan.name,
            text,
            hash: plan.hash(),
            expected_hash: expected,
            by,
        };
        let (record, applied) = self.store.plans().apply(&new).await?;
        Ok((
            self.view(record, &FleetState::read(&self.store).await?).await?,
            applied,
        ))
    }

    /// What the next run of a plan in force would do.
    pub async fn preview(&self, name: &str) -> Result<Preview, Error> {
        let record = self.record(name).await?;
        self.preview_text(&record.text).await
    }

    /// What the next run of a plan would do if it was in force.
    pub async fn preview_text(&self, text: &str) -> Result<Preview, Error> {
        let plan = parse(text)?;
        let fleet = FleetState::read(&self.store).await?;
        let now = self.clock.now();
        let start = plan
            .schedule
            .next_slot(now)
            .map_or_else(|| Start::now(now), Start::on_time);
        // What another plan will hold up is not known before its run: a warning says so.
        let planned = planner::plan(&plan, &fleet, start, &BTreeMap::new());
        Ok(Preview {
            name: plan.name,
            slot: start.slot,
            planned,
        })
    }

    /// All plans, by name.
    pub async fn list(&self) -> Result<Vec<PlanView>, Error> {
        let fleet = FleetState::read(&self.store).await?;
        let mut views = Vec::new();
        for record in self.store.plans().list().await? {
            views.push(self.view(record, &fleet).await?);
        }
        Ok(views)
    }

    /// One plan.
    pub async fn get(&self, name: &str) -> Result<PlanView, Error> {
        let record = self.record(name).await?;
        self.view(record, &FleetState::read(&self.store).await?).await
    }

    /// Takes a plan out of force. Its runs stay.
    pub async fn delete(&self, name: &str, by: &str) -> Result<(), Error> {
        Ok(self.store.plans().delete(name, by).await?)
    }

    /// Lets a plan's slots start, or not.
    pub async fn enable(&self, name: &str, enabled: bool, by: &str) -> Result<PlanView, Error> {
        let record = self.store.plans().enable(name, enabled, by).await?;
        self.view(record, &FleetState::read(&self.store).await?).await
    }

    async fn record(&self, name: &str) -> Result<PlanRecord, Error> {
        self.store
            .plans()
            .get(name)
            .await?
            .ok_or_else(|| Error::NotFound {
                kind: "plan",
                name: name.to_owned(),
            })
    }

    async fn view(&self, record: PlanRecord, fleet: &FleetState) -> Result<PlanView, Error> {
        let now = self.clock.now();
        let last_run = self.store.runs().newest_of(&record.name).await?;
        // A text that this version can not read was applied by a newer one: it is shown, and covers nothing here.
        let plan = Plan::parse(&record.text).ok();
        let next_slot = plan
            .as_ref()
            .filter(|_| record.enabled)
            .and_then(|plan| plan.schedule.next_slot(now));
        let covered = |plan: &Plan| {
            let welcome = fleet.hosts.iter().filter(|(_, facts)| facts.barred.is_none());
            welcome
                .filter(|(host, facts)| {
                    let sources = facts.enrolled.then_some(facts.sources.as_slice());
                    plan.covers(
                        Member {
                            host,
                            labels: &facts.labels,
                            sources,
                        },
                        now,
                    )
                    .is_covered()
                })
                .count()
        };
        let hosts = plan.as_ref().map_or(0, covered);
        Ok(PlanView {
            record,
            next_slot,
            last_run,
            hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
        })
    }
}

fn parse(text: &str) -> Result<Plan, Error> {
    Plan::parse(text).map_err(Error::Plan)
}
