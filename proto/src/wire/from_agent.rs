//! What an agent says.

use super::error::Within;
use super::read::{counted, given, inner, list, optional, or_empty, parsed, texts};
use super::task::task_key;
use super::time::{duration, maybe_length, moment, timestamp};
use super::to_agent::{plan_and_slot, slot};
use super::{Error, limits};
use crate::model::{
    AgentMessage, Farewell, Heartbeat, Hello, History, Inventory, TaskKey, TaskResult, TaskUpdate,
    Verification,
};
use crate::v1;
use crate::v1::agent_message::Message;

impl TryFrom<v1::AgentMessage> for AgentMessage {
    type Error = Error;

    /// An empty message is one that only a newer agent knows.
    fn try_from(message: v1::AgentMessage) -> Result<Self, Error> {
        let v1::AgentMessage { message } = message;
        match message.ok_or_else(|| Error::unknown("message", "nothing"))? {
            Message::Hello(hello) => hello.try_into().map(Box::new).map(Self::Hello).within("hello"),
            Message::Heartbeat(beat) => beat.try_into().map(Self::Heartbeat).within("heartbeat"),
            Message::Inventory(inventory) => inventory.try_into().map(Self::Inventory).within("inventory"),
            Message::Update(update) => update.try_into().map(Self::Update).within("update"),
            Message::Result(result) => result.try_into().map(Box::new).map(Self::Result).within("result"),
            Message::History(history) => history.try_into().map(Self::History).within("history"),
            Message::Farewell(farewell) => farewell.try_into().map(Self::Farewell).within("farewell"),
        }
    }
}

impl From<AgentMessage> for v1::AgentMessage {
    fn from(message: AgentMessage) -> Self {
        let message = match message {
            AgentMessage::Hello(hello) => Message::Hello((*hello).into()),
            AgentMessage::Heartbeat(beat) => Message::Heartbeat(beat.into()),
            AgentMessage::Inventory(inventory) => Message::Inventory(inventory.into()),
            AgentMessage::Update(update) => Message::Update(update.into()),
            AgentMessage::Result(result) => Message::Result((*result).into()),
            AgentMessage::History(history) => Message::History(history.into()),
            AgentMessage::Farewell(farewell) => Message::Farewell(farewell.into()),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Error;

    fn try_from(hello: v1::Hello) -> Result<Self, Error> {
        let v1::Hello {
            protocol,
            version,
            host,
            incarnation,
            clock,
            capabilities,
            allow,
            repository,
            repository_encrypted,
            probes,
            tasks,
            suspended,
        } = hello;
        Ok(Self {
            protocol,
            version: given("version", version)?,
            host: parsed("host", &host)?,
            incarnation: given("incarnation", incarnation)?,
            clock: moment("clock", clock)?,
            capabilities: texts("capabilities", capabilities, limits::NAMES)?,
            allow: inner("allow", allow)?,
            repository: optional("repository", repository)?,
            repository_encrypted,
            probes: texts("probes", probes, limits::NAMES)?,
            tasks: list("tasks", tasks, limits::TASKS)?,
            suspended: optional("suspended", suspended)?,
        })
    }
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        let Hello {
            protocol,
            version,
            host,
            incarnation,
            clock,
            capabilities,
            allow,
            repository,
            repository_encrypted,
            probes,
            tasks,
            suspended,
        } = hello;
        Self {
            protocol,
            version,
            host: host.into(),
            incarnation,
            clock: Some(timestamp(clock)),
            capabilities,
            allow: Some(allow.into()),
            repository: or_empty(repository),
            repository_encrypted,
            probes,
            tasks: tasks.into_iter().map(Into::into).collect(),
            suspended: or_empty(suspended),
        }
    }
}

impl TryFrom<v1::RunningTask> for TaskKey {
    type Error = Error;

    fn try_from(running: v1::RunningTask) -> Result<Self, Error> {
        let v1::RunningTask { task, fence } = running;
        task_key(&task, fence)
    }
}

impl From<TaskKey> for v1::RunningTask {
    fn from(key: TaskKey) -> Self {
        let TaskKey { task, fence } = key;
        Self {
            task: task.to_string(),
            fence: Some(fence.into()),
        }
    }
}

impl TryFrom<v1::Heartbeat> for Heartbeat {
    type Error = Error;

    fn try_from(beat: v1::Heartbeat) -> Result<Self, Error> {
        let v1::Heartbeat {
            clock,
            suspended,
            tasks,
            oldest_pin,
            scratch_bytes,
        } = beat;
        Ok(Self {
            clock: moment("clock", clock)?,
            suspended: optional("suspended", suspended)?,
            tasks: list("tasks", tasks, limits::TASKS)?,
            oldest_pin: maybe_length("oldest_pin", oldest_pin)?,
            scratch_bytes,
        })
    }
}

impl From<Heartbeat> for v1::Heartbeat {
    fn from(beat: Heartbeat) -> Self {
        let Heartbeat {
            clock,
            suspended,
            tasks,
            oldest_pin,
            scratch_bytes,
        } = beat;
        Self {
            clock: Some(timestamp(clock)),
            suspended: or_empty(suspended),
            tasks: tasks.into_iter().map(Into::into).collect(),
            oldest_pin: oldest_pin.map(duration),
            scratch_bytes,
        }
    }
}

impl TryFrom<v1::Inventory> for Inventory {
    type Error = Error;

