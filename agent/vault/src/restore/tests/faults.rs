//! One fault at every request of a small restore: it succeeds by retry or ends with an error that touches nothing; the
//! next run succeeds.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::OpenOptions;
use crate::repository::tests::copy_objects;
use crate::storage::faulty::{Fault, Faults, Faulty};
use crate::storage::retrying::{RetryOptions, Retrying};
use crate::storage::{SharedStorage, StorageOptions};

fn small() -> MemorySource {
    MemorySource::new("memory")
        .with("d/a", noise(1, 3000))
        .with("d/b", noise(2, 4000))
}

fn small_log() -> MemorySource {
    MemorySource::new("audit").with_changing("audit.log", noise(3, 2000))
}

fn expected() -> BTreeMap<String, Bytes> {
    let mut all = small().expected();
    all.extend(small_log().expected());
    all
}

/// Opens the repository with an empty cache and restores everything to `target`.
async fn restored(rig: &Rig, storage: SharedStorage, target: &Path) -> Result<Report, String> {
    let cache = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        clock: rig.bench.clock.clone(),
        ..OpenOptions::new(cache.path())
    };
    let told = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let repository = Repository::open(storage, &rig.bench.unlock(), options)
        .await
        .map_err(|error| told(&error))?;
    repository.sync_index().await.map_err(|error| told(&error))?;
    let place = Place::BySource(target.to_owned());
    let (progress, cancel) = (Progress::new(), CancellationToken::new());
    let work = async {
        let plan = plan(
            &repository,
            rig.snapshot,
            &rig.manifest,
            Selection::whole(),
            &place,
            Options::default(),
        )
        .await?;
        let staged = execute(&repository, &rig.manifest, plan, cache.path(), &progress, &cancel).await?;
        staged.commit().await
    };
    work.await.map_err(|error: Error| told(&error))
}

async fn count(rig: &Rig) -> u64 {
    let (faults, dir) = (Faults::none(), tempfile::tempdir().unwrap());
    let storage = Arc::new(Faulty::new(rig.bench.store(), faults.clone()));
    restored(rig, storage, dir.path()).await.unwrap();
    faults.calls()
}

fn names(target: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(target).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_at_every_request_of_a_restore() {
    let rig = Rig::with(&[&small(), &small_log()]).await;
    let calls = count(&rig).await;
    assert!(calls > 6, "{calls}");
    for call in 0..calls {
        for fault in [
            Fault::Before,
            Fault::After,
            Fault::Deny,
            Fault::FlipBit,
            Fault::Truncate,
        ] {
            let (faults, dir) = (Faults::none(), tempfile::tempdir().unwrap());
            faults.at(call, fault);
            let storage = Arc::new(Faulty::new(rig.bench.store(), faults.clone()));
            let result = restored(&rig, storage, dir.path()).await;
            let case = format!("{fault:?} at request {call}: {result:?}");
            if result.is_err() {
                let swapped = names(dir.path())
                    .iter()
                    .any(|name| name == "memory" || name == "audit");
                assert!(!swapped, "{case}: something was swapped in");
            } else {
                assert_eq!(files(dir.path()), expected(), "{case}");
                continue;
            }
            let again = restored(&rig, rig.bench.store(), dir.path()).await;
            again.unwrap_or_else(|error| panic!("{case}, then {error}"));
            assert_eq!(files(dir.path()), expected(), "{case}");
            assert_eq!(
                names(dir.path()),
                ["audit", "memory"],
                "{case}: nothing stays beside"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_retries_one_lost_answer_anywhere_is_not_noticed() {
    let rig = Rig::with(&[&small(), &small_log()]).await;
    let retries = RetryOptions {
        first_delay: Duration::from_millis(1),
        ..RetryOptions::default()
    };
    for call in 0..count(&rig).await {
        for fault in [Fault::Before, Fault::After] {
            let (faults, dir) = (Faults::none(), tempfile::tempdir().unwrap());
            faults.at(call, fault);
            let faulty = Arc::new(Faulty::new(rig.bench.store(), faults));
            let storage = Arc::new(Retrying::new(faulty, retries));
            let result = restored(&rig, storage, dir.path()).await;
            result.unwrap_or_else(|error| panic!("{fault:?} at request {call}: {error}"));
            assert_eq!(files(dir.path()), expected());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_at_every_request_of_a_restore_from_a_local_folder() {
    let rig = Rig::with(&[&small(), &small_log()]).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let local = crate::storage::open(&url, &StorageOptions::default())
        .await
        .unwrap();
    copy_objects(&*rig.bench.storage, &*local).await;
    for call in 0..count(&rig).await {
        for fault in [Fault::Before, Fault::FlipBit, Fault::Truncate] {
            let (faults, dir) = (Faults::none(), tempfile::tempdir().unwrap());
            faults.at(call, fault);
            let storage = Arc::new(Faulty::new(local.clone(), faults));
            let result = restored(&rig, storage, dir.path()).await;
            let case = format!("{fault:?} at request {call}: {result:?}");
            if result.is_err() {
                let again = restored(&rig, local.clone(), dir.path()).await;
                again.unwrap_or_else(|error| panic!("{case}, then {error}"));
            }
            assert_eq!(files(dir.path()), expected(), "{case}");
            assert_eq!(
                names(dir.path()),
                ["audit", "memory"],
                "{case}: nothing stays beside"
            );
        }
    }
}
