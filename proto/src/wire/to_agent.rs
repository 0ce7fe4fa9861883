//! What the coordinator says to an agent.

use std::collections::BTreeMap;

use super::error::Within;
use super::read::{given, inner, list, optional, or_empty, parsed, required, text};
use super::task::{task_key, word};
use super::time::{duration, length, maybe_moment, moment, timestamp};
use super::{Error, limits};
use crate::model::{
    CancelTask, CoordinatorMessage, Goodbye, GoodbyeReason, Labels, PlanText, RunEnded, Slot, StartTask,
    Suspension, TaskKey, Welcome, plan,
};
use crate::v1;
use crate::v1::coordinator_message::Message;

impl TryFrom<v1::CoordinatorMessage> for CoordinatorMessage {
    type Error = Error;

    /// An empty message is one that only a newer coordinator knows.
    fn try_from(message: v1::CoordinatorMessage) -> Result<Self, Error> {
        let v1::CoordinatorMessage { message } = message;
        match message.ok_or_else(|| Error::unknown("message", "nothing"))? {
            Message::Welcome(welcome) => welcome.try_into().map(Self::Welcome).within("welcome"),
            Message::Start(start) => start.try_into().map(Box::new).map(Self::Start).within("start"),
            Message::Cancel(cancel) => cancel.try_into().map(Self::Cancel).within("cancel"),
            Message::Acknowledged(v1::ResultAcknowledged { task, fence }) => task_key(&task, fence)
                .map(Self::Acknowledged)
                .within("acknowledged"),
            Message::Plans(v1::PlanSet { plans }) => list("plans", plans, limits::PLANS)
                .map(Self::Plans)
                .within("plans"),
            Message::Suspension(suspension) => {
                suspension.try_into().map(Self::Suspension).within("suspension")
            }
            Message::Goodbye(goodbye) => goodbye.try_into().map(Self::Goodbye).within("goodbye"),
            Message::RunEnded(v1::RunEnded { trace_id, passed }) => given("trace_id", trace_id)
                .map(|trace_id| Self::RunEnded(RunEnded { trace_id, passed }))
                .within("run_ended"),
        }
    }
}

