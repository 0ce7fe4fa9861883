//! Sealing of bytes: AES-256-GCM with one key per object, or, for a repository without encryption, the same
//! shape with a tag that detects damage but hides nothing.
//!
//! A key seals one object only: it is derived from the master key, the object's kind and the 32 random bytes of
//! salt in the object's header. So the ordinal of a part within its object can serve as nonce, and no counter has
//! to survive anywhere. What a part is (repository, kind, ordinal, chunk) is authenticated with it: a part put in
//! another place does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::RepositoryId;

/// Length of the tag behind each sealed part.
pub const TAG_LEN: usize = 16;

/// The ordinal of a pack's footer; chunks count from zero.
pub const FOOTER_ORDINAL: u64 = u64::MAX;

/// How the objects of a repository are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cipher {
    /// AES-256-GCM, a key per object.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// Nothing is hidden; a keyed BLAKE3 whose key anybody can derive detects damage.
    #[serde(rename = "none")]
    None,
}

impl Cipher {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::None => 0,
        }
    }
}

/// What an object is: part of every key derivation and of what is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Chunks, with a footer.
    Pack = 1,
    /// Chunk → pack.
    Index = 2,
    /// A snapshot's manifest.
    Manifest = 3,
    /// What was measured of a snapshot.
    Facts = 4,
    /// A reason to keep a snapshot.
    Hold = 5,
    /// The record of a drill.
    Drill = 6,
    /// What was verified when.
    Ledger = 7,
    /// A backup or prune under way.
    Intent = 8,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pack => "pack",
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Facts => "facts",
            Self::Hold => "hold",
            Self::Drill => "drill record",
            Self::Ledger => "ledger entry",
            Self::Intent => "intent",
        })
    }
}

/// A part did not open: it is damaged, or not what it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// What a part is, authenticated with its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Position of the part within its object.
    pub(crate) ordinal: u64,
    /// The chunk, or what else the part is bound to; zeros if nothing.
    pub(crate) subject: [u8; 32],
}

enum Secret {
    Gcm(Box<LessSafeKey>),
    Clear(Zeroizing<[u8; 32]>),
}

/// Seals and opens the parts of one object.
pub(crate) struct Sealer {
    secret: Secret,
    repository: RepositoryId,
    kind: Kind,
}

const AAD_LEN: usize = 16 + 1 + 8 + 32;

impl Sealer {
    pub(crate) fn new(
        cipher: Cipher,
        key: Zeroizing<[u8; 32]>,
        repository: RepositoryId,
        kind: Kind,
    ) -> Self {
        let secret = match cipher {
            Cipher::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("an AES-256 key has 32 bytes");
                Secret::Gcm(Box::new(LessSafeKey::new(key)))
            }
            Cipher::None => Secret::Clear(key),
        };
        Self {
            secret,
            repository,
            kind,
        }
    }

    fn aad(&self, part: &Part) -> [u8; AAD_LEN] {
        let mut aad = [0; AAD_LEN];
        aad[..16].copy_from_slice(self.repository.as_bytes());
        aad[16] = self.kind as u8;
        aad[17..25].copy_from_slice(&part.ordinal.to_le_bytes());
        aad[25..].copy_from_slice(&part.subject);
        aad
    }

    fn nonce(part: &Part) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&part.ordinal.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn clear_tag(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> [u8; TAG_LEN] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(aad).update(plain);
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_LEN]);
        tag
    }

    /// Seals `plain` in place and answers the tag that belongs behind it.
    pub(crate) fn seal(&self, part: &Part, plain: &mut [u8]) -> [u8; TAG_LEN] {
        let aad = self.aad(part);
        match &self.secret {
            Secret::Gcm(key) => {
                let tag = key
                    .seal_in_place_separate_tag(Self::nonce(part), Aad::from(aad), plain)
                    .expect("AES-GCM seals anything below 64 GiB");
                let mut bytes = [0; TAG_LEN];
                bytes.copy_from_slice(tag.as_ref());
                bytes
            }
            Secret::Clear(key) => Self::clear_tag(key, &aad, plain),
        }
    }

    /// Opens `sealed` (with its tag) in place and answers the plain bytes.
    pub(crate) fn open<'a>(&self, part: &Part, sealed: &'a mut [u8]) -> Result<&'a mut [u8], NotAuthentic> {
        let aad = self.aad(part);
        match &self.secret {
            Secret::Gcm(key) => key
                .open_in_place(Self::nonce(part), Aad::from(aad), sealed)
                .map_err(|_| NotAuthentic),
            Secret::Clear(key) => {
                let at = sealed.len().checked_sub(TAG_LEN).ok_or(NotAuthentic)?;
                let (plain, tag) = sealed.split_at_mut(at);
                if Self::clear_tag(key, &aad, plain) == *tag {
                    Ok(plain)
                } else {
                    Err(NotAuthentic)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(cipher: Cipher, kind: Kind) -> Sealer {
        Sealer::new(
            cipher,
            Zeroizing::new([3; 32]),
            RepositoryId::from_random([9; 16]),
            kind,
        )
    }

    fn sealed(sealer: &Sealer, part: &Part, plain: &[u8]) -> Vec<u8> {
        let mut bytes = plain.to_vec();
        let tag = sealer.seal(part, &mut bytes);
        bytes.extend_from_slice(&tag);
        bytes
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        for cipher in [Cipher::Aes256Gcm, Cipher::None] {
            let pack = sealer(cipher, Kind::Pack);
            let part = Part {
                ordinal: 5,
                subject: [1; 32],
            };
            let bytes = sealed(&pack, &part, b"chunk");
            assert_eq!(pack.open(&part, &mut bytes.clone()).unwrap(), b"chunk");
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(pack.open(&part, &mut flipped), Err(NotAuthentic));
            }
            for len in 0..bytes.len() {
                assert_eq!(pack.open(&part, &mut bytes[..len].to_vec()), Err(NotAuthentic));
            }
            let elsewhere = Part { ordinal: 6, ..part };
            assert!(pack.open(&elsewhere, &mut bytes.clone()).is_err());
            let other_chunk = Part {
                subject: [2; 32],
                ..part
            };
            assert!(pack.open(&other_chunk, &mut bytes.clone()).is_err());
            assert!(
                sealer(cipher, Kind::Index)
                    .open(&part, &mut bytes.clone())
                    .is_err()
            );
        }
    }

    #[test]
    fn encryption_hides() {
        let part = Part {
            ordinal: 0,
            subject: [0; 32],
        };
        let bytes = sealed(
            &sealer(Cipher::Aes256Gcm, Kind::Pack),
            &part,
            b"a secret of some length",
        );
        assert!(!bytes.windows(6).any(|w| w == b"secret"));
    }
}
