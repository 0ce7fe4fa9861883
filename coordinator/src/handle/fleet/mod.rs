//! Hosts: who they are, what they protect, whether they may work, and how the whole fleet stands.

mod inventory;
mod problems;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dr_proto::model::plan::Member;
use dr_proto::model::{HostName, Selector, SourceInfo};
use dr_store::hosts::{HostRecord, HostState};
use dr_store::inventory::{InventoryRecord, SnapshotRecord};
use dr_store::suspensions::SuspensionRecord;
use dr_store::{SharedClock, Store};
use jiff::{SignedDuration, Timestamp};

pub use self::inventory::DiffView;
pub use self::status::StatusView;
use super::Error;
use crate::access::revocations::Revocations;
use crate::config::Config;
use crate::gateway::{Facts, Live};
use crate::scope::Scope;
use crate::serve::inventory::Trouble;

/// Reads of hosts, and barring them.
#[derive(Debug, Clone)]
pub struct Fleet {
    store: Store,
    clock: SharedClock,
    live: Live,
    revocations: Revocations,
    config: Arc<Config>,
    inventory: Trouble,
    epoch: u64,
}

/// A host, as the store and its stream tell together.
#[derive(Debug, Clone)]
pub struct AgentView {
    /// What the store has.
    pub record: HostRecord,
    /// Whether it is there.
    pub state: AgentState,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// Its clock minus ours.
    pub skew: Option<SignedDuration>,
    /// Why nothing starts there.
    pub suspended: Option<String>,
    /// What it protects.
    pub sources: Vec<SourceInfo>,
    /// What is wrong with it, each with what to do.
    pub problems: Vec<String>,
}

/// Whether a host is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentState {
    /// Its stream is open.
    Connected,
    /// It is not, and it was heard of not long ago.
    Away,
    /// It is not, and has not been for longer than `lost_after`.
    Lost,
    /// Its certificates are refused.
    Revoked,
    /// It is gone for good.
    Retired,
    /// It never attached, or its machine was replaced and the new one did not.
    Expected,
    /// Nobody has approved it yet: it gets nothing to do.
    Pending,
}

impl AgentState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connected,
        Self::Away,
        Self::Lost,
        Self::Revoked,
        Self::Retired,
        Self::Expected,
        Self::Pending,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Away => "away",
            Self::Lost => "lost",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
            Self::Expected => "expected",
            Self::Pending => "pending",
        }
    }
}

/// A source and the plans that cover it.
#[derive(Debug, Clone)]
pub struct Coverage {
    /// The host.
    pub host: HostName,
    /// The source.
    pub source: SourceInfo,
    /// Names of enabled plans.
    pub plans: Vec<String>,
    /// No plan covers it, and one leaves its host out and says why.
    pub excluded: bool,
}

/// What the views of all hosts are made of, read once.
struct Surroundings {
    now: Timestamp,
    live: HashMap<HostName, Facts>,
    suspensions: Vec<(Scope, SuspensionRecord)>,
    inventories: BTreeMap<HostName, InventoryRecord>,
    sources: BTreeMap<HostName, Vec<SourceInfo>>,
}

impl Fleet {
    /// A handle on the hosts in `store`, whose streams are in `live`.
    pub fn new(
        store: Store,
        clock: SharedClock,
        live: Live,
        revocations: Revocations,
        config: &Arc<Config>,
        inventory: Trouble,
        epoch: u64,
    ) -> Self {
        let config = config.clone();
        Self {
            store,
            clock,
            live,
            revocations,
            config,
            inventory,
            epoch,
        }
    }

    /// Hosts that a selector picks, by name.
    pub async fn list(&self, select: &Selector) -> Result<Vec<AgentView>, Error> {
        let surroundings = self.surroundings(None).await?;
        let records = self.store.hosts().list().await?;
        Ok(records
            .into_iter()
            .filter(|record| select.matches(&record.host, &record.labels))
            .map(|record| self.view(record, &surroundings))
            .collect())
    }

    /// One host.
    pub async fn get(&self, host: &HostName) -> Result<AgentView, Error> {
        let record = self.store.hosts().get(host).await?.ok_or_else(|| unknown(host))?;
        let surroundings = self.surroundings(Some(host)).await?;
        Ok(self.view(record, &surroundings))
    }

    /// Sources of a host or of all, with the enabled plans that cover each.
    pub async fn sources(&self, host: Option<&HostName>, uncovered: bool) -> Result<Vec<Coverage>, Error> {
        if let Some(host) = host {
            self.store.hosts().get(host).await?.ok_or_else(|| unknown(host))?;
        }
        let plans = super::enabled_plans(&self.store).await?;
        let records = self.store.hosts().list().await?;
        // What a host that is gone for good had needs no plan any more.
        let records = records
            .into_iter()
            .filter(|record| record.state != HostState::Retired);
        let mut sources: BTreeMap<HostName, Vec<SourceInfo>> = BTreeMap::new();
        for record in self.store.inventories().sources(host).await? {
            sources.entry(record.host).or_default().push(record.source);
        }
        let now = self.clock.now();
        let mut covered = Vec::new();
        for HostRecord { host, labels, .. } in records {
            let Some(sources) = sources.get(&host) else {
                continue;
            };
            let member = Member {
                host: &host,
                labels: &labels,
                sources: Some(sources),
            };
            for source in sources {
                // A name alone is no protection: what was found on the host may be called like a source.
                let covering = plans
                    .iter()
                    .filter(|plan| source.configured && plan.covers(member, &source.name, now));
                let names: Vec<String> = covering.map(|plan| plan.name().to_owned()).collect();
                let excluded = source.configured
                    && names.is_empty()
                    && plans.iter().any(|plan| plan.leaves_out(&host, &labels, now));
                if !uncovered || (names.is_empty() && !excluded) {
                    covered.push(Coverage {
                        host: host.clone(),
                        source: source.clone(),
                        plans: names,
                        excluded,
                    });
                }
            }
        }
        Ok(covered)
    }

