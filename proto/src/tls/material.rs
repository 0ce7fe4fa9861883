//! Certificate, key and roots, judged, and the TLS configurations made of them.
//!
//! One set of files serves both ways: a coordinator that answers, an agent or operator that dials. TLS 1.3 only, and
//! no session is ever resumed: each connection proves itself with the certificate of the day.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier as _;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificate::{Certificate, CertificateError, RootFacts, issuer};
use super::files::{Contents, FileError, Files};
use super::verify::{PeerVerifier, ServerIdentityVerifier};
use crate::model::Role;

/// HTTP/2, which is what gRPC speaks.
const ALPN: &[u8] = b"h2";

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The present moment by a rustls clock.
pub(super) fn now(time: &dyn TimeProvider) -> Result<Timestamp, MaterialError> {
    time.current_time()
        .and_then(|time| i64::try_from(time.as_secs()).ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(MaterialError::NoTime)
}

/// Roots that others must come from.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    pub(super) store: Arc<RootCertStore>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Those of `certificates` that have not expired: an expired one of a finished rotation is no reason to refuse
    /// the others, and none to trust it.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        now: Timestamp,
    ) -> Result<Self, RootsError> {
        let mut store = RootCertStore::empty();
        let mut kept = Vec::new();
        let mut newest: Option<Timestamp> = None;
        for (index, der) in certificates.into_iter().enumerate() {
            let number = index + 1;
            let facts =
                RootFacts::parse(&der).map_err(|source| RootsError::Certificate { number, source })?;
            if !facts.is_authority {
                return Err(RootsError::NotAnAuthority { number });
            }
            newest = newest.max(Some(facts.not_after));
            if facts.not_after <= now {
                continue;
            }
            store
                .add(der.clone())
                .map_err(|source| RootsError::Unusable { number, source })?;
            kept.push(der);
        }
        match (kept.is_empty(), newest) {
            (false, _) => Ok(Self {
                store: Arc::new(store),
                certificates: kept,
            }),
            (true, newest) => Err(RootsError::AllExpired {
                newest: newest.unwrap_or_default(),
            }),
        }
    }
}

/// Why roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// One does not parse.
    #[error("certificate number {number}")]
    Certificate {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// One is not a certificate authority.
    #[error("certificate number {number} is not that of a certificate authority")]
    NotAnAuthority {
        /// Its number, from 1.
        number: usize,
    },
    /// One is refused by rustls.
    #[error("certificate number {number} cannot be trusted")]
    Unusable {
        /// Its number, from 1.
        number: usize,
        /// What rustls says.
        source: rustls::Error,
    },
    /// None is valid.
    #[error("all roots have expired, the last at {newest}")]
    AllExpired {
        /// When the last one did.
        newest: Timestamp,
    },
}

/// Certificate, key and roots that fit together.
#[derive(Debug, Clone)]
pub struct Material {
    certificate: Certificate,
    leaf: CertificateDer<'static>,
    roots: Roots,
    peers: Arc<PeerVerifier>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Material {
    /// Reads and judges `files`.
    ///
    /// # Errors
    /// When one cannot be read, when they do not fit together, when the certificate names nobody or is not valid now.
    pub fn load(files: &Files, time: &Arc<dyn TimeProvider>) -> Result<Self, MaterialError> {
        Self::judge(files.read()?, files, time)
    }

    pub(super) fn judge(
        contents: Contents,
        files: &Files,
        time: &Arc<dyn TimeProvider>,
    ) -> Result<Self, MaterialError> {
        let Contents { chain, keys, roots } = contents;
        let path = &files.certificate;
        let now = now(time.as_ref())?;
        let leaf = chain
            .first()
            .ok_or_else(|| FileError::NoCertificate { path: path.clone() })?;
        let certificate = Certificate::parse(leaf).map_err(|source| MaterialError::Certificate {
            path: path.clone(),
            source,
        })?;
        if certificate.not_after <= now {
            return Err(MaterialError::Expired {
                path: path.clone(),
                at: certificate.not_after,
            });
        }
        if certificate.not_before > now {
            return Err(MaterialError::NotYetValid {
                path: path.clone(),
                from: certificate.not_before,
                now,
            });
        }
        let leaf = leaf.clone();
        let roots = Roots::new(roots, now).map_err(|source| MaterialError::Roots {
            path: files.trust_bundle.clone(),
            source,
        })?;
        let key = matching(with_root(chain, &roots), keys, files)?;
        let resolver = Arc::new(SingleCertAndKey::from(key));
        let domain = certificate.identity.domain.clone();
        let peers = Arc::new(PeerVerifier::new(&roots, domain, &provider())?);
        Ok(Self {
            server: Arc::new(server_config(peers.clone(), resolver.clone(), time)?),
            client: Arc::new(client_config(&roots, &certificate, resolver, time)?),
            certificate,
            leaf,
            roots,
            peers,
        })
    }

    /// Our certificate, DER.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// What our certificate says.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The roots that are trusted, DER.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots.certificates
    }

