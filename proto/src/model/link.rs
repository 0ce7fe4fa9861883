//! What agents and the coordinator say to each other.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Allow, Fence, HostName, Labels, Progress, RunId, SnapshotInfo, SourceInfo, TaskId, TaskOutcome, Work,
};

/// The minor version of the agent protocol that this build speaks.
pub const PROTOCOL: u32 = 2;

/// Peers whose minor versions differ by no more than this work with each other.
pub const TOLERATED_SKEW: u32 = 2;

/// Whether a peer that speaks `theirs` can be worked with.
pub fn tolerates(theirs: u32) -> bool {
    PROTOCOL.abs_diff(theirs) <= TOLERATED_SKEW
}

/// From an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentMessage {
    /// The first message of a stream.
    Hello(Box<Hello>),
    /// The agent lives.
    Heartbeat(Heartbeat),
    /// What it protects.
    Inventory(Inventory),
    /// A task was accepted, or is further.
    Update(TaskUpdate),
    /// A task ended.
    Result(Box<TaskResult>),
    /// What it remembers.
    History(History),
    /// Its last word, after a goodbye because of a newer stream.
    Farewell(Farewell),
}

/// From the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum CoordinatorMessage {
    /// The answer to hello.
    Welcome(Welcome),
    /// Begin a task.
    Start(Box<StartTask>),
    /// Stop one.
    Cancel(CancelTask),
    /// A result is stored.
    Acknowledged(TaskKey),
    /// All plans that cover the host.
    Plans(Vec<PlanText>),
    /// Whether anything may start.
    Suspension(Suspension),
    /// The stream ends.
    Goodbye(Goodbye),
    /// A run that it took part in has ended.
    RunEnded(RunEnded),
}

/// One attempt at one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub fence: Fence,
}

/// Who the agent is and what it is at.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// Minor version of the protocol that it speaks.
    pub protocol: u32,
    /// Version of its program.
    pub version: String,
    /// Its host; must equal the certificate's identity.
    pub host: HostName,
    /// Random, new with each start of the process.
    pub incarnation: String,
    /// Its clock as it sent this.
    pub clock: Timestamp,
    /// What it understands beyond version 0 of the protocol.
    pub capabilities: Vec<String>,
    /// The most that may be asked of it.
    pub allow: Allow,
    /// Where its repository is, without secrets.
    pub repository: Option<String>,
    /// Whether the repository is encrypted.
    pub repository_encrypted: bool,
    /// Versions of installed probes.
    pub probes: Vec<String>,
    /// Tasks accepted and not yet finished.
    pub tasks: Vec<TaskKey>,
    /// Why nothing starts on this host, if its own suspend file says so.
    pub suspended: Option<String>,
}

/// The agent lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// Its clock as it sent this.
    pub clock: Timestamp,
    /// Why nothing starts on this host, if its own suspend file says so.
    pub suspended: Option<String>,
    /// Tasks at work.
    pub tasks: Vec<TaskUpdate>,
    /// Age of the oldest pin held.
    pub oldest_pin: Option<Duration>,
    /// Bytes in scratch.
    pub scratch_bytes: u64,
}

/// What an agent protects. Replaces the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Its sources, configured or found.
    pub sources: Vec<SourceInfo>,
    /// Newest first; at most [`Inventory::MOST_SNAPSHOTS`].
    pub snapshots: Vec<SnapshotInfo>,
    /// Why snapshots could not be listed.
    pub snapshots_problem: Option<String>,
    /// Bytes that the repository holds.
    pub stored_bytes: u64,
    /// How much of its packs was verified lately; `None`: not known.
    #[serde(default)]
    pub verification: Option<Verification>,
}

/// How much of a repository's packs was verified within the last thirty days, by its ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Bytes of all packs.
    pub packs: u64,
    /// Bytes of those that were verified.
    pub verified: u64,
}

impl Verification {
    /// The share that was verified. Of nothing nothing is.
    pub fn ratio(self) -> f64 {
        if self.packs == 0 {
            0.0
        } else {
            self.verified as f64 / self.packs as f64
        }
    }
}

impl Inventory {
    /// The most snapshots that an inventory names.
    pub const MOST_SNAPSHOTS: usize = 1_000;
}

/// A task was accepted, or is further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskUpdate {
    /// Which.
    pub key: TaskKey,
    /// How far it is.
    pub progress: Progress,
}

/// A task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Which.
    pub key: TaskKey,
    /// How.
    pub outcome: TaskOutcome,
    /// What was asked.
    pub work: Work,
    /// The plan and slot that it belonged to.
    pub slot: Option<Slot>,
}

/// One slot of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The plan's name.
    pub plan: String,
    /// When it is due.
    pub at: Timestamp,
}

/// What an agent remembers, for a coordinator that does not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Results that an earlier coordinator acknowledged, oldest first.
    pub results: Vec<TaskResult>,
    /// The last plans it was given.
    pub plans: Vec<PlanText>,
}

/// What an agent answers when it is told that a newer stream took over. Only a process that lives can: the one that was
/// killed, or whose machine is gone, does not, and so the coordinator can tell a restart from a twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// The process: what its hello said.
    pub incarnation: String,
}

/// The answer to hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Minor version of the protocol that the coordinator speaks.
    pub protocol: u32,
    /// Version of its program.
    pub version: String,
    /// Its incarnation.
    pub epoch: u64,
    /// How often the agent is to say that it lives.
    pub heartbeat: Duration,
    /// Its clock as it sent this.
    pub clock: Timestamp,
    /// Labels of the agent's host.
    pub labels: Labels,
    /// It knows nothing of the host's past and wants its history.
    pub wants_history: bool,
}

/// Begin a task. An agent that has this key already answers with where it stands, and does not begin again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartTask {
    /// Which.
    pub key: TaskKey,
    /// What is asked.
    pub work: Work,
    /// How long it may take from receipt: clocks differ.
    pub deadline: Duration,
    /// The plan and slot that it belongs to; `None`: an operator asked.
    pub slot: Option<Slot>,
    /// The run that it is a part of.
    pub run: RunId,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// Stop a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelTask {
    /// Which.
    pub key: TaskKey,
    /// Why.
    pub reason: String,
}

/// A run that the agent took part in has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnded {
    /// The trace that its tasks belonged to, 32 hex digits.
    pub trace_id: String,
    /// Whether it passed.
    pub passed: bool,
}

/// A plan as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanText {
    /// Its name.
    pub name: String,
    /// TOML.
    pub text: String,
    /// BLAKE3 of the text, hex: verdicts are bound to it.
    pub hash: String,
}

/// Whether anything may start on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Why not; `None`: it may.
    pub reason: Option<String>,
    /// When the suspension ends by itself.
    pub until: Option<Timestamp>,
}

/// The coordinator ends the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
    /// For people.
    pub message: String,
}

/// Why a stream ends, and whether to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoodbyeReason {
    /// A newer stream of the same identity took over: do not come back by yourself.
    Replaced,
    /// The certificate was revoked or the host retired: do not come back.
    Revoked,
    /// Come back soon.
    Shutdown,
    /// The versions are too far apart.
    Version,
    /// The agent broke the protocol.
    Protocol,
}
