//! How reconcilers reach agents: through their streams.

use std::collections::BTreeSet;

use dr_proto::model::{CancelTask, CoordinatorMessage, HostName, RunEnded, StartTask};

use super::live::Live;
use crate::reconcile::{Gateway, Unreachable};

/// Reaches agents through the streams that are open.
#[derive(Debug, Clone)]
pub struct Reach(pub Live);

impl Reach {
    fn send(&self, host: &HostName, message: CoordinatorMessage) -> Result<(), Unreachable> {
        self.0.send(host, message).map_err(|error| {
            tracing::debug!(%host, %error, "a message was not queued");
            Unreachable
        })
    }
}

impl Gateway for Reach {
    fn connected(&self) -> BTreeSet<HostName> {
        self.0.usable().into_iter().map(|(host, _)| host).collect()
    }

    fn start(&self, host: &HostName, task: StartTask) -> Result<(), Unreachable> {
        self.send(host, CoordinatorMessage::Start(Box::new(task)))
    }

    fn cancel(&self, host: &HostName, cancel: CancelTask) -> Result<(), Unreachable> {
        self.send(host, CoordinatorMessage::Cancel(cancel))
    }

    fn ended(&self, host: &HostName, ended: RunEnded) -> Result<(), Unreachable> {
        self.send(host, CoordinatorMessage::RunEnded(ended))
    }
}
