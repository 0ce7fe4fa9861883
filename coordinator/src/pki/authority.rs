//! The authority: made once, then it signs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dr_proto::model::{Domain, Fingerprint, Identity};
use dr_proto::tls::{CertificateDer, Secrecy, Serial, fingerprint, read_bundle, read_private_text, write};
use jiff::{SignedDuration, Timestamp};
use rcgen::{Issuer, KeyPair, PublicKeyData};

use super::error::Error;
use super::folder::{Folder, Phase, Root, State};
use super::leaf::{self, Names, Validity, new_key};
use super::request::Request;

/// How long a root lasts.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// `authority.json` notes how long certificates are valid in steps of this: it need not be written for each.
const STEP: SignedDuration = SignedDuration::from_hours(24);

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Whose it is.
    pub identity: Identity,
    /// Which it is.
    pub serial: Serial,
    /// Not valid before.
    pub not_before: Timestamp,
    /// Not valid after.
    pub not_after: Timestamp,
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The roots to trust from now on, PEM.
    pub trust_bundle_pem: String,
}

/// A certificate authority in a folder. Cheap to clone; every method reads the folder anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    folder: Folder,
    domain: Domain,
}

impl Authority {
    /// Makes an authority with its first root.
    ///
    /// # Errors
    /// When there is one in the folder already, or the folder cannot be written.
    pub fn create(dir: &Path, domain: Domain, now: Timestamp) -> Result<Self, Error> {
        let folder = Folder::new(dir);
        folder.make()?;
        let _held = folder.hold()?;
        match folder.read() {
            Err(Error::NotThere { .. }) => {}
            Ok(_) => return Err(Error::Exists { dir: dir.to_owned() }),
            Err(error) => return Err(error),
        }
        let mut state = State::new(domain.clone());
        let root = make_root(&folder, &domain, 1, Phase::Signing, now)?;
        state.roots.push(root);
        write_bundle(&folder, &state)?;
        folder.write(&state)?;
        Ok(Self { folder, domain })
    }

