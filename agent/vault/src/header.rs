//! The clear header of every sealed object.

use crate::cipher::{Kind, Sealer};
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::keys::{KeyRing, SALT_LEN, random};
use crate::storage::Key;

/// Length of the header.
pub(crate) const HEADER_LEN: usize = 56;

const MAGIC: &[u8; 4] = b"DRVT";

/// A new header with a random salt, and what seals behind it.
pub(crate) fn create(ring: &KeyRing, kind: Kind) -> Result<([u8; HEADER_LEN], [u8; SALT_LEN], Sealer)> {
    let salt = random::<SALT_LEN>()?;
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(MAGIC);
    header[4] = crate::FORMAT_VERSION as u8;
    header[5] = kind as u8;
    header[6] = ring.cipher().code();
    header[8..24].copy_from_slice(ring.repository().as_bytes());
    header[24..].copy_from_slice(&salt);
    Ok((header, salt, ring.sealer(kind, &salt)))
}

/// Checks every bit of a header but the salt, which the seals behind it prove, and answers the salt.
pub(crate) fn parse(ring: &KeyRing, kind: Kind, object: &Key, bytes: &[u8]) -> Result<[u8; SALT_LEN]> {
    let wrong = |reason: String| Error::damaged(object, reason);
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(wrong(format!("it has {} bytes, less than a header", bytes.len())));
    };
    if &header[..4] != MAGIC {
        return Err(wrong(
            "it does not start with the magic number of sealed objects".into(),
        ));
    }
    if u32::from(header[4]) != crate::FORMAT_VERSION {
        return Err(wrong(format!(
            "its header says format {}, the repository has 1",
            header[4]
        )));
    }
    if header[5] != kind as u8 {
        return Err(wrong(format!(
            "its header says kind {}, a {kind} has {}",
            header[5], kind as u8
        )));
    }
    if header[6] != ring.cipher().code() || header[7] != 0 {
        return Err(wrong(
            "its header names a cipher that is not the repository's".into(),
        ));
    }
    let mut repository = [0; 16];
    repository.copy_from_slice(&header[8..24]);
    if repository != *ring.repository().as_bytes() {
        return Err(Error::ForeignRepository {
            what: object.to_string().into(),
            expected: ring.repository(),
            found: RepositoryId::from_bytes(repository),
            hint: "the object was copied here from elsewhere, or its header is damaged".into(),
        });
    }
    let mut salt = [0; SALT_LEN];
    salt.copy_from_slice(&header[24..]);
    Ok(salt)
}
