//! The three files of mutual TLS, read with precise complaints.
//!
//! # Crash consistency
//! Certificate and key are two files and cannot be replaced together. So the key file may hold several keys, and the
//! one that fits the certificate is taken: whoever renews writes the new key *beside* the old one, then the
//! certificate, then the new key alone. Whatever happens in between, the files fit together.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::time_provider::TimeProvider;

use super::install::{Fresh, Secrecy};
use super::material::{Material, MaterialError};
use super::pem::{PemError, Section, sections};

/// More than any of these files needs.
const LARGEST: u64 = 1 << 20;

/// Where certificate, key and roots lie. All PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Our certificate, then intermediates.
    pub certificate: PathBuf,
    /// Its private key, readable by its owner alone.
    pub private_key: PathBuf,
    /// Roots that others must come from; two during a rotation.
    pub trust_bundle: PathBuf,
}

/// What the files hold, not judged yet.
pub(super) struct Contents {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
    pub(super) roots: Vec<CertificateDer<'static>>,
}

impl Contents {
    /// Tells other contents from these.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let certificates = |list: &[CertificateDer<'static>], hasher: &mut blake3::Hasher| {
            for certificate in list {
                hasher.update(blake3::hash(certificate).as_bytes());
            }
            hasher.update(b"|");
        };
        certificates(&self.chain, &mut hasher);
        certificates(&self.roots, &mut hasher);
        for key in &self.keys {
            hasher.update(blake3::hash(key.secret_der()).as_bytes());
        }
        hasher.finalize()
    }
}

impl Files {
    /// What these files would be with `fresh` in them, judged as if they were there: before they are.
    ///
    /// # Errors
    /// When they could not be used.
    pub fn judge(&self, fresh: &Fresh<'_>, time: &Arc<dyn TimeProvider>) -> Result<Material, MaterialError> {
        let contents = Contents {
            chain: certificates(&self.certificate, fresh.certificate.as_bytes())?,
            keys: keys(&self.private_key, fresh.private_key.as_bytes())?,
            roots: certificates(&self.trust_bundle, fresh.trust_bundle.as_bytes())?,
        };
        Material::judge(contents, self, time)
    }

    /// Reads all three.
    pub(super) fn read(&self) -> Result<Contents, FileError> {
        let chain = certificates(&self.certificate, &read(&self.certificate, Secrecy::Public)?)?;
        let keys = keys(&self.private_key, &read(&self.private_key, Secrecy::Private)?)?;
        let roots = certificates(&self.trust_bundle, &read(&self.trust_bundle, Secrecy::Public)?)?;
        Ok(Contents { chain, keys, roots })
    }
}

/// The certificates of a trust bundle.
///
/// # Errors
/// When the file cannot be read, or holds none.
pub fn read_bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    certificates(path, &read(path, Secrecy::Public)?)
}

/// The text of a file that must be its owner's alone.
///
/// # Errors
/// When it cannot be read, or others can read it too.
pub fn read_private_text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(read_private(path)?).map_err(|error| FileError::Read {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()),
    })
}

pub(super) fn read_private(path: &Path) -> Result<Vec<u8>, FileError> {
    read(path, Secrecy::Private)
}

fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    if secrecy == Secrecy::Private && is_too_open(facts.mode(), facts.uid()) {
        return Err(FileError::TooOpen {
            path: path.to_owned(),
            mode: facts.mode() & 0o7777,
        });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            most: LARGEST,
        });
    }
    Ok(bytes)
}

/// A key of ours is for our eyes only. One that belongs to root may be lent to a group, as orchestrators do with
/// mounted secrets.
fn is_too_open(mode: u32, owner: u32) -> bool {
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    mode & forbidden != 0
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<Vec<Section>, FileError> {
    sections(bytes).map_err(|source| FileError::Pem {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found: Vec<CertificateDer<'static>> = parsed(path, bytes)?
        .into_iter()
        .filter(|section| section.kind == SectionKind::Certificate)
        .map(|section| section.der.into())
        .collect();
    if found.is_empty() {
        return Err(FileError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn keys(path: &Path, bytes: &[u8]) -> Result<Vec<PrivateKeyDer<'static>>, FileError> {
    let found: Vec<PrivateKeyDer<'static>> = parsed(path, bytes)?
        .into_iter()
        .filter_map(|section| match section.kind {
            SectionKind::PrivateKey => Some(PrivateKeyDer::Pkcs8(section.der.into())),
            SectionKind::EcPrivateKey => Some(PrivateKeyDer::Sec1(section.der.into())),
            SectionKind::RsaPrivateKey => Some(PrivateKeyDer::Pkcs1(section.der.into())),
            _ => None,
        })
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let path = path.to_owned();
    let encrypted = b"BEGIN ENCRYPTED PRIVATE KEY";
    if bytes.windows(encrypted.len()).any(|window| window == encrypted) {
        return Err(FileError::EncryptedKey { path });
    }
    Err(FileError::NoKey { path })
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// It is no such file at all.
    #[error("{} has more than {most} bytes: it is not what it should be", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most.
        most: u64,
    },
    /// Others can read the key.
    #[error("the private key {} can be used by others (mode {mode:04o}): `chmod 600` it", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not PEM.
    #[error("{} is not PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: PemError,
    },
    /// It has no certificate.
    #[error("{} holds no certificate (`-----BEGIN CERTIFICATE-----`)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// It has no key.
    #[error("{} holds no private key (`-----BEGIN PRIVATE KEY-----`)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Its key has a passphrase.
    #[error(
        "the private key {} has a passphrase, which a service cannot type: write it without one (`openssl pkey -in \
         FILE -out FILE`), mode 600",
        path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_lent_to_a_group_only_by_root() {
        assert!(!is_too_open(0o600, 1000));
        assert!(!is_too_open(0o400, 1000));
        assert!(is_too_open(0o640, 1000));
        assert!(is_too_open(0o604, 1000));
        assert!(!is_too_open(0o640, 0));
        assert!(!is_too_open(0o440, 0));
        assert!(is_too_open(0o660, 0));
        assert!(is_too_open(0o644, 0));
    }
}
