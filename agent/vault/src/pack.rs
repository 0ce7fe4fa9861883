//! Packs: many sealed chunks in one object.

use crate::id::ChunkId;

/// One chunk as a pack's footer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterEntry {
    /// The chunk.
    pub chunk: ChunkId,
    /// Where the sealed chunk starts in the pack.
    pub offset: u32,
    /// Length of the sealed chunk with its tag.
    pub sealed_len: u32,
    /// Length of the plain chunk.
    pub raw_len: u32,
}
