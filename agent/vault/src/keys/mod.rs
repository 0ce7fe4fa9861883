//! Keys: the master key, what is derived from it, and its wrapping for people and hosts.
//!
//! A repository has one random master key. It is stored only wrapped: for each recipient one `keys/<id>` object,
//! an age file that holds the master key, the repository's id and the hash of its `config`. So whoever opens a
//! repository with a private key also proves that its clear `config` is the one that `init` wrote.

mod ring;
mod wrap;

use std::path::Path;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

pub(crate) use ring::{KeyRing, MasterKey, SALT_LEN, random};
pub(crate) use wrap::{Payload, Unwrapped, unwrap, wrap};

/// Who can open a repository: each gets a key object of its own.
#[derive(Clone)]
pub enum Recipient {
    /// An age X25519 recipient, `age1…`.
    X25519(age::x25519::Recipient),
    /// Whoever knows this passphrase (scrypt).
    Passphrase(SecretString),
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::X25519(recipient) => recipient.fmt(f),
            Self::Passphrase(_) => f.write_str("a passphrase"),
        }
    }
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        text.parse().map(Self::X25519).map_err(|reason| {
            // A private key given by mistake must not end in a log.
            let shown = if text.to_ascii_uppercase().contains("SECRET") {
                "the given private key"
            } else {
                text
            };
            Error::InvalidOptions {
                reason: format!("`{shown}` is not an age recipient ({reason}): expected `age1…`"),
            }
        })
    }
}

/// The private half of an age X25519 recipient.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.0.to_public())
    }
}

impl Identity {
    /// A new random identity.
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        Recipient::X25519(self.0.to_public())
    }

    /// The text form, `AGE-SECRET-KEY-1…`: a secret.
    pub fn to_secret_string(&self) -> SecretString {
        self.0.to_string()
    }

    /// What belongs into an identity file: the private key with its public half as a comment. A secret.
    pub fn to_file_text(&self) -> SecretString {
        let secret = self.to_secret_string();
        SecretString::from(format!(
            "# public key: {}\n{}\n",
            self.0.to_public(),
            secret.expose_secret()
        ))
    }

    /// All identities of an age identity file.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`] if the file can not be read, holds none, or holds something else.
    pub fn from_file(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read(path)
            .map(zeroize::Zeroizing::new)
            .map_err(|e| key_file(path, format!("can not be read: {e}")))?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| key_file(path, "is not text; expected lines `AGE-SECRET-KEY-1…`".into()))?;
        Self::parse_all(text).map_err(|reason| key_file(path, reason))
    }

    /// All identities of the text of an age identity file, for keys that come from a command or a secret store.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] if the text holds none, or holds something else.
    pub fn from_text(text: &SecretString) -> Result<Vec<Self>> {
        Self::parse_all(text.expose_secret()).map_err(|reason| Error::InvalidOptions {
            reason: format!("identity: {reason}"),
        })
    }

    fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut identities = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line.parse().map_err(|reason| {
                format!(
                    "line {} is not an age identity ({reason}); expected `AGE-SECRET-KEY-1…`",
                    number + 1
                )
            })?;
            identities.push(Self(identity));
        }
        if identities.is_empty() {
            return Err("holds no identity; expected a line `AGE-SECRET-KEY-1…`".into());
        }
        Ok(identities)
    }
}

fn key_file(path: &Path, reason: String) -> Error {
    Error::KeyFile {
        path: path.to_owned(),
        reason,
    }
}

/// What opens a repository.
#[derive(Clone)]
pub enum Unlock {
    /// Any of these age identities.
    Identities(Vec<Identity>),
    /// A passphrase.
    Passphrase(SecretString),
    /// Nothing: for repositories without encryption.
    Nothing,
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identities(identities) => f.debug_tuple("Identities").field(identities).finish(),
            Self::Passphrase(_) => f.write_str("Passphrase(\"...\")"),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let (one, two) = (Identity::generate(), Identity::generate());
        let text = format!(
            "{}\n\n# note\n{}\n",
            one.to_file_text().expose_secret(),
            two.to_secret_string().expose_secret()
        );
        std::fs::write(&path, text).unwrap();
        let read = Identity::from_file(&path).unwrap();
        let names: Vec<String> = read.iter().map(|i| i.recipient().to_string()).collect();
        assert_eq!(names, [one.recipient().to_string(), two.recipient().to_string()]);
    }

    #[test]
    fn bad_identity_files_name_the_line_and_never_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "# x\nAGE-SECRET-KEY-1BROKEN\n").unwrap();
        let message = Identity::from_file(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(!message.contains("BROKEN"), "{message}");
        std::fs::write(&path, "# only a comment\n").unwrap();
        assert!(
            Identity::from_file(&path)
                .unwrap_err()
                .to_string()
                .contains("no identity")
        );
        assert!(Identity::from_file(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn secrets_do_not_print() {
        let identity = Identity::generate();
        let secret = identity.to_secret_string();
        let tail = &secret.expose_secret()[20..];
        let unlock = Unlock::Identities(vec![identity.clone()]);
        assert!(!format!("{unlock:?} {identity:?} {:?}", identity.to_file_text()).contains(tail));
        let passphrase = SecretString::from("hunter2".to_owned());
        let shown = format!(
            "{:?} {:?}",
            Unlock::Passphrase(passphrase.clone()),
            Recipient::Passphrase(passphrase)
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        let mistaken = secret
            .expose_secret()
            .parse::<Recipient>()
            .unwrap_err()
            .to_string();
        assert!(!mistaken.contains(tail), "{mistaken}");
    }
}
