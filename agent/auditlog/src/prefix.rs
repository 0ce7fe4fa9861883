//! Hashes a segment as it grows, and remembers the hash at positions on the way.
//!
//! Two kinds of position: those that the previous snapshot remembers, to be compared; and marks of this scan, at
//! most [`MARKS`] at a stride that doubles as the segment grows, to be compared next time.

use std::collections::{BTreeMap, HashMap};

use crate::state::{LogState, Mark};

/// Marks kept of one segment.
const MARKS: usize = 16;
/// Distance of the first marks.
const FIRST_STRIDE: u64 = 4 << 10;
/// Of a first line longer than this only so much tells who the segment is.
pub(crate) const ID_BYTES: usize = 64 << 10;

/// Positions at which hashes are wanted, by the segment's id: one that begins with the bytes of another begins with
/// its first line.
#[derive(Debug, Default)]
pub(crate) struct Positions(HashMap<String, Vec<u64>>);

impl Positions {
    /// Those that a state remembers.
    pub(crate) fn of(state: &LogState) -> Self {
        let mut all: HashMap<String, Vec<u64>> = HashMap::new();
        for segment in state.segments.iter().filter(|segment| segment.len > 0) {
            let wanted = all.entry(segment.id.clone()).or_default();
            wanted.extend(segment.marks.iter().map(|mark| mark.at).chain([segment.len]));
        }
        for wanted in all.values_mut() {
            wanted.sort_unstable();
            wanted.dedup();
        }
        Self(all)
    }

    fn for_id(&self, id: &str) -> &[u64] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }
}

/// The hash of what was read so far.
pub(crate) struct Prefix<'a> {
    hasher: blake3::Hasher,
    len: u64,
    wanted: &'a Positions,
    /// Those for this segment, once it is known which it is; sorted.
    positions: &'a [u64],
    hashes: BTreeMap<u64, [u8; 32]>,
    marks: Vec<(u64, [u8; 32])>,
    stride: u64,
    id: Option<String>,
    /// With the bytes of a line whose end was not seen yet.
    held: Option<Box<Prefix<'a>>>,
}

/// What was hashed in the end.
pub(crate) struct Hashed {
    pub(crate) id: String,
    pub(crate) len: u64,
    pub(crate) hash: String,
    pub(crate) marks: Vec<Mark>,
    pub(crate) hashes: BTreeMap<u64, [u8; 32]>,
}

impl<'a> Prefix<'a> {
    /// Nothing read.
    pub(crate) fn new(wanted: &'a Positions) -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            len: 0,
            wanted,
            positions: &[],
            hashes: BTreeMap::new(),
            marks: Vec::new(),
            stride: FIRST_STRIDE,
            id: None,
            held: None,
        }
    }

    /// Bytes hashed.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Takes whole lines.
    pub(crate) fn extend(&mut self, mut bytes: &[u8]) {
        self.identify(bytes);
        while let Some(stop) = self.next_stop(bytes.len() as u64) {
            let (before, after) = bytes.split_at((stop - self.len) as usize);
            self.hasher.update(before);
            self.len = stop;
            self.remember();
            bytes = after;
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Takes part of a line whose end is not known to be there.
    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        let mut held = self.held.take().unwrap_or_else(|| Box::new(self.fork()));
        held.extend(bytes);
        self.held = Some(held);
    }

    /// The end of the line was there.
    pub(crate) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            *self = *held;
        }
    }

    pub(crate) fn finish(self) -> Hashed {
        let short = |hash: &[u8; 32]| hex::encode(&hash[..8]);
        Hashed {
            id: self.id.unwrap_or_default(),
            len: self.len,
            hash: self.hasher.finalize().to_hex().to_string(),
            marks: self
                .marks
                .iter()
                .map(|(at, hash)| Mark {
                    at: *at,
                    hash: short(hash),
                })
                .collect(),
            hashes: self.hashes,
        }
    }

    fn fork(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            len: self.len,
            wanted: self.wanted,
            positions: self.positions,
            hashes: self.hashes.clone(),
            marks: self.marks.clone(),
            stride: self.stride,
            id: self.id.clone(),
            held: None,
        }
    }

    fn identify(&mut self, bytes: &[u8]) {
        if self.id.is_none() && !bytes.is_empty() {
            let id = identity(bytes);
            self.positions = self.wanted.for_id(&id);
            self.id = Some(id);
        }
    }

    /// The next position within `more` bytes at which a hash is wanted.
    fn next_stop(&self, more: u64) -> Option<u64> {
        let asked = self.positions[self.positions.partition_point(|&at| at <= self.len)..]
            .first()
            .copied();
        let mark = (self.len / self.stride + 1) * self.stride;
        let stop = asked.map_or(mark, |asked| asked.min(mark));
        (stop <= self.len + more).then_some(stop)
    }

    fn remember(&mut self) {
        let hash = *self.hasher.finalize().as_bytes();
        if self.positions.binary_search(&self.len).is_ok() {
            self.hashes.insert(self.len, hash);
        }
        if self.len.is_multiple_of(self.stride) {
            self.marks.push((self.len, hash));
            if self.marks.len() > MARKS {
                self.stride *= 2;
                let stride = self.stride;
                self.marks.retain(|(at, _)| at.is_multiple_of(stride));
            }
        }
    }
}

/// Who a segment is, from its first line: `bytes` holds at least that line or its first 64 KiB.
pub(crate) fn identity(bytes: &[u8]) -> String {
    let within = &bytes[..bytes.len().min(ID_BYTES)];
    let line = memchr::memchr(b'\n', within).map_or(within, |end| &within[..end]);
    hex::encode(&blake3::hash(line).as_bytes()[..8])
}
