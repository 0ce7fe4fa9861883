//! A repository: opened with a key, then read and written.
//!
//! # Overview
//!
//! [`Repository`] is a cheap handle. Its parts are files of this folder: making and opening, the local index,
//! reading chunks, snapshots and their chain, records that belong to snapshots, intents.
//!
//! # Consistency
//!
//! Objects never change, and a name that comes from content says whether the bytes are right. What the local index
//! or the memory of heads know besides is a copy or a witness, never the truth.
//!
//! # Retries
//!
//! None here: [`crate::storage::retrying`](crate::storage) is the one place. A repeated PUT is harmless.

mod chunks;
mod config;
mod index;
mod intents;
mod objects;
mod open;
mod prove;
mod records;
mod snapshots;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::sync::Semaphore;

use crate::chunker::ChunkerParams;
use crate::cipher::Cipher;
use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};
use crate::heads::Heads;
use crate::id::{ChunkId, Digest, KeyId, RepositoryId};
use crate::index::LocalIndex;
use crate::keys::{KeyRing, Recipient, Unlock};
use crate::storage::{self, Key, SharedStorage};
use crate::writer::{ChunkWriter, WriterOptions};

pub use config::Config;
pub(crate) use index::FLUSH_RECORDS;
pub use index::PackListing;
#[cfg(test)]
pub(crate) use index::TAIL as FOOTER_READ;
pub use intents::{Intent, IntentKind};
pub use prove::PackProof;
pub use records::{Hold, RecordInfo};
pub use snapshots::SnapshotInfo;

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

/// An opened repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    storage: SharedStorage,
    config: Config,
    config_hash: Digest,
    ring: KeyRing,
    clock: SharedClock,
    pub(crate) index: LocalIndex,
    heads: Heads,
    /// One permit per range that is being read.
    reads: Semaphore,
    /// One caller at a time changes what the local index covers.
    syncing: tokio::sync::Mutex<()>,
    /// Packs that no index names were looked for since the last sync.
    recovered: AtomicBool,
    /// How far the store's clock is ahead of ours, once known.
    skew: Mutex<Option<SignedDuration>>,
}

impl Inner {
    /// Blocks on local disk.
    fn assemble(
        storage: SharedStorage,
        config: Config,
        config_hash: Digest,
        ring: KeyRing,
        options: OpenOptions,
    ) -> Result<Repository> {
        let state_dir = options
            .state_dir
            .unwrap_or_else(|| options.cache_dir.clone())
            .join("heads");
        let heads = Heads::open(&state_dir, &storage.location(), config.id, ring.fingerprint())?;
        let index = LocalIndex::open(&options.cache_dir.join(config.id.to_string()).join("index"))?;
        let inner = Self {
            storage,
            config,
            config_hash,
            ring,
            clock: options.clock,
            index,
            heads,
            reads: Semaphore::new(options.reads.max(1)),
            syncing: tokio::sync::Mutex::new(()),
            recovered: AtomicBool::new(false),
            skew: Mutex::new(None),
        };
        Ok(Repository {
            inner: Arc::new(inner),
        })
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    pub(crate) fn storage(&self) -> &SharedStorage {
        &self.storage
    }

    /// The store's failure as ours; an object that is not there is missing because of `reason`.
    pub(crate) fn failed(&self, error: storage::Error, reason: &str) -> Error {
        match error {
            storage::Error::NotFound(object) => Error::Missing {
                object,
                reason: reason.into(),
            },
            error => open::storage_error(&self.storage, error),
        }
    }
}

impl Repository {
    /// Makes a repository: wrapped keys first, `config` last.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyInitialised`], [`Error::InvalidOptions`], or what failed.
    pub async fn init(storage: SharedStorage, init: InitOptions, open: OpenOptions) -> Result<Self> {
        open::init(storage, init, open).await
    }

    /// Opens a repository and its local index. Does not download the index: see [`Repository::sync_index`].
    ///
    /// # Errors
    ///
    /// [`Error::NotARepository`], [`Error::WrongKey`], [`Error::NewerFormat`], ….
    pub async fn open(storage: SharedStorage, unlock: &Unlock, open: OpenOptions) -> Result<Self> {
        open::open(storage, unlock, open).await
    }

    /// The repository's id.
    pub fn id(&self) -> RepositoryId {
        self.inner.config.id
    }

    /// Its parameters.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The store it lives in.
    pub fn storage(&self) -> &SharedStorage {
        &self.inner.storage
    }

    /// The clock it was opened with.
    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// The name that a chunk of these bytes has here.
    pub fn chunk_id(&self, chunk: &[u8]) -> ChunkId {
        self.inner.ring.chunk_id(chunk)
    }

    /// What hashes the content of whole files here.
    pub(crate) fn content_hasher(&self) -> blake3::Hasher {
        self.inner.ring.content_hasher()
    }

    /// A key for a purpose of the caller's, the same for everybody who opens this repository. It opens nothing in
    /// it. `purpose` is a context string as BLAKE3 wants it: hard-coded, unique in the world.
    pub fn derived_key(&self, purpose: &'static str) -> [u8; 32] {
        self.inner.ring.derived(purpose)
    }

    /// Where chunks are cut, with the seed.
    pub fn chunker(&self) -> ChunkerParams {
        ChunkerParams {
            seed: self.inner.ring.chunker_seed(),
            ..self.inner.config.chunker.clone()
        }
    }

    /// Takes chunks into the repository. Call [`Repository::sync_index`] before, or known chunks are stored again.
    /// Must be called within a tokio runtime.
    pub fn writer(&self, options: WriterOptions) -> ChunkWriter {
        ChunkWriter::new(Arc::clone(&self.inner), options)
    }

    /// The key objects of the repository, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn keys(&self) -> Result<Vec<KeyId>> {
        open::list_keys(&self.inner.storage).await
    }

    /// Lets one more recipient open the repository.
    ///
    /// # Errors
    ///
    /// What failed, or [`Error::InvalidOptions`] for a repository without encryption.
    pub async fn add_key(&self, recipient: &Recipient) -> Result<KeyId> {
        if self.inner.config.cipher == Cipher::None {
            let reason = "the repository is not encrypted: there is no key to wrap".into();
            return Err(Error::InvalidOptions { reason });
        }
        let Inner {
            storage,
            config_hash,
            ring,
            ..
        } = &*self.inner;
        open::store_key(storage, self.id(), *config_hash, ring.master(), recipient.clone()).await
    }

    /// Facts, holds, drills and ledger entries that this host stored since the newest snapshot it knows of: they
    /// should be there, and no manifest names them yet.
    pub fn remembered_records(&self) -> Vec<Key> {
        self.inner.heads.records()
    }
}

/// Runs what blocks on disk or burns CPU away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) if stopped.is_cancelled() => Err(Error::Cancelled),
        Err(panicked) => Err(Error::internal(panicked.to_string())),
    }
}

#[cfg(test)]
pub(crate) mod tests;
