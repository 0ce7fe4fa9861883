//! The content of a `keys/<id>` object: an age file around one JSON document.

use std::io::{Read, Write};

use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{MasterKey, Recipient, Unlock};
use crate::error::{Error, Result};
use crate::id::{Digest, RepositoryId};

/// scrypt with 2^22 rounds takes 4 GiB: more is an attack, not a passphrase.
const MAX_SCRYPT_LOG_N: u8 = 22;

/// A key payload has about 250 bytes.
const MAX_PAYLOAD: u64 = 4096;

/// What a key object seals.
pub(crate) struct Payload {
    pub(crate) master: MasterKey,
    pub(crate) repository: RepositoryId,
    /// BLAKE3 of the whole `config` object.
    pub(crate) config: Digest,
}

/// The JSON document; the key borrows from a buffer that is wiped.
#[derive(Deserialize)]
struct Document<'a> {
    master_key: &'a str,
    repository: RepositoryId,
    config: Digest,
}

/// What came of trying to open a key object.
pub(crate) enum Unwrapped {
    Opened(Payload),
    /// Made for somebody else.
    NotOurs,
    /// It opened, and is not what it should be.
    Malformed(String),
}

/// Seals `payload` for `recipient`. Slow for a passphrase: call it where blocking is fine.
pub(crate) fn wrap(payload: &Payload, recipient: &Recipient) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Wrap {
        recipient: recipient.to_string(),
        reason,
    };
    let document = Zeroizing::new(format!(
        r#"{{"master_key":"{}","repository":"{}","config":"{}"}}"#,
        *Zeroizing::new(hex::encode(payload.master.expose())),
        payload.repository,
        payload.config,
    ));
    let encryptor = match recipient {
        Recipient::X25519(recipient) => {
            age::Encryptor::with_recipients(std::iter::once(recipient as &dyn age::Recipient))
                .map_err(|e| failed(e.to_string()))?
        }
        Recipient::Passphrase(passphrase) => age::Encryptor::with_user_passphrase(passphrase.clone()),
    };
    let mut sealed = Vec::new();
    let mut writer = encryptor
        .wrap_output(&mut sealed)
        .map_err(|e| failed(e.to_string()))?;
    writer
        .write_all(document.as_bytes())
        .map_err(|e| failed(e.to_string()))?;
    writer.finish().map_err(|e| failed(e.to_string()))?;
    Ok(sealed)
}

/// Tries to open a key object whose hash was found right. Slow for a passphrase.
pub(crate) fn unwrap(sealed: &[u8], unlock: &Unlock) -> Unwrapped {
    let decryptor = match age::Decryptor::new_buffered(sealed) {
        Ok(decryptor) => decryptor,
        Err(e) => return Unwrapped::Malformed(format!("it is not an age file: {e}")),
    };
    let opened = match unlock {
        Unlock::Identities(identities) if !decryptor.is_scrypt() => decryptor.decrypt(
            identities
                .iter()
                .map(|identity| &identity.0 as &dyn age::Identity),
        ),
        Unlock::Passphrase(passphrase) if decryptor.is_scrypt() => {
            decryptor.decrypt(std::iter::once(&scrypt_identity(passphrase) as &dyn age::Identity))
        }
        _ => return Unwrapped::NotOurs,
    };
    let Ok(mut reader) = opened else {
        return Unwrapped::NotOurs;
    };
    let mut document = Zeroizing::new(Vec::with_capacity(MAX_PAYLOAD as usize));
    if let Err(e) = reader.by_ref().take(MAX_PAYLOAD).read_to_end(&mut document) {
        return Unwrapped::Malformed(format!("its payload does not open: {e}"));
    }
    match parse(&document) {
        Some(payload) => Unwrapped::Opened(payload),
        None => Unwrapped::Malformed("its payload is not a key document".into()),
    }
}

fn scrypt_identity(passphrase: &SecretString) -> age::scrypt::Identity {
    let mut identity = age::scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(MAX_SCRYPT_LOG_N);
    identity
}

fn parse(document: &[u8]) -> Option<Payload> {
    let document: Document<'_> = serde_json::from_slice(document).ok()?;
    let mut master = Zeroizing::new([0; 32]);
    hex::decode_to_slice(document.master_key, master.as_mut_slice()).ok()?;
    Some(Payload {
        master: MasterKey::from_bytes(master),
        repository: document.repository,
        config: document.config,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    fn payload() -> Payload {
        Payload {
            master: MasterKey::generate().unwrap(),
            repository: RepositoryId::from_random([4; 16]),
            config: Digest::of(b"config"),
        }
    }

    #[test]
    fn opens_for_its_recipient_alone() {
        let payload = payload();
        let identity = Identity::generate();
        let sealed = wrap(&payload, &identity.recipient()).unwrap();
        let Unwrapped::Opened(opened) =
            unwrap(&sealed, &Unlock::Identities(vec![Identity::generate(), identity]))
        else {
            panic!("does not open")
        };
        assert_eq!(opened.master.expose(), payload.master.expose());
        assert_eq!(
            (opened.repository, opened.config),
            (payload.repository, payload.config)
        );
        let stranger = Unlock::Identities(vec![Identity::generate()]);
        assert!(matches!(unwrap(&sealed, &stranger), Unwrapped::NotOurs));
        let passphrase = Unlock::Passphrase(SecretString::from("no".to_owned()));
        assert!(matches!(unwrap(&sealed, &passphrase), Unwrapped::NotOurs));
    }

    #[test]
    fn opens_with_its_passphrase_alone() {
        let payload = payload();
        let right = SecretString::from("correct horse".to_owned());
        let sealed = wrap(&payload, &Recipient::Passphrase(right.clone())).unwrap();
        assert!(matches!(
            unwrap(&sealed, &Unlock::Passphrase(right)),
            Unwrapped::Opened(_)
        ));
        let wrong = Unlock::Passphrase(SecretString::from("battery staple".to_owned()));
        assert!(matches!(unwrap(&sealed, &wrong), Unwrapped::NotOurs));
    }
}
