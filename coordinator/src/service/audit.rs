//! `drill.v1.Audit`.

use dr_proto::v1;
use dr_proto::v1::audit_server::Audit;
use tonic::{Request, Response, Status};

use super::answer;
use crate::handle;

/// Reads of the audit log.
#[derive(Debug)]
pub(crate) struct AuditLog(pub(crate) handle::Audit);

#[tonic::async_trait]
impl Audit for AuditLog {
    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let v1::ListAuditRequest { limit, before } = request.into_inner();
        let entries = self.0.list(before, limit).await?;
        let entries = entries.into_iter().map(answer::audit_entry).collect();
        Ok(Response::new(v1::ListAuditResponse { entries }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        let v1::VerifyAuditRequest {} = request.into_inner();
        Ok(Response::new(answer::chain(self.0.verify().await?)))
    }
}
