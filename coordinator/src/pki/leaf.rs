//! What stands in the certificates that the authority makes.

use std::net::IpAddr;
use std::time::Duration;

use dr_proto::model::{Identity, Role, Secret};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::error::Error;

/// Certificates are valid a little into the past: clocks differ.
const BACKDATED: Duration = Duration::from_secs(600);
/// The longest common name that X.509 allows.
const LONGEST_COMMON_NAME: usize = 64;

/// Names beside the identity, for tools that look for them (grpcurl, curl, load balancers). We do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ip: Vec<IpAddr>,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Validity {
    pub(super) fn from(now: Timestamp, lifetime: Duration) -> Result<Self, Error> {
        let impossible = || Error::Lifetime {
            days: lifetime.as_secs() / 86_400,
        };
        // X.509 counts whole seconds; what is said here must be what stands there.
        let second = Timestamp::from_second(now.as_second()).map_err(|_| impossible())?;
        let not_before = second.checked_sub(BACKDATED).map_err(|_| impossible())?;
        let whole = Duration::from_secs(lifetime.as_secs());
        let not_after = second.checked_add(whole).map_err(|_| impossible())?;
        if whole.is_zero() {
            return Err(impossible());
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }
}

/// What stands in a leaf.
pub(super) fn leaf(
    identity: &Identity,
    names: &Names,
    validity: Validity,
) -> Result<CertificateParams, Error> {
    let mut params = dated(validity)?;
    params.distinguished_name = common_name(&format!("{} {}", identity.role, identity.name));
    let uri = identity.to_string();
    let text = |name: &str| {
        name.to_owned()
            .try_into()
            .map_err(|_| Error::Name(name.to_owned()))
    };
    params.subject_alt_names.push(SanType::URI(text(&uri)?));
    for name in &names.dns {
        params.subject_alt_names.push(SanType::DnsName(text(name)?));
    }
    params
        .subject_alt_names
        .extend(names.ip.iter().map(|address| SanType::IpAddress(*address)));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match identity.role {
        Role::Coordinator => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        Role::Agent | Role::Operator | Role::Viewer => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// What stands in a root. It signs leaves, and no further authorities.
pub(super) fn root(name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = dated(validity)?;
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn dated(validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = calendar(validity.not_before)?;
    params.not_after = calendar(validity.not_after)?;
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn calendar(at: Timestamp) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| Error::Lifetime { days: 0 })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    let short: String = name.chars().take(LONGEST_COMMON_NAME).collect();
    full.push(DnType::CommonName, short);
    full
}

/// 127 random bits: nobody can guess the next, and no two are the same.
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    // Positive, and of one length.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A new key, ECDSA P-256: what every TLS stack knows.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Error::MakeKey)
}

/// A new secret for an enrolment token.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_secret() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(Secret::from_random(bytes))
}
