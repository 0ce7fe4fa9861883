//! The repository as a whole, on a store in memory.

mod crash;
mod damage;
mod format;
mod opening;
mod records;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;

use super::*;
use crate::clock::Clock;
use crate::id::{ChunkId, SnapshotId};
use crate::keys::Identity;
use crate::manifest::{Manifest, SourceRecord, TreeRef};
use crate::storage::memory::MemoryStorage;
use crate::storage::{PutMode, Storage};

/// A clock that tests set.
#[derive(Debug)]
pub(crate) struct TestClock(Mutex<Timestamp>);

impl TestClock {
    pub(crate) fn at(time: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(time.parse().unwrap())))
    }

    pub(crate) fn advance(&self, by: SignedDuration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A store, a key and a clock; caches come and go.
pub(crate) struct Bench {
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) cache: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let clock = TestClock::at("2026-11-23T15:33:54Z");
        Self {
            storage: Arc::new(MemoryStorage::with_clock(clock.clone())),
            identity: Identity::generate(),
            clock,
            cache: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn store(&self) -> SharedStorage {
        self.storage.clone()
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            clock: self.clock.clone(),
            ..OpenOptions::new(self.cache.path())
        }
    }

    pub(crate) fn unlock(&self) -> Unlock {
        Unlock::Identities(vec![self.identity.clone()])
    }

    pub(crate) async fn init(&self) -> Repository {
        let init = InitOptions {
            recipients: vec![self.identity.recipient()],
            ..InitOptions::default()
        };
        Repository::init(self.store(), init, self.options())
            .await
            .unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Repository> {
        Repository::open(self.store(), &self.unlock(), self.options()).await
    }

    /// Opens with an empty cache, so that all comes from the store, and fetches the index.
    pub(crate) async fn open_afresh(&self) -> (Repository, tempfile::TempDir) {
        let cache = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            clock: self.clock.clone(),
            ..OpenOptions::new(cache.path())
        };
        let repository = Repository::open(self.store(), &self.unlock(), options)
            .await
            .unwrap();
        repository.sync_index().await.unwrap();
        (repository, cache)
    }

    pub(crate) async fn names(&self, prefix: &str) -> Vec<Key> {
        self.storage
            .list(prefix)
            .map_ok(|meta| meta.key)
            .try_collect()
            .await
            .unwrap()
    }

    pub(crate) async fn object(&self, key: &Key) -> Vec<u8> {
        self.storage.get(key, None).await.unwrap().to_vec()
    }

    pub(crate) async fn overwrite(&self, key: &Key, bytes: Vec<u8>) {
        self.storage
            .put(key, bytes.into(), PutMode::Overwrite)
            .await
            .unwrap();
    }
}

/// Copies all objects of one store to another, which is empty.
pub(crate) async fn copy_objects(from: &dyn Storage, to: &dyn Storage) {
    let objects: Vec<_> = from.list("").try_collect().await.unwrap();
    for object in objects {
        let body = from.get(&object.key, None).await.unwrap();
        to.put(&object.key, body, PutMode::Create).await.unwrap();
    }
}

/// Bytes that do not compress and differ by seed.
pub(crate) fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}

/// Stores chunks and commits a snapshot that names them as its tree.
pub(crate) async fn snapshot(repository: &Repository, chunks: Vec<Bytes>) -> (SnapshotId, Vec<ChunkId>) {
    let writer = repository.writer(WriterOptions::default());
    let ids: Vec<ChunkId> = writer
        .add_many(chunks)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let stats = writer.finish().await.unwrap();
    let mut manifest = Manifest::new(repository.clock().now(), "db-1", "test");
    manifest.indexes = stats.indexes;
    manifest.sources.push(source(ids.clone()));
    (repository.commit(manifest).await.unwrap(), ids)
}

/// A source whose list has these chunks.
fn source(chunks: Vec<ChunkId>) -> SourceRecord {
    SourceRecord {
        name: "memory".into(),
        kind: "lancedb".into(),
        root: "/srv/db".into(),
        tree: TreeRef {
            chunks,
            len: 0,
            hash: Digest::of(b""),
        },
        files: 0,
        bytes: 0,
        stamp: serde_json::Value::Null,
        suspect: None,
    }
}
