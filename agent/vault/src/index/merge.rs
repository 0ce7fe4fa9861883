//! Merges segments into one, in one pass and with one page of each in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::path::{Path, PathBuf};

use super::build::SegmentWriter;
use super::record::{PackRow, RECORD_LEN, Record};
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::id::IndexId;

/// What becomes of one input: rows of its tables in the output, none for what is left out.
struct Mapping {
    sources: Vec<Option<u32>>,
    packs: Vec<Option<u32>>,
}

/// Merges `inputs` into a new segment in `dir`, without what comes from the sources in `dropped` and without what
/// an earlier input has from the same source. Answers nothing if nothing is left.
pub(super) fn merge(dir: &Path, inputs: &[&Segment], dropped: &HashSet<IndexId>) -> Result<Option<PathBuf>> {
    let (mappings, sources) = plan(inputs, dropped)?;
    if sources.is_empty() {
        return Ok(None);
    }
    let mut writer = SegmentWriter::create(dir)?;
    let mut cursors = Vec::with_capacity(inputs.len());
    let mut heads = BinaryHeap::new();
    for (n, (input, mapping)) in inputs.iter().zip(&mappings).enumerate() {
        let mut cursor = Cursor {
            segment: input,
            mapping,
            page: 0,
            at: 0,
            bytes: Vec::new(),
        };
        if let Some(record) = cursor.next()? {
            heads.push(Reverse((record, n)));
        }
        cursors.push(cursor);
    }
    while let Some(Reverse((record, n))) = heads.pop() {
        writer.push(&record)?;
        if let Some(next) = cursors[n].next()? {
            heads.push(Reverse((next, n)));
        }
    }
    let rows = inputs
        .iter()
        .zip(&mappings)
        .flat_map(|(input, mapping)| kept_rows(input, mapping));
    writer.finish(rows, &sources).map(Some)
}

fn plan(inputs: &[&Segment], dropped: &HashSet<IndexId>) -> Result<(Vec<Mapping>, Vec<IndexId>)> {
    let mut sources = Vec::new();
    let mut taken = dropped.clone();
    let mut packs_kept = 0_u32;
    let mut mappings = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut mapping = Mapping {
            sources: Vec::new(),
            packs: Vec::new(),
        };
        for source in input.sources() {
            let row = taken.insert(*source).then(|| {
                sources.push(*source);
                (sources.len() - 1) as u32
            });
            mapping.sources.push(row);
        }
        for row in 0..input.packs() {
            let kept = mapping.sources[input.pack(row)?.source as usize].is_some();
            mapping.packs.push(kept.then_some(packs_kept));
            packs_kept += u32::from(kept);
        }
        mappings.push(mapping);
    }
    Ok((mappings, sources))
}

fn kept_rows<'a>(input: &'a Segment, mapping: &'a Mapping) -> impl Iterator<Item = Result<PackRow>> + 'a {
    (0..input.packs()).filter_map(move |row| match input.pack(row) {
        Ok(read) => mapping.sources[read.source as usize].map(|source| Ok(PackRow { source, ..read })),
        Err(e) => Some(Err(e)),
    })
}

struct Cursor<'a> {
    segment: &'a Segment,
    mapping: &'a Mapping,
    page: usize,
    at: usize,
    bytes: Vec<u8>,
}

impl Cursor<'_> {
    /// The next record that is kept, with its pack's row in the output.
    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if self.at == self.bytes.len() {
                if self.page == self.segment.pages() {
                    return Ok(None);
                }
                self.segment.read_page(self.page, &mut self.bytes)?;
                self.page += 1;
                self.at = 0;
            }
            let record = Record::read(&self.bytes[self.at..self.at + RECORD_LEN]);
            self.at += RECORD_LEN;
            let pack = self
                .mapping
                .packs
                .get(record.pack as usize)
                .ok_or_else(|| Error::CacheDamaged {
                    path: self.segment.path().to_owned(),
                    reason: format!("a record names pack {}", record.pack),
                })?;
            if let Some(pack) = *pack {
                return Ok(Some(Record { pack, ..record }));
            }
        }
    }
}
