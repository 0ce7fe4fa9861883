//! Questions about hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_proto::model::expected::ExpectedHost;
use dr_proto::view::{
    Agent, HostSnapshot, Imported, InventoryDiff, Replaced, SourceCoverage, Status, Suspended, Token,
};
use dr_proto::{v1, wire};

use super::{CallError, Coordinator, read, read_all};

/// What a token allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How long it may be used; `None`: the coordinator's default.
    pub(crate) valid_for: Option<Duration>,
    /// Whether the host gets nothing to do before an operator approves it.
    pub(crate) needs_approval: bool,
}

impl Coordinator {
    pub(crate) async fn replace(
        &self,
        host: String,
        reason: String,
        terms: Terms,
    ) -> Result<Replaced, CallError> {
        const DOING: &str = "replace an agent";
        let ask = async |request| self.client.fleet().replace_agent(request).await;
        let question = v1::ReplaceAgentRequest {
            host,
            reason,
            valid_for: terms.valid_for.map(wire::duration),
            needs_approval: terms.needs_approval,
        };
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn import_inventory(&self, hosts: Vec<ExpectedHost>) -> Result<Imported, CallError> {
        let hosts = hosts
            .into_iter()
            .map(|ExpectedHost { host, labels }| v1::ExpectedHost {
                host: host.to_string(),
                labels: labels
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            });
        let question = v1::ImportInventoryRequest {
            hosts: hosts.collect(),
        };
        let ask = async |request| self.client.fleet().import_inventory(request).await;
        let answer = self.ask("hand the list over", question, ask).await?;
        Ok(answer.into())
    }

    pub(crate) async fn inventory_diff(&self) -> Result<InventoryDiff, CallError> {
        const DOING: &str = "compare the list with the fleet";
        let ask = async |request| self.client.fleet().get_inventory_diff(request).await;
        let answer = self.ask(DOING, v1::GetInventoryDiffRequest {}, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn approve(&self, host: String) -> Result<Agent, CallError> {
        const DOING: &str = "approve an agent";
        let ask = async |request| self.client.fleet().approve_agent(request).await;
        let answer = self.ask(DOING, v1::ApproveAgentRequest { host }, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn status(&self) -> Result<Status, CallError> {
        const DOING: &str = "ask for the status";
        let ask = async |request| self.client.fleet().get_status(request).await;
        let answer = self.ask(DOING, v1::GetStatusRequest {}, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn agents(&self, select: Option<String>) -> Result<Vec<Agent>, CallError> {
        const DOING: &str = "list agents";
        let question = v1::ListAgentsRequest {
            select: select.unwrap_or_default(),
        };
        let ask = async |request| self.client.fleet().list_agents(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read_all(DOING, answer.agents)
    }

    pub(crate) async fn agent(&self, host: String) -> Result<Agent, CallError> {
        const DOING: &str = "ask for an agent";
        let ask = async |request| self.client.fleet().get_agent(request).await;
        let answer = self.ask(DOING, v1::GetAgentRequest { host }, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn sources(
        &self,
        host: Option<String>,
        uncovered: bool,
    ) -> Result<Vec<SourceCoverage>, CallError> {
        const DOING: &str = "list sources";
        let question = v1::ListSourcesRequest {
            host: host.unwrap_or_default(),
            uncovered,
        };
        let ask = async |request| self.client.fleet().list_sources(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read_all(DOING, answer.sources)
    }

    pub(crate) async fn snapshots(&self, host: Option<String>) -> Result<Vec<HostSnapshot>, CallError> {
        const DOING: &str = "list snapshots";
        let question = v1::ListSnapshotsRequest {
            host: host.unwrap_or_default(),
        };
        let ask = async |request| self.client.fleet().list_snapshots(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read_all(DOING, answer.snapshots)
    }

    pub(crate) async fn create_token(
        &self,
        host: Option<String>,
        labels: BTreeMap<String, String>,
        terms: Terms,
    ) -> Result<Token, CallError> {
        const DOING: &str = "make a token";
        let question = v1::CreateTokenRequest {
            host: host.unwrap_or_default(),
            labels: labels.into_iter().collect(),
            valid_for: terms.valid_for.map(wire::duration),
            needs_approval: terms.needs_approval,
        };
        let ask = async |request| self.client.fleet().create_token(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn tokens(&self) -> Result<Vec<Token>, CallError> {
        const DOING: &str = "list tokens";
        let ask = async |request| self.client.fleet().list_tokens(request).await;
        let answer = self.ask(DOING, v1::ListTokensRequest {}, ask).await?;
        read_all(DOING, answer.tokens)
    }

    pub(crate) async fn withdraw_token(&self, id: String) -> Result<(), CallError> {
        let ask = async |request| self.client.fleet().withdraw_token(request).await;
        let v1::WithdrawTokenResponse {} = self
            .ask("withdraw a token", v1::WithdrawTokenRequest { id }, ask)
            .await?;
        Ok(())
    }

    /// How many streams were ended.
    pub(crate) async fn revoke(&self, host: String, reason: String) -> Result<u32, CallError> {
        let ask = async |request| self.client.fleet().revoke_agent(request).await;
        let question = v1::RevokeAgentRequest { host, reason };
        let answer = self.ask("revoke an agent", question, ask).await?;
        Ok(answer.streams_ended)
    }

    pub(crate) async fn retire(&self, host: String, reason: String) -> Result<(), CallError> {
        let ask = async |request| self.client.fleet().retire_agent(request).await;
        let question = v1::RetireAgentRequest { host, reason };
        let v1::RetireAgentResponse {} = self.ask("retire an agent", question, ask).await?;
        Ok(())
    }

    pub(crate) async fn suspend(
        &self,
        scope: String,
        reason: String,
        length: Option<Duration>,
    ) -> Result<Suspended, CallError> {
        const DOING: &str = "suspend work";
        let question = v1::SuspendRequest {
            scope,
            reason,
            duration: length.map(wire::duration),
        };
        let ask = async |request| self.client.fleet().suspend(request).await;
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }

    /// How many suspensions were ended.
    pub(crate) async fn resume(&self, scope: String) -> Result<u32, CallError> {
        let ask = async |request| self.client.fleet().resume(request).await;
        let answer = self.ask("resume work", v1::ResumeRequest { scope }, ask).await?;
        Ok(answer.ended)
    }
}
