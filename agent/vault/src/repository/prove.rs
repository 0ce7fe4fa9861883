//! Proof of whole objects: what a check rests on.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::index::TAIL;
use super::{Inner, Repository, blocking};
use crate::codec::Decoder;
use crate::envelope::prove_name;
use crate::error::{Error, Result};
use crate::header::HEADER_LEN;
use crate::id::{ChunkId, Digest, PackId};
use crate::layout;
use crate::pack::{self, TRAILER_LEN};

/// Bytes of chunks held at once while parts of a pack are proved.
const BATCH: u64 = 8 << 20;

/// What reading a pack has shown.
#[derive(Debug, Clone)]
pub struct PackProof {
    /// Bytes that were fetched for it.
    pub fetched: u64,
    /// Chunks opened and hashed.
    pub chunks: u64,
    /// What is wrong; `None` if every byte is what was written.
    pub damage: Option<Error>,
    /// The chunks that can not be read, where the pack's footer still tells; `None` means any may be.
    pub damaged_chunks: Option<HashSet<ChunkId>>,
}

impl Repository {
    /// Reads a pack whole, proves its name by its hash, and opens and hashes each of its chunks; `size` as listed.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or the store's. Damage is no error here.
    pub async fn verify_pack(&self, pack: &PackId, size: u64) -> Result<PackProof> {
        let object = layout::pack(pack);
        let got = self.inner.storage().get(&object, None).await;
        let bytes = got.map_err(|error| self.inner.failed(error, "it was listed, or an index names it"))?;
        let (inner, pack) = (Arc::clone(&self.inner), *pack);
        blocking(move || inner.prove_pack(&pack, size, &bytes)).await
    }

    /// Opens and hashes the chunks of a pack whose ordinals are `wanted`; the pack's own list says where they are.
    /// Nothing is said of the others, nor of the pack as a whole.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or the store's. Damage is no error here.
    pub async fn verify_chunks(
        &self,
        pack: &PackId,
        size: u64,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<PackProof> {
        let mut proof = PackProof {
            fetched: size.min(TAIL),
            chunks: 0,
            damage: None,
            damaged_chunks: None,
        };
        let contents = match self.inner.pack_contents(pack, size).await {
            Ok(contents) => contents,
            Err(error @ Error::Damaged { .. }) => {
                proof.damage = Some(error);
                return Ok(proof);
            }
            Err(error) => return Err(error),
        };
        let places = contents.places().filter(|(_, at)| wanted(at.ordinal));
        let mut damaged = HashSet::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut places = places.peekable();
        while let Some(place) = places.next() {
            bytes += u64::from(place.1.raw_len);
            proof.fetched += u64::from(place.1.sealed_len);
            batch.push(place);
            if bytes < BATCH && places.peek().is_some() {
                continue;
            }
            bytes = 0;
            for (chunk, read) in self.read_located(std::mem::take(&mut batch)).await {
                match read {
                    Ok(_) => proof.chunks += 1,
                    Err(error @ Error::Damaged { .. }) => {
                        damaged.insert(chunk);
                        proof.damage.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        proof.damaged_chunks = proof.damage.is_some().then_some(damaged);
        Ok(proof)
    }

    /// Whether `config` is still the object that the keys are bound to.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Missing`], or the store's.
    pub async fn check_config(&self) -> Result<()> {
        let object = layout::config();
        let got = self.inner.storage().get(&object, None).await;
        let bytes = got.map_err(|error| self.inner.failed(error, "every repository has one"))?;
        if Digest::of(&bytes) == self.inner.config_hash {
            return Ok(());
        }
        Err(Error::damaged(
            &object,
            "it is not the one that this repository was opened with",
        ))
    }
}

impl Inner {
    fn prove_pack(&self, pack: &PackId, size: u64, bytes: &Bytes) -> Result<PackProof> {
        let object = layout::pack(pack);
        let name = prove_name(&object, pack.as_bytes(), bytes).err();
        let name = name.or_else(|| {
            let reason = || format!("it has {} bytes where {size} were listed", bytes.len());
            (bytes.len() as u64 != size).then(|| Error::damaged(&object, reason()))
        });
        let contents = match self.whole_contents(pack, bytes) {
            Ok(contents) => contents,
            Err(error) => {
                return Ok(PackProof {
                    fetched: bytes.len() as u64,
                    chunks: 0,
                    damage: Some(name.unwrap_or(error)),
                    damaged_chunks: None,
                });
            }
        };
        let mut proof = PackProof {
            fetched: bytes.len() as u64,
            chunks: 0,
            damage: name,
            damaged_chunks: None,
        };
        let mut damaged = HashSet::new();
        let mut decoder = Decoder::new()?;
        let mut sealed = Vec::new();
        for (chunk, at) in contents.places() {
            let (start, end) = (at.offset as usize, at.offset as usize + at.sealed_len as usize);
            sealed.clear();
            sealed.extend_from_slice(bytes.get(start..end).unwrap_or_default());
            match pack::open_chunk(&self.ring, &object, &chunk, &at, &mut sealed, &mut decoder) {
                Ok(_) => proof.chunks += 1,
                Err(error) => {
                    damaged.insert(chunk);
                    proof.damage.get_or_insert(error);
                }
            }
        }
        proof.damaged_chunks = proof.damage.is_some().then_some(damaged);
        Ok(proof)
    }

    fn whole_contents(&self, pack: &PackId, bytes: &Bytes) -> Result<pack::Contents> {
        let object = layout::pack(pack);
        let size = bytes.len() as u64;
        let wanted = pack::footer_len(&object, size, bytes)? + TRAILER_LEN;
        let start = bytes.len().saturating_sub(wanted);
        let footer = bytes.slice(start..bytes.len().saturating_sub(TRAILER_LEN).max(start));
        let header = bytes.slice(..HEADER_LEN.min(bytes.len()));
        pack::open_footer(&self.ring, *pack, &object, size, &header, &footer)
    }
}
