//! One screen of readiness.

use std::collections::{BTreeMap, BTreeSet};

use dr_proto::model::{HostName, PROTOCOL, Selector, TOLERATED_SKEW, TaskState};
use dr_store::reconcilers::ReconcilerRecord;
use dr_store::suspensions::SuspensionRecord;
use jiff::{SignedDuration, Timestamp};

use super::super::Error;
use super::{AgentState, Fleet};
use crate::reconcile::objectives::{self, Objective, Readiness};
use crate::reconcile::watchdog::{self, Concern, Severity, Surroundings};

/// How long two processes with one certificate are a concern.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// One screen of readiness.
#[derive(Debug, Clone)]
pub struct StatusView {
    /// Version of the coordinator.
    pub version: &'static str,
    /// The coordinator's clock.
    pub now: Timestamp,
    /// Its incarnation.
    pub epoch: u64,
    /// How many agents are in each state.
    pub agents: BTreeMap<AgentState, u32>,
    /// Runs that have not ended.
    pub runs_active: u32,
    /// Tasks that have not ended, by state.
    pub tasks: BTreeMap<TaskState, u32>,
    /// What needs somebody, worst first.
    pub concerns: Vec<Concern>,
    /// Every source against its objectives, worst first.
    pub readiness: Vec<Readiness>,
    /// Where nothing may start.
    pub suspensions: Vec<SuspensionRecord>,
    /// The coordinator's own housekeeping.
    pub reconcilers: Vec<ReconcilerRecord>,
}

impl Fleet {
    /// How the whole fleet stands.
    pub async fn status(&self) -> Result<StatusView, Error> {
        let mut agents = BTreeMap::new();
        for agent in self.list(&Selector::all()).await? {
            *agents.entry(agent.state).or_default() += 1;
        }
        let mut tasks = BTreeMap::new();
        for task in self.store.tasks().open().await? {
            *tasks.entry(task.state).or_default() += 1;
        }
        let readiness = self.readiness().await?;
        let concerns = self.concerns(&readiness).await?;
        let runs = self.store.runs().active().await?.len();
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION"),
            now: self.clock.now(),
            epoch: self.epoch,
            agents,
            runs_active: u32::try_from(runs).unwrap_or(u32::MAX),
            tasks,
            concerns,
            readiness,
            suspensions: self.store.suspensions().active().await?,
            reconcilers: self.store.reconcilers().list().await?,
        })
    }

    /// Every configured source against its objectives, worst first.
    pub async fn readiness(&self) -> Result<Vec<Readiness>, Error> {
        let objectives: Vec<Objective> = self
            .config
            .objectives
            .iter()
            .map(|objective| Objective {
                select: objective.select.clone(),
                rpo: objective.rpo.map(|period| period.0),
                rto: objective.rto.map(|period| period.0),
                proof: objective.proof,
                proof_age: objective.proof_age.map(|period| period.0),
            })
            .collect();
        Ok(objectives::read(&self.store, &objectives).await?)
    }

    /// What needs somebody, worst first.
    async fn concerns(&self, readiness: &[Readiness]) -> Result<Vec<Concern>, Error> {
        let connected: BTreeSet<HostName> = self.live.all().into_keys().collect();
        let surroundings = Surroundings {
            connected: &connected,
            readiness,
            lost_after: self.config.agents.lost_after.0,
            max_clock_skew: self.config.agents.max_clock_skew.0,
            missing_after: self.config.inventory.missing_after.0,
        };
        let mut concerns = watchdog::look(&self.store, &surroundings).await?;
        let since = self
            .clock
            .now()
            .saturating_sub(REMEMBERED)
            .unwrap_or(Timestamp::MIN);
        concerns.extend(self.live.duplicates(since).into_iter().map(|(host, duplicate)| Concern {
            severity: Severity::Page,
            kind: "duplicate_identity",
            host: Some(host),
            source: None,
            message: format!("two processes came with its certificate at {}", duplicate.at),
            remedy: "find the second one: a cloned machine or a copied key; then drctl agent revoke, and enrol anew".to_owned(),
        }));
        concerns.extend(self.live.turned_away(since).into_iter().map(|(host, turned_away)| Concern {
            severity: Severity::Ticket,
            kind: "agent_turned_away",
            host: Some(host),
            source: None,
            message: format!(
                "its agent speaks protocol {} and was turned away at {}: no more than {TOLERATED_SKEW} may lie between it \
                 and {PROTOCOL}",
                turned_away.protocol, turned_away.at
            ),
            remedy: "bring agent and coordinator to versions that are closer".to_owned(),
        }));
        if self.config.backup.is_none() {
            concerns.push(Concern {
                severity: Severity::Ticket,
                kind: "coordinator_not_backed_up",
                host: None,
                source: None,
                message: "nobody copies the coordinator's store".to_owned(),
                remedy: "name `backup` in coordinator.toml; `dr-coordinator sample` shows how".to_owned(),
            });
        }
        if let Some(trouble) = self.inventory.get() {
            concerns.push(Concern {
                severity: Severity::Ticket,
                kind: "inventory_unreadable",
                host: None,
                source: None,
                message: format!("hosts that should be there are not known: {trouble}"),
                remedy: "mend the file that `inventory` in coordinator.toml names".to_owned(),
            });
        }
        concerns.sort();
        Ok(concerns)
    }
}
