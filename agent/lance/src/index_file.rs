//! Parameters of indices out of their own files, where manifests leave them blank.
//!
//! # Layout
//! ```text
//! since Lance 0.2 files:  … buffers … [buffer table: (u64 position, u64 size) per buffer]
//!                         [u64 columns][u64 column table][u64 buffer table][u32 buffers][u32 columns][u16][u16] "LANC"
//! before:                 … [u32 length, Index] [i64 position of that][i16][i16] "LANC"
//! ```
//! The first buffer is a `FileDescriptor`, whose schema metadata names the index's type and distance. All of it is
//! only shown and compared: what does not decode is left out.

use std::collections::{BTreeMap, HashMap};
use std::io;

use prost::Message;
use serde::Deserialize;

use crate::manifest::IndexKind;

/// Metadata of a vector index file; more than this is not read.
const LARGEST: u64 = 1 << 20;

#[derive(Clone, PartialEq, Message)]
struct FileDescriptor {
    #[prost(message, optional, tag = "1")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(map = "string, bytes", tag = "5")]
    metadata: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct LegacyIndex {
    #[prost(message, optional, tag = "5")]
    vector: Option<LegacyVector>,
}

#[derive(Clone, PartialEq, Message)]
struct LegacyVector {
    #[prost(uint32, tag = "2")]
    dimension: u32,
    #[prost(message, repeated, tag = "3")]
    stages: Vec<LegacyStage>,
    #[prost(int32, tag = "4")]
    metric: i32,
}

#[derive(Clone, PartialEq, Message)]
struct LegacyStage {
    #[prost(message, optional, tag = "2")]
    inverted_file: Option<LegacyIvf>,
    #[prost(message, optional, tag = "3")]
    product_quantization: Option<LegacyPq>,
}

#[derive(Clone, PartialEq, Message)]
struct LegacyIvf {
    #[prost(uint32, repeated, tag = "3")]
    lengths: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct LegacyPq {
    #[prost(uint32, tag = "1")]
    num_bits: u32,
    #[prost(uint32, tag = "2")]
    num_sub_vectors: u32,
}

#[derive(Deserialize)]
struct TypeAndDistance {
    #[serde(rename = "type")]
    kind: String,
    distance_type: String,
}

/// What an index is good for, by the names of its files.
pub(crate) fn kind_of<'a>(names: impl Iterator<Item = &'a str>) -> IndexKind {
    let mut kind = IndexKind::Unknown;
    for name in names {
        kind = match name {
            "index.idx" | "auxiliary.idx" => IndexKind::Vector,
            "page_lookup.lance" | "page_data.lance" => IndexKind::BTree,
            "bitmap_page_lookup.lance" => IndexKind::Bitmap,
            "ngram_postings.lance" => IndexKind::NGram,
            "tokens.lance" | "invert.lance" => IndexKind::FullText,
            name if name.ends_with("_invert.lance") => IndexKind::FullText,
            _ => continue,
        };
    }
    kind
}

/// A file that is read by position.
pub(crate) trait ReadAt {
    fn len(&self) -> u64;
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Parameters of a vector index from its `index.idx`; empty if they do not decode.
pub(crate) fn vector_parameters(file: &impl ReadAt) -> BTreeMap<String, String> {
    current(file).or_else(|| legacy(file)).unwrap_or_default()
}

fn current(file: &impl ReadAt) -> Option<BTreeMap<String, String>> {
    let footer: [u8; 40] = read(file, file.len().checked_sub(40)?, 40)?.try_into().ok()?;
    if !footer.ends_with(b"LANC") {
        return None;
    }
    let table = read(file, number(&footer, 16)?, 16)?;
    let descriptor = read(file, number(&table, 0)?, number(&table, 8)?)?;
    let metadata = FileDescriptor::decode(&*descriptor).ok()?.schema?.metadata;
    let told: TypeAndDistance = serde_json::from_slice(metadata.get("lance:index")?).ok()?;
    let mut parameters = BTreeMap::from([
        ("type".to_owned(), told.kind),
        ("metric".to_owned(), told.distance_type),
    ]);
    // One entry per partition.
    let partitions = metadata
        .get("lance:flat")
        .and_then(|list| serde_json::from_slice::<Vec<String>>(list).ok());
    parameters.extend(partitions.map(|list| ("partitions".to_owned(), list.len().to_string())));
    Some(parameters)
}

fn legacy(file: &impl ReadAt) -> Option<BTreeMap<String, String>> {
    let footer = read(file, file.len().checked_sub(16)?, 16)?;
    let at = number(&footer, 0).filter(|_| footer.ends_with(b"LANC"))?;
    let message = read(file, at, file.len().checked_sub(16)?.checked_sub(at)?)?;
    let vector = LegacyIndex::decode(message.get(4..)?).ok()?.vector?;
    let metric = ["l2", "cosine", "dot", "hamming"].get(usize::try_from(vector.metric).ok()?)?;
    let mut parameters = BTreeMap::from([
        ("metric".to_owned(), (*metric).to_owned()),
        ("dimension".to_owned(), vector.dimension.to_string()),
    ]);
    for stage in vector.stages {
        let partitions = stage
            .inverted_file
            .map(|ivf| ("partitions".to_owned(), ivf.lengths.len().to_string()));
        let quantization = stage
            .product_quantization
            .map(|pq| format!("pq{}x{}", pq.num_sub_vectors, pq.num_bits));
        parameters.extend(partitions);
        parameters.extend(quantization.map(|pq| ("quantization".to_owned(), pq)));
    }
    Some(parameters)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn read(file: &impl ReadAt, at: u64, len: u64) -> Option<Vec<u8>> {
    let inside = at.checked_add(len).is_some_and(|end| end <= file.len());
    let mut bytes = vec![0; usize::try_from(len).ok().filter(|_| inside && len <= LARGEST)?];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64).ok()? {
            0 => return None,
            read => done += read,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{archives, unpack};

    impl ReadAt for &[u8] {
        fn len(&self) -> u64 {
            <[u8]>::len(self) as u64
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }
    }

    #[test]
    fn every_release_tells_its_indices() {
        for archive in archives() {
            let fixture = unpack(&archive);
            let collected = crate::collect(&fixture.database, &crate::CollectOptions::default()).unwrap();
            let memory = collected
                .tables
                .iter()
                .find(|table| table.name == "memory")
                .unwrap();
            let kinds: BTreeMap<_, _> = memory
                .indices
                .iter()
                .map(|index| (index.columns[0].as_str(), index))
                .collect();
            assert_eq!(kinds["text"].kind, IndexKind::FullText);
            assert_eq!(kinds["importance"].kind, IndexKind::BTree);
            assert_eq!(kinds["vector"].kind, IndexKind::Vector);
            assert_eq!(
                kinds["vector"].parameters["metric"],
                "cosine",
                "{}",
                archive.display()
            );
        }
    }

    #[test]
    fn broken_index_files_tell_nothing() {
        let Some(archive) = archives().first().cloned() else {
            return;
        };
        let fixture = unpack(&archive);
        let names = crate::fixtures::files_below(&fixture.database);
        for name in names.iter().filter(|name| name.ends_with("index.idx")).take(2) {
            let whole = std::fs::read(fixture.database.join(name)).unwrap();
            assert!(!vector_parameters(&whole.as_slice()).is_empty());
            for seed in 0..2_000_usize {
                let mut bytes = whole[whole.len() - (200 + seed % 600).min(whole.len())..].to_vec();
                let at = seed * 7919 % bytes.len();
                bytes[at] ^= 1 << (seed % 8);
                vector_parameters(&bytes.as_slice());
            }
        }
    }
}
