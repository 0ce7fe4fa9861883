//! The fleet at one moment, as planning and dispatching see it.

use std::collections::BTreeMap;

use dr_proto::model::{Allow, HostName, Labels, SourceInfo};
use dr_store::hosts::{HostRecord, HostState};
use dr_store::suspensions::SuspensionRecord;
use dr_store::{Error, Result, Store};
use jiff::Timestamp;

use crate::scope::Scope;

/// The fleet at one moment.
#[derive(Debug, Clone, Default)]
pub struct FleetState {
    /// Every host that was ever heard of.
    pub hosts: BTreeMap<HostName, HostFacts>,
}

/// One host at that moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Its labels.
    pub labels: Labels,
    /// Why it may not be asked anything, if it is revoked, retired or not approved.
    pub barred: Option<String>,
    /// Somebody said that the host is gone for good: nobody misses it.
    pub retired: bool,
    /// Whether its agent was ever here.
    pub enrolled: bool,
    /// What holds it up.
    pub suspended: Option<Hold>,
    /// The store was recovered from a copy, and what its agent remembers has not been filed since.
    pub recalled: bool,
    /// The most that may be asked of it.
    pub allow: Allow,
    /// Version of its agent, once that was here.
    pub version: String,
    /// What its agent understands.
    pub capabilities: Vec<String>,
    /// Its sources.
    pub sources: Vec<SourceInfo>,
    /// Bytes of its newest snapshot.
    pub bytes: u64,
}

/// Why nothing starts on a host for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why, and by whom.
    pub reason: String,
    /// When it ends by itself; `None`: when somebody takes the host's own suspend file away.
    pub until: Option<Timestamp>,
}

impl FleetState {
    /// Reads it from the store.
    pub async fn read(store: &Store) -> Result<Self> {
        let suspensions = scopes(store.suspensions().active().await?)?;
        let bytes = store.inventories().newest_bytes().await?;
        let mut hosts: BTreeMap<HostName, HostFacts> = store
            .hosts()
            .list()
            .await?
            .into_iter()
            .map(|record| {
                let mut facts = facts(&record, &suspensions);
                facts.bytes = bytes.get(&record.host).copied().unwrap_or(0);
                (record.host, facts)
            })
            .collect();
        for source in store.inventories().sources(None).await? {
            if let Some(facts) = hosts.get_mut(&source.host) {
                facts.sources.push(source.source);
            }
        }
        Ok(Self { hosts })
    }
}

fn facts(record: &HostRecord, suspensions: &[(Scope, SuspensionRecord)]) -> HostFacts {
    let why = || record.reason.as_deref().unwrap_or("no reason was given");
    let barred = if !record.state.is_welcome() {
        Some(format!("{}: {}", record.state, why()))
    } else {
        record.pending.then(|| {
            format!(
                "pending: nobody has approved it yet, `drctl agent approve {}` does",
                record.host
            )
        })
    };
    let own = record.suspended.as_ref().map(|reason| Hold {
        reason: format!("by its own suspend file: {reason}"),
        until: None,
    });
    let ours = suspensions
        .iter()
        .find(|(scope, _)| scope.covers(&record.host, &record.labels))
        .map(|(_, entry)| Hold {
            reason: format!("{} by {}: {}", entry.scope, entry.by, entry.reason),
            until: Some(entry.until),
        });
    HostFacts {
        labels: record.labels.clone(),
        barred,
        retired: record.state == HostState::Retired,
        enrolled: record.enrolled.is_some(),
        suspended: own.or(ours),
        recalled: record.recalled,
        allow: record.allow.clone(),
        version: record.version.clone().unwrap_or_default(),
        capabilities: record.capabilities.clone(),
        sources: Vec::new(),
        bytes: 0,
    }
}

/// Suspensions with their scopes read. The one that ends last comes first.
fn scopes(active: Vec<SuspensionRecord>) -> Result<Vec<(Scope, SuspensionRecord)>> {
    active
        .into_iter()
        .map(|entry| match entry.scope.parse() {
            Ok(scope) => Ok((scope, entry)),
            Err(error) => Err(Error::Value {
                column: "scope",
                value: entry.scope,
                reason: format!("{error}"),
            }),
        })
        .collect()
}
