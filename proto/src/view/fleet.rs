//! Hosts, what they protect, and whether they may work.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::read::{MOST, as_seconds, seconds, some, sorted};
use crate::model::{Allow, ProofLevel, SnapshotInfo, SourceInfo};
use crate::wire::read::{inner, list};
use crate::wire::task::{proof_level, word};
use crate::wire::time::{maybe_length, maybe_moment, moment};
use crate::{v1, wire};

/// One screen of readiness.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Version of the coordinator.
    pub version: String,
    /// The coordinator's clock.
    pub now: Timestamp,
    /// Its incarnation.
    pub epoch: u64,
    /// Agents with a live stream.
    pub agents_connected: u32,
    /// Agents that have been silent for too long.
    pub agents_lost: u32,
    /// Runs that have not ended.
    pub runs_active: u32,
    /// Tasks not handed out yet.
    pub tasks_queued: u32,
    /// Tasks at work.
    pub tasks_running: u32,
    /// What needs somebody, worst first.
    pub concerns: Vec<Concern>,
    /// Every source against its objectives.
    pub readiness: Vec<Readiness>,
    /// Where nothing may start.
    pub suspensions: Vec<Suspended>,
    /// The coordinator's own housekeeping.
    pub reconcilers: Vec<Reconciler>,
}

/// How soon somebody must act. Ordered: a page is worse than a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// This week.
    Ticket,
    /// Now.
    Page,
}

/// Something that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// How soon.
    pub severity: Severity,
    /// The stable word.
    pub kind: String,
    /// Which host; `None`: the fleet.
    pub host: Option<String>,
    /// Which source; `None`: the host.
    pub source: Option<String>,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// How one source of one host stands against its objectives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readiness {
    /// The host.
    pub host: String,
    /// The source.
    pub source: String,
    /// The cut of its newest snapshot; `None`: never.
    pub last_snapshot: Option<Timestamp>,
    /// When a drill passed last; `None`: never.
    pub last_proof: Option<Timestamp>,
    /// How deep that pass went.
    pub proof: ProofLevel,
    /// Measured by the last restore drill.
    #[serde(rename = "rto_seconds", serialize_with = "as_seconds")]
    pub rto: Option<Duration>,
    /// The worst gap between cuts in the period, up to now.
    #[serde(rename = "rpo_worst_seconds", serialize_with = "as_seconds")]
    pub rpo_worst: Option<Duration>,
    /// The objective in force.
    #[serde(rename = "rto_objective_seconds", serialize_with = "as_seconds")]
    pub rto_objective: Option<Duration>,
    /// The objective in force.
    #[serde(rename = "rpo_objective_seconds", serialize_with = "as_seconds")]
    pub rpo_objective: Option<Duration>,
    /// The objective in force.
    #[serde(rename = "proof_age_objective_seconds", serialize_with = "as_seconds")]
    pub proof_age_objective: Option<Duration>,
    /// The objective in force; `None` if nothing is asked for.
    pub proof_objective: Option<ProofLevel>,
    /// Names of objectives that are not met.
    pub breached: Vec<String>,
}

/// One suspension: of the fleet, of hosts with labels, or of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspended {
    /// Its id.
    pub id: String,
    /// `fleet`, `host=NAME`, or a label selector.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// One of the coordinator's reconcilers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciler {
    /// Its name.
    pub name: String,
    /// When a pass last succeeded; `None`: not yet in this incarnation.
    pub last_success: Option<Timestamp>,
    /// Why the last pass failed, if it did.
    pub last_error: Option<String>,
    /// What the last pass did.
    pub status: String,
}

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It has a live stream.
    Connected,
    /// No heartbeat, not yet lost.
    Away,
    /// Silent for too long.
    Lost,
    /// Its certificates are refused.
    Revoked,
    /// Gone for good.
    Retired,
    /// Known, but never attached; or its machine was replaced and the new one has not come.
    Expected,
    /// It gets no task and no plan before an operator approves it.
    Pending,
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connected => "connected",
            Self::Away => "away",
            Self::Lost => "lost",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
            Self::Expected => "expected",
            Self::Pending => "pending",
        })
    }
}

