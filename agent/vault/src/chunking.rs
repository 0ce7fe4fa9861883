//! Cutting content into chunks at places that the content itself decides.
//!
//! ## Overview
//! [`Blocks`] drives the repository's [`Cutter`] over a file: it reads blocks of a few mebibytes, cuts whole chunks out of each, and
//! carries the undecided rest over to the next. A chunk is a slice of its block and never copied; what is held is
//! bounded by the block, not by the file.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::buffers::Buffers;
use crate::chunker::Cutter;

/// What is read at once. A multiple of the largest chunk, so that little is carried over.
pub const BLOCK: usize = 2 << 20;

/// Random access to content that may still be changing at its end.
pub trait ReadAt: Send + Sync {
    /// Reads into `buffer` from `offset` on; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// Splits whole chunks off the front of `block`. At the end of the content all of it goes; before, the rest that could
/// still grow into a longer chunk stays behind.
fn split(cutter: &Cutter, block: &mut Bytes, at_end: bool) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while block.len() >= cutter.longest() || (at_end && !block.is_empty()) {
        chunks.push(block.split_to(cutter.cut(block)));
    }
    chunks
}

/// Buffers for blocks; chunkers with very long chunks make them grow.
pub(crate) fn buffers() -> Buffers {
    Buffers::of(BLOCK)
}

/// Chunks of one file, block by block.
#[derive(Debug)]
pub struct Blocks {
    offset: u64,
    len: u64,
    rest: Bytes,
    buffers: Buffers,
}

/// The whole chunks of one block, in order.
#[derive(Debug)]
pub struct Block {
    /// The chunks, one after the other.
    pub chunks: Vec<Bytes>,
}

impl Blocks {
    /// Chunks of the first `len` bytes, read into [`buffers`].
    pub(crate) fn new(len: u64, buffers: Buffers) -> Self {
        Self {
            offset: 0,
            len,
            rest: Bytes::new(),
            buffers,
        }
    }

    /// Reads and cuts the next block; `None` at the end. Content that ends before its length is
    /// [`io::ErrorKind::UnexpectedEof`]. Blocking.
    pub fn next(&mut self, content: &dyn ReadAt, cutter: &Cutter) -> io::Result<Option<Block>> {
        if self.offset == self.len {
            return Ok(None);
        }
        let unread = self.len - self.offset;
        let room = BLOCK.max(2 * cutter.longest()) - self.rest.len();
        let wanted = usize::try_from(unread).map_or(room, |unread| unread.min(room));
        let kept = self.rest.len();
        let mut buffer = self.buffers.take();
        buffer.bytes.resize(kept + wanted, 0);
        let (front, fresh) = buffer.bytes.split_at_mut(kept);
        front.copy_from_slice(&self.rest);
        read_exact_at(content, fresh, self.offset)?;
        self.offset += wanted as u64;
        let mut block = Bytes::from_owner(buffer);
        let chunks = split(cutter, &mut block, self.offset == self.len);
        self.rest = block;
        Ok(Some(Block { chunks }))
    }
}

/// Fills `buffer` from `offset` on.
pub fn read_exact_at(content: &dyn ReadAt, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match content.read_at(buffer, offset) {
            Ok(0) => {
                let reason = format!("it ends at byte {offset}, earlier than when it was captured");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
            }
            Ok(read) => {
                buffer = buffer.get_mut(read..).unwrap_or_default();
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Cuts a stream that is written piece by piece, such as a tree.
#[derive(Debug)]
pub struct Stream {
    pending: BytesMut,
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self {
            pending: BytesMut::new(),
        }
    }

    /// Appends bytes and gives the chunks that are now decided; nothing until a block's worth has come together.
    pub fn write(&mut self, bytes: &[u8], cutter: &Cutter) -> Vec<Bytes> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < BLOCK {
            Vec::new()
        } else {
            self.cut(cutter, false)
        }
    }

    /// Gives the last chunks.
    pub fn finish(mut self, cutter: &Cutter) -> Vec<Bytes> {
        self.cut(cutter, true)
    }

    fn cut(&mut self, cutter: &Cutter, at_end: bool) -> Vec<Bytes> {
        let mut block = std::mem::take(&mut self.pending).freeze();
        let chunks = split(cutter, &mut block, at_end);
        self.pending = BytesMut::from(block.as_ref());
        chunks
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunker::ChunkerParams;

    fn cutter(seed: u64) -> Cutter {
        ChunkerParams {
            seed,
            ..ChunkerParams::default()
        }
        .cutter()
    }

    fn noise(len: usize, seed: u8) -> Bytes {
        let mut out = vec![0; len];
        blake3::Hasher::new_keyed(&[seed; 32])
            .finalize_xof()
            .fill(&mut out);
        out.into()
    }

    fn cut_all(content: &dyn ReadAt, len: u64, cutter: &Cutter) -> Vec<Bytes> {
        let mut blocks = Blocks::new(len, buffers());
        let mut chunks = Vec::new();
        while let Some(block) = blocks.next(content, cutter).unwrap() {
            chunks.extend(block.chunks);
        }
        chunks
    }

    /// A reader that gives a few bytes at a time.
    struct Slow(Bytes);

    impl ReadAt for Slow {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let step = buffer.len().min(70_001);
            self.0.read_at(&mut buffer[..step], offset)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn chunks_reassemble_and_keep_their_bounds(len in 0..5_000_000_usize, seed: u8) {
            let content = noise(len, seed);
            let cutter = cutter(42);
            let chunks = cut_all(&content, len as u64, &cutter);
            prop_assert_eq!(chunks.concat(), content.to_vec());
            prop_assert!(chunks.iter().all(|c| !c.is_empty() && c.len() <= 128 << 10));
            prop_assert!(chunks.iter().rev().skip(1).all(|c| c.len() >= 4 << 10));
            prop_assert_eq!(&cut_all(&Slow(content.clone()), len as u64, &cutter), &chunks);
            let mut stream = Stream::new();
            let mut streamed = Vec::new();
            for piece in content.chunks(100_000) {
                streamed.extend(stream.write(piece, &cutter));
            }
            streamed.extend(stream.finish(&cutter));
            prop_assert_eq!(streamed, chunks);
        }
    }

    #[test]
    fn an_insertion_moves_few_cut_points() {
        let before = noise(4 << 20, 1);
        let after: Bytes = [&before[..1 << 20], b"inserted", &before[1 << 20..]]
            .concat()
            .into();
        let cutter = cutter(7);
        let old: std::collections::HashSet<Bytes> = cut_all(&before, before.len() as u64, &cutter)
            .into_iter()
            .collect();
        let new = cut_all(&after, after.len() as u64, &cutter);
        let changed = new.iter().filter(|chunk| !old.contains(*chunk)).count();
        assert!(changed <= 4, "{changed} of {} chunks changed", new.len());
    }

    #[test]
    fn the_seed_decides_the_cut_points() {
        let content = noise(1 << 20, 3);
        let lens = |seed| -> Vec<usize> {
            cut_all(&content, content.len() as u64, &cutter(seed))
                .iter()
                .map(Bytes::len)
                .collect()
        };
        assert_ne!(lens(1), lens(2));
    }

    #[test]
    fn content_shorter_than_captured_is_an_error() {
        let content = noise(1000, 1);
        let mut blocks = Blocks::new(1001, buffers());
        let error = blocks.next(&content, &cutter(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("byte 1000"), "{error}");
    }
}
