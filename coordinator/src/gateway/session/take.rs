//! What an agent says after its hello, one message at a time.

use dr_proto::model::plan::Plan;
use dr_proto::model::{
    AgentMessage, CancelTask, CoordinatorMessage, Heartbeat, History, PlanText, Report, TaskResult,
    TaskUpdate, Work,
};
use dr_store::plans::NewPlan;
use dr_store::results::Filed;
use dr_store::tasks::Accepted;

use super::greet::store_failed;
use super::weigh::weigh;
use super::{End, Session};
use crate::access::refusals::{Reason, Refusal};
use crate::gateway::live::Attached;

impl Session {
    /// Takes one message in.
    pub(super) async fn take(&mut self, stream: &Attached, message: AgentMessage) -> Result<(), End> {
        stream.heard(self.desk.clock.now());
        if !matches!(message, AgentMessage::History(_)) {
            self.end_history().await?;
        }
        match message {
            AgentMessage::Hello(_) => Err(End::protocol("a second hello came on one stream")),
            AgentMessage::Heartbeat(heartbeat) => self.heartbeat(stream, heartbeat).await,
            AgentMessage::Inventory(inventory) => self
                .desk
                .store
                .inventories()
                .replace(&self.host, &inventory)
                .await
                .map_err(store_failed),
            AgentMessage::Update(update) => self.update(stream, update).await,
            AgentMessage::Result(result) => self.result(stream, *result).await,
            AgentMessage::History(history) => self.history(history).await,
            // It answers a goodbye, and is heard after one: see `Session::run`.
            AgentMessage::Farewell(_) => Err(End::protocol("a farewell came before a goodbye")),
        }
    }

    async fn heartbeat(&mut self, stream: &Attached, heartbeat: Heartbeat) -> Result<(), End> {
        let before = self.desk.live.facts(&self.host).and_then(|facts| facts.suspended);
        stream.beat(self.desk.clock.now(), &heartbeat);
        if before != heartbeat.suspended {
            let hosts = self.desk.store.hosts();
            hosts
                .set_suspended(&self.host, heartbeat.suspended.as_deref())
                .await
                .map_err(store_failed)?;
        }
        for update in heartbeat.tasks {
            self.update(stream, update).await?;
        }
        Ok(())
    }

    /// The first word of a task is written down; what follows is progress, which lives in memory.
    async fn update(&mut self, stream: &Attached, update: TaskUpdate) -> Result<(), End> {
        let key = update.key;
        if !stream.knows(key) {
            match self
                .desk
                .store
                .tasks()
                .accept(key, &self.host)
                .await
                .map_err(store_failed)?
            {
                Accepted::Running | Accepted::Already => {}
                Accepted::Superseded => {
                    self.send(CoordinatorMessage::Cancel(CancelTask {
                        key,
                        reason:
                            "the coordinator has moved on: another attempt is in force, or the task has ended"
                                .to_owned(),
                    }));
                    return Ok(());
                }
                Accepted::Unknown => {
                    tracing::debug!(host = %self.host, task = %key.task, "progress of a task that is not known here");
                    return Ok(());
                }
            }
        }
        stream.progressed(update);
        Ok(())
    }

    /// Acknowledged after it was committed, whatever came of it; a result that could not be stored ends the stream, so
    /// that it is sent again.
    async fn result(&mut self, stream: &Attached, result: TaskResult) -> Result<(), End> {
        if self.is_pending().await? {
            tracing::warn!(host = %self.host, task = %result.key.task, "a result of a host that nobody has approved yet waits there");
            return Ok(());
        }
        let result = &weigh(&self.desk.store, &self.host, result)
            .await
            .map_err(store_failed)?;
        let filed = self
            .desk
            .store
            .results()
            .file(&self.host, result)
            .await
            .map_err(store_failed)?;
        dr_store::failpoint::reach("gateway.result.filed");
        tracing::info!(
            host = %self.host,
            task = %result.key.task,
            fence = %result.key.fence,
            state = %result.outcome.state,
            filed = filed.word(),
            "a result came"
        );
        if filed == Filed::NotYours {
            self.desk.refusals.record(Refusal {
                reason: Reason::WrongHost.word(),
                actor: self.certificate.identity.to_string(),
                subject: format!("the result of task {}", result.key.task),
            });
            return Ok(());
        }
        stream.finished(result.key.task);
        self.desk.metrics.result(filed.word());
        if matches!(filed, Filed::Recorded | Filed::Again | Filed::Offline) {
            self.count(result);
        }
        self.send(CoordinatorMessage::Acknowledged(result.key));
        Ok(())
    }

    fn count(&self, result: &TaskResult) {
        let report = match &result.work {
            // The store says in the task's events when a report can not be read.
            Work::Drill(_) => serde_json::from_slice::<Report>(&result.outcome.document).ok(),
            _ => None,
        };
        self.desk
            .metrics
            .filed(&result.work, &result.outcome, report.as_ref());
    }

    /// Nobody has said that this machine is the right one: what it says of work counts only afterwards. It sends it
    /// again until it is acknowledged.
    async fn is_pending(&self) -> Result<bool, End> {
        let hosts = self.desk.store.hosts();
        hosts.is_pending(&self.host).await.map_err(store_failed)
    }

    /// What the agent remembers, for a store that had lost it.
    async fn history(&mut self, history: History) -> Result<(), End> {
        if self.is_pending().await? {
            return Ok(());
        }
        for result in history.results {
            let result = weigh(&self.desk.store, &self.host, result)
                .await
                .map_err(store_failed)?;
            let filed = self
                .desk
                .store
                .results()
                .file(&self.host, &result)
                .await
                .map_err(store_failed)?;
            tracing::info!(host = %self.host, task = %result.key.task, filed = filed.word(), "a result was remembered");
        }
        for plan in &history.plans {
            self.remembered(plan).await?;
        }
        self.history_came = true;
        Ok(())
    }

    async fn remembered(&self, plan: &PlanText) -> Result<(), End> {
        let parsed = match Plan::parse(&plan.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::warn!(host = %self.host, plan = plan.name, %error, "a remembered plan can not be read");
                return Ok(());
            }
        };
        let actor = self.certificate.identity.to_string();
        let new = NewPlan {
            name: &parsed.name,
            text: &plan.text,
            hash: parsed.hash(),
            expected_hash: None,
            by: &actor,
        };
        if self
            .desk
            .store
            .plans()
            .recover(&new)
            .await
            .map_err(store_failed)?
        {
            tracing::warn!(host = %self.host, plan = plan.name, "took over a plan that an agent remembers, disabled");
        }
        Ok(())
    }

    /// History may come in several messages: it is complete when something else comes.
    async fn end_history(&mut self) -> Result<(), End> {
        if std::mem::take(&mut self.history_came) {
            self.desk
                .store
                .hosts()
                .set_history_filed(&self.host)
                .await
                .map_err(store_failed)?;
        }
        Ok(())
    }

    /// Queues a message for this agent. If it is not there any more, its next hello settles the matter.
    fn send(&self, message: CoordinatorMessage) {
        if let Err(error) = self.desk.live.send(&self.host, message) {
            tracing::debug!(host = %self.host, %error, "a message was not queued");
        }
    }
}