/// One host's agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agent {
    /// The host.
    pub host: String,
    /// Where it stands.
    pub state: AgentState,
    /// Version of its program; `None` before it first attached.
    pub version: Option<String>,
    /// The host's labels.
    pub labels: BTreeMap<String, String>,
    /// When it enrolled.
    pub enrolled: Option<Timestamp>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// When its certificate expires.
    pub certificate_expires: Option<Timestamp>,
    /// Its clock minus the coordinator's.
    pub clock_skew_seconds: Option<f64>,
    /// The most that may be asked of it.
    pub allow: Allow,
    /// Where its repository is, without secrets; `None` if none is configured.
    pub repository: Option<String>,
    /// Whether the repository is encrypted.
    pub repository_encrypted: bool,
    /// Versions of installed probes.
    pub probes: Vec<String>,
    /// Why nothing starts there, if so.
    pub suspended: Option<String>,
    /// What it protects.
    pub sources: Vec<SourceInfo>,
    /// What is wrong with it, each with what to do.
    pub problems: Vec<String>,
    /// What it understands beyond version 0 of the protocol.
    pub capabilities: Vec<String>,
    /// Which machine carries the name, from 1.
    pub machine: u32,
}

/// A source, and which plans cover it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceCoverage {
    /// The host.
    pub host: String,
    /// The source.
    pub source: SourceInfo,
    /// Names of enabled plans that cover it.
    pub plans: Vec<String>,
    /// No plan covers it, and one leaves its host out and says why.
    pub excluded: bool,
}

/// A snapshot in a host's repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostSnapshot {
    /// The host.
    pub host: String,
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotInfo,
}

/// A one-time token that enrols an agent.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// The host that it enrols; `None`: any, once.
    pub host: Option<String>,
    /// Labels that the host will have.
    pub labels: BTreeMap<String, String>,
    /// Until when it may be used.
    pub expires: Timestamp,
    /// What `dr-agent enroll` takes; only in the answer that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When it was used, if it was.
    pub used: Option<Timestamp>,
    /// By which host.
    pub used_by: Option<String>,
    /// Whether the host gets nothing to do before an operator approves it.
    pub needs_approval: bool,
}

/// What replacing a host's machine gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// Streams of the old machine that were ended.
    pub streams_ended: u32,
    /// The token for the new one.
    pub token: Token,
}

/// The text is a secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("host", &self.host)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl TryFrom<v1::Status> for Status {
    type Error = wire::Error;

    fn try_from(status: v1::Status) -> Result<Self, wire::Error> {
        let v1::Status {
            version,
            now,
            epoch,
            agents_connected,
            agents_lost,
            runs_active,
            tasks_queued,
            tasks_running,
            concerns,
            readiness,
            suspensions,
            reconcilers,
        } = status;
        Ok(Self {
            version,
            now: moment("now", now)?,
            epoch,
            agents_connected,
            agents_lost,
            runs_active,
            tasks_queued,
            tasks_running,
            concerns: list("concerns", concerns, MOST)?,
            readiness: list("readiness", readiness, MOST)?,
            suspensions: list("suspensions", suspensions, MOST)?,
            reconcilers: list("reconcilers", reconcilers, MOST)?,
        })
    }
}

impl TryFrom<v1::Concern> for Concern {
    type Error = wire::Error;

    fn try_from(concern: v1::Concern) -> Result<Self, wire::Error> {
        let v1::Concern {
            severity,
            kind,
            host,
            source,
            message,
            remedy,
        } = concern;
        let severity = match word("severity", severity)? {
            v1::concern::Severity::Page => Severity::Page,
            v1::concern::Severity::Ticket => Severity::Ticket,
            v1::concern::Severity::Unspecified => {
                return Err(wire::Error::Missing("severity".to_owned()));
            }
        };
        Ok(Self {
            severity,
            kind,
            host: some(host),
            source: some(source),
            message,
            remedy,
        })
    }
}

impl TryFrom<v1::Readiness> for Readiness {
    type Error = wire::Error;

    fn try_from(readiness: v1::Readiness) -> Result<Self, wire::Error> {
        let v1::Readiness {
            host,
            source,
            last_snapshot,
            last_proof,
            proof,
            rto,
            rpo_worst,
            rto_objective,
            rpo_objective,
            proof_age_objective,
            proof_objective,
            breached,
        } = readiness;
        Ok(Self {
            host,
            source,
            last_snapshot: maybe_moment("last_snapshot", last_snapshot)?,
            last_proof: maybe_moment("last_proof", last_proof)?,
            proof: proof_level("proof", proof)?.unwrap_or(ProofLevel::None),
            rto: maybe_length("rto", rto)?,
            rpo_worst: maybe_length("rpo_worst", rpo_worst)?,
            rto_objective: maybe_length("rto_objective", rto_objective)?,
            rpo_objective: maybe_length("rpo_objective", rpo_objective)?,
            proof_age_objective: maybe_length("proof_age_objective", proof_age_objective)?,
            proof_objective: proof_level("proof_objective", proof_objective)?,
            breached,
        })
    }
}

