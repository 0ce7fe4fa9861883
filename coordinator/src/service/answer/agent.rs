//! Hosts, what they protect, tokens and suspensions.

use std::collections::HashMap;

use dr_proto::model::Labels;
use dr_proto::{v1, wire};
use dr_store::inventory::SnapshotRecord;
use dr_store::suspensions::SuspensionRecord;
use dr_store::tokens::TokenRecord;
use jiff::SignedDuration;

use super::maybe;
use crate::handle::{AgentState, AgentView, Coverage};

pub(in crate::service) fn agent(view: AgentView) -> v1::Agent {
    let AgentView {
        record,
        state,
        last_seen,
        skew,
        suspended,
        sources,
        problems,
    } = view;
    v1::Agent {
        host: record.host.into(),
        state: state_of(state).into(),
        version: record.version.unwrap_or_default(),
        labels: labels(&record.labels),
        enrolled: maybe(record.enrolled),
        last_seen: maybe(last_seen),
        certificate_expires: maybe(record.certificate_expires),
        clock_skew: skew.map(signed),
        allow: Some(record.allow.into()),
        repository: record.repository.unwrap_or_default(),
        repository_encrypted: record.repository_encrypted,
        probes: record.probes,
        suspended: suspended.unwrap_or_default(),
        sources: sources.into_iter().map(Into::into).collect(),
        problems,
        capabilities: record.capabilities,
        machine: record.machine,
    }
}

fn state_of(state: AgentState) -> v1::agent::State {
    match state {
        AgentState::Connected => v1::agent::State::Connected,
        AgentState::Away => v1::agent::State::Away,
        AgentState::Lost => v1::agent::State::Lost,
        AgentState::Revoked => v1::agent::State::Revoked,
        AgentState::Retired => v1::agent::State::Retired,
        AgentState::Expected => v1::agent::State::Expected,
        AgentState::Pending => v1::agent::State::Pending,
    }
}

pub(super) fn labels(labels: &Labels) -> HashMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A length of time that may be negative: seconds and nanoseconds have the same sign.
fn signed(length: SignedDuration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: length.as_secs(),
        nanos: length.subsec_nanos(),
    }
}

pub(in crate::service) fn coverage(coverage: Coverage) -> v1::SourceCoverage {
    let Coverage {
        host,
        source,
        plans,
        excluded,
    } = coverage;
    v1::SourceCoverage {
        host: host.into(),
        source: Some(source.into()),
        plans,
        excluded,
    }
}

pub(in crate::service) fn snapshot(record: SnapshotRecord) -> v1::HostSnapshot {
    let SnapshotRecord { host, snapshot } = record;
    v1::HostSnapshot {
        host: host.into(),
        snapshot: Some(snapshot.into()),
    }
}

/// A token; `text` is what `dr-agent enroll` takes, only in the answer that made it.
pub(in crate::service) fn token(record: TokenRecord, text: String) -> v1::Token {
    v1::Token {
        id: record.id,
        host: record.host.map(Into::into).unwrap_or_default(),
        labels: labels(&record.labels),
        expires: Some(wire::timestamp(record.expires)),
        text,
        created_by: record.created_by,
        used: maybe(record.used),
        used_by: record.used_by.map(Into::into).unwrap_or_default(),
        needs_approval: record.needs_approval,
    }
}

pub(in crate::service) fn suspension(record: SuspensionRecord) -> v1::SuspensionEntry {
    let SuspensionRecord {
        id,
        scope,
        reason,
        by,
        created: _,
        until,
    } = record;
    v1::SuspensionEntry {
        id,
        scope,
        reason,
        by,
        until: Some(wire::timestamp(until)),
    }
}