    /// Snapshots of a host or of all, newest first.
    pub async fn snapshots(&self, host: Option<&HostName>) -> Result<Vec<SnapshotRecord>, Error> {
        if let Some(host) = host {
            self.store.hosts().get(host).await?.ok_or_else(|| unknown(host))?;
        }
        Ok(self.store.inventories().snapshots(host).await?)
    }

    /// Refuses a host's certificates from now on and ends its streams; how many those were.
    pub async fn revoke(&self, host: &HostName, reason: &str, by: &str) -> Result<u32, Error> {
        let serial = self.live.facts(host).map(|facts| facts.serial);
        self.store
            .hosts()
            .revoke(host, reason, by, serial.as_deref())
            .await?;
        // Word of the change may have ended it before we do.
        self.revocations.reload().await?;
        Ok(u32::from(serial.is_some()))
    }

    /// The certificate on a host's live stream.
    pub fn live_serial(&self, host: &HostName) -> Option<String> {
        self.live.facts(host).map(|facts| facts.serial)
    }

    /// Ends streams of certificates that were revoked a moment ago.
    pub async fn end_revoked(&self) -> Result<(), Error> {
        self.revocations.reload().await?;
        Ok(())
    }

    /// Lets a host work that waits for its approval.
    pub async fn approve(&self, host: &HostName, by: &str) -> Result<AgentView, Error> {
        self.store.hosts().approve(host, by).await?;
        self.get(host).await
    }

    /// Bars a host for good.
    pub async fn retire(&self, host: &HostName, reason: &str, by: &str) -> Result<(), Error> {
        let serial = self.live.facts(host).map(|facts| facts.serial);
        self.store
            .hosts()
            .retire(host, reason, by, serial.as_deref())
            .await?;
        self.revocations.reload().await?;
        Ok(())
    }

    async fn surroundings(&self, host: Option<&HostName>) -> Result<Surroundings, Error> {
        let suspensions = self.store.suspensions().active().await?;
        let mut sources: BTreeMap<HostName, Vec<SourceInfo>> = BTreeMap::new();
        for record in self.store.inventories().sources(host).await? {
            sources.entry(record.host).or_default().push(record.source);
        }
        let inventories = match host {
            Some(host) => self.store.inventories().get(host).await?.into_iter().collect(),
            None => self.store.inventories().list().await?,
        };
        Ok(Surroundings {
            now: self.clock.now(),
            live: self.live.all(),
            // A scope that this version can not read came from a newer one and holds up nothing that we know.
            suspensions: suspensions
                .into_iter()
                .filter_map(|entry| Some((entry.scope.parse().ok()?, entry)))
                .collect(),
            inventories: inventories
                .into_iter()
                .map(|record| (record.host.clone(), record))
                .collect(),
            sources,
        })
    }

    fn view(&self, record: HostRecord, around: &Surroundings) -> AgentView {
        let facts = around.live.get(&record.host);
        let last_seen = facts.map(|facts| facts.heard).max(record.last_seen);
        let state = self.state(&record, facts.is_some(), last_seen, around.now);
        let skew = facts.map(|facts| facts.skew).or(record.clock_skew);
        let own = match facts {
            Some(facts) => facts.suspended.clone(),
            None => record.suspended.clone(),
        };
        let suspended = own
            .map(|reason| format!("by the host's own suspend file: {reason}"))
            .or_else(|| {
                let held = around
                    .suspensions
                    .iter()
                    .find(|(scope, _)| scope.covers(&record.host, &record.labels));
                held.map(|(scope, entry)| {
                    format!(
                        "{scope} is suspended by {} until {}: {}",
                        entry.by, entry.until, entry.reason
                    )
                })
            });
        let inventory = around.inventories.get(&record.host);
        let bounds = problems::Bounds {
            max_skew: self.config.agents.max_clock_skew.0,
            lifetime: self
                .config
                .authority
                .as_ref()
                .map(|authority| authority.agent_certificates.0),
        };
        let sources = around.sources.get(&record.host).cloned().unwrap_or_default();
        let problems = problems::of(&record, state, skew, inventory, &sources, bounds, around.now);
        AgentView {
            record,
            state,
            last_seen,
            skew,
            suspended,
            sources,
            problems,
        }
    }

    fn state(
        &self,
        record: &HostRecord,
        connected: bool,
        last_seen: Option<Timestamp>,
        now: Timestamp,
    ) -> AgentState {
        let silence = last_seen.map(|seen| now.duration_since(seen));
        match (record.state, silence) {
            (HostState::Revoked, _) if record.awaited.is_some() => AgentState::Expected,
            (HostState::Revoked, _) => AgentState::Revoked,
            (HostState::Retired, _) => AgentState::Retired,
            _ if record.pending => AgentState::Pending,
            _ if connected => AgentState::Connected,
            (_, None) => AgentState::Expected,
            (_, Some(silence))
                if silence.unsigned_abs() > self.config.agents.lost_after.0 && silence.is_positive() =>
            {
                AgentState::Lost
            }
            _ => AgentState::Away,
        }
    }
}

fn unknown(host: &HostName) -> Error {
    Error::NotFound {
        kind: "host",
        name: host.to_string(),
    }
}