    /// Opens the authority in a folder.
    ///
    /// # Errors
    /// When there is none, or its signing key cannot be used.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let folder = Folder::new(dir);
        let state = folder.read()?;
        signing(&folder, &state)?;
        Ok(Self {
            folder,
            domain: state.domain,
        })
    }

    /// The fleet that it is for.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its roots.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn roots(&self) -> Result<Vec<Root>, Error> {
        Ok(self.folder.read()?.roots)
    }

    /// Fingerprints of the roots that are to be trusted: what enrolment tokens name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn fingerprints(&self) -> Result<Vec<Fingerprint>, Error> {
        Ok(self.roots()?.iter().map(|root| root.fingerprint).collect())
    }

    /// The roots that are to be trusted, PEM.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn trust_bundle(&self) -> Result<String, Error> {
        self.folder.read_text(&self.folder.bundle())
    }

    /// The roots that are to be trusted, and fingerprints of those that were and are no more.
    pub(super) fn trusted(&self) -> Result<(Vec<CertificateDer<'static>>, Vec<Fingerprint>), Error> {
        let state = self.folder.read()?;
        let roots = read_bundle(&self.folder.bundle()).map_err(Error::File)?;
        Ok((roots, state.retired))
    }

    /// What the root is for that `is_issuer` picks. `None`: it picks none of ours.
    pub(super) fn phase_of_issuer(
        &self,
        is_issuer: impl Fn(&CertificateDer<'_>) -> bool,
    ) -> Result<Option<Phase>, Error> {
        for root in self.folder.read()?.roots {
            let certificates =
                read_bundle(&self.folder.root_certificate(root.number)).map_err(Error::File)?;
            if certificates.iter().any(&is_issuer) {
                return Ok(Some(root.phase));
            }
        }
        Ok(None)
    }

    /// Signs a certificate for the key of a request.
    ///
    /// # Errors
    /// When the identity is of another domain, the lifetime is impossible, or the folder cannot be used.
    pub fn issue(
        &self,
        request: &Request,
        identity: &Identity,
        names: &Names,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        self.sign(request.key(), identity, names, lifetime, now)
    }

    /// Makes a key and signs a certificate for it; also returns the key, PEM.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_with_key(
        &self,
        identity: &Identity,
        names: &Names,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(Issued, String), Error> {
        let key = new_key()?;
        let issued = self.sign(&key, identity, names, lifetime, now)?;
        Ok((issued, key.serialize_pem()))
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        names: &Names,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        if identity.domain != self.domain {
            let (identity, domain) = (identity.to_string(), self.domain.to_string());
            return Err(Error::OtherDomain { identity, domain });
        }
        let validity = Validity::from(now, lifetime)?;
        let params = leaf::leaf(identity, names, validity)?;
        let serial = params
            .serial_number
            .as_ref()
            .map(|serial| Serial::from_bytes(serial.as_ref()));
        let _held = self.folder.hold()?;
        let mut state = self.folder.read()?;
        let issuer = signing(&self.folder, &state)?;
        note_issued(&self.folder, &mut state, identity, validity.not_after)?;
        let failed = |source| Error::Sign {
            subject: identity.to_string(),
            source,
        };
        let certificate = params.signed_by(key, &issuer).map_err(failed)?;
        Ok(Issued {
            identity: identity.clone(),
            serial: serial.ok_or(Error::Random)?,
            not_before: validity.not_before,
            not_after: validity.not_after,
            certificate_pem: certificate.pem(),
            trust_bundle_pem: self.trust_bundle()?,
        })
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Notes, before something is signed, until when it will be valid.
fn note_issued(
    folder: &Folder,
    state: &mut State,
    identity: &Identity,
    until: Timestamp,
) -> Result<(), Error> {
    let root = state
        .in_phase_mut(Phase::Signing)
        .expect("a state that was read has a signing root");
    if until > root.not_after {
        return Err(Error::RootEnds {
            root: root.not_after,
            until,
        });
    }
    let noted = root.issued_until.entry(identity.role.to_string()).or_default();
    if *noted >= until {
        return Ok(());
    }
    *noted = until.saturating_add(STEP).unwrap_or(Timestamp::MAX);
    folder.write(state)
}

/// The signing root, ready to sign.
fn signing(folder: &Folder, state: &State) -> Result<Issuer<'static, KeyPair>, Error> {
    let root = state
        .in_phase(Phase::Signing)
        .expect("a state that was read has a signing root");
    let path = folder.root_certificate(root.number);
    let certificate = folder.read_text(&path)?;
    let key_path = folder.root_key(root.number);
    let key = read_private_text(&key_path).map_err(Error::Key)?;
    let key = KeyPair::from_pem(&key).map_err(|source| Error::Root {
        path: key_path,
        source,
    })?;
    Issuer::from_ca_cert_pem(&certificate, key).map_err(|source| Error::Root { path, source })
}

/// Makes a root and writes its files: the key first, so that no certificate is without one.
pub(super) fn make_root(
    folder: &Folder,
    domain: &Domain,
    number: u32,
    phase: Phase,
    now: Timestamp,
) -> Result<Root, Error> {
    let validity = Validity::from(now, ROOT_LIFETIME)?;
    let name = format!("drctl root {number} of {domain}");
    let key = new_key()?;
    let certificate = leaf::root(&name, validity)?
        .self_signed(&key)
        .map_err(|source| Error::Sign {
            subject: name,
            source,
        })?;
    write(
        &folder.root_key(number),
        key.serialize_pem().as_bytes(),
        Secrecy::Private,
    )?;
    write(
        &folder.root_certificate(number),
        certificate.pem().as_bytes(),
        Secrecy::Public,
    )?;
    let der: &CertificateDer<'_> = certificate.der();
    Ok(Root {
        number,
        fingerprint: fingerprint(der),
        phase,
        since: now,
        not_after: validity.not_after,
        issued_until: BTreeMap::new(),
        known_from: None,
    })
}

/// Writes the trust bundle of a state: the signing root first.
pub(super) fn write_bundle(folder: &Folder, state: &State) -> Result<(), Error> {
    let mut roots: Vec<&Root> = state.roots.iter().collect();
    roots.sort_by_key(|root| (root.phase != Phase::Signing, root.number));
    let mut bundle = String::new();
    for root in roots {
        bundle.push_str(&folder.read_text(&folder.root_certificate(root.number))?);
    }
    Ok(write(&folder.bundle(), bundle.as_bytes(), Secrecy::Public)?)
}
