//! The master key and everything derived from it.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::cipher::{Cipher, Kind, Sealer};
use crate::error::{Error, Result};
use crate::id::{ChunkId, Digest, RepositoryId};

const CHUNK_ID: &str = "drctl vault 1 chunk id";
const CONTENT_HASH: &str = "drctl vault 1 content hash";
const CHUNKER_SEED: &str = "drctl vault 1 chunker seed";
const OBJECT_KEY: &str = "drctl vault 1 object key";
const FINGERPRINT: &str = "drctl vault 1 master key fingerprint";
const UNENCRYPTED: &str = "drctl vault 1 without encryption";

/// Length of the random salt in the header of each sealed object.
pub(crate) const SALT_LEN: usize = 32;

/// Fills an array from the system's random source.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::internal("the system's random source failed"))?;
    Ok(bytes)
}

/// The repository's one secret.
#[derive(Clone)]
pub(crate) struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The "secret" of a repository without encryption: known to all, so that there is one code path.
    pub(crate) fn unencrypted(repository: RepositoryId) -> Self {
        Self(Zeroizing::new(blake3::derive_key(
            UNENCRYPTED,
            repository.as_bytes(),
        )))
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The keys of an opened repository.
pub(crate) struct KeyRing {
    master: MasterKey,
    cipher: Cipher,
    repository: RepositoryId,
    chunk_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({:?}, \"...\")", self.cipher)
    }
}

impl KeyRing {
    pub(crate) fn new(master: MasterKey, cipher: Cipher, repository: RepositoryId) -> Self {
        let chunk_key = derive(CHUNK_ID, &master, repository, &[]);
        Self {
            master,
            cipher,
            repository,
            chunk_key,
        }
    }

    pub(crate) fn cipher(&self) -> Cipher {
        self.cipher
    }

    pub(crate) fn repository(&self) -> RepositoryId {
        self.repository
    }

    pub(crate) fn master(&self) -> &MasterKey {
        &self.master
    }

    pub(crate) fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId::from_bytes(*blake3::keyed_hash(&self.chunk_key, plain).as_bytes())
    }

    pub(crate) fn chunker_seed(&self) -> u64 {
        let bytes = derive(CHUNKER_SEED, &self.master, self.repository, &[]);
        let mut seed = [0; 8];
        seed.copy_from_slice(&bytes[..8]);
        u64::from_le_bytes(seed)
    }

    /// A hasher for the hashes of whole files.
    pub(crate) fn content_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&derive(CONTENT_HASH, &self.master, self.repository, &[]))
    }

    /// A key for a purpose of the caller's; opens nothing in the repository.
    pub(crate) fn derived(&self, purpose: &'static str) -> [u8; 32] {
        *derive(purpose, &self.master, self.repository, &[])
    }

    /// Tells one master key from another and says nothing about either.
    pub(crate) fn fingerprint(&self) -> Digest {
        Digest::from_bytes(*derive(FINGERPRINT, &self.master, self.repository, &[]))
    }

    /// What seals the object of that kind and salt.
    pub(crate) fn sealer(&self, kind: Kind, salt: &[u8; SALT_LEN]) -> Sealer {
        let mut context = [0; 1 + SALT_LEN];
        context[0] = kind as u8;
        context[1..].copy_from_slice(salt);
        let key = derive(OBJECT_KEY, &self.master, self.repository, &context);
        Sealer::new(self.cipher, key, self.repository, kind)
    }
}

fn derive(
    purpose: &'static str,
    master: &MasterKey,
    repository: RepositoryId,
    context: &[u8],
) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher
        .update(master.expose())
        .update(repository.as_bytes())
        .update(context);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_all_that_goes_in() {
        let repository = RepositoryId::from_random([1; 16]);
        let master = MasterKey::from_bytes(Zeroizing::new([5; 32]));
        let ring = KeyRing::new(master.clone(), Cipher::Aes256Gcm, repository);
        let other = KeyRing::new(
            master.clone(),
            Cipher::Aes256Gcm,
            RepositoryId::from_random([2; 16]),
        );
        assert_ne!(ring.chunk_id(b"x"), other.chunk_id(b"x"));
        assert_ne!(ring.chunker_seed(), other.chunker_seed());
        let content = |ring: &KeyRing| *ring.content_hasher().update(b"x").finalize().as_bytes();
        assert_ne!(content(&ring), content(&other));
        assert_ne!(&content(&ring), ring.chunk_id(b"x").as_bytes());
        assert_ne!(ring.fingerprint(), other.fingerprint());
        let key = |kind: Kind, salt: u8| derive(OBJECT_KEY, &master, repository, &[kind as u8, salt]);
        assert_ne!(*key(Kind::Pack, 1), *key(Kind::Pack, 2));
        assert_ne!(*key(Kind::Pack, 1), *key(Kind::Index, 1));
    }
}
