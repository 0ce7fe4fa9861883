//! What is wrong with a host, for its operator: each a sentence with what to do.

use std::time::Duration;

use dr_proto::model::{PROTOCOL, SourceInfo};
use dr_store::hosts::HostRecord;
use dr_store::inventory::InventoryRecord;
use jiff::{SignedDuration, Timestamp};

use super::AgentState;

/// A certificate that ends sooner than this should have been renewed.
const SOON: Duration = Duration::from_secs(24 * 3_600);

/// What counts as too much, or too little.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// A clock that is further off.
    pub(super) max_skew: Duration,
    /// How long the certificates last that we sign.
    pub(super) lifetime: Option<Duration>,
}

impl Bounds {
    /// What is left of a certificate that should have been renewed: agents renew at two thirds of its life.
    fn soon(self) -> Duration {
        self.lifetime.map_or(SOON, |lifetime| SOON.min(lifetime / 4))
    }
}

pub(super) fn of(
    record: &HostRecord,
    state: AgentState,
    skew: Option<SignedDuration>,
    inventory: Option<&InventoryRecord>,
    sources: &[SourceInfo],
    bounds: Bounds,
    now: Timestamp,
) -> Vec<String> {
    if matches!(state, AgentState::Revoked | AgentState::Retired) {
        let reason = record.reason.as_deref().unwrap_or("no reason was given");
        return vec![format!("{}: {reason}", state.word())];
    }
    let found = [
        lost(state, record),
        skew.and_then(|skew| clock(skew, bounds.max_skew)),
        record.protocol.and_then(version),
        record
            .certificate_expires
            .and_then(|at| certificate(at, now, bounds.soon())),
        inventory
            .and_then(|inventory| inventory.snapshots_problem.as_ref())
            .map(|problem| {
                format!("its snapshots can not be listed: {problem}; run `dr-agent doctor` there")
            }),
        no_repository(state, record),
        no_probe(state, record, sources),
    ];
    found.into_iter().flatten().collect()
}

fn lost(state: AgentState, record: &HostRecord) -> Option<String> {
    match state {
        AgentState::Lost => {
            Some("lost: look at the host, then at `systemctl status dr-agent` there".to_owned())
        }
        AgentState::Pending => Some(format!(
            "waits for an approval: look whether it is the right machine, then `drctl agent approve {}`",
            record.host
        )),
        AgentState::Expected if let Some(since) = record.awaited => Some(format!(
            "its machine was replaced at {since:.0} and the new one has not come: `dr-agent enroll` there; \
             `drctl agent replace {}` makes another token",
            record.host
        )),
        AgentState::Expected => Some(match record.enrolled {
            Some(_) => "enrolled and never attached: start `dr-agent run` there".to_owned(),
            None => "expected and never enrolled: `drctl agent token --host` makes a token for it".to_owned(),
        }),
        _ => None,
    }
}

fn clock(skew: SignedDuration, most: Duration) -> Option<String> {
    (skew.unsigned_abs() > most).then(|| {
        let side = if skew.is_negative() { "behind" } else { "ahead of" };
        format!(
            "clock skew: {} s {side} the coordinator's; set up time synchronisation there",
            skew.unsigned_abs().as_secs()
        )
    })
}

fn version(protocol: u32) -> Option<String> {
    match protocol.cmp(&PROTOCOL) {
        std::cmp::Ordering::Less => Some(format!(
            "an older minor version of the protocol ({protocol}, here {PROTOCOL}): upgrade the agent"
        )),
        std::cmp::Ordering::Greater => Some(format!(
            "a newer minor version of the protocol ({protocol}, here {PROTOCOL}): upgrade the coordinator"
        )),
        std::cmp::Ordering::Equal => None,
    }
}

fn certificate(expires: Timestamp, now: Timestamp, soon: Duration) -> Option<String> {
    let left = expires.duration_since(now);
    if !left.is_positive() {
        return Some(format!("its certificate expired at {expires}: enrol it anew"));
    }
    (left.unsigned_abs() < soon)
        .then(|| format!("its certificate ends at {expires}: look why it was not renewed"))
}

fn no_repository(state: AgentState, record: &HostRecord) -> Option<String> {
    (state == AgentState::Connected && record.repository.is_none()).then(|| {
        "no repository is configured: nothing can be backed up there; run `dr-agent init`".to_owned()
    })
}

fn no_probe(state: AgentState, record: &HostRecord, sources: &[SourceInfo]) -> Option<String> {
    let has_database = sources
        .iter()
        .any(|source| source.configured && source.kind == "lancedb");
    (state == AgentState::Connected && record.probes.is_empty() && has_database)
        .then(|| "no probe is installed: drills of its databases prove bytes at the most".to_owned())
}
