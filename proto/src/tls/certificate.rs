//! What a certificate says: who, which, and until when.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::{Identity, ParseIdentityError};

/// A certificate's serial number, lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

impl Serial {
    /// From the number's bytes, most significant first.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let significant = bytes.iter().skip_while(|byte| **byte == 0);
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in significant {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
        }
        if text.is_empty() {
            text.push_str("00");
        }
        Self(text)
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a leaf certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub identity: Identity,
    /// Which of the authority's it is.
    pub serial: Serial,
    /// Not valid before.
    pub not_before: Timestamp,
    /// Not valid after.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads a leaf certificate. It must carry exactly one URI among its subject's alternative names, and that must
    /// be an identity; names of other kinds (DNS, IP) are not looked at.
    ///
    /// # Errors
    /// When it does not parse, or does not name exactly one identity.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| CertificateError::Encoding(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError::Encoding(
                "bytes follow the certificate".to_owned(),
            ));
        }
        let validity = certificate.validity();
        Ok(Self {
            identity: identity(&certificate)?,
            serial: Serial::from_bytes(certificate.raw_serial()),
            not_before: moment(validity.not_before.timestamp())?,
            not_after: moment(validity.not_after.timestamp())?,
        })
    }
}

/// The names that a certificate carries beside the identity: DNS names and addresses.
///
/// # Errors
/// When it does not parse.
pub fn other_names(der: &CertificateDer<'_>) -> Result<(Vec<String>, Vec<IpAddr>), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| CertificateError::Encoding(error.to_string()))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertificateError::Encoding(error.to_string()))?;
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Ok((dns, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// Whether a certificate names `root` as its issuer. By name only: for what to renew, not for whom to trust.
pub fn names_issuer(der: &CertificateDer<'_>, root: &CertificateDer<'_>) -> bool {
    match (issuer(der), RootFacts::parse(root)) {
        (Some(issuer), Ok(root)) => issuer == root.subject,
        _ => false,
    }
}

/// What a root says: until when, and by what name others call it.
pub(super) struct RootFacts {
    pub(super) not_after: Timestamp,
    pub(super) subject: Vec<u8>,
    pub(super) is_authority: bool,
}

impl RootFacts {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| CertificateError::Encoding(error.to_string()))?;
        Ok(Self {
            not_after: moment(certificate.validity().not_after.timestamp())?,
            subject: certificate.subject().as_raw().to_vec(),
            is_authority: certificate.is_ca(),
        })
    }
}

/// The encoded name of a certificate's issuer.
pub(super) fn issuer(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.issuer().as_raw().to_vec())
}

fn moment(seconds: i64) -> Result<Timestamp, CertificateError> {
    Timestamp::from_second(seconds)
        .map_err(|_| CertificateError::Encoding(format!("{seconds} s is not a date")))
}

fn identity(certificate: &X509Certificate<'_>) -> Result<Identity, CertificateError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertificateError::Encoding(error.to_string()))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [] => Err(CertificateError::NoUri),
        [uri] => Ok(uri.parse()?),
        _ => Err(CertificateError::SeveralUris(uris.join(", "))),
    }
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It does not parse.
    #[error("not a certificate: {0}")]
    Encoding(String),
    /// It has no URI among its names.
    #[error("the certificate carries no URI that says whose it is (`spiffe://<domain>/<role>/<name>`)")]
    NoUri,
    /// It has more than one.
    #[error("the certificate carries several URIs, and only one may say whose it is: {0}")]
    SeveralUris(String),
    /// The one it has names nobody.
    #[error("the certificate's URI names nobody")]
    Identity(#[from] ParseIdentityError),
}