impl From<CoordinatorMessage> for v1::CoordinatorMessage {
    fn from(message: CoordinatorMessage) -> Self {
        let message = match message {
            CoordinatorMessage::Welcome(welcome) => Message::Welcome(welcome.into()),
            CoordinatorMessage::Start(start) => Message::Start((*start).into()),
            CoordinatorMessage::Cancel(cancel) => Message::Cancel(cancel.into()),
            CoordinatorMessage::Acknowledged(TaskKey { task, fence }) => {
                Message::Acknowledged(v1::ResultAcknowledged {
                    task: task.to_string(),
                    fence: Some(fence.into()),
                })
            }
            CoordinatorMessage::Plans(plans) => Message::Plans(v1::PlanSet {
                plans: plans.into_iter().map(Into::into).collect(),
            }),
            CoordinatorMessage::Suspension(suspension) => Message::Suspension(suspension.into()),
            CoordinatorMessage::Goodbye(goodbye) => Message::Goodbye(goodbye.into()),
            CoordinatorMessage::RunEnded(RunEnded { trace_id, passed }) => {
                Message::RunEnded(v1::RunEnded { trace_id, passed })
            }
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<v1::Welcome> for Welcome {
    type Error = Error;

    fn try_from(welcome: v1::Welcome) -> Result<Self, Error> {
        let v1::Welcome {
            protocol,
            version,
            epoch,
            heartbeat,
            clock,
            labels: given_labels,
            wants_history,
        } = welcome;
        let heartbeat = length("heartbeat", heartbeat)?;
        if heartbeat.is_zero() {
            return Err(Error::invalid(
                "heartbeat",
                "0s",
                "an agent cannot beat without a pause",
            ));
        }
        Ok(Self {
            protocol,
            version: given("version", version)?,
            epoch,
            heartbeat,
            clock: moment("clock", clock)?,
            labels: labels("labels", given_labels)?,
            wants_history,
        })
    }
}

impl From<Welcome> for v1::Welcome {
    fn from(welcome: Welcome) -> Self {
        let Welcome {
            protocol,
            version,
            epoch,
            heartbeat,
            clock,
            labels,
            wants_history,
        } = welcome;
        Self {
            protocol,
            version,
            epoch,
            heartbeat: Some(duration(heartbeat)),
            clock: Some(timestamp(clock)),
            labels: BTreeMap::from(labels).into_iter().collect(),
            wants_history,
        }
    }
}

/// Labels of a host.
pub(crate) fn labels(
    field: &str,
    values: impl IntoIterator<Item = (String, String)>,
) -> Result<Labels, Error> {
    let values: BTreeMap<String, String> = values.into_iter().collect();
    let shown = format!("{} labels", values.len());
    Labels::try_from(values).map_err(|error| Error::invalid(field, shown, error.to_string()))
}

impl TryFrom<v1::StartTask> for StartTask {
    type Error = Error;

    fn try_from(start: v1::StartTask) -> Result<Self, Error> {
        let v1::StartTask {
            task,
            fence,
            work,
            deadline,
            plan,
            slot: at,
            run,
            traceparent,
        } = start;
        Ok(Self {
            key: task_key(&task, fence)?,
            work: inner("work", work)?,
            deadline: length("deadline", deadline)?,
            slot: slot(plan, at)?,
            run: parsed("run", &run)?,
            traceparent: optional("traceparent", traceparent)?,
        })
    }
}

impl From<StartTask> for v1::StartTask {
    fn from(start: StartTask) -> Self {
        let StartTask {
            key,
            work,
            deadline,
            slot,
            run,
            traceparent,
        } = start;
        let (plan, slot) = plan_and_slot(slot);
        Self {
            task: key.task.to_string(),
            fence: Some(key.fence.into()),
            work: Some(work.into()),
            deadline: Some(duration(deadline)),
            plan,
            slot,
            run: run.to_string(),
            traceparent: or_empty(traceparent),
        }
    }
}

/// A plan and the moment that it was due, which are there together or not at all.
pub(crate) fn slot(plan: String, at: Option<prost_types::Timestamp>) -> Result<Option<Slot>, Error> {
    let at = maybe_moment("slot", at)?;
    match (optional("plan", plan)?, at) {
        (Some(plan), Some(at)) => Ok(Some(Slot { plan, at })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::Missing("slot".to_owned())),
        (None, Some(_)) => Err(Error::Missing("plan".to_owned())),
    }
}

/// The two fields that a slot has on the wire.
pub(crate) fn plan_and_slot(slot: Option<Slot>) -> (String, Option<prost_types::Timestamp>) {
    match slot {
        Some(Slot { plan, at }) => (plan, Some(timestamp(at))),
        None => (String::new(), None),
    }
}

impl TryFrom<v1::CancelTask> for CancelTask {
    type Error = Error;

    fn try_from(cancel: v1::CancelTask) -> Result<Self, Error> {
        let v1::CancelTask { task, fence, reason } = cancel;
        Ok(Self {
            key: task_key(&task, fence)?,
            reason: text("reason", reason)?,
        })
    }
}

impl From<CancelTask> for v1::CancelTask {
    fn from(cancel: CancelTask) -> Self {
        let CancelTask { key, reason } = cancel;
        Self {
            task: key.task.to_string(),
            fence: Some(key.fence.into()),
            reason,
        }
    }
}

impl TryFrom<v1::PlanText> for PlanText {
    type Error = Error;

    fn try_from(plan: v1::PlanText) -> Result<Self, Error> {
        let v1::PlanText {
            name,
            text: body,
            hash,
        } = plan;
        let body = given("text", body)?;
        if plan::hash_of(&body) != hash {
            return Err(Error::invalid("hash", hash, "it is not the hash of the text"));
        }
        Ok(Self {
            name: given("name", name)?,
            text: body,
            hash,
        })
    }
}

impl From<PlanText> for v1::PlanText {
    fn from(plan: PlanText) -> Self {
        let PlanText { name, text, hash } = plan;
        Self { name, text, hash }
    }
}

impl TryFrom<v1::Suspension> for Suspension {
    type Error = Error;

    fn try_from(suspension: v1::Suspension) -> Result<Self, Error> {
        let v1::Suspension { reason, until } = suspension;
        Ok(Self {
            reason: optional("reason", reason)?,
            until: maybe_moment("until", until)?,
        })
    }
}

impl From<Suspension> for v1::Suspension {
    fn from(suspension: Suspension) -> Self {
        let Suspension { reason, until } = suspension;
        Self {
            reason: or_empty(reason),
            until: until.map(timestamp),
        }
    }
}

impl TryFrom<v1::Goodbye> for Goodbye {
    type Error = Error;

    fn try_from(goodbye: v1::Goodbye) -> Result<Self, Error> {
        use v1::goodbye::Reason;
        let v1::Goodbye { reason, message } = goodbye;
        let reason = match word("reason", reason)? {
            Reason::Unspecified => None,
            Reason::Replaced => Some(GoodbyeReason::Replaced),
            Reason::Revoked => Some(GoodbyeReason::Revoked),
            Reason::Shutdown => Some(GoodbyeReason::Shutdown),
            Reason::Version => Some(GoodbyeReason::Version),
            Reason::Protocol => Some(GoodbyeReason::Protocol),
        };
        Ok(Self {
            reason: required("reason", reason)?,
            message: text("message", message)?,
        })
    }
}

impl From<Goodbye> for v1::Goodbye {
    fn from(goodbye: Goodbye) -> Self {
        use v1::goodbye::Reason;
        let Goodbye { reason, message } = goodbye;
        let reason = match reason {
            GoodbyeReason::Replaced => Reason::Replaced,
            GoodbyeReason::Revoked => Reason::Revoked,
            GoodbyeReason::Shutdown => Reason::Shutdown,
            GoodbyeReason::Version => Reason::Version,
            GoodbyeReason::Protocol => Reason::Protocol,
        };
        Self {
            reason: reason.into(),
            message,
        }
    }
}
