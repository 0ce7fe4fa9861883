//! Packs: many sealed chunks in one object.
//!
//! # Layout
//!
//! ```text
//! clear header (56)   magic, version, kind, cipher, repository id, salt
//! chunk 0 … n-1       each encoded, sealed with its ordinal and chunk id, tag behind it
//! footer              sealed with ordinal 2^64-1: n, then per chunk its id, sealed length, raw length
//! clear trailer (8)   length of the sealed footer (u32, little-endian), magic
//! ```
//!
//! Chunks lie without gaps, so lengths give offsets. The pack's name is the BLAKE3 of all of it.

use bytes::Bytes;

use crate::buffers::{Buffer, Buffers};
use crate::cipher::{FOOTER_ORDINAL, Kind, Part, Sealer, TAG_LEN};
use crate::codec::{Decoder, Encoder, OVERHEAD};
use crate::error::{Error, Result};
use crate::header::{self, HEADER_LEN};
use crate::id::{ChunkId, Digest, PackId};
use crate::index::Location;
use crate::keys::{KeyRing, SALT_LEN};
use crate::storage::Key;

/// A pack is closed once it has this many bytes.
pub const TARGET: usize = 16 << 20;
/// No pack is larger.
pub const LIMIT: usize = 32 << 20;
/// No pack holds more chunks.
pub const MAX_CHUNKS: usize = 128 << 10;
/// Length of the clear trailer.
pub const TRAILER_LEN: usize = 8;

const TRAILER_MAGIC: &[u8; 4] = b"DRVF";
/// An entry of a footer or of an index object.
pub(crate) const ENTRY_LEN: usize = 32 + 4 + 4;

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

/// A pack's header and footer: all there is to know of it but the chunks' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) pack: PackId,
    pub(crate) salt: [u8; SALT_LEN],
    pub(crate) size: u32,
    pub(crate) entries: Vec<FooterEntry>,
}

impl Contents {
    /// Every chunk with its place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (ChunkId, Location)> + '_ {
        self.entries.iter().zip(0..).map(|(entry, ordinal)| {
            let at = Location {
                pack: self.pack,
                offset: entry.offset,
                sealed_len: entry.sealed_len,
                raw_len: entry.raw_len,
                ordinal,
                salt: self.salt,
            };
            (entry.chunk, at)
        })
    }
}

/// A pack ready to be stored.
#[derive(Debug)]
pub(crate) struct SealedPack {
    pub(crate) bytes: Bytes,
    pub(crate) contents: Contents,
}

/// Buffers with room for what a pack usually has, so that they do not grow by doubling; untouched pages cost nothing.
pub(crate) fn buffers() -> Buffers {
    Buffers::of(TARGET + (1 << 20))
}

/// Fills one pack in memory.
pub(crate) struct PackBuilder {
    buffer: Buffer,
    entries: Vec<FooterEntry>,
    salt: [u8; SALT_LEN],
    sealer: Sealer,
}

impl PackBuilder {
    pub(crate) fn new(ring: &KeyRing, mut buffer: Buffer) -> Result<Self> {
        let (header, salt, sealer) = header::create(ring, Kind::Pack)?;
        buffer.bytes.clear();
        buffer.bytes.extend_from_slice(&header);
        Ok(Self {
            buffer,
            entries: Vec::new(),
            salt,
            sealer,
        })
    }

    /// Appends a chunk, encoded and sealed.
    pub(crate) fn push(&mut self, chunk: ChunkId, plain: &[u8], encoder: &mut Encoder) {
        let buffer = &mut self.buffer.bytes;
        let offset = buffer.len();
        let part = chunk_part(self.entries.len() as u64, &chunk);
        encoder.encode(plain, buffer);
        let tag = self.sealer.seal(&part, &mut buffer[offset..]);
        buffer.extend_from_slice(&tag);
        let sealed_len = (buffer.len() - offset) as u32;
        self.entries.push(FooterEntry {
            chunk,
            offset: offset as u32,
            sealed_len,
            raw_len: plain.len() as u32,
        });
    }

    pub(crate) fn is_full(&self) -> bool {
        self.buffer.bytes.len() >= TARGET || self.entries.len() >= MAX_CHUNKS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Seals the footer and names the pack.
    pub(crate) fn finish(mut self) -> SealedPack {
        let buffer = &mut self.buffer.bytes;
        let start = buffer.len();
        write_entries(&self.entries, buffer);
        let tag = self.sealer.seal(&FOOTER_PART, &mut buffer[start..]);
        buffer.extend_from_slice(&tag);
        let footer_len = (buffer.len() - start) as u32;
        buffer.extend_from_slice(&footer_len.to_le_bytes());
        buffer.extend_from_slice(TRAILER_MAGIC);
        let pack = PackId::from_bytes(*Digest::of(buffer).as_bytes());
        let size = buffer.len() as u32;
        SealedPack {
            bytes: Bytes::from_owner(self.buffer),
            contents: Contents {
                pack,
                salt: self.salt,
                size,
                entries: self.entries,
            },
        }
    }
}

const FOOTER_PART: Part = Part {
    ordinal: FOOTER_ORDINAL,
    subject: [0; 32],
};

fn chunk_part(ordinal: u64, chunk: &ChunkId) -> Part {
    Part {
        ordinal,
        subject: *chunk.as_bytes(),
    }
}

/// Count, then id and lengths of each.
pub(crate) fn write_entries(entries: &[FooterEntry], out: &mut Vec<u8>) {
    out.reserve(4 + entries.len() * ENTRY_LEN);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        out.extend_from_slice(entry.chunk.as_bytes());
        out.extend_from_slice(&entry.sealed_len.to_le_bytes());
        out.extend_from_slice(&entry.raw_len.to_le_bytes());
    }
}

