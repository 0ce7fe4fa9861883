//! Requests for certificates: the only things taken from one are the public key, and the proof that the asker holds
//! its other half.

use dr_proto::model::Fingerprint;
use rcgen::{CertificateSigningRequestParams, PublicKey, PublicKeyData};

use super::error::Error;

/// A request is some hundred bytes; nothing that is asked over the wire may cost more than this.
const LARGEST: usize = 16 << 10;

/// A request whose signature was checked.
#[derive(Debug, Clone)]
pub struct Request {
    key: PublicKey,
}

impl Request {
    /// Reads PKCS #10, PEM. Its subject and its extensions are not looked at.
    ///
    /// # Errors
    /// When it does not parse, is not signed by its own key, or is for a kind of key that we do not sign.
    pub fn parse(pem: &str) -> Result<Self, Error> {
        if pem.len() > LARGEST {
            return Err(Error::RequestTooLarge {
                size: pem.len(),
                most: LARGEST,
            });
        }
        let request = CertificateSigningRequestParams::from_pem(pem).map_err(Error::Request)?;
        let key = request.public_key;
        if !is_known(&key) {
            return Err(Error::RequestKey);
        }
        Ok(Self { key })
    }

    /// Names the key: SHA-256 of it. The same for every request that is made with it.
    pub fn key_fingerprint(&self) -> Fingerprint {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.key.der_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// rcgen tells the kind of a key by how the request is signed; the length of the key confirms it.
fn is_known(key: &PublicKey) -> bool {
    let expected = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, 65),
        (&rcgen::PKCS_ECDSA_P384_SHA384, 97),
        (&rcgen::PKCS_ED25519, 32),
    ];
    expected
        .iter()
        .any(|(algorithm, length)| key.algorithm() == *algorithm && key.der_bytes().len() == *length)
}
