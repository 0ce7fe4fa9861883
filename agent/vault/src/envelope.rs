//! A small object in one sealed piece: index objects, manifests and records.
//!
//! # Layout
//!
//! The clear header, then the encoded body, then the tag. A body that belongs to something (the facts of a
//! snapshot) is bound to it by its subject.

use bytes::Bytes;

use crate::cipher::{Kind, Part, TAG_LEN};
use crate::codec::{Decoder, Encoder, OVERHEAD};
use crate::error::{Error, Result};
use crate::header::{self, HEADER_LEN};
use crate::id::Digest;
use crate::keys::KeyRing;
use crate::storage::Key;

/// The largest object that a store is asked to take in one PUT.
pub const MAX_OBJECT: usize = 64 << 20;

/// The largest plain body.
pub const MAX_BODY: usize = MAX_OBJECT - HEADER_LEN - TAG_LEN - OVERHEAD;

/// A sealed object, ready to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) bytes: Bytes,
    /// BLAKE3 of all its bytes: its name comes from this.
    pub(crate) digest: Digest,
}

/// Seals `body`; `subject` is what it belongs to, or zeros.
pub(crate) fn seal(ring: &KeyRing, kind: Kind, subject: [u8; 32], body: &[u8]) -> Result<Sealed> {
    if body.len() > MAX_BODY {
        let (size, limit) = (body.len() as u64, MAX_BODY as u64);
        return Err(Error::TooLarge {
            what: format!("the {kind}"),
            size,
            limit,
        });
    }
    let (header, _, sealer) = header::create(ring, kind)?;
    let mut bytes = Vec::with_capacity(HEADER_LEN + OVERHEAD + body.len() + TAG_LEN);
    bytes.extend_from_slice(&header);
    Encoder::new()?.encode(body, &mut bytes);
    let tag = sealer.seal(&Part { ordinal: 0, subject }, &mut bytes[HEADER_LEN..]);
    bytes.extend_from_slice(&tag);
    let digest = Digest::of(&bytes);
    Ok(Sealed {
        bytes: bytes.into(),
        digest,
    })
}

/// Opens what [`seal`] made. `object` is its name, for errors.
pub(crate) fn open(
    ring: &KeyRing,
    kind: Kind,
    subject: [u8; 32],
    object: &Key,
    sealed: &[u8],
) -> Result<Vec<u8>> {
    let salt = header::parse(ring, kind, object, sealed)?;
    let mut sealed = sealed[HEADER_LEN..].to_vec();
    let encoded = ring
        .sealer(kind, &salt)
        .open(&Part { ordinal: 0, subject }, &mut sealed)
        .map_err(|_| {
            Error::damaged(
                object,
                format!("its seal does not open as the {kind} it should be"),
            )
        })?;
    Decoder::new()?
        .decode(encoded, MAX_BODY)
        .map_err(|reason| Error::damaged(object, reason))
}

/// Says whether the object's bytes have the hash that its name carries.
pub(crate) fn prove_name(object: &Key, expected: &[u8], bytes: &[u8]) -> Result<()> {
    let found = Digest::of(bytes);
    if found.as_bytes().starts_with(expected) {
        Ok(())
    } else {
        let reason = format!(
            "its {} bytes have BLAKE3 {found}, which is not its name",
            bytes.len()
        );
        Err(Error::damaged(object, reason))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cipher::Cipher;
    use crate::id::RepositoryId;
    use crate::keys::MasterKey;

    fn ring(cipher: Cipher) -> KeyRing {
        KeyRing::new(
            MasterKey::generate().unwrap(),
            cipher,
            RepositoryId::from_random([8; 16]),
        )
    }

    fn key() -> Key {
        Key::new("facts/x")
    }

    #[test]
    fn every_bit_and_every_length_counts() {
        for cipher in [Cipher::Aes256Gcm, Cipher::None] {
            let ring = ring(cipher);
            let sealed = seal(&ring, Kind::Facts, [1; 32], b"{\"rows\":3}").unwrap().bytes;
            assert_eq!(
                open(&ring, Kind::Facts, [1; 32], &key(), &sealed).unwrap(),
                b"{\"rows\":3}"
            );
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let error = open(&ring, Kind::Facts, [1; 32], &key(), &flipped).unwrap_err();
                assert!(error.to_string().contains("facts/x"), "bit {bit}: {error}");
            }
            for len in 0..sealed.len() {
                assert!(open(&ring, Kind::Facts, [1; 32], &key(), &sealed[..len]).is_err());
            }
        }
    }

    #[test]
    fn opens_only_as_what_it_is() {
        let ring = ring(Cipher::Aes256Gcm);
        let sealed = seal(&ring, Kind::Facts, [1; 32], b"x").unwrap().bytes;
        assert!(open(&ring, Kind::Hold, [1; 32], &key(), &sealed).is_err());
        assert!(open(&ring, Kind::Facts, [2; 32], &key(), &sealed).is_err());
        let foreign = KeyRing::new(
            ring.master().clone(),
            Cipher::Aes256Gcm,
            RepositoryId::from_random([9; 16]),
        );
        let error = open(&foreign, Kind::Facts, [1; 32], &key(), &sealed).unwrap_err();
        assert!(matches!(error, Error::ForeignRepository { .. }), "{error}");
    }

    #[test]
    fn one_body_never_seals_the_same_twice() {
        let ring = ring(Cipher::Aes256Gcm);
        let digest = || seal(&ring, Kind::Facts, [0; 32], b"x").unwrap().digest;
        assert_ne!(digest(), digest());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(body in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let ring = ring(Cipher::Aes256Gcm);
            let sealed = seal(&ring, Kind::Ledger, [0; 32], &body).unwrap();
            prove_name(&key(), sealed.digest.as_bytes(), &sealed.bytes).unwrap();
            prop_assert_eq!(open(&ring, Kind::Ledger, [0; 32], &key(), &sealed.bytes).unwrap(), body);
        }
    }
}
