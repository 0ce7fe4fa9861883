//! The first certificate, for a token.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dr_proto::client::{Client, Options};
use dr_proto::model::{EnrolmentToken, HostName, Identity, Role};
use dr_proto::tls::{
    Address, ConnectTimeouts, Connector, Files, Fresh, Secrecy, TimeProvider, fingerprint, read_private_text,
    write,
};
use dr_proto::v1::{CertificateResponse, EnrollRequest};
use jiff::Timestamp;
use tokio::time::timeout;

use super::error::Error;
use super::request::{new_key, request};

/// How long the coordinator may take to sign.
const ANSWER: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// What an operator carried here.
    pub token: EnrolmentToken,
    /// This host.
    pub host: HostName,
    /// Where the certificate goes.
    pub files: Files,
    /// Whether it may take the place of another.
    pub replace: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Who the host is now.
    pub identity: Identity,
    /// Until when its certificate is valid.
    pub not_after: Timestamp,
    /// The coordinator that answered.
    pub endpoint: String,
}

/// Gets this host its certificate and installs it.
///
/// # Errors
/// When nothing was installed: the host is as it was before, but for the key that is kept for the next try.
pub async fn enroll(
    enrolment: Enrolment,
    time: Arc<dyn TimeProvider>,
    now: Timestamp,
) -> Result<Enrolled, Error> {
    let expired = enrolment.token.expires;
    if expired <= now {
        return Err(Error::TokenExpired { expired, now });
    }
    let pending = pending(&enrolment.files.private_key);
    let (preparing, keeping) = (enrolment.clone(), pending.clone());
    let key = tokio::task::spawn_blocking(move || prepare(&preparing, &keeping)).await??;
    let (answer, endpoint) = ask(&enrolment, &key, &time).await?;
    let installing = move || {
        let (identity, not_after) = install(&enrolment, &key, &answer, &time)?;
        remove(&pending)?;
        Ok(Enrolled {
            identity,
            not_after,
            endpoint,
        })
    };
    tokio::task::spawn_blocking(installing).await?
}

/// Where the key of an enrolment under way lies.
fn pending(private_key: &Path) -> PathBuf {
    let mut name = private_key.as_os_str().to_owned();
    name.push(".enrolling");
    PathBuf::from(name)
}

/// Refuses what can be refused, and makes the key, or takes that of an earlier try.
fn prepare(enrolment: &Enrolment, pending: &Path) -> Result<String, Error> {
    let files = &enrolment.files;
    for path in [&files.certificate, &files.private_key] {
        let there = path.try_exists().map_err(io("look for", path))?;
        if there && !enrolment.replace {
            return Err(Error::Exists { path: path.clone() });
        }
    }
    for folder in [&files.certificate, &files.private_key, &files.trust_bundle].map(|path| path.parent()) {
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
        }
    }
    if pending.try_exists().map_err(io("look for", pending))? {
        let unusable = |source| Error::Pending {
            path: pending.to_owned(),
            source,
        };
        return read_private_text(pending).map_err(unusable);
    }
    let key = new_key()?;
    write(pending, key.as_bytes(), Secrecy::Private)?;
    Ok(key)
}

async fn ask(
    enrolment: &Enrolment,
    key: &str,
    time: &Arc<dyn TimeProvider>,
) -> Result<(CertificateResponse, String), Error> {
    let token = &enrolment.token;
    let endpoints: Vec<Address> = token
        .endpoints
        .iter()
        .map(|endpoint| endpoint.parse())
        .collect::<Result<_, _>>()?;
    let connector = Connector::stranger(
        token.roots.clone(),
        token.domain.clone(),
        time,
        ConnectTimeouts::default(),
    )
    .map_err(|error| Error::Tls(Box::new(error)))?;
    let options = Options::new(endpoints, concat!("dr-agent/", env!("CARGO_PKG_VERSION")));
    let client = Client::connect(&connector, &options).await?;
    let asked = EnrollRequest {
        token: token.secret.expose(),
        host: enrolment.host.to_string(),
        csr_pem: request(key)?,
    };
    let mut service = client.enrollment();
    let answer = timeout(ANSWER, service.enroll(asked))
        .await
        .map_err(|_| Error::TimedOut { limit: ANSWER })?
        .map_err(Error::status)?;
    Ok((answer.into_inner(), client.address().to_string()))
}

fn install(
    enrolment: &Enrolment,
    key: &str,
    answer: &CertificateResponse,
    time: &Arc<dyn TimeProvider>,
) -> Result<(Identity, Timestamp), Error> {
    let fresh = Fresh {
        private_key: key,
        certificate: &answer.certificate_pem,
        trust_bundle: &answer.trust_bundle_pem,
    };
    let material = enrolment
        .files
        .judge(&fresh, time)
        .map_err(|error| Error::Answer(Box::new(error)))?;
    let wanted = Identity {
        domain: enrolment.token.domain.clone(),
        role: Role::Agent,
        name: enrolment.host.clone(),
    };
    let certificate = material.certificate();
    if certificate.identity != wanted {
        let (got, wanted) = (certificate.identity.to_string(), wanted.to_string());
        return Err(Error::OtherIdentity { got, wanted });
    }
    let known = |root: &_| enrolment.token.roots.contains(&fingerprint(root));
    if !material.roots().iter().any(known) {
        return Err(Error::OtherRoots);
    }
    enrolment.files.install(&fresh)?;
    Ok((wanted, certificate.not_after))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}
