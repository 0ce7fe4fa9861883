//! Whether a broken call is about certificates: ours that the other side refuses, or theirs that we do.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, Error as TlsError};

use super::verify::PeerError;

/// The most causes that are looked at.
const DEPTH: usize = 32;

/// What is wrong with a certificate, in words, if that is why `error` came about. With TLS 1.3 a refused client
/// certificate shows only when the connection is first read from, so that it may lie deep below a broken call.
pub fn certificate_trouble(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    for _ in 0..DEPTH {
        let error = next?;
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| inner as &(dyn StdError + 'static));
        for error in [Some(error), inner].into_iter().flatten() {
            if let Some(trouble) = error.downcast_ref::<TlsError>().and_then(about_certificates) {
                return Some(trouble);
            }
            if let Some(trouble) = error.downcast_ref::<PeerError>() {
                return Some(trouble.to_string());
            }
        }
        next = inner.or_else(|| error.source());
    }
    None
}

fn about_certificates(error: &TlsError) -> Option<String> {
    match error {
        TlsError::InvalidCertificate(_) => Some(error.to_string()),
        TlsError::AlertReceived(alert) => Some(
            match alert {
                AlertDescription::CertificateExpired => "it has expired, or is not valid yet",
                // A root of the same name and another key is another authority.
                AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                    "its authority is not trusted there"
                }
                AlertDescription::CertificateRevoked => "it was revoked",
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown => "it is not acceptable there",
                AlertDescription::CertificateRequired => "one is required",
                AlertDescription::AccessDenied => "access is denied",
                _ => return None,
            }
            .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_alert_is_found_below_io_errors() {
        let alert = TlsError::AlertReceived(AlertDescription::CertificateExpired);
        let error = Outer(io::Error::new(
            io::ErrorKind::InvalidData,
            io::Error::other(alert),
        ));
        assert_eq!(
            certificate_trouble(&error).as_deref(),
            Some("it has expired, or is not valid yet")
        );
    }

    #[test]
    fn other_trouble_is_not_about_certificates() {
        assert_eq!(certificate_trouble(&Outer(io::Error::other("gone"))), None);
        let alert = TlsError::AlertReceived(AlertDescription::InternalError);
        assert_eq!(certificate_trouble(&Outer(io::Error::other(alert))), None);
    }
}