    fn try_from(inventory: v1::Inventory) -> Result<Self, Error> {
        let v1::Inventory {
            sources,
            snapshots,
            snapshots_problem,
            stored_bytes,
            verification,
        } = inventory;
        Ok(Self {
            sources: list("sources", sources, limits::SOURCES)?,
            snapshots: list("snapshots", snapshots, limits::SNAPSHOTS)?,
            snapshots_problem: optional("snapshots_problem", snapshots_problem)?,
            stored_bytes,
            verification: verification.map(Into::into),
        })
    }
}

impl From<Inventory> for v1::Inventory {
    fn from(inventory: Inventory) -> Self {
        let Inventory {
            sources,
            snapshots,
            snapshots_problem,
            stored_bytes,
            verification,
        } = inventory;
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            snapshots: snapshots.into_iter().map(Into::into).collect(),
            snapshots_problem: or_empty(snapshots_problem),
            stored_bytes,
            verification: verification.map(Into::into),
        }
    }
}

impl From<v1::Verification> for Verification {
    fn from(verification: v1::Verification) -> Self {
        let v1::Verification {
            pack_bytes,
            verified_bytes,
        } = verification;
        Self {
            packs: pack_bytes,
            verified: verified_bytes.min(pack_bytes),
        }
    }
}

impl From<Verification> for v1::Verification {
    fn from(verification: Verification) -> Self {
        let Verification { packs, verified } = verification;
        Self {
            pack_bytes: packs,
            verified_bytes: verified,
        }
    }
}

impl TryFrom<v1::Farewell> for Farewell {
    type Error = Error;

    fn try_from(farewell: v1::Farewell) -> Result<Self, Error> {
        let v1::Farewell { incarnation } = farewell;
        Ok(Self {
            incarnation: given("incarnation", incarnation)?,
        })
    }
}

impl From<Farewell> for v1::Farewell {
    fn from(farewell: Farewell) -> Self {
        let Farewell { incarnation } = farewell;
        Self { incarnation }
    }
}

impl TryFrom<v1::TaskUpdate> for TaskUpdate {
    type Error = Error;

    fn try_from(update: v1::TaskUpdate) -> Result<Self, Error> {
        let v1::TaskUpdate {
            task,
            fence,
            progress,
        } = update;
        Ok(Self {
            key: task_key(&task, fence)?,
            progress: inner("progress", progress)?,
        })
    }
}

impl From<TaskUpdate> for v1::TaskUpdate {
    fn from(update: TaskUpdate) -> Self {
        let TaskUpdate { key, progress } = update;
        Self {
            task: key.task.to_string(),
            fence: Some(key.fence.into()),
            progress: Some(progress.into()),
        }
    }
}

impl TryFrom<v1::TaskResult> for TaskResult {
    type Error = Error;

    fn try_from(result: v1::TaskResult) -> Result<Self, Error> {
        let v1::TaskResult {
            task,
            fence,
            outcome,
            work,
            plan,
            slot: at,
        } = result;
        Ok(Self {
            key: task_key(&task, fence)?,
            outcome: inner("outcome", outcome)?,
            work: inner("work", work)?,
            slot: slot(plan, at)?,
        })
    }
}

impl From<TaskResult> for v1::TaskResult {
    fn from(result: TaskResult) -> Self {
        let TaskResult {
            key,
            outcome,
            work,
            slot,
        } = result;
        let (plan, slot) = plan_and_slot(slot);
        Self {
            task: key.task.to_string(),
            fence: Some(key.fence.into()),
            outcome: Some(outcome.into()),
            work: Some(work.into()),
            plan,
            slot,
        }
    }
}

impl TryFrom<v1::History> for History {
    type Error = Error;

    /// A result that only a newer agent knows is left out: the rest of the past is worth having.
    fn try_from(history: v1::History) -> Result<Self, Error> {
        let v1::History { results, plans } = history;
        counted("results", results.len(), limits::RESULTS)?;
        let mut known = Vec::with_capacity(results.len());
        for (index, result) in results.into_iter().enumerate() {
            match TaskResult::try_from(result).within(&format!("results[{index}]")) {
                Ok(result) => known.push(result),
                Err(error) if error.is_unknown() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            results: known,
            plans: list("plans", plans, limits::PLANS)?,
        })
    }
}

impl From<History> for v1::History {
    fn from(history: History) -> Self {
        let History { results, plans } = history;
        Self {
            results: results.into_iter().map(Into::into).collect(),
            plans: plans.into_iter().map(Into::into).collect(),
        }
    }
}
