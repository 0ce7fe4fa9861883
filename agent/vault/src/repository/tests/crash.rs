//! Killed at every failpoint and failed at every request: what was committed stays, and the next run succeeds.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::heads::Freshness;
use crate::storage::StorageOptions;
use crate::storage::faulty::{Fault, Faults, Faulty};

const DIR: &str = "DR_TEST_CRASH_DIR";
const SIGKILL: i32 = 9;

/// Opens or makes the repository, stores two chunks, commits, adds facts: every step that a backup has.
async fn run(
    storage: SharedStorage,
    identity: &Identity,
    options: OpenOptions,
    seed: u64,
) -> Result<SnapshotId> {
    let unlock = Unlock::Identities(vec![identity.clone()]);
    let repository = match Repository::open(storage.clone(), &unlock, options.clone()).await {
        Err(Error::NotARepository { .. }) => {
            let init = InitOptions {
                recipients: vec![identity.recipient()],
                ..InitOptions::default()
            };
            Repository::init(storage, init, options).await?
        }
        opened => opened?,
    };
    let intent = repository
        .put_intent(IntentKind::Backup, "db-1", Duration::from_secs(60))
        .await?;
    repository.sync_index().await?;
    let writer = repository.writer(WriterOptions::default());
    let added = writer.add_many(vec![noise(0, 3000), noise(seed, 3000)]).await?;
    let stats = writer.finish().await?;
    let mut manifest = Manifest::new(repository.clock().now(), "db-1", "test");
    manifest.indexes = stats.indexes;
    manifest
        .sources
        .push(source(added.into_iter().map(|(id, _)| id).collect()));
    let id = repository.commit(manifest).await?;
    repository.put_facts(&id, b"facts").await?;
    repository.end_intent(&intent).await?;
    Ok(id)
}

/// Everything committed reads, seen with an empty cache.
async fn prove(storage: SharedStorage, identity: &Identity, at_least: usize) {
    let cache = tempfile::tempdir().unwrap();
    let unlock = Unlock::Identities(vec![identity.clone()]);
    let repository = Repository::open(storage, &unlock, OpenOptions::new(cache.path()))
        .await
        .unwrap();
    repository.sync_index().await.unwrap();
    let snapshots = repository.snapshots().await.unwrap();
    assert!(snapshots.len() >= at_least, "{snapshots:?}");
    for info in snapshots {
        let manifest = repository.manifest_of(&info).await.unwrap();
        for chunk in repository.read_chunks(&manifest.sources[0].tree.chunks).await {
            chunk.unwrap();
        }
        repository.facts(&info.id).await.unwrap();
    }
}

async fn local(dir: &Path) -> SharedStorage {
    let url = format!("file://{}", dir.join("repository").display());
    crate::storage::open(&url, &StorageOptions::default())
        .await
        .unwrap()
}

/// The process that is killed; does nothing unless told where.
#[tokio::test]
#[ignore = "started by the test below"]
async fn victim() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let identity = Identity::from_file(&dir.join("key")).unwrap().remove(0);
    run(
        local(&dir).await,
        &identity,
        OpenOptions::new(dir.join("cache")),
        1,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn killed_at_every_failpoint() {
    if !cfg!(debug_assertions) {
        return;
    }
    for point in crate::FAILPOINTS
        .iter()
        .filter(|p| !p.starts_with("backup.") && !p.starts_with("restore."))
    {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::generate();
        std::fs::write(dir.path().join("key"), identity.to_file_text().expose_secret()).unwrap();
        std::fs::create_dir(dir.path().join("repository")).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "repository::tests::crash::victim"])
            .env(DIR, dir.path())
            .env("DR_FAILPOINT", point)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(SIGKILL), "{point}");
        let storage = local(dir.path()).await;
        let options = OpenOptions::new(dir.path().join("cache"));
        run(storage.clone(), &identity, options, 2)
            .await
            .unwrap_or_else(|e| panic!("after {point}: {e}"));
        let committed = point.starts_with("record.")
            || ["commit.manifest.stored", "commit.heads.remembered"].contains(point);
        prove(storage, &identity, 1 + usize::from(committed)).await;
    }
}

#[tokio::test]
async fn failed_at_every_request() {
    let identity = Identity::generate();
    let calls = {
        let faults = Faults::none();
        let storage = Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), faults.clone()));
        let cache = tempfile::tempdir().unwrap();
        run(storage, &identity, OpenOptions::new(cache.path()), 1)
            .await
            .unwrap();
        faults.calls()
    };
    assert!(calls > 15, "{calls}");
    for call in 0..=calls {
        for fault in [Fault::Before, Fault::After, Fault::FlipBit, Fault::Truncate] {
            let faults = Faults::none();
            faults.at(call, fault);
            let storage: SharedStorage =
                Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), faults.clone()));
            let cache = tempfile::tempdir().unwrap();
            let options = OpenOptions::new(cache.path());
            let first = run(storage.clone(), &identity, options.clone(), 1).await;
            faults.clear();
            let again = run(storage.clone(), &identity, options.clone(), 2).await;
            let id = again.unwrap_or_else(|e| panic!("after {fault:?} at {call} ({first:?}): {e}"));
            prove(storage.clone(), &identity, 1 + usize::from(first.is_ok())).await;
            let unlock = Unlock::Identities(vec![identity.clone()]);
            let repository = Repository::open(storage, &unlock, options).await.unwrap();
            assert_eq!(repository.freshness().await.unwrap(), Freshness::Fresh);
            assert_eq!(repository.resolve("latest").await.unwrap().id, id);
        }
    }
}

#[tokio::test]
async fn a_failed_upload_is_told_as_it_was() {
    let bench = Bench::new();
    bench.init().await;
    let faults = Faults::none();
    let storage = Arc::new(Faulty::new(bench.store(), faults.clone()));
    let repository = Repository::open(storage, &bench.unlock(), bench.options())
        .await
        .unwrap();
    faults.add(
        crate::storage::faulty::Rule::on(crate::storage::Operation::Put, "packs/"),
        Fault::Full,
    );
    let writer = repository.writer(WriterOptions::default());
    writer.add(noise(1, 3000)).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    let Error::Storage { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(**source, storage::Error::NoSpace { .. }), "{source}");
}
