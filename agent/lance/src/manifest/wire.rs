//! The few protobuf messages of Lance's table format that a closure needs, by hand.
//!
//! Fields left out are skipped by the decoder, so that row-id sequences, which can be most of a manifest, are
//! never copied, and fields of a later format do no harm. Numbers follow `table.proto`,
//! `fragment_metadata.proto` and `file.proto` of the Lance format.

use std::collections::HashMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Manifest {
    #[prost(message, repeated, tag = "1")]
    pub(super) fields: Vec<Field>,
    #[prost(message, repeated, tag = "2")]
    pub(super) fragments: Vec<Fragment>,
    #[prost(uint64, tag = "3")]
    pub(super) version: u64,
    #[prost(map = "string, bytes", tag = "5")]
    pub(super) schema_metadata: HashMap<String, Vec<u8>>,
    #[prost(uint64, optional, tag = "6")]
    pub(super) index_section: Option<u64>,
    #[prost(message, optional, tag = "7")]
    pub(super) timestamp: Option<Timestamp>,
    #[prost(uint64, tag = "9")]
    pub(super) reader_feature_flags: u64,
    #[prost(uint64, tag = "10")]
    pub(super) writer_feature_flags: u64,
    #[prost(string, tag = "12")]
    pub(super) transaction_file: String,
    #[prost(message, optional, tag = "13")]
    pub(super) writer_version: Option<WriterVersion>,
    #[prost(message, optional, tag = "15")]
    pub(super) data_format: Option<DataFormat>,
    #[prost(message, repeated, tag = "18")]
    pub(super) base_paths: Vec<BasePath>,
    #[prost(string, optional, tag = "20")]
    pub(super) branch: Option<String>,
    /// Present or not is all that matters: its layout belongs to a later format.
    #[prost(message, optional, tag = "22")]
    pub(super) fragment_tree: Option<Anything>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Anything {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriterVersion {
    #[prost(string, tag = "1")]
    pub(super) library: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(string, optional, tag = "3")]
    pub(super) prerelease: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DataFormat {
    #[prost(string, tag = "1")]
    pub(super) file_format: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BasePath {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(bool, tag = "3")]
    pub(super) is_dataset_root: bool,
    #[prost(string, tag = "4")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Field {
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(int32, tag = "3")]
    pub(super) id: i32,
    #[prost(int32, tag = "4")]
    pub(super) parent_id: i32,
    #[prost(string, tag = "5")]
    pub(super) logical_type: String,
    #[prost(bool, tag = "6")]
    pub(super) nullable: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Fragment {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) files: Vec<DataFile>,
    #[prost(message, optional, tag = "3")]
    pub(super) deletion_file: Option<DeletionFile>,
    #[prost(uint64, tag = "4")]
    pub(super) physical_rows: u64,
    #[prost(message, repeated, tag = "11")]
    pub(super) overlays: Vec<Overlay>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DataFile {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(uint64, tag = "6")]
    pub(super) file_size_bytes: u64,
    #[prost(uint32, optional, tag = "7")]
    pub(super) base_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Overlay {
    #[prost(message, optional, tag = "1")]
    pub(super) data_file: Option<DataFile>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeletionFile {
    #[prost(int32, tag = "1")]
    pub(super) file_type: i32,
    #[prost(uint64, tag = "2")]
    pub(super) read_version: u64,
    #[prost(uint64, tag = "3")]
    pub(super) id: u64,
    #[prost(uint64, tag = "4")]
    pub(super) num_deleted_rows: u64,
    #[prost(uint32, optional, tag = "7")]
    pub(super) base_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IndexSection {
    #[prost(message, repeated, tag = "1")]
    pub(super) indices: Vec<Index>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Index {
    #[prost(message, optional, tag = "1")]
    pub(super) uuid: Option<UuidBytes>,
    #[prost(int32, repeated, tag = "2")]
    pub(super) fields: Vec<i32>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(uint64, tag = "4")]
    pub(super) dataset_version: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) fragment_bitmap: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    pub(super) details: Option<Any>,
    #[prost(int32, optional, tag = "7")]
    pub(super) index_version: Option<i32>,
    #[prost(uint32, optional, tag = "9")]
    pub(super) base_id: Option<u32>,
    #[prost(message, repeated, tag = "10")]
    pub(super) files: Vec<IndexFile>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UuidBytes {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) uuid: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IndexFile {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(uint64, tag = "2")]
    pub(super) size_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VectorDetails {
    #[prost(int32, tag = "1")]
    pub(super) metric: i32,
    #[prost(uint64, tag = "2")]
    pub(super) target_partition_size: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) hnsw: Option<Hnsw>,
    #[prost(message, optional, tag = "4")]
    pub(super) product_quantization: Option<ProductQuantization>,
    #[prost(message, optional, tag = "5")]
    pub(super) scalar_quantization: Option<Bits>,
    #[prost(message, optional, tag = "6")]
    pub(super) rabit_quantization: Option<Bits>,
    #[prost(message, optional, tag = "8")]
    pub(super) flat: Option<Anything>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hnsw {
    #[prost(uint32, tag = "1")]
    pub(super) max_connections: u32,
    #[prost(uint32, tag = "2")]
    pub(super) construction_ef: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProductQuantization {
    #[prost(uint32, tag = "1")]
    pub(super) num_bits: u32,
    #[prost(uint32, tag = "2")]
    pub(super) num_sub_vectors: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bits {
    #[prost(uint32, tag = "1")]
    pub(super) num_bits: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InvertedDetails {
    #[prost(string, optional, tag = "1")]
    pub(super) base_tokenizer: Option<String>,
    #[prost(string, tag = "2")]
    pub(super) language: String,
    #[prost(bool, tag = "3")]
    pub(super) with_position: bool,
    #[prost(bool, tag = "5")]
    pub(super) lower_case: bool,
    #[prost(bool, tag = "6")]
    pub(super) stem: bool,
    #[prost(bool, tag = "7")]
    pub(super) remove_stop_words: bool,
    #[prost(bool, tag = "8")]
    pub(super) ascii_folding: bool,
}
