//! Keys: the master key, what is derived from it, and its wrapping for people and hosts.

use std::path::Path;

use secrecy::SecretString;

use crate::error::Result;

/// Who can open a repository: each gets a key object of its own.
#[derive(Clone)]
pub enum Recipient {
    /// An age X25519 recipient, `age1…`.
    X25519(age::x25519::Recipient),
    /// Whoever knows this passphrase (scrypt).
    Passphrase(SecretString),
}

/// The private half of an age X25519 recipient.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

/// What opens a repository.
#[derive(Clone, Debug)]
pub enum Unlock {
    /// Any of these age identities.
    Identities(Vec<Identity>),
    /// A passphrase.
    Passphrase(SecretString),
    /// Nothing: for repositories without encryption.
    Nothing,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::X25519(recipient) => write!(f, "Recipient({recipient})"),
            Self::Passphrase(_) => f.write_str("Recipient(passphrase)"),
        }
    }
}

impl std::str::FromStr for Recipient {
    type Err = crate::Error;

    fn from_str(_text: &str) -> Result<Self> {
        todo!()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(\"...\")")
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

    /// All identities of an age identity file.
    ///
    /// # Errors
    ///
    /// [`crate::Error::KeyFile`] if the file can not be read or holds none.
    pub fn from_file(_path: &Path) -> Result<Vec<Self>> {
        todo!()
    }
}
