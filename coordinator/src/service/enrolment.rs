//! `drill.v1.Enrollment`: the only service of ours that may be called without a certificate.

use dr_proto::v1;
use dr_proto::v1::enrollment_server::Enrollment;
use tonic::{Request, Response, Status};

use super::answer;
use crate::handle::Enrolment;

/// The door for new hosts.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Enrolment);

#[tonic::async_trait]
impl Enrollment for Door {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        let v1::EnrollRequest { token, host, csr_pem } = request.into_inner();
        let issued = self.0.enrol(&token, &host, &csr_pem).await?;
        Ok(Response::new(answer::certificate(issued)))
    }
}