/// Reads what [`write_entries`] wrote and moves `bytes` behind it.
pub(crate) fn read_entries(bytes: &mut &[u8]) -> Result<Vec<FooterEntry>, String> {
    let (count, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or("its list of chunks is cut short")?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > MAX_CHUNKS || rest.len() < count * ENTRY_LEN {
        return Err(format!(
            "its list says {count} chunks and has {} bytes",
            rest.len()
        ));
    }
    let (list, rest) = rest.split_at(count * ENTRY_LEN);
    let mut entries = Vec::with_capacity(count);
    let mut offset = HEADER_LEN as u32;
    for entry in list.chunks_exact(ENTRY_LEN) {
        let entry = read_entry(entry, offset)?;
        offset += entry.sealed_len;
        entries.push(entry);
    }
    *bytes = rest;
    Ok(entries)
}

fn read_entry(bytes: &[u8], offset: u32) -> Result<FooterEntry, String> {
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut chunk = [0; 32];
    chunk.copy_from_slice(&bytes[..32]);
    let (sealed_len, raw_len) = (number(32), number(36));
    let end = u64::from(offset) + u64::from(sealed_len);
    if (sealed_len as usize) < TAG_LEN + OVERHEAD || end > LIMIT as u64 {
        return Err(format!("its list has a chunk of {sealed_len} bytes at {offset}"));
    }
    Ok(FooterEntry {
        chunk: ChunkId::from_bytes(chunk),
        offset,
        sealed_len,
        raw_len,
    })
}

/// How many bytes the trailer says that the sealed footer has. `tail` is the end of a pack of `size` bytes.
pub(crate) fn footer_len(object: &Key, size: u64, tail: &[u8]) -> Result<usize> {
    let wrong = |reason: String| Error::damaged(object, reason);
    let least = HEADER_LEN + 4 + TAG_LEN + TRAILER_LEN;
    if size < least as u64 || size > LIMIT as u64 {
        return Err(wrong(format!(
            "it has {size} bytes; a pack has {least} to {LIMIT}"
        )));
    }
    let Some(trailer) = tail.last_chunk::<TRAILER_LEN>() else {
        return Err(wrong(format!(
            "its end has {} bytes, less than a trailer",
            tail.len()
        )));
    };
    if &trailer[4..] != TRAILER_MAGIC {
        return Err(wrong(
            "it does not end with a trailer: it is cut short or damaged".into(),
        ));
    }
    let len = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]) as usize;
    let room = size as usize - HEADER_LEN - TRAILER_LEN;
    if len < 4 + TAG_LEN || len > room {
        return Err(wrong(format!(
            "its trailer says a footer of {len} bytes, there is room for {room}"
        )));
    }
    Ok(len)
}

/// Opens a footer. `footer` is the sealed footer alone, `header` the pack's first bytes.
pub(crate) fn open_footer(
    ring: &KeyRing,
    pack: PackId,
    object: &Key,
    size: u64,
    header: &[u8],
    footer: &[u8],
) -> Result<Contents> {
    let wrong = |reason: String| Error::damaged(object, reason);
    let salt = header::parse(ring, Kind::Pack, object, header)?;
    let mut footer_bytes = footer.to_vec();
    let plain = ring
        .sealer(Kind::Pack, &salt)
        .open(&FOOTER_PART, &mut footer_bytes)
        .map_err(|_| wrong("its footer does not open".into()))?;
    let mut rest: &[u8] = plain;
    let entries = read_entries(&mut rest).map_err(wrong)?;
    let end = entries.last().map_or(HEADER_LEN as u64, |e| {
        u64::from(e.offset) + u64::from(e.sealed_len)
    });
    if !rest.is_empty() || end + (footer.len() + TRAILER_LEN) as u64 != size {
        return Err(wrong(format!("its footer accounts for {end} bytes of {size}")));
    }
    Ok(Contents {
        pack,
        salt,
        size: size as u32,
        entries,
    })
}

/// Opens one chunk and proves that it is the one asked for.
pub(crate) fn open_chunk(
    ring: &KeyRing,
    object: &Key,
    chunk: &ChunkId,
    location: &Location,
    sealed: &mut [u8],
    decoder: &mut Decoder,
) -> Result<Vec<u8>> {
    let wrong = |what: &str| {
        let reason = format!(
            "chunk {chunk} at {}+{}: {what}",
            location.offset, location.sealed_len
        );
        Error::damaged(object, reason)
    };
    if sealed.len() != location.sealed_len as usize {
        return Err(wrong(&format!(
            "only {} bytes are there, the pack is cut short",
            sealed.len()
        )));
    }
    let encoded = ring
        .sealer(Kind::Pack, &location.salt)
        .open(&chunk_part(u64::from(location.ordinal), chunk), sealed)
        .map_err(|_| wrong("its seal does not open"))?;
    let plain = decoder
        .decode(encoded, location.raw_len as usize)
        .map_err(|reason| wrong(&reason))?;
    if ring.chunk_id(&plain) != *chunk {
        return Err(wrong("it opens, and its content has another hash"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests;
