//! An authority and the certificates that it issues.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dr_proto::tls::Files;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};

/// A certificate authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a root").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes certificate, key and this authority's root for `spiffe://acme.example/<who>` as `<name>.*`.
    pub(crate) fn issue(&self, dir: &Path, name: &str, who: &str) -> Files {
        self.issue_until(dir, name, who, 2036)
    }

    /// The same, valid until a year begins.
    pub(crate) fn issue_until(&self, dir: &Path, name: &str, who: &str, year: i32) -> Files {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://acme.example/{who}");
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().expect("plain ASCII")));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let write = |suffix: &str, text: &str| {
            let path = dir.join(format!("{name}.{suffix}"));
            std::fs::write(&path, text).expect("write");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
            path
        };
        Files {
            certificate: write("pem", &certificate),
            private_key: write("key", &key.serialize_pem()),
            trust_bundle: write("ca", &self.pem),
        }
    }
}
