//! Making and opening a repository.
//!
//! # Crash consistency
//!
//! `init` stores the wrapped keys first and `config` last: without `config` there is no repository, and key objects
//! that an interrupted `init` left behind seal the hash of a config that does not exist, so nobody takes them for
//! keys of the one that comes after.

use futures::{StreamExt, TryStreamExt};

use super::config::{Config, MAX_CONFIG};
use super::{InitOptions, Inner, OpenOptions, Repository, blocking};
use crate::cipher::Cipher;
use crate::envelope::prove_name;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::id::{Digest, KeyId, RepositoryId};
use crate::keys::{KeyRing, MasterKey, Payload, Recipient, Unlock, Unwrapped, random, unwrap, wrap};
use crate::layout;
use crate::storage::{self, Key, PutMode, PutOutcome, SharedStorage};

/// A key object has some hundred bytes.
const MAX_KEY: u64 = 64 << 10;
/// More key objects than anybody has; a listing beyond is an attack on our patience.
const MAX_KEYS: usize = 1000;

pub(super) async fn init(
    storage: SharedStorage,
    options: InitOptions,
    open: OpenOptions,
) -> Result<Repository> {
    validate(&options)?;
    refuse_existing(&storage).await?;
    let id = RepositoryId::from_random(random()?);
    let config = Config::new(id, open.clock.now(), options.cipher, options.chunker.clone());
    let config_bytes = config.encode()?;
    let config_hash = Digest::of(&config_bytes);
    let master = match options.cipher {
        Cipher::Aes256Gcm => MasterKey::generate()?,
        Cipher::None => MasterKey::unencrypted(id),
    };
    let passphrase = options.passphrase.map(Recipient::Passphrase);
    for recipient in options.recipients.into_iter().chain(passphrase) {
        store_key(&storage, id, config_hash, &master, recipient).await?;
    }
    failpoint::reach("init.keys.stored");
    let stored = storage
        .put(&layout::config(), config_bytes.into(), PutMode::Create)
        .await;
    if stored.map_err(|e| storage_error(&storage, e))? == PutOutcome::Exists {
        // Our own answer may have been lost and the PUT repeated: only a different config is somebody else's.
        let found = read_config(&storage)
            .await?
            .ok_or_else(|| Error::internal("config came and went"))?;
        if found.1 != config_hash {
            return Err(already(&storage, found.0.id));
        }
    }
    failpoint::reach("init.config.stored");
    let ring = KeyRing::new(master, config.cipher, config.id);
    assemble(storage, config, config_hash, ring, open).await
}

fn validate(options: &InitOptions) -> Result<()> {
    options.chunker.validate()?;
    let keys = options.recipients.len() + usize::from(options.passphrase.is_some());
    let reason = match options.cipher {
        Cipher::Aes256Gcm if keys == 0 => {
            "no recipient: a repository that nobody can open is of no use; give at least one age recipient or a \
             passphrase"
        }
        Cipher::None if keys > 0 => {
            "recipients and no encryption exclude each other: leave the recipients out, or encrypt"
        }
        _ => return Ok(()),
    };
    Err(Error::InvalidOptions {
        reason: reason.into(),
    })
}

async fn refuse_existing(storage: &SharedStorage) -> Result<()> {
    match read_config(storage).await? {
        Some((config, _)) => Err(already(storage, config.id)),
        None => Ok(()),
    }
}

fn already(storage: &SharedStorage, repository: RepositoryId) -> Error {
    Error::AlreadyInitialised {
        location: storage.location(),
        repository,
    }
}

/// Wraps the master key for one recipient and stores that.
pub(super) async fn store_key(
    storage: &SharedStorage,
    repository: RepositoryId,
    config: Digest,
    master: &MasterKey,
    recipient: Recipient,
) -> Result<KeyId> {
    let payload = Payload {
        master: master.clone(),
        repository,
        config,
    };
    let sealed = blocking(move || wrap(&payload, &recipient)).await?;
    let id = KeyId::from_bytes(*Digest::of(&sealed).as_bytes());
    storage
        .put(&layout::key(&id), sealed.into(), PutMode::Overwrite)
        .await
        .map_err(|e| storage_error(storage, e))?;
    Ok(id)
}

