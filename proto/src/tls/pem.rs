//! Sections of PEM files, with the lines they begin at.

use rustls::pki_types::pem::{PemObject, SectionKind};

/// One section.
pub(super) struct Section {
    /// The line of its `-----BEGIN`, from 1.
    pub(super) line: usize,
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

fn section(line: usize, text: &[u8]) -> Result<Option<Section>, PemError> {
    match <(SectionKind, Vec<u8>)>::from_pem_slice(text) {
        Ok((kind, der)) => Ok(Some(Section { line, kind, der })),
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
    fn sections_are_found_with_their_lines() {
        let text = format!(
            "# mine\n\n{GOOD}note\n-----BEGIN EC PARAMETERS-----\nAAEC\n-----END EC PARAMETERS-----\n{GOOD}"
        );
        let found = sections(text.as_bytes()).unwrap();
        let lines: Vec<usize> = found.iter().map(|section| section.line).collect();
        assert_eq!(lines, [3, 10]);
        assert_eq!(found[0].der, [0, 1, 2]);
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
