//! Contexts: which coordinator, and with which certificate.
//!
//! # Layout
//! One TOML file, by default `drctl/config.toml` in the folder of the user's configuration: `current` names the
//! context in use, `[context.NAME]` tables hold endpoints and the paths of certificate, key and trust bundle. It
//! holds no secret. Flags and `DRCTL_…` variables go before it, one by one.
//!
//! # Crash consistency
//! The file is replaced as a whole by a rename: it is the old one or the new one.

mod resolve;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dr_proto::model::document::{Problem, problem};
use dr_proto::tls::ParseAddressError;
use serde::{Deserialize, Serialize};

pub(crate) use resolve::{Resolved, Wanted, locate, resolve};

use crate::error::Class;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All contexts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) context: BTreeMap<String, Context>,
}

/// One coordinator, and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `https://host:port`; tried in order.
    pub(crate) endpoints: Vec<String>,
    /// Our certificate, PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, PEM.
    pub(crate) private_key: PathBuf,
    /// Roots that the coordinator must come from, PEM.
    pub(crate) trust_bundle: PathBuf,
}

/// Why there is no context to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: Problem,
    },
    /// The file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The contexts cannot be said in TOML.
    #[error("write {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: toml::ser::Error,
    },
    /// No context of that name.
    #[error("there is no context `{name}` in {}", path.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// What there is.
        known: Vec<String>,
    },
    /// Something is neither given nor in a context.
    #[error("{what} is not known: no context is chosen, and {flag} is not given")]
    Missing {
        /// What.
        what: &'static str,
        /// Where it could come from.
        flag: &'static str,
    },
    /// An endpoint makes no sense.
    #[error("endpoint from {from}")]
    Endpoint {
        /// Where it comes from.
        from: String,
        /// Why not.
        #[source]
        source: ParseAddressError,
    },
    /// Nobody knows where the user's configuration lies.
    #[error("the folder for configuration is not known: neither XDG_CONFIG_HOME nor HOME is set")]
    NoHome,
}

impl Error {
    /// The kind of failure.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Read { .. }
            | Self::Parse { .. }
            | Self::Unknown { .. }
            | Self::Missing { .. }
            | Self::Endpoint { .. }
            | Self::NoHome
            | Self::Encode { .. } => Class::Configuration,
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::NoSpace,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Class::Denied,
                _ => Class::Io,
            },
        }
    }

    /// What to do about it.
    pub(crate) fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Parse { problem, .. } => problem.hint.clone(),
            Self::Unknown { known, .. } if known.is_empty() => Some(LOGIN.to_owned()),
            Self::Unknown { known, .. } => Some(format!("known contexts: {}", known.join(", "))),
            Self::Missing { .. } => Some(LOGIN.to_owned()),
            Self::NoHome => Some("give --config FILE, or set DRCTL_CONFIG".to_owned()),
            Self::Read { .. } | Self::Write { .. } | Self::Encode { .. } | Self::Endpoint { .. } => None,
        };
        hint.into_iter().collect()
    }
}

const LOGIN: &str = "`drctl login NAME --endpoint URL --certificate FILE --private-key FILE --trust-bundle FILE` makes \
     a context";

impl Contexts {
    /// Reads the file; one that is not there holds no context.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(Error::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        toml::from_str(&text).map_err(|error| Error::Parse {
            path: path.to_owned(),
            problem: problem(&text, &error),
        })
    }

    /// Replaces the file.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string_pretty(self).map_err(|source| Error::Encode {
            path: path.to_owned(),
            source,
        })?;
        replace(path, text.as_bytes()).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The context of that name.
    pub(crate) fn get(&self, name: &str, path: &Path) -> Result<&Context, Error> {
        self.context.get(name).ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
            path: path.to_owned(),
            known: self.context.keys().cloned().collect(),
        })
    }
}

/// Writes beside, then renames.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.partial", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = std::fs::File::create(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        // The first error tells more than that of the clean-up.
        let _left = std::fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            endpoints: vec!["https://dr.example.net:7443".to_owned()],
            certificate: "ana.pem".into(),
            private_key: "ana.key".into(),
            trust_bundle: "ca.pem".into(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.toml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let contexts = Contexts {
            current: Some("prod".to_owned()),
            context: BTreeMap::from([("prod".to_owned(), context())]),
        };
        contexts.save(&path).unwrap();
        contexts.save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), contexts);
        assert_eq!(std::fs::read_dir(dir.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_a_suggestion() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(
            &path,
            "current = \"a\"\n[context.a]\nendpoint = [\"https://x\"]\n",
        )
        .unwrap();
        let error = Contexts::load(&path).unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
        assert_eq!(error.hints(), ["did you mean `endpoints`?"]);
        assert_eq!(error.class(), Class::Configuration);
    }
}
