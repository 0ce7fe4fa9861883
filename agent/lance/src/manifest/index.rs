//! Indices out of a manifest's index section.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DecodeError, invalid, wire};

/// What an index is good for, as far as the manifest tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexKind {
    /// Nearest neighbours.
    Vector,
    /// Full text.
    FullText,
    /// Ordered scalar values.
    BTree,
    /// Scalars of few distinct values.
    Bitmap,
    /// Lists of labels.
    LabelList,
    /// Substrings.
    NGram,
    /// Minimum and maximum per zone.
    ZoneMap,
    /// Membership filters.
    BloomFilter,
    /// Bookkeeping of Lance's own, such as fragment reuse.
    System,
    /// A kind that we do not know, by its type's name.
    Other(String),
    /// Written before manifests told the kind.
    Unknown,
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vector => "vector",
            Self::FullText => "full-text",
            Self::BTree => "btree",
            Self::Bitmap => "bitmap",
            Self::LabelList => "label-list",
            Self::NGram => "n-gram",
            Self::ZoneMap => "zone-map",
            Self::BloomFilter => "bloom-filter",
            Self::System => "system",
            Self::Other(name) => name,
            Self::Unknown => "unknown",
        })
    }
}

/// One file of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Path below the index's folder.
    pub path: String,
    /// Size as recorded; `None` where the writer did not know it.
    pub size: Option<u64>,
}

/// One segment of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Id, and name of its folder under `_indices/`.
    pub uuid: Uuid,
    /// Name of the index; several segments may share it.
    pub name: String,
    /// Ids of the columns it covers.
    pub fields: Vec<i32>,
    /// Version of the table that it was built from.
    pub dataset_version: u64,
    /// What it is good for.
    pub kind: IndexKind,
    /// Parameters, as far as the manifest tells.
    pub parameters: BTreeMap<String, String>,
    /// Layout version of the index's files.
    pub index_version: Option<i32>,
    /// Base path that the index lies under; `None` for the table itself.
    pub base: Option<u32>,
    /// Its files; empty where the writer did not list them.
    pub files: Vec<IndexFile>,
    /// Whether the writer says that it covers no fragment at all.
    pub covers_nothing: bool,
}

impl Index {
    /// Whether the index may lack a folder because all it has to say stands in the manifest: one of Lance's own, or
    /// one that was made while the table was empty, or had too few rows to train on. Such an index is a definition
    /// that waits for rows; Lance reads none of its files before.
    pub fn may_lack_files(&self) -> bool {
        self.kind == IndexKind::System || (self.files.is_empty() && self.covers_nothing)
    }
}

pub(super) fn decode_section(bytes: &[u8]) -> Result<Vec<Index>, DecodeError> {
    let section = wire::IndexSection::decode(bytes).map_err(|error| invalid("the index section", &error))?;
    section.indices.into_iter().map(index).collect()
}

fn index(message: wire::Index) -> Result<Index, DecodeError> {
    let raw = message.uuid.map(|uuid| uuid.uuid).unwrap_or_default();
    let uuid = Uuid::from_slice(&raw).map_err(|error| DecodeError::Invalid {
        what: "an index's id",
        reason: error.to_string(),
    })?;
    let (kind, parameters) = describe(&message.name, message.details.as_ref());
    let files = message.files.into_iter().map(|file| IndexFile {
        path: file.path,
        size: Some(file.size_bytes).filter(|size| *size > 0),
    });
    Ok(Index {
        uuid,
        name: message.name,
        fields: message.fields,
        dataset_version: message.dataset_version,
        kind,
        parameters,
        index_version: message.index_version,
        base: message.base_id,
        files: files.collect(),
        covers_nothing: is_empty_bitmap(&message.fragment_bitmap),
    })
}

/// Whether these bytes are a Roaring bitmap without any value; no bytes at all mean that the writer did not say.
/// Of the format's two forms only the one without runs can be empty: its cookie, and a count of zero containers.
fn is_empty_bitmap(bytes: &[u8]) -> bool {
    const COOKIE_WITHOUT_RUNS: u32 = 12_346;
    let Some((head, _)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    let (cookie, containers) = (&head[..4], &head[4..]);
    cookie == COOKIE_WITHOUT_RUNS.to_le_bytes() && containers == [0; 4]
}

fn describe(name: &str, details: Option<&wire::Any>) -> (IndexKind, BTreeMap<String, String>) {
    if name.starts_with("__lance_") {
        return (IndexKind::System, BTreeMap::new());
    }
    let Some(details) = details else {
        return (IndexKind::Unknown, BTreeMap::new());
    };
    let type_name = details.type_url.rsplit(['/', '.']).next().unwrap_or_default();
    let kind = match type_name.strip_suffix("IndexDetails").unwrap_or(type_name) {
        "Vector" => return (IndexKind::Vector, vector_parameters(&details.value)),
        "Inverted" => return (IndexKind::FullText, text_parameters(&details.value)),
        "BTree" => IndexKind::BTree,
        "Bitmap" => IndexKind::Bitmap,
        "LabelList" => IndexKind::LabelList,
        "NGram" => IndexKind::NGram,
        "ZoneMap" => IndexKind::ZoneMap,
        "BloomFilter" => IndexKind::BloomFilter,
        "" => IndexKind::Unknown,
        other => IndexKind::Other(other.to_owned()),
    };
    (kind, BTreeMap::new())
}

/// Details that do not decode tell nothing about the table's health: they are only ever shown.
fn vector_parameters(details: &[u8]) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let Ok(details) = wire::VectorDetails::decode(details) else {
        return parameters;
    };
    if details == wire::VectorDetails::default() {
        return parameters; // Older writers leave the details blank: zero would not mean L2.
    }
    let mut note = |key: &str, value: String| parameters.insert(key.to_owned(), value);
    let metric = match details.metric {
        0 => "l2".to_owned(),
        1 => "cosine".to_owned(),
        2 => "dot".to_owned(),
        3 => "hamming".to_owned(),
        other => other.to_string(),
    };
    note("metric", metric);
    if details.target_partition_size > 0 {
        note("target_partition_size", details.target_partition_size.to_string());
    }
    if let Some(hnsw) = details.hnsw {
        note("hnsw_m", hnsw.max_connections.to_string());
        note("hnsw_ef_construction", hnsw.construction_ef.to_string());
    }
    if let Some(pq) = details.product_quantization {
        note(
            "quantization",
            format!("pq{}x{}", pq.num_sub_vectors, pq.num_bits),
        );
    } else if let Some(bits) = details.scalar_quantization {
        note("quantization", format!("sq{}", bits.num_bits));
    } else if let Some(bits) = details.rabit_quantization {
        note("quantization", format!("rq{}", bits.num_bits));
    } else if details.flat.is_some() {
        note("quantization", "none".to_owned());
    }
    parameters
}

fn text_parameters(details: &[u8]) -> BTreeMap<String, String> {
    let Ok(details) = wire::InvertedDetails::decode(details) else {
        return BTreeMap::new();
    };
    let Some(tokenizer) = details.base_tokenizer else {
        return BTreeMap::new();
    };
    let mut parameters = BTreeMap::from([
        ("tokenizer".to_owned(), tokenizer),
        ("language".to_owned(), details.language),
    ]);
    let switches = [
        ("with_position", details.with_position),
        ("lower_case", details.lower_case),
        ("stem", details.stem),
        ("remove_stop_words", details.remove_stop_words),
        ("ascii_folding", details.ascii_folding),
    ];
    parameters.extend(switches.map(|(name, on)| (name.to_owned(), on.to_string())));
    parameters
}
