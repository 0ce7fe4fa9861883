//! One fault at every request of a small backup: it succeeds by retry or ends with an error; nothing half-made is
//! ever listed; the next run succeeds.

use std::time::Duration;

use super::*;
use crate::keys::Identity;
use crate::repository::tests::copy_objects;
use crate::storage::faulty::{Fault, Faults, Faulty};
use crate::storage::memory::MemoryStorage;
use crate::storage::retrying::{RetryOptions, Retrying};
use crate::storage::{SharedStorage, StorageOptions};
use crate::{InitOptions, OpenOptions, Unlock};

/// A repository that holds one snapshot, to be copied for each try.
struct Template {
    store: MemoryStorage,
    identity: Identity,
    first: SnapshotId,
}

impl Template {
    async fn new() -> Self {
        let store = Arc::new(MemoryStorage::new());
        let identity = Identity::generate();
        let cache = tempfile::tempdir().unwrap();
        let init = InitOptions {
            recipients: vec![identity.recipient()],
            ..InitOptions::default()
        };
        let shared: SharedStorage = store.clone();
        let repository = Repository::init(shared, init, OpenOptions::new(cache.path()))
            .await
            .unwrap();
        let first = super::store(&repository, &[&small(1)], None).await.unwrap().id;
        let copy = MemoryStorage::new();
        copy_objects(&*store, &copy).await;
        Self {
            store: copy,
            identity,
            first,
        }
    }

    async fn open(&self, storage: SharedStorage) -> Result<(Repository, tempfile::TempDir), VaultError> {
        let cache = tempfile::tempdir().unwrap();
        let unlock = Unlock::Identities(vec![self.identity.clone()]);
        let repository = Repository::open(storage, &unlock, OpenOptions::new(cache.path())).await?;
        Ok((repository, cache))
    }

    /// The backup that meets the fault.
    async fn second(&self, storage: SharedStorage) -> Result<SnapshotId, String> {
        let (repository, _cache) = self.open(storage).await.map_err(|e| e.to_string())?;
        let stored = super::store(&repository, &[&small(2)], Some(self.first)).await;
        stored.map(|outcome| outcome.id).map_err(|e| format!("{e:?}"))
    }

    /// Whatever came of it: what is listed is whole, and the next run succeeds.
    async fn prove(&self, storage: SharedStorage, result: Result<SnapshotId, String>, case: &str) {
        let (repository, _cache) = self.open(storage).await.unwrap();
        let listed = repository.snapshots().await.unwrap();
        let ids: Vec<_> = listed.iter().map(|info| info.id).collect();
        assert!(ids.contains(&self.first), "{case}: {ids:?}");
        if let Ok(id) = &result {
            assert!(ids.contains(id), "{case}: said to be committed, and is not");
        }
        assert!(ids.len() <= 2, "{case}");
        for id in &ids {
            let expected = small(if *id == self.first { 1 } else { 2 }).expected();
            assert_eq!(contents(&repository, id).await, expected, "{case}");
        }
        let newest = listed.last().map(|info| info.id);
        let next = super::store(&repository, &[&small(3)], newest).await;
        let next = next.unwrap_or_else(|e| panic!("{case} ({result:?}): {e}"));
        assert_eq!(
            contents(&repository, &next.id).await,
            small(3).expected(),
            "{case}"
        );
        is_sound(&repository).await;
    }
}

/// Two files that stay, and one that differs by `seed`.
fn small(seed: u64) -> MemorySource {
    MemorySource::new("memory")
        .with("d/a", noise(100, 3000))
        .with("d/b", Bytes::new())
        .with_changing("d/c", noise(seed, 2000))
}

async fn copied(template: &Template) -> SharedStorage {
    let copy = MemoryStorage::new();
    copy_objects(&template.store, &copy).await;
    Arc::new(copy)
}

async fn count(template: &Template) -> u64 {
    let faults = Faults::none();
    let storage = Arc::new(Faulty::new(copied(template).await, faults.clone()));
    template.second(storage).await.unwrap();
    faults.calls()
}

#[tokio::test]
async fn a_fault_at_every_request_of_a_backup() {
    let template = Template::new().await;
    let calls = count(&template).await;
    assert!(calls > 15, "{calls}");
    for call in 0..calls {
        for fault in [
            Fault::Before,
            Fault::After,
            Fault::Deny,
            Fault::FlipBit,
            Fault::Truncate,
        ] {
            let (faults, store) = (Faults::none(), copied(&template).await);
            faults.at(call, fault);
            let result = template
                .second(Arc::new(Faulty::new(store.clone(), faults.clone())))
                .await;
            assert_eq!(faults.hits(), 1, "{fault:?} at {call}");
            template
                .prove(store, result, &format!("{fault:?} at request {call}"))
                .await;
        }
    }
}

#[tokio::test]
async fn with_retries_one_lost_answer_anywhere_is_not_noticed() {
    let template = Template::new().await;
    let calls = count(&template).await;
    let retries = RetryOptions {
        first_delay: Duration::from_millis(1),
        ..RetryOptions::default()
    };
    for call in 0..calls {
        for fault in [Fault::Before, Fault::After] {
            let (faults, store) = (Faults::none(), copied(&template).await);
            faults.at(call, fault);
            let faulty = Arc::new(Faulty::new(store.clone(), faults.clone()));
            let result = template.second(Arc::new(Retrying::new(faulty, retries))).await;
            let case = format!("{fault:?} at request {call}");
            assert!(result.is_ok(), "{case}: {result:?}");
            template.prove(store, result, &case).await;
        }
    }
}

#[tokio::test]
async fn a_fault_at_every_request_of_a_backup_to_a_local_folder() {
    let template = Template::new().await;
    let calls = count(&template).await;
    for call in 0..calls {
        for fault in [Fault::Before, Fault::After] {
            let dir = tempfile::tempdir().unwrap();
            let url = format!("file://{}", dir.path().display());
            let store = crate::storage::open(&url, &StorageOptions::default())
                .await
                .unwrap();
            copy_objects(&template.store, &*store).await;
            let faults = Faults::none();
            faults.at(call, fault);
            let result = template
                .second(Arc::new(Faulty::new(store.clone(), faults)))
                .await;
            template
                .prove(store, result, &format!("{fault:?} at request {call}"))
                .await;
        }
    }
}
