//! Hosts that should be there beside those that are: what a list of expected hosts and the fleet differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dr_proto::model::{HostName, Labels};
use dr_store::expected::ExpectedList;
use dr_store::hosts::{HostRecord, HostState};
use jiff::{SignedDuration, Timestamp};

/// What the list and the fleet differ in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Hosts of the list that are not there.
    pub missing: Vec<Missing>,
    /// Hosts that came in and are not in the list.
    pub unexpected: Vec<Unexpected>,
}

/// A host of the list that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The host.
    pub host: HostName,
    /// Its labels.
    pub labels: Labels,
    /// Since when it is in the list.
    pub listed: Timestamp,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// Why it counts as missing.
    pub reason: String,
    /// It is missing for longer than hosts may be away.
    pub overdue: bool,
}

/// A host that nobody expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexpected {
    /// The host.
    pub host: HostName,
    /// Its labels.
    pub labels: Labels,
    /// When it first came in.
    pub enrolled: Option<Timestamp>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
}

/// Compares the list with the hosts that are known. A host that is connected is there, whatever the store says of when
/// it was last heard of.
pub fn compare(
    list: &ExpectedList,
    hosts: &[HostRecord],
    connected: &BTreeSet<HostName>,
    missing_after: Duration,
    now: Timestamp,
) -> Difference {
    let known: BTreeMap<&HostName, &HostRecord> = hosts.iter().map(|host| (&host.host, host)).collect();
    let patience = SignedDuration::try_from(missing_after).unwrap_or(SignedDuration::MAX);
    let missing = list.hosts.iter().filter_map(|(host, listed)| {
        let record = known.get(host).copied();
        let (reason, since) = absent(record, connected.contains(host), *listed, patience, now)?;
        Some(Missing {
            host: host.clone(),
            labels: record.map(|record| record.labels.clone()).unwrap_or_default(),
            listed: *listed,
            last_seen: record.and_then(|record| record.last_seen),
            reason,
            overdue: now.duration_since(since) > patience,
        })
    });
    let unexpected = hosts
        .iter()
        .filter(|host| host.state == HostState::Enrolled && !list.hosts.contains_key(&host.host));
    Difference {
        missing: missing.collect(),
        unexpected: unexpected
            .map(|host| Unexpected {
                host: host.host.clone(),
                labels: host.labels.clone(),
                enrolled: host.enrolled,
                last_seen: host.last_seen,
            })
            .collect(),
    }
}

/// Why a host of the list is not there, and since when that counts.
fn absent(
    record: Option<&HostRecord>,
    connected: bool,
    listed: Timestamp,
    patience: SignedDuration,
    now: Timestamp,
) -> Option<(String, Timestamp)> {
    let Some(record) = record else {
        return Some(("it never enrolled".to_owned(), listed));
    };
    let why = || record.reason.as_deref().unwrap_or("no reason was given");
    match record.state {
        HostState::Retired => Some((
            format!("it was retired, and is still in the list: {}", why()),
            listed,
        )),
        HostState::Revoked if let Some(since) = record.awaited => Some((
            "its machine was replaced and the new one has not come".to_owned(),
            since,
        )),
        HostState::Revoked => Some((
            format!("it was revoked: {}", why()),
            record.last_seen.unwrap_or(listed),
        )),
        HostState::Expected => Some(("it never enrolled".to_owned(), listed)),
        HostState::Enrolled if connected => None,
        HostState::Enrolled => {
            let Some(seen) = record.last_seen else {
                return Some(("it enrolled and never attached".to_owned(), listed));
            };
            (now.duration_since(seen) > patience)
                .then(|| (format!("it was not heard of since {seen:.0}"), seen))
        }
    }
}
