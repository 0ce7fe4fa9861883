//! A repository: opened with a key, then read and written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::chunker::ChunkerParams;
use crate::cipher::Cipher;
use crate::clock::{SharedClock, SystemClock};
use crate::error::Result;
use crate::heads::Freshness;
use crate::id::{ChunkId, IndexId, KeyId, PackId, RepositoryId, SnapshotId};
use crate::index::{IndexStats, Location};
use crate::keys::{Recipient, Unlock};
use crate::manifest::Manifest;
use crate::pack::FooterEntry;
use crate::storage::{Key, SharedStorage};
use crate::writer::{ChunkWriter, WriterOptions};

/// The repository's parameters, in clear in its `config` object; no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Always `drctl-repository`.
    pub format: String,
    /// The format's version.
    pub version: u32,
    /// The repository's id.
    pub id: RepositoryId,
    /// When it was made.
    pub created: Timestamp,
    /// How objects are sealed.
    pub cipher: Cipher,
    /// Where chunks are cut (without the seed).
    pub chunker: ChunkerParams,
}

/// How a repository is made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Who can open it; each gets a key object. At least one, or a passphrase, unless `cipher` is `None`.
    pub recipients: Vec<Recipient>,
    /// One more way to open it.
    pub passphrase: Option<SecretString>,
    /// How objects are sealed.
    pub cipher: Cipher,
    /// Where chunks are cut.
    pub chunker: ChunkerParams,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            recipients: Vec::new(),
            passphrase: None,
            cipher: Cipher::Aes256Gcm,
            chunker: ChunkerParams::default(),
        }
    }
}

/// How a repository is used from this host.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Where the local index lives: can be removed at any time, is then downloaded again.
    pub cache_dir: PathBuf,
    /// Where this host remembers the newest snapshot; `cache_dir` if absent. Losing it loses the proof of
    /// freshness.
    pub state_dir: Option<PathBuf>,
    /// Tells the time.
    pub clock: SharedClock,
    /// How many ranges are read at once.
    pub reads: usize,
}

impl OpenOptions {
    /// With a cache folder, the system's clock and eight reads at once.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            state_dir: None,
            clock: Arc::new(SystemClock),
            reads: 8,
        }
    }
}

/// A snapshot as the listing shows it: nothing is opened for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// The moment of the cut, to the second.
    pub time: Timestamp,
    /// The sealed manifest.
    pub object: Key,
    /// Its size in bytes.
    pub size: u64,
}

/// A reason to keep a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why, in the words of who asked for it.
    pub reason: String,
    /// When it was set.
    pub created: Timestamp,
    /// When it ends; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A record as the listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordInfo {
    /// When it was written, to the second.
    pub time: Timestamp,
    /// The sealed object.
    pub object: Key,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentKind {
    /// A backup: its chunks must not be removed although no snapshot names them yet.
    Backup,
    /// A prune.
    Prune,
}

/// Something under way, announced in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What.
    pub kind: IntentKind,
    /// On which host.
    pub host: String,
    /// The sealed object.
    pub object: Key,
    /// When it ends by itself, by the store's clock where it has one.
    pub expires: Timestamp,
}

/// A pack that the index names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub id: PackId,
    /// Its size in bytes.
    pub size: u32,
    /// The index object that names it.
    pub index: IndexId,
}

/// An opened repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    _inner: Arc<()>,
}

impl Repository {
    /// Makes a repository: wrapped keys first, `config` last.
    ///
    /// # Errors
    ///
    /// [`crate::Error::AlreadyInitialised`], [`crate::Error::InvalidOptions`], or what failed.
    pub async fn init(_storage: SharedStorage, _init: InitOptions, _open: OpenOptions) -> Result<Self> {
        todo!()
    }

