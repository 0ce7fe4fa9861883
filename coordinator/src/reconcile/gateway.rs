//! How reconcilers reach agents.

use std::collections::BTreeSet;

use dr_proto::model::{CancelTask, HostName, RunEnded, StartTask};

/// Reaches agents that are connected to this coordinator at this moment. Nothing that goes out is sure to arrive: what
/// an agent says at its next hello settles that.
pub trait Gateway: Send + Sync {
    /// Hosts whose agents can be sent to.
    fn connected(&self) -> BTreeSet<HostName>;

    /// Sends a task whose fence is committed.
    ///
    /// # Errors
    /// When the agent is not there any more. The task stays offered: its agent's next hello, or its deadline, decides.
    fn start(&self, host: &HostName, task: StartTask) -> Result<(), Unreachable>;

    /// Tells an agent to stop a task. May be sent again and again.
    ///
    /// # Errors
    /// When the agent is not there.
    fn cancel(&self, host: &HostName, cancel: CancelTask) -> Result<(), Unreachable>;

    /// Tells an agent how a run ended that it took part in.
    ///
    /// # Errors
    /// When the agent is not there. It does without.
    fn ended(&self, host: &HostName, ended: RunEnded) -> Result<(), Unreachable>;
}

/// An agent that can not be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent can not be reached at this moment")]
pub struct Unreachable;
