//! A sorted, immutable file of the local index.
//!
//! # Layout
//!
//! ```text
//! records     52 bytes each, sorted by chunk id, in pages of 64
//! fences      per page: the first 8 bytes of its first id (u64), a check of the page (u32)
//! packs       per pack: id, salt, size, source, a check
//! sources     per index object that this segment covers: its id
//! tail        number of records (u64), packs (u32), sources (u32), BLAKE3 of fences, sources and these numbers,
//!             magic
//! ```
//!
//! Only the fences and the sources are held in memory: 12 bytes for 64 chunks. A lookup is one binary search in
//! memory and one read of a page. Every byte read is checked: a cache that rots must not turn a good repository
//! into a damaged one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{PackRow, RECORD_LEN, ROW_LEN, Record, check, prefix};
use crate::error::{Error, Result};
use crate::id::{ChunkId, IndexId};

pub(super) const PAGE_RECORDS: usize = 64;
pub(super) const PAGE_LEN: usize = PAGE_RECORDS * RECORD_LEN;
pub(super) const FENCE_LEN: usize = 8 + 4;
pub(super) const SOURCE_LEN: usize = 32;
pub(super) const TAIL_LEN: usize = 8 + 4 + 4 + 32 + 8;
pub(super) const MAGIC: &[u8; 8] = b"drseg\0\0\x01";

/// An opened segment. Its file may be unlinked meanwhile: reads go on.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    records: u64,
    packs: u32,
    prefixes: Vec<u64>,
    checks: Vec<u32>,
    sources: Vec<IndexId>,
}

/// BLAKE3 over what is held in memory.
pub(super) fn seal_of(fences: &[u8], sources: &[u8], counts: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(fences)
        .update(sources)
        .update(counts)
        .finalize()
        .as_bytes()
}

impl Segment {
    /// Opens and checks a segment's tables.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let read = |e| Error::local("read index segment", path, e);
        let damaged = |reason: &str| Error::CacheDamaged {
            path: path.to_owned(),
            reason: reason.into(),
        };
        let file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        let tail_at = len
            .checked_sub(TAIL_LEN as u64)
            .ok_or_else(|| damaged("too short"))?;
        let mut tail = [0; TAIL_LEN];
        file.read_exact_at(&mut tail, tail_at).map_err(read)?;
        if &tail[TAIL_LEN - 8..] != MAGIC {
            return Err(damaged("no magic number at its end"));
        }
        let number = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
        let records = u64::from(number(0)) | (u64::from(number(4)) << 32);
        let (packs, sources) = (number(8), number(12));
        let pages = records.div_ceil(PAGE_RECORDS as u64);
        let expected = u128::from(records) * RECORD_LEN as u128
            + u128::from(pages) * FENCE_LEN as u128
            + u128::from(packs) * ROW_LEN as u128
            + u128::from(sources) * SOURCE_LEN as u128
            + TAIL_LEN as u128;
        if expected != u128::from(len) {
            return Err(damaged("its length does not fit its counts"));
        }
        let fences_at = records * RECORD_LEN as u64;
        let mut fences = vec![0; pages as usize * FENCE_LEN];
        file.read_exact_at(&mut fences, fences_at).map_err(read)?;
        let mut source_ids = vec![0; sources as usize * SOURCE_LEN];
        let sources_at = tail_at - source_ids.len() as u64;
        file.read_exact_at(&mut source_ids, sources_at).map_err(read)?;
        if seal_of(&fences, &source_ids, &tail[..16]) != tail[16..48] {
            return Err(damaged("the hash of its tables is wrong"));
        }
        let (prefixes, checks) = split_fences(&fences);
        let sources = source_ids.chunks_exact(SOURCE_LEN).map(source_id).collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            records,
            packs,
            prefixes,
            checks,
            sources,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn packs(&self) -> u32 {
        self.packs
    }

    /// The index objects that this segment covers.
    pub(super) fn sources(&self) -> &[IndexId] {
        &self.sources
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> usize {
        self.prefixes.len()
    }

    fn damaged(&self, reason: String) -> Error {
        Error::CacheDamaged {
            path: self.path.clone(),
            reason,
        }
    }

    /// Reads a page of records into `buffer`, checked.
    pub(super) fn read_page<'a>(&self, page: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let first = page as u64 * PAGE_RECORDS as u64;
        let count = (self.records - first).min(PAGE_RECORDS as u64) as usize;
        buffer.resize(count * RECORD_LEN, 0);
        self.file
            .read_exact_at(buffer, first * RECORD_LEN as u64)
            .map_err(|e| Error::local("read index segment", &self.path, e))?;
        if check(buffer) == self.checks[page] {
            Ok(buffer)
        } else {
            Err(self.damaged(format!("page {page} has another check")))
        }
    }

    /// A row of the table of packs, checked.
    pub(super) fn pack(&self, row: u32) -> Result<PackRow> {
        if row >= self.packs {
            return Err(self.damaged(format!("a record names pack {row} of {}", self.packs)));
        }
        let tables = self.records * RECORD_LEN as u64 + (self.pages() * FENCE_LEN) as u64;
        let mut bytes = [0; ROW_LEN];
        self.file
            .read_exact_at(&mut bytes, tables + u64::from(row) * ROW_LEN as u64)
            .map_err(|e| Error::local("read index segment", &self.path, e))?;
        let row_read = PackRow::read(&bytes).filter(|r| (r.source as usize) < self.sources.len());
        row_read.ok_or_else(|| self.damaged(format!("pack row {row} has another check")))
    }

    /// Calls `each` for every record of `chunk`.
    pub(super) fn find(
        &self,
        chunk: &ChunkId,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let wanted = prefix(chunk);
        // The last page that starts below may end with the chunk; all that start with it may hold it.
        let first = self.prefixes.partition_point(|&p| p < wanted).saturating_sub(1);
        for page in first..self.pages() {
            if self.prefixes[page] > wanted {
                break;
            }
            let bytes = self.read_page(page, buffer)?;
            for record in records_of(bytes, chunk) {
                each(record)?;
            }
        }
        Ok(())
    }
}

/// The records of `chunk` in a page.
fn records_of<'a>(page: &'a [u8], chunk: &ChunkId) -> impl Iterator<Item = Record> + 'a {
    let count = page.len() / RECORD_LEN;
    let id = |n: usize| &page[n * RECORD_LEN..n * RECORD_LEN + 32];
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if id(middle) < chunk.as_bytes().as_slice() {
            low = middle + 1
        } else {
            high = middle
        }
    }
    let chunk = *chunk;
    page[low * RECORD_LEN..]
        .chunks_exact(RECORD_LEN)
        .map(Record::read)
        .take_while(move |r| r.chunk == chunk)
}

fn split_fences(fences: &[u8]) -> (Vec<u64>, Vec<u32>) {
    let fence = |bytes: &[u8]| {
        let (mut first, mut check) = ([0; 8], [0; 4]);
        first.copy_from_slice(&bytes[..8]);
        check.copy_from_slice(&bytes[8..12]);
        (u64::from_le_bytes(first), u32::from_le_bytes(check))
    };
    fences.chunks_exact(FENCE_LEN).map(fence).unzip()
}

fn source_id(bytes: &[u8]) -> IndexId {
    let mut id = [0; 32];
    id.copy_from_slice(bytes);
    IndexId::from_bytes(id)
}
