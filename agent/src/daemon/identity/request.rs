//! A key, and the request that proves that we hold it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// A new key, ECDSA P-256, PEM.
pub(super) fn new_key() -> Result<String, rcgen::Error> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem())
}

/// PKCS #10 for a key. It names nobody: the coordinator says whose certificate it will be.
pub(super) fn request(key_pem: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::from_pem(key_pem)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(&key)?.pem()
}