    /// Whether whoever shows this chain would be let in; who shows none is a stranger, and would.
    pub(super) fn trusts(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        chain.split_first().is_none_or(|(leaf, intermediates)| {
            self.peers.verify_client_cert(leaf, intermediates, now).is_ok()
        })
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    pub(super) fn require(&self, files: &Files, roles: &'static [Role]) -> Result<(), MaterialError> {
        let role = self.certificate.identity.role;
        if roles.contains(&role) {
            return Ok(());
        }
        Err(MaterialError::Role {
            path: files.certificate.clone(),
            role,
            expected: words(roles),
        })
    }
}

fn words(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    words.join(" or ")
}

/// Sends the root along, if the chain ends at one that we know: an agent that enrols knows only its fingerprint.
fn with_root(mut chain: Vec<CertificateDer<'static>>, roots: &Roots) -> Vec<CertificateDer<'static>> {
    let Some(wanted) = chain.last().and_then(issuer) else {
        return chain;
    };
    for root in &roots.certificates {
        let is_issuer = RootFacts::parse(root).is_ok_and(|facts| facts.subject == wanted);
        if is_issuer && !chain.contains(root) {
            chain.push(root.clone());
        }
    }
    chain
}

/// The chain with the one of `keys` that fits it.
fn matching(
    chain: Vec<CertificateDer<'static>>,
    keys: Vec<rustls::pki_types::PrivateKeyDer<'static>>,
    files: &Files,
) -> Result<CertifiedKey, MaterialError> {
    let provider = provider();
    let mut unusable = None;
    for key in keys {
        match CertifiedKey::from_der(chain.clone(), key, &provider) {
            Ok(key) => return Ok(key),
            Err(rustls::Error::InconsistentKeys(_)) => {}
            Err(error) => unusable = Some(error),
        }
    }
    let path = files.private_key.clone();
    Err(match unusable {
        Some(source) => MaterialError::Key { path, source },
        None => MaterialError::Mismatch {
            path,
            certificate: files.certificate.clone(),
        },
    })
}

fn server_config(
    peers: Arc<PeerVerifier>,
    key: Arc<SingleCertAndKey>,
    time: &Arc<dyn TimeProvider>,
) -> Result<ServerConfig, MaterialError> {
    let mut config = ServerConfig::builder_with_details(provider(), time.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(MaterialError::Tls)?
        .with_client_cert_verifier(peers)
        .with_cert_resolver(key);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not show its certificate again: not after it expired, not after its root was dropped.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(
    roots: &Roots,
    certificate: &Certificate,
    key: Arc<SingleCertAndKey>,
    time: &Arc<dyn TimeProvider>,
) -> Result<ClientConfig, MaterialError> {
    let domain = certificate.identity.domain.clone();
    let verifier = ServerIdentityVerifier::by_bundle(roots.store.clone(), domain, &provider());
    let config = dialling(verifier, time)?;
    Ok(finished(config.with_client_cert_resolver(key)))
}

/// A configuration for a client that has no certificate yet.
pub(super) fn anonymous_config(
    verifier: ServerIdentityVerifier,
    time: &Arc<dyn TimeProvider>,
) -> Result<ClientConfig, MaterialError> {
    Ok(finished(dialling(verifier, time)?.with_no_client_auth()))
}

type Dialling = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn dialling(
    verifier: ServerIdentityVerifier,
    time: &Arc<dyn TimeProvider>,
) -> Result<Dialling, MaterialError> {
    Ok(ClientConfig::builder_with_details(provider(), time.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(MaterialError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// Why certificate, key and roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file cannot be used.
    #[error("use the files of mutual TLS")]
    File(#[from] FileError),
    /// The certificate names nobody.
    #[error("use the certificate {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: CertificateError,
    },
    /// The certificate has expired.
    #[error("the certificate {} expired at {at}: issue or enrol a new one", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        at: Timestamp,
    },
    /// The certificate is not valid yet.
    #[error("the certificate {} is valid from {from}, and it is {now}: compare this host's clock", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// From when it is.
        from: Timestamp,
        /// The time on this host.
        now: Timestamp,
    },
    /// The roots cannot be used.
    #[error("use the trust bundle {}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: RootsError,
    },
    /// The key is of a kind that is not known, or damaged.
    #[error("use the private key {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("the private key {} does not belong to the certificate {}", path.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        path: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate is somebody's who has no business here.
    #[error("the certificate {} is that of {role}, and {expected} is needed here", path.display())]
    Role {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        role: Role,
        /// Whose it must be.
        expected: String,
    },
    /// New files name somebody else than before.
    #[error("the certificate {} is now that of {new}, and was that of {old}: restart to become somebody else", path.display())]
    IdentityChanged {
        /// The file.
        path: PathBuf,
        /// Who it was.
        old: String,
        /// Who it is.
        new: String,
    },
    /// The verifier of clients cannot be made.
    #[error("make the verifier of clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// rustls refuses the configuration.
    #[error("configure TLS 1.3")]
    Tls(#[source] rustls::Error),
    /// There is no clock.
    #[error("this host has no usable clock")]
    NoTime,
}
