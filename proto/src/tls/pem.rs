//! Sections of PEM files, and the lines at which they are broken.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

/// Characters in a line of PEM.
const LINE: usize = 64;

/// One section.
pub(super) struct Section {
    pub(super) kind: SectionKind,
    pub(super) der: Vec<u8>,
}

/// What is wrong with a text that should be PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A section does not end.
    #[error("line {0}: the section that begins here has no end")]
    Open(usize),
    /// A section is not PEM inside.
    #[error("line {line}: the section that begins here is not PEM: {reason}")]
    Broken {
        /// Where it begins.
        line: usize,
        /// Why not.
        reason: String,
    },
}

/// All sections of a kind that is known; text between sections is not looked at, as every PEM reader does.
pub(super) fn sections(text: &[u8]) -> Result<Vec<Section>, PemError> {
    let mut sections = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut offset = 0;
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let end = offset + line.len();
        if line.starts_with(b"-----BEGIN ") {
            if let Some((begun, _)) = open {
                return Err(PemError::Open(begun));
            }
            open = Some((number + 1, offset));
        } else if line.starts_with(b"-----END ")
            && let Some((begun, start)) = open.take()
        {
            sections.extend(section(begun, &text[start..end])?);
        }
        offset = end;
    }
    match open {
        Some((line, _)) => Err(PemError::Open(line)),
        None => Ok(sections),
    }
}

/// Certificates as PEM.
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(LINE));
            text.push_str(line);
            text.push('\n');
            rest = more;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn section(line: usize, text: &[u8]) -> Result<Option<Section>, PemError> {
    match <(SectionKind, Vec<u8>)>::from_pem_slice(text) {
        Ok((kind, der)) => Ok(Some(Section { kind, der })),
        // A kind of section that TLS has no use for, like `EC PARAMETERS`.
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Ok(None),
        Err(error) => Err(PemError::Broken {
            line,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    #[test]
    fn sections_are_found_between_other_text() {
        let text = format!(
            "# mine\n\n{GOOD}note\n-----BEGIN EC PARAMETERS-----\nAAEC\n-----END EC PARAMETERS-----\n{GOOD}"
        );
        let found = sections(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].der, [0, 1, 2]);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let certificates: Vec<CertificateDer<'static>> = [1, 48, 49, 1_000]
            .iter()
            .map(|length| vec![7_u8; *length].into())
            .collect();
        let text = to_pem(&certificates);
        assert!(text.lines().all(|line| line.len() <= LINE));
        let found: Vec<Vec<u8>> = sections(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(|section| section.der)
            .collect();
        assert!(
            found
                .iter()
                .zip(&certificates)
                .all(|(found, wanted)| found[..] == wanted[..])
        );
        assert_eq!(found.len(), certificates.len());
    }

    #[test]
    fn what_is_broken_is_named_by_its_line() {
        let open = format!("{GOOD}-----BEGIN CERTIFICATE-----\nAAEC\n");
        assert_eq!(sections(open.as_bytes()).err(), Some(PemError::Open(4)));
        let nested = format!("-----BEGIN CERTIFICATE-----\n{GOOD}");
        assert_eq!(sections(nested.as_bytes()).err(), Some(PemError::Open(1)));
        let garbage = format!("{GOOD}-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
        assert!(matches!(
            sections(garbage.as_bytes()),
            Err(PemError::Broken { line: 4, .. })
        ));
    }
}
