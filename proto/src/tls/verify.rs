//! Who may be at the other end.
//!
//! Chains, signatures, dates and purposes are checked by webpki; here the identity is, and it *replaces* the check of
//! the DNS name: a coordinator is whoever holds a certificate of our roots with the role `coordinator` in our domain,
//! under whatever name or address it is reached.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError as TlsCertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::certificate::{Certificate, CertificateError};
use super::material::Roots;
use crate::model::Fingerprint;
use crate::model::{Domain, Identity, Role};

/// Why a certificate that its authority vouches for is refused all the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// It names nobody.
    #[error("the other side's certificate names nobody")]
    Certificate(#[from] CertificateError),
    /// It is of another fleet.
    #[error("the other side is {identity}, of another domain than `{domain}`")]
    Domain {
        /// Who it is.
        identity: Identity,
        /// Our domain.
        domain: Domain,
    },
    /// It answers where a coordinator should.
    #[error("the other side is {identity}, not a coordinator")]
    NotACoordinator {
        /// Who it is.
        identity: Identity,
    },
    /// None of the certificates that it sent has the fingerprint that the token names.
    #[error("none of the {sent} certificates that the other side sent is a root that the token names")]
    Unpinned {
        /// How many it sent.
        sent: usize,
    },
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        TlsCertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

fn judged(leaf: &CertificateDer<'_>, domain: &Domain) -> Result<Identity, PeerError> {
    let identity = Certificate::parse(leaf)?.identity;
    if identity.domain == *domain {
        Ok(identity)
    } else {
        Err(PeerError::Domain {
            identity,
            domain: domain.clone(),
        })
    }
}

/// Judges those who dial us. Nobody has to show a certificate; whoever shows one must be somebody of our fleet.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    domain: Domain,
}

impl PeerVerifier {
    pub(super) fn new(
        roots: &Roots,
        domain: Domain,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots.store.clone(), provider.clone())
            .allow_unauthenticated()
            .build()?;
        Ok(Self { chain, domain })
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        judged(end_entity, &self.domain)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What makes a coordinator's root a root of ours.
#[derive(Debug)]
enum Trust {
    /// It is in the bundle.
    Bundle(Arc<RootCertStore>),
    /// Its fingerprint is in the token, and the coordinator sends it along.
    Pinned(Vec<Fingerprint>),
}

/// Judges the coordinator that we dial.
#[derive(Debug)]
pub(super) struct ServerIdentityVerifier {
    trust: Trust,
    domain: Domain,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerIdentityVerifier {
    pub(super) fn by_bundle(roots: Arc<RootCertStore>, domain: Domain, provider: &CryptoProvider) -> Self {
        Self {
            trust: Trust::Bundle(roots),
            domain,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    pub(super) fn by_fingerprint(pins: Vec<Fingerprint>, domain: Domain, provider: &CryptoProvider) -> Self {
        Self {
            trust: Trust::Pinned(pins),
            domain,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn roots(&self, sent: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        let pins = match &self.trust {
            Trust::Bundle(roots) => return Ok(roots.clone()),
            Trust::Pinned(pins) => pins,
        };
        let mut store = RootCertStore::empty();
        for certificate in sent.iter().filter(|sent| pins.contains(&fingerprint(sent))) {
            store.add(certificate.clone())?;
        }
        if store.is_empty() {
            return Err(PeerError::Unpinned { sent: sent.len() }.into());
        }
        Ok(Arc::new(store))
    }
}

impl ServerCertVerifier for ServerIdentityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = self.roots(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, self.algorithms.all)?;
        let identity = judged(end_entity, &self.domain)?;
        if identity.role != Role::Coordinator {
            return Err(PeerError::NotACoordinator { identity }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Fingerprint(bytes)
}
