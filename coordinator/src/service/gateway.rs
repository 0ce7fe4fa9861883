//! `drill.v1.AgentGateway`.

use std::sync::Arc;

use dr_proto::v1;
use dr_proto::v1::agent_gateway_server::AgentGateway;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::answer;
use super::call::agent;
use crate::gateway::{Desk, Session};
use crate::handle::Enrolment;

/// Streams of agents, and their certificates.
#[derive(Debug)]
pub(crate) struct Gateway {
    desk: Arc<Desk>,
    enrolment: Enrolment,
    sessions: TaskTracker,
}

impl Gateway {
    /// The service; sessions are spawned on `sessions`.
    pub(crate) fn new(desk: Arc<Desk>, enrolment: Enrolment, sessions: TaskTracker) -> Self {
        Self {
            desk,
            enrolment,
            sessions,
        }
    }
}

#[tonic::async_trait]
impl AgentGateway for Gateway {
    type AttachStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (host, certificate) = agent(&request)?;
        let (session, answers) = Session::begin(self.desk.clone(), certificate, host, request.into_inner());
        self.sessions.spawn(session.run());
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        let (host, _) = agent(&request)?;
        let v1::RenewCertificateRequest { csr_pem } = request.into_inner();
        let issued = self.enrolment.renew(&host, &csr_pem).await?;
        Ok(Response::new(answer::certificate(issued)))
    }
}