impl TryFrom<v1::SuspensionEntry> for Suspended {
    type Error = wire::Error;

    fn try_from(entry: v1::SuspensionEntry) -> Result<Self, wire::Error> {
        let v1::SuspensionEntry {
            id,
            scope,
            reason,
            by,
            until,
        } = entry;
        Ok(Self {
            id,
            scope,
            reason,
            by,
            until: moment("until", until)?,
        })
    }
}

impl TryFrom<v1::Reconciler> for Reconciler {
    type Error = wire::Error;

    fn try_from(reconciler: v1::Reconciler) -> Result<Self, wire::Error> {
        let v1::Reconciler {
            name,
            last_success,
            last_error,
            status,
        } = reconciler;
        Ok(Self {
            name,
            last_success: maybe_moment("last_success", last_success)?,
            last_error: some(last_error),
            status,
        })
    }
}

fn agent_state(value: i32) -> Result<AgentState, wire::Error> {
    use v1::agent::State;
    Ok(match word("state", value)? {
        State::Connected => AgentState::Connected,
        State::Away => AgentState::Away,
        State::Lost => AgentState::Lost,
        State::Revoked => AgentState::Revoked,
        State::Retired => AgentState::Retired,
        State::Expected => AgentState::Expected,
        State::Pending => AgentState::Pending,
        State::Unspecified => return Err(wire::Error::Missing("state".to_owned())),
    })
}

impl TryFrom<v1::Agent> for Agent {
    type Error = wire::Error;

    fn try_from(agent: v1::Agent) -> Result<Self, wire::Error> {
        let v1::Agent {
            host,
            state,
            version,
            labels,
            enrolled,
            last_seen,
            certificate_expires,
            clock_skew,
            allow,
            repository,
            repository_encrypted,
            probes,
            suspended,
            sources,
            problems,
            capabilities,
            machine,
        } = agent;
        Ok(Self {
            host,
            state: agent_state(state)?,
            version: some(version),
            labels: sorted(labels),
            enrolled: maybe_moment("enrolled", enrolled)?,
            last_seen: maybe_moment("last_seen", last_seen)?,
            certificate_expires: maybe_moment("certificate_expires", certificate_expires)?,
            clock_skew_seconds: seconds(clock_skew),
            allow: allow.map(Allow::try_from).transpose()?.unwrap_or_default(),
            repository: some(repository),
            repository_encrypted,
            probes,
            suspended: some(suspended),
            sources: list("sources", sources, MOST)?,
            problems,
            capabilities,
            machine,
        })
    }
}

impl TryFrom<v1::SourceCoverage> for SourceCoverage {
    type Error = wire::Error;

    fn try_from(coverage: v1::SourceCoverage) -> Result<Self, wire::Error> {
        let v1::SourceCoverage {
            host,
            source,
            plans,
            excluded,
        } = coverage;
        Ok(Self {
            host,
            source: inner("source", source)?,
            plans,
            excluded,
        })
    }
}

impl TryFrom<v1::HostSnapshot> for HostSnapshot {
    type Error = wire::Error;

    fn try_from(snapshot: v1::HostSnapshot) -> Result<Self, wire::Error> {
        let v1::HostSnapshot { host, snapshot } = snapshot;
        Ok(Self {
            host,
            snapshot: inner("snapshot", snapshot)?,
        })
    }
}

impl TryFrom<v1::Token> for Token {
    type Error = wire::Error;

    fn try_from(token: v1::Token) -> Result<Self, wire::Error> {
        let v1::Token {
            id,
            host,
            labels,
            expires,
            text: secret,
            created_by,
            used,
            used_by,
            needs_approval,
        } = token;
        Ok(Self {
            id,
            host: some(host),
            labels: sorted(labels),
            expires: moment("expires", expires)?,
            text: some(secret),
            created_by,
            used: maybe_moment("used", used)?,
            used_by: some(used_by),
            needs_approval,
        })
    }
}

impl TryFrom<v1::ReplaceAgentResponse> for Replaced {
    type Error = wire::Error;

    fn try_from(answer: v1::ReplaceAgentResponse) -> Result<Self, wire::Error> {
        let v1::ReplaceAgentResponse { streams_ended, token } = answer;
        Ok(Self {
            streams_ended,
            token: inner("token", token)?,
        })
    }
}
