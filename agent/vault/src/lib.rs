//! Repository format and engine: encrypted, deduplicated snapshots on object stores.
//!
//! # Overview
//!
//! A [`Repository`] is a prefix of an object store that holds the snapshots of one host. [`storage`] is where its
//! objects live; the modules of the core ([`keys`], [`cipher`], [`envelope`], [`pack`], [`index`], [`manifest`])
//! know what is in them. `FORMAT.md` beside this crate has the exact bytes.
//!
//! # Layout
//!
//! Bytes go in through a [`ChunkWriter`] and come out through [`Repository::read_chunk`]; a chunk is named by the
//! keyed hash of its content, so equal content is stored once. Everything else is a small sealed object with an
//! immutable name.
//!
//! # Crash consistency
//!
//! Packs are written before the index objects that name them, both before the manifest that needs them. A crash in
//! between leaves objects that nothing refers to, and never a reference to something that is not there.

pub mod backup;
mod buffers;
mod causes;
pub mod check;
pub mod chunker;
pub mod chunking;
pub mod cipher;
pub mod clock;
mod codec;
pub mod envelope;
pub mod error;
pub mod failpoint;
mod header;
pub mod heads;
pub mod id;
pub mod index;
pub mod keys;
pub mod layout;
pub mod manifest;
pub mod pack;
pub mod progress;
pub mod read;
pub mod repository;
pub mod restore;
pub mod stats;
pub mod step;
pub mod storage;
pub mod tree;
pub mod writer;

pub use chunker::{ChunkerParams, Cutter};
pub use cipher::Cipher;
pub use error::{Error, Result};
pub use heads::Freshness;
pub use id::{ChunkId, Digest, IndexId, KeyId, PackId, RecordId, RepositoryId, SnapshotId};
pub use index::{IndexStats, IndexedPack, Location};
pub use keys::{Identity, Recipient, Unlock};
pub use manifest::{Manifest, Previous, SourceRecord, TreeRef, Window};
pub use repository::{Config, InitOptions, OpenOptions, Repository, SnapshotInfo};
pub use writer::{Added, ChunkWriter, WriteCounters, WriteStats, WriterOptions};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Points at which a development build can kill itself, in the order in which a backup passes them.
pub const FAILPOINTS: &[&str] = &[
    "init.keys.stored",
    "init.config.stored",
    "writer.pack.sealed",
    "writer.pack.stored",
    "writer.index.stored",
    "index.segment.written",
    "index.segment.installed",
    "commit.manifest.sealed",
    "commit.manifest.stored",
    "commit.heads.remembered",
    "record.stored",
    "intent.stored",
];
