//! One entry of a local index segment, as it lies on disk.

use crate::id::ChunkId;

/// Length on disk.
pub(super) const RECORD_LEN: usize = 32 + 5 * 4;

/// A chunk and where it is; `pack` is a row of the segment's table of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) chunk: ChunkId,
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) sealed_len: u32,
    pub(super) raw_len: u32,
    pub(super) ordinal: u32,
}

impl Record {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.chunk.as_bytes());
        for number in [
            self.pack,
            self.offset,
            self.sealed_len,
            self.raw_len,
            self.ordinal,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads one; `bytes` must have [`RECORD_LEN`] bytes.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut chunk = [0; 32];
        chunk.copy_from_slice(&bytes[..32]);
        let number = |n: usize| {
            let at = 32 + n * 4;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            chunk: ChunkId::from_bytes(chunk),
            pack: number(0),
            offset: number(1),
            sealed_len: number(2),
            raw_len: number(3),
            ordinal: number(4),
        }
    }

    /// The first eight bytes as a number: sorts like the ids.
    pub(super) fn prefix(&self) -> u64 {
        prefix(&self.chunk)
    }
}

pub(super) fn prefix(chunk: &ChunkId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&chunk.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

/// A row of a segment's table of packs, as it lies on disk with a check behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackRow {
    pub(super) id: [u8; 32],
    pub(super) salt: [u8; 32],
    pub(super) size: u32,
    /// A row of the segment's table of sources: the index object that names the pack.
    pub(super) source: u32,
}

/// Length of a row on disk, check included.
pub(super) const ROW_LEN: usize = 32 + 32 + 4 + 4 + 4;

impl PackRow {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.source.to_le_bytes());
        let check = check(&out[start..]);
        out.extend_from_slice(&check.to_le_bytes());
    }

    /// Reads one; nothing if its check is wrong. `bytes` must have [`ROW_LEN`] bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if check(&bytes[..ROW_LEN - 4]) != number(ROW_LEN - 4) {
            return None;
        }
        let (mut id, mut salt) = ([0; 32], [0; 32]);
        id.copy_from_slice(&bytes[..32]);
        salt.copy_from_slice(&bytes[32..64]);
        Some(Self {
            id,
            salt,
            size: number(64),
            source: number(68),
        })
    }
}

/// Four bytes of BLAKE3: enough against bit rot of a cache that can be downloaded again.
pub(super) fn check(bytes: &[u8]) -> u32 {
    let hash = blake3::hash(bytes);
    let first = hash.as_bytes();
    u32::from_le_bytes([first[0], first[1], first[2], first[3]])
}