pub(super) async fn open(
    storage: SharedStorage,
    unlock: &Unlock,
    options: OpenOptions,
) -> Result<Repository> {
    let (config, config_hash) = read_config(&storage)
        .await?
        .ok_or_else(|| Error::NotARepository {
            location: storage.location(),
        })?;
    let ring = match (config.cipher, unlock) {
        (Cipher::None, Unlock::Nothing) => {
            KeyRing::new(MasterKey::unencrypted(config.id), Cipher::None, config.id)
        }
        // A config exchanged for one without encryption must not make this host store in clear.
        (Cipher::None, _) => {
            return Err(Error::InvalidOptions {
                reason: format!(
                    "the repository at {} is not encrypted, but a key was given: if that is right, configure no \
                     key",
                    storage.location()
                ),
            });
        }
        (Cipher::Aes256Gcm, Unlock::Nothing) => {
            return Err(Error::KeyNeeded {
                location: storage.location(),
                repository: config.id,
            });
        }
        (Cipher::Aes256Gcm, _) => unlock_ring(&storage, &config, config_hash, unlock).await?,
    };
    assemble(storage, config, config_hash, ring, options).await
}

async fn read_config(storage: &SharedStorage) -> Result<Option<(Config, Digest)>> {
    let bytes = match storage.get(&layout::config(), Some(0..MAX_CONFIG)).await {
        Ok(bytes) => bytes,
        Err(storage::Error::NotFound(_)) => return Ok(None),
        Err(e) => return Err(storage_error(storage, e)),
    };
    let config = Config::decode(&bytes, &storage.location())?;
    Ok(Some((config, Digest::of(&bytes))))
}

/// Tries the key objects until one opens.
async fn unlock_ring(
    storage: &SharedStorage,
    config: &Config,
    config_hash: Digest,
    unlock: &Unlock,
) -> Result<KeyRing> {
    let keys = list_keys(storage).await?;
    let mut tried = 0;
    let mut trouble = None;
    for id in &keys {
        let object = layout::key(id);
        match try_key(storage, id, &object, unlock).await? {
            Unwrapped::NotOurs => tried += 1,
            Unwrapped::Malformed(reason) => {
                tracing::warn!(%object, %reason, "a key object is damaged");
                trouble = trouble.or(Some(Error::damaged(&object, reason)));
            }
            Unwrapped::Opened(payload) => match prove_config(&object, &payload, config, config_hash) {
                Ok(()) => return Ok(KeyRing::new(payload.master, config.cipher, config.id)),
                Err(error) => trouble = Some(error),
            },
        }
    }
    match trouble {
        Some(error) => Err(error),
        None if keys.is_empty() => Err(Error::Missing {
            object: Key::new(layout::KEYS),
            reason: format!(
                "repository {} at {} has no key object, so nobody can open it; put a copy of one back",
                config.id,
                storage.location()
            ),
        }),
        None => Err(Error::WrongKey {
            location: storage.location(),
            repository: config.id,
            tried,
        }),
    }
}

/// A key object that opens for us also says for which config it was made.
fn prove_config(object: &Key, payload: &Payload, config: &Config, config_hash: Digest) -> Result<()> {
    if payload.repository != config.id {
        return Err(Error::ForeignRepository {
            what: object.to_string().into(),
            expected: config.id,
            found: payload.repository,
            hint: "`config` or the key object was copied here from another repository".into(),
        });
    }
    if payload.config != config_hash {
        let reason = format!("it is not the config that {object} was made for: it was changed or replaced");
        return Err(Error::damaged(&layout::config(), reason));
    }
    Ok(())
}

async fn try_key(storage: &SharedStorage, id: &KeyId, object: &Key, unlock: &Unlock) -> Result<Unwrapped> {
    let bytes = storage
        .get(object, Some(0..MAX_KEY))
        .await
        .map_err(|e| storage_error(storage, e))?;
    if let Err(error) = prove_name(object, id.as_bytes(), &bytes) {
        let Error::Damaged { reason, .. } = error else {
            return Err(error);
        };
        return Ok(Unwrapped::Malformed(reason));
    }
    let unlock = unlock.clone();
    blocking(move || Ok(unwrap(&bytes, &unlock))).await
}

pub(super) async fn list_keys(storage: &SharedStorage) -> Result<Vec<KeyId>> {
    let keys: Vec<KeyId> = storage
        .list(layout::KEYS)
        .try_filter_map(|meta| async move { Ok(layout::parse_key(&meta.key)) })
        .take(MAX_KEYS)
        .try_collect()
        .await
        .map_err(|e| storage_error(storage, e))?;
    Ok(keys)
}

async fn assemble(
    storage: SharedStorage,
    config: Config,
    config_hash: Digest,
    ring: KeyRing,
    options: OpenOptions,
) -> Result<Repository> {
    blocking(move || Inner::assemble(storage, config, config_hash, ring, options)).await
}

pub(super) fn storage_error(storage: &SharedStorage, source: storage::Error) -> Error {
    match source {
        storage::Error::Cancelled => Error::Cancelled,
        source => Error::Storage {
            location: storage.location(),
            source: std::sync::Arc::new(source),
        },
    }
}