    /// Opens a repository and its local index. Does not download the index: see [`Repository::sync_index`].
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotARepository`], [`crate::Error::WrongKey`], [`crate::Error::NewerFormat`], ….
    pub async fn open(_storage: SharedStorage, _unlock: &Unlock, _open: OpenOptions) -> Result<Self> {
        todo!()
    }

    /// The repository's id.
    pub fn id(&self) -> RepositoryId {
        todo!()
    }

    /// Its parameters.
    pub fn config(&self) -> &Config {
        todo!()
    }

    /// The store it lives in.
    pub fn storage(&self) -> &SharedStorage {
        todo!()
    }

    /// The clock it was opened with.
    pub fn clock(&self) -> &SharedClock {
        todo!()
    }

    /// The name that a chunk of these bytes has here.
    pub fn chunk_id(&self, _chunk: &[u8]) -> ChunkId {
        todo!()
    }

    /// Where chunks are cut, with the seed.
    pub fn chunker(&self) -> ChunkerParams {
        todo!()
    }

    /// Brings the local index up to date: downloads new index objects, drops those that vanished.
    ///
    /// # Errors
    ///
    /// What failed; the local index is then as before.
    pub async fn sync_index(&self) -> Result<IndexStats> {
        todo!()
    }

    /// Where a chunk is, by the local index.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub async fn locate(&self, _chunk: &ChunkId) -> Result<Option<Location>> {
        todo!()
    }

    /// Where chunks are, in the order asked, in one step.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub async fn locate_many(&self, _chunks: &[ChunkId]) -> Result<Vec<Option<Location>>> {
        todo!()
    }

    /// Like [`Repository::locate`], for threads that may block.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub fn locate_blocking(&self, _chunk: &ChunkId) -> Result<Option<Location>> {
        todo!()
    }

    /// The packs that the local index names.
    pub fn indexed_packs(&self) -> Vec<IndexedPack> {
        todo!()
    }

    /// Takes chunks into the repository. Call [`Repository::sync_index`] before, or known chunks are stored again.
    pub fn writer(&self, _options: WriterOptions) -> ChunkWriter {
        todo!()
    }

    /// One chunk, verified: opened and hashed.
    ///
    /// # Errors
    ///
    /// [`crate::Error::ChunkNotIndexed`], [`crate::Error::Missing`], [`crate::Error::Damaged`], or the store's.
    pub async fn read_chunk(&self, _chunk: &ChunkId) -> Result<Bytes> {
        todo!()
    }

    /// Several chunks, verified, in the order asked; neighbours of one pack are read in one request. All are in
    /// memory on return: ask for a few MiB at a time. One damaged chunk does not spoil the others.
    pub async fn read_chunks(&self, _chunks: &[ChunkId]) -> Vec<Result<Bytes>> {
        todo!()
    }

    /// A pack's own list of its chunks, read from its sealed footer; `size` as listed.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Damaged`], [`crate::Error::Missing`], or the store's.
    pub async fn pack_footer(&self, _pack: &PackId, _size: u64) -> Result<Vec<FooterEntry>> {
        todo!()
    }

    /// Writes index objects for packs that no index names: after the loss of one, or a crash. Answers their ids.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn rebuild_index(&self) -> Result<Vec<IndexId>> {
        todo!()
    }

    /// All snapshots, oldest first, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        todo!()
    }

    /// Opens a manifest.
    ///
    /// # Errors
    ///
    /// [`crate::Error::SnapshotNotFound`], [`crate::Error::Damaged`], or the store's.
    pub async fn manifest(&self, _id: &SnapshotId) -> Result<Manifest> {
        todo!()
    }

    /// Finds a snapshot by `latest` (the newest that is not suspect), a prefix of its id, or its whole id.
    ///
    /// # Errors
    ///
    /// [`crate::Error::SnapshotNotFound`], [`crate::Error::SnapshotAmbiguous`], or the store's.
    pub async fn resolve(&self, _wanted: &str) -> Result<SnapshotInfo> {
        todo!()
    }

    /// Commits a snapshot: fills the fields of the chain, seals, stores. The chunks must all be stored.
    ///
    /// # Errors
    ///
    /// What failed; the snapshot may then be there or not, and a repeat is harmless.
    pub async fn commit(&self, _manifest: Manifest) -> Result<SnapshotId> {
        todo!()
    }

    /// Whether the repository is as new as what this host remembers.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn freshness(&self) -> Result<Freshness> {
        todo!()
    }

    /// Stores what was measured of a snapshot. Later facts take the place of earlier ones.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_facts(&self, _snapshot: &SnapshotId, _facts: &[u8]) -> Result<Key> {
        todo!()
    }

    /// The newest facts of a snapshot.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Damaged`], or the store's.
    pub async fn facts(&self, _snapshot: &SnapshotId) -> Result<Option<Bytes>> {
        todo!()
    }

    /// Holds a snapshot.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_hold(&self, _snapshot: &SnapshotId, _hold: &Hold) -> Result<Key> {
        todo!()
    }

    /// All holds.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Damaged`], or the store's.
    pub async fn holds(&self) -> Result<Vec<(SnapshotId, Hold, Key)>> {
        todo!()
    }

    /// Removes a hold.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn release_hold(&self, _hold: &Key) -> Result<()> {
        todo!()
    }

    /// Stores the record of a drill.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_drill(&self, _record: &[u8]) -> Result<Key> {
        todo!()
    }

    /// The drill records, oldest first, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn drills(&self) -> Result<Vec<RecordInfo>> {
        todo!()
    }

    /// Opens a drill record or a ledger entry.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Damaged`], [`crate::Error::Missing`], or the store's.
    pub async fn record(&self, _object: &Key) -> Result<Bytes> {
        todo!()
    }

    /// Appends to the ledger of what was verified when.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn append_ledger(&self, _entry: &[u8]) -> Result<Key> {
        todo!()
    }

    /// The ledger's entries, oldest first, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn ledger(&self) -> Result<Vec<RecordInfo>> {
        todo!()
    }

    /// Announces work that others must respect, for `ttl`; announce again before it ends.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn put_intent(&self, _kind: IntentKind, _host: &str, _ttl: Duration) -> Result<Intent> {
        todo!()
    }

    /// What is under way, expired intents left out.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Damaged`], or the store's.
    pub async fn intents(&self) -> Result<Vec<Intent>> {
        todo!()
    }

    /// Takes an intent back, where deleting is permitted; else it ends by itself.
    ///
    /// # Errors
    ///
    /// The store's, other than a refusal.
    pub async fn end_intent(&self, _intent: &Intent) -> Result<()> {
        todo!()
    }

    /// The key objects of the repository, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn keys(&self) -> Result<Vec<KeyId>> {
        todo!()
    }

    /// Lets one more recipient open the repository.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn add_key(&self, _recipient: &Recipient) -> Result<KeyId> {
        todo!()
    }
}
