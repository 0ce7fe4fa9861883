//! A certificate that was issued.

use dr_proto::{v1, wire};

use crate::handle::Issued;

pub(in crate::service) fn certificate(issued: Issued) -> v1::CertificateResponse {
    let Issued {
        certificate_pem,
        trust_bundle_pem,
        expires,
    } = issued;
    v1::CertificateResponse {
        certificate_pem,
        trust_bundle_pem,
        expires: Some(wire::timestamp(expires)),
    }
}
