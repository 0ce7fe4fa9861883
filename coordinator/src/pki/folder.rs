//! The authority's folder: what lies where, who holds it, which root does what.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dr_proto::model::{Domain, Fingerprint};
use dr_proto::tls::{Secrecy, write};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::Error;

/// Format of `authority.json`.
const FORMAT: u32 = 1;

/// What a root is for at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Trusted, so that everybody knows it before it signs.
    Next,
    /// Signs.
    Signing,
    /// Signs no more; trusted until the last of what it signed has ended.
    Retiring,
}

/// One root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its number: names its files.
    pub number: u32,
    /// SHA-256 of its certificate.
    pub fingerprint: Fingerprint,
    /// What it is for.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Until when what it signed is valid, by role; never too early, up to a day too late.
    pub issued_until: BTreeMap<String, Timestamp>,
    /// When every agent knows it. `None`: it was there before the first agent.
    pub known_from: Option<Timestamp>,
}

impl Root {
    /// When the last of what it signed ends. `None`: it signed nothing.
    pub fn last_issued_until(&self) -> Option<Timestamp> {
        self.issued_until.values().max().copied()
    }
}

/// `authority.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    #[serde(with = "domain_as_text")]
    pub(super) domain: Domain,
    pub(super) roots: Vec<Root>,
    /// Roots that are no more: to be taken out of bundles that still have them.
    pub(super) retired: Vec<Fingerprint>,
}

mod domain_as_text {
    use dr_proto::model::Domain;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(domain: &Domain, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(domain.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Domain, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl State {
    pub(super) fn new(domain: Domain) -> Self {
        Self {
            format: FORMAT,
            domain,
            roots: Vec::new(),
            retired: Vec::new(),
        }
    }

    pub(super) fn in_phase(&self, phase: Phase) -> Option<&Root> {
        self.roots.iter().find(|root| root.phase == phase)
    }

    pub(super) fn in_phase_mut(&mut self, phase: Phase) -> Option<&mut Root> {
        self.roots.iter_mut().find(|root| root.phase == phase)
    }
}

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

/// Nobody else signs or rotates while this lives.
#[derive(Debug)]
pub(super) struct Held {
    _lock: File,
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn state_path(&self) -> PathBuf {
        self.0.join("authority.json")
    }

    pub(super) fn root_certificate(&self, number: u32) -> PathBuf {
        self.0.join(format!("root-{number}.pem"))
    }

    pub(super) fn root_key(&self, number: u32) -> PathBuf {
        self.0.join(format!("root-{number}.key"))
    }

    pub(super) fn bundle(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Makes the folder if it is missing, for its owner's eyes.
    pub(super) fn make(&self) -> Result<(), Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|source| Error::Folder {
                path: self.0.clone(),
                source,
            })
    }

    /// Waits until nobody else signs or rotates: a matter of milliseconds.
    pub(super) fn hold(&self) -> Result<Held, Error> {
        let path = self.0.join(".lock");
        let failed = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        let lock = match File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
        {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotThere { dir: self.0.clone() });
            }
            Err(error) => return Err(failed(error)),
        };
        lock.lock().map_err(failed)?;
        Ok(Held { _lock: lock })
    }

    pub(super) fn read(&self) -> Result<State, Error> {
        let path = self.state_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotThere { dir: self.0.clone() });
            }
            Err(source) => return Err(Error::Read { path, source }),
        };
        parse(&path, &text)
    }

    pub(super) fn write(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(state).expect("texts, numbers and dates serialise");
        Ok(write(&self.state_path(), &text, Secrecy::Public)?)
    }

    pub(super) fn read_text(&self, path: &Path) -> Result<String, Error> {
        fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// Removes a file; says whether it was there.
    pub(super) fn remove(path: &Path) -> Result<bool, Error> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Remove {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

fn parse(path: &Path, text: &str) -> Result<State, Error> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: serde_json::Error| Error::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let Format { format } = serde_json::from_str(text).map_err(damaged)?;
    if format > FORMAT {
        return Err(Error::Newer {
            path: path.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    let state: State = serde_json::from_str(text).map_err(damaged)?;
    let signing = state
        .roots
        .iter()
        .filter(|root| root.phase == Phase::Signing)
        .count();
    if signing != 1 {
        let reason = format!("{signing} roots sign, and one must");
        return Err(Error::Damaged {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(state)
}
