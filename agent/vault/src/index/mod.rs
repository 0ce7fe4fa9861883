//! The map from chunk to pack.

use crate::id::PackId;

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// Where the sealed chunk starts in it.
    pub offset: u32,
    /// Length of the sealed chunk with its tag.
    pub sealed_len: u32,
    /// Length of the plain chunk.
    pub raw_len: u32,
    /// Position among the pack's chunks.
    pub ordinal: u32,
}

/// What the local index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexStats {
    /// Index objects in the repository.
    pub objects: u64,
    /// Packs that they name.
    pub packs: u64,
    /// Bytes of these packs.
    pub pack_bytes: u64,
    /// Entries; a chunk that two packs hold counts twice.
    pub chunks: u64,
    /// Index objects downloaded by this call.
    pub downloaded: u64,
}
