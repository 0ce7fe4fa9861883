//! `drill.v1.Fleet`.

use dr_proto::v1;
use dr_proto::v1::fleet_server::Fleet;
use tonic::{Request, Response, Status};

use super::call::actor;
use super::{answer, read};
use crate::handle::{self, Suspensions, Terms, Tokens};

/// Hosts, tokens and suspensions.
#[derive(Debug)]
pub(crate) struct FleetService {
    pub(crate) fleet: handle::Fleet,
    pub(crate) tokens: Tokens,
    pub(crate) suspensions: Suspensions,
}

#[tonic::async_trait]
impl Fleet for FleetService {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::Status>, Status> {
        let v1::GetStatusRequest {} = request.into_inner();
        Ok(Response::new(answer::status(self.fleet.status().await?)))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let v1::ListAgentsRequest { select } = request.into_inner();
        let agents = self.fleet.list(&read::selector("select", &select)?).await?;
        let agents = agents.into_iter().map(answer::agent).collect();
        Ok(Response::new(v1::ListAgentsResponse { agents }))
    }

    async fn get_agent(&self, request: Request<v1::GetAgentRequest>) -> Result<Response<v1::Agent>, Status> {
        let v1::GetAgentRequest { host } = request.into_inner();
        let agent = self.fleet.get(&read::host("host", &host)?).await?;
        Ok(Response::new(answer::agent(agent)))
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let v1::ListSourcesRequest { host, uncovered } = request.into_inner();
        let host = read::maybe_host("host", &host)?;
        let sources = self.fleet.sources(host.as_ref(), uncovered).await?;
        let sources = sources.into_iter().map(answer::coverage).collect();
        Ok(Response::new(v1::ListSourcesResponse { sources }))
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        let v1::ListSnapshotsRequest { host } = request.into_inner();
        let host = read::maybe_host("host", &host)?;
        let snapshots = self.fleet.snapshots(host.as_ref()).await?;
        let snapshots = snapshots.into_iter().map(answer::snapshot).collect();
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots }))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::Token>, Status> {
        let by = actor(&request)?;
        let v1::CreateTokenRequest {
            host,
            labels,
            valid_for,
            needs_approval,
        } = request.into_inner();
        let host = read::maybe_host("host", &host)?;
        let labels = read::labels("labels", labels)?;
        let valid_for = read::length("valid_for", valid_for)?;
        let terms = Terms {
            valid_for,
            needs_approval,
        };
        let minted = self.tokens.create(host.as_ref(), &labels, terms, &by).await?;
        Ok(Response::new(answer::token(minted.record, minted.text)))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let v1::ListTokensRequest {} = request.into_inner();
        let tokens = self.tokens.list().await?;
        let tokens = tokens
            .into_iter()
            .map(|token| answer::token(token, String::new()))
            .collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn withdraw_token(
        &self,
        request: Request<v1::WithdrawTokenRequest>,
    ) -> Result<Response<v1::WithdrawTokenResponse>, Status> {
        let by = actor(&request)?;
        let v1::WithdrawTokenRequest { id } = request.into_inner();
        self.tokens.withdraw(&id, &by).await?;
        Ok(Response::new(v1::WithdrawTokenResponse {}))
    }

    async fn revoke_agent(
        &self,
        request: Request<v1::RevokeAgentRequest>,
    ) -> Result<Response<v1::RevokeAgentResponse>, Status> {
        let by = actor(&request)?;
        let v1::RevokeAgentRequest { host, reason } = request.into_inner();
        let (host, reason) = (read::host("host", &host)?, read::text("reason", reason)?);
        let streams_ended = self.fleet.revoke(&host, &reason, &by).await?;
        Ok(Response::new(v1::RevokeAgentResponse { streams_ended }))
    }

    async fn replace_agent(
        &self,
        request: Request<v1::ReplaceAgentRequest>,
    ) -> Result<Response<v1::ReplaceAgentResponse>, Status> {
        let by = actor(&request)?;
        let v1::ReplaceAgentRequest {
            host,
            reason,
            valid_for,
            needs_approval,
        } = request.into_inner();
        let (host, reason) = (read::host("host", &host)?, read::text("reason", reason)?);
        let terms = Terms {
            valid_for: read::length("valid_for", valid_for)?,
            needs_approval,
        };
        let serial = self.fleet.live_serial(&host);
        let replaced = self
            .tokens
            .replace(&host, &reason, terms, &by, serial.as_deref())
            .await;
        let minted = replaced?;
        self.fleet.end_revoked().await?;
        Ok(Response::new(v1::ReplaceAgentResponse {
            streams_ended: u32::from(serial.is_some()),
            token: Some(answer::token(minted.record, minted.text)),
        }))
    }

    async fn approve_agent(
        &self,
        request: Request<v1::ApproveAgentRequest>,
    ) -> Result<Response<v1::Agent>, Status> {
        let by = actor(&request)?;
        let v1::ApproveAgentRequest { host } = request.into_inner();
        let approved = self.fleet.approve(&read::host("host", &host)?, &by).await?;
        Ok(Response::new(answer::agent(approved)))
    }

    async fn retire_agent(
        &self,
        request: Request<v1::RetireAgentRequest>,
    ) -> Result<Response<v1::RetireAgentResponse>, Status> {
        let by = actor(&request)?;
        let v1::RetireAgentRequest { host, reason } = request.into_inner();
        let (host, reason) = (read::host("host", &host)?, read::text("reason", reason)?);
        self.fleet.retire(&host, &reason, &by).await?;
        Ok(Response::new(v1::RetireAgentResponse {}))
    }

    async fn import_inventory(
        &self,
        request: Request<v1::ImportInventoryRequest>,
    ) -> Result<Response<v1::ImportInventoryResponse>, Status> {
        let by = actor(&request)?;
        let v1::ImportInventoryRequest { hosts } = request.into_inner();
        let hosts = read::expected("hosts", hosts)?;
        let done = self.fleet.import(&hosts, &by).await?;
        Ok(Response::new(answer::imported(hosts.len(), done)))
    }

    async fn get_inventory_diff(
        &self,
        request: Request<v1::GetInventoryDiffRequest>,
    ) -> Result<Response<v1::InventoryDiff>, Status> {
        let v1::GetInventoryDiffRequest {} = request.into_inner();
        Ok(Response::new(answer::difference(self.fleet.difference().await?)))
    }

    async fn suspend(
        &self,
        request: Request<v1::SuspendRequest>,
    ) -> Result<Response<v1::SuspensionEntry>, Status> {
        let by = actor(&request)?;
        let v1::SuspendRequest {
            scope,
            reason,
            duration,
        } = request.into_inner();
        let reason = read::text("reason", reason)?;
        let lasts = read::length("duration", duration)?;
        let entry = self.suspensions.begin(&scope, &reason, lasts, &by).await?;
        Ok(Response::new(answer::suspension(entry)))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        let by = actor(&request)?;
        let v1::ResumeRequest { scope } = request.into_inner();
        let ended = self.suspensions.end(&scope, &by).await?;
        Ok(Response::new(v1::ResumeResponse { ended }))
    }
}
