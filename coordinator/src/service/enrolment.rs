//! `drill.v1.Enrollment`: the only service of ours that may be called without a certificate.

use dr_proto::model::HostName;
use dr_proto::v1;
use dr_proto::v1::enrollment_server::Enrollment;
use tonic::{Request, Response, Status};

use super::answer;
use super::call::address;
use crate::access::refusals::{Reason, Refusal, Refusals};
use crate::handle::Enrolment;

/// The door for new hosts.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) enrolment: Enrolment,
    pub(crate) refusals: Refusals,
}

#[tonic::async_trait]
impl Enrollment for Door {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        let from = address(&request);
        let v1::EnrollRequest { token, host, csr_pem } = request.into_inner();
        match self.enrolment.enrol(&token, &host, &csr_pem).await {
            Ok(issued) => Ok(Response::new(answer::certificate(issued))),
            Err(error) => {
                if error.is_refusal() {
                    // What a stranger calls itself is not repeated unless it is a name.
                    let host = host
                        .parse::<HostName>()
                        .map_or_else(|_| "?".to_owned(), |host| host.to_string());
                    self.refusals.record(Refusal {
                        reason: Reason::Token.word(),
                        actor: from,
                        subject: format!("enrolment of {host}"),
                    });
                }
                Err(error.into())
            }
        }
    }
}
