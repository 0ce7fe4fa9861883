//! A restore that was interrupted is given again: what it had written is not fetched twice, and nothing of it is
//! believed.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::ExposeSecret;

use super::*;
use crate::keys::Identity;
use crate::storage::faulty::{Fault, Faults, Faulty, Rule};
use crate::storage::{Operation, SharedStorage, StorageOptions};
use crate::{InitOptions, OpenOptions, Unlock};

const DIR: &str = "DR_TEST_RESTORE_DIR";
const SIGKILL: i32 = 9;

/// One large file, whose chunks are fetched in several steps, behind a small source.
fn large() -> MemorySource {
    MemorySource::new("memory")
        .with("d/large", noise(7, 24 << 20))
        .with("d/small", noise(8, 5000))
}

fn one_by_one() -> Options {
    Options {
        parallel: 1,
        ..Options::default()
    }
}

impl Rig {
    async fn large() -> Self {
        Self::with(&[&log(), &large()]).await
    }

    async fn ill(&self) -> (Repository, Faults) {
        let faults = Faults::none();
        let storage: SharedStorage = Arc::new(Faulty::new(self.bench.store(), faults.clone()));
        let repository = Repository::open(storage, &self.bench.unlock(), self.bench.options()).await;
        (repository.unwrap(), faults)
    }

    /// Restores everything until a pack has been asked for `passed` times, and cancels then.
    async fn cancelled_after(&self, passed: u64) -> Error {
        let (repository, faults) = self.ill().await;
        let plan = plan_of(self, &repository, Selection::whole(), one_by_one())
            .await
            .unwrap();
        let hang = Fault::Slow(Duration::from_secs(24 * 3600));
        faults.add(Rule::on(Operation::Get, "packs/").after(passed), hang);
        let cancel = CancellationToken::new();
        let stop = async {
            while faults.hits() == 0 {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(run(self, &repository, plan, &cancel), stop);
        ended.unwrap_err()
    }
}

fn expected() -> BTreeMap<String, Bytes> {
    let mut all = large().expected();
    all.extend(log().expected());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_restore_goes_on_where_it_stopped() {
    let rig = Rig::large().await;
    let full = {
        let other = Rig::large().await;
        other.restore(Selection::whole(), one_by_one()).await.unwrap()
    };
    let error = rig.cancelled_after(5).await;
    assert!(error.is_cancelled(), "{error:?}");
    let Error::Interrupted { staging, .. } = &error else {
        panic!("{error}")
    };
    assert!(staging.iter().all(|staging| staging.is_dir()), "{staging:?}");
    assert!(
        !rig.target("memory").exists() && !rig.target("audit").exists(),
        "nothing is swapped in"
    );
    let plan = rig.plan(Selection::whole(), one_by_one()).await.unwrap();
    assert!(
        plan.placements
            .iter()
            .all(|placement| placement.resumes.is_some()),
        "{plan:#?}"
    );
    assert!(plan.placements[1].space_needed < plan.placements[1].bytes);
    let report = rig.execute(plan).await.unwrap();
    assert_eq!(files(rig.dir.path()), expected());
    assert!(report.files_resumed >= 1, "the log was complete: {report:?}");
    assert!(report.bytes_resumed > 4 << 20, "{report:?}");
    assert!(
        report.bytes_fetched + report.bytes_resumed <= full.bytes_fetched + (64 << 10),
        "no byte is fetched that is there: {report:?} after {full:?}"
    );
    assert_eq!(rig.beside(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_whose_store_went_away_goes_on_as_well() {
    let rig = Rig::large().await;
    let (repository, faults) = rig.ill().await;
    let plan = plan_of(&rig, &repository, Selection::whole(), one_by_one())
        .await
        .unwrap();
    faults.add(Rule::on(Operation::Get, "packs/").after(6), Fault::Before);
    let error = run(&rig, &repository, plan, &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.is_unavailable() && !error.is_damage(), "{error:?}");
    let report = rig.restore(Selection::whole(), one_by_one()).await.unwrap();
    assert!(report.bytes_resumed > 4 << 20, "{report:?}");
    assert_eq!(files(rig.dir.path()), expected());
}

/// Whatever happened to it in the meantime: every byte is read and hashed before it is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_left_is_believed() {
    let rig = Rig::large().await;
    let Error::Interrupted { staging, .. } = rig.cancelled_after(5).await else {
        panic!("not interrupted")
    };
    let (audit, memory) = (&staging[0], &staging[1]);
    let mut log = std::fs::read(audit.join("audit.log")).unwrap();
    log[100] ^= 1;
    std::fs::write(audit.join("audit.log"), log).unwrap();
    std::fs::write(audit.join("stray"), "not ours").unwrap();
    std::fs::create_dir(memory.join("stray-folder")).unwrap();
    // It is there or not, as chance has put it before or behind the large one in the packs.
    drop(std::fs::remove_file(memory.join("d/small")));
    std::os::unix::fs::symlink("/etc/hostname", memory.join("d/small")).unwrap();
    std::fs::write(memory.join("stray-folder/file"), "not ours").unwrap();
    let large = std::fs::File::options()
        .write(true)
        .open(memory.join("d/large"))
        .unwrap();
    large.set_len(25 << 20).unwrap();
    let mode = std::fs::Permissions::from_mode;
    std::fs::set_permissions(memory.join("d/large"), mode(0o400)).unwrap();
    std::fs::set_permissions(memory.join("d"), mode(0o500)).unwrap();
    let report = rig.restore(Selection::whole(), Options::default()).await.unwrap();
    assert_eq!(files(rig.dir.path()), expected());
    assert_eq!(report.files_resumed, 0, "{report:?}");
    assert!(report.bytes_resumed > 4 << 20, "{report:?}");
    assert!(!rig.target("memory").join("d/small").is_symlink());
    let mode = std::fs::metadata(rig.target("memory").join("d"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o750);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_restore_to_the_same_target_removes_what_was_left() {
    let rig = Rig::large().await;
    let Error::Interrupted { staging, .. } = rig.cancelled_after(5).await else {
        panic!("not interrupted")
    };
    let part = Selection::source("memory").path("d/small");
    let plan = rig.plan(part, Options::default()).await.unwrap();
    assert_eq!(plan.placements[0].resumes, None);
    assert_eq!(plan.placements[0].discards, [staging[1].clone()]);
    assert!(staging[1].exists(), "a plan changes nothing");
    rig.execute(plan).await.unwrap();
    assert_eq!(files(&rig.target("memory")).len(), 1);
    assert!(!staging[1].exists());
    assert!(staging[0].exists(), "what belongs to another target stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_goes_on_from_is_swept_after_a_week() {
    let rig = Rig::large().await;
    let Error::Interrupted { staging, .. } = rig.cancelled_after(5).await else {
        panic!("not interrupted")
    };
    let written = std::fs::metadata(&staging[0]).unwrap().modified().unwrap();
    let written = jiff::Timestamp::try_from(written).unwrap();
    assert_eq!(sweep(rig.dir.path(), written).unwrap(), []);
    let swept = sweep(rig.dir.path(), written + SignedDuration::from_hours(8 * 24)).unwrap();
    assert_eq!(swept.len(), 2);
    assert!(swept.iter().all(|swept| !swept.swapping));
    assert_eq!(std::fs::read_dir(rig.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn two_at_once_are_refused() {
    let rig = Rig::new().await;
    let plan = rig
        .plan(Selection::source("audit"), Options::default())
        .await
        .unwrap();
    let (spool, progress) = (rig.bench.cache.path(), Progress::new());
    let cancel = CancellationToken::new();
    let staged = execute(&rig.repository, &rig.manifest, plan, spool, &progress, &cancel)
        .await
        .unwrap();
    let error = rig
        .plan(Selection::source("audit"), Options::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(
        sweep(rig.dir.path(), rig.repository.clock().now()).unwrap(),
        [],
        "the living keep theirs"
    );
    staged.commit().await.unwrap();
    assert_eq!(files(rig.dir.path()), only("audit/"));
}

#[tokio::test]
async fn a_complete_staging_directory_that_was_dropped_is_all_that_the_next_run_needs() {
    let rig = Rig::new().await;
    let plan = rig.plan(Selection::whole(), Options::default()).await.unwrap();
    let (spool, progress) = (rig.bench.cache.path(), Progress::new());
    let cancel = CancellationToken::new();
    let staged = execute(&rig.repository, &rig.manifest, plan, spool, &progress, &cancel).await;
    drop(staged.unwrap());
    let report = rig.restore(Selection::whole(), Options::default()).await.unwrap();
    assert_eq!((report.files_resumed, report.bytes_fetched), (7, 0));
    assert_eq!(report.bytes_resumed, report.bytes);
    assert_eq!(files(rig.dir.path()), everything());
}

/// A repository, a key and a snapshot in a folder, for processes that are killed.
async fn prepare(dir: &Path) -> Repository {
    let identity = Identity::generate();
    std::fs::write(dir.join("key"), identity.to_file_text().expose_secret()).unwrap();
    std::fs::create_dir(dir.join("repository")).unwrap();
    let init = InitOptions {
        recipients: vec![identity.recipient()],
        ..InitOptions::default()
    };
    let repository = Repository::init(local(dir).await, init, OpenOptions::new(dir.join("cache")))
        .await
        .unwrap();
    store(&repository, &[&log(), &large()], None).await.unwrap();
    repository
}

async fn local(dir: &Path) -> SharedStorage {
    let url = format!("file://{}", dir.join("repository").display());
    crate::storage::open(&url, &StorageOptions::default())
        .await
        .unwrap()
}

async fn restore_in(dir: &Path, repository: &Repository) -> Result<Report, Error> {
    let latest = repository.resolve("latest").await.unwrap();
    let manifest = repository.manifest(&latest.id).await.unwrap();
    let place = Place::BySource(dir.join("target"));
    sweep(&dir.join("target"), repository.clock().now())?;
    let plan = plan(
        repository,
        latest.id,
        &manifest,
        Selection::whole(),
        &place,
        one_by_one(),
    )
    .await?;
    let (progress, cancel) = (Progress::new(), CancellationToken::new());
    let staged = execute(
        repository,
        &manifest,
        plan,
        &dir.join("cache"),
        &progress,
        &cancel,
    )
    .await?;
    staged.commit().await
}

/// The process that is killed; does nothing unless told where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below"]
async fn victim() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let unlock = Unlock::Identities(Identity::from_file(&dir.join("key")).unwrap());
    let options = OpenOptions::new(dir.join("cache"));
    let repository = Repository::open(local(&dir).await, &unlock, options)
        .await
        .unwrap();
    restore_in(&dir, &repository).await.unwrap();
}

/// `name` or `name:nth`, and whether files of the large source have been written by then.
const KILLS: &[(&str, bool)] = &[
    ("restore.journal.written", false),
    ("restore.staging.created", false),
    ("restore.staging.created:2", false),
    ("restore.window.written", false),
    ("restore.window.written:2", true),
    ("restore.files.written", false),
    ("restore.files.written:2", true),
    ("restore.staged", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_writes_a_restore_goes_on() {
    if !cfg!(debug_assertions) {
        return;
    }
    for (point, large) in KILLS {
        let dir = tempfile::tempdir().unwrap();
        let repository = prepare(dir.path()).await;
        let died = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "restore::tests::resume::victim"])
            .env(DIR, dir.path())
            .env("DR_FAILPOINT", point)
            .output()
            .unwrap();
        assert_eq!(died.status.signal(), Some(SIGKILL), "{point}: {died:?}");
        let target = dir.path().join("target");
        let report = restore_in(dir.path(), &repository)
            .await
            .unwrap_or_else(|e| panic!("after {point}: {e:?}"));
        assert_eq!(files(&target), expected(), "after {point}");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2, "after {point}");
        if *large {
            assert!(report.bytes_resumed >= 24 << 20, "after {point}: {report:?}");
            assert_eq!(report.bytes_fetched, 0, "after {point}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_swaps_a_restore_ends_or_is_undone() {
    if !cfg!(debug_assertions) {
        return;
    }
    for point in [
        "restore.swapping",
        "restore.swapped",
        "restore.committed",
        "restore.swapped:2",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let repository = prepare(dir.path()).await;
        let died = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "restore::tests::resume::victim"])
            .env(DIR, dir.path())
            .env("DR_FAILPOINT", point)
            .output()
            .unwrap();
        assert_eq!(died.status.signal(), Some(SIGKILL), "{point}: {died:?}");
        let target = dir.path().join("target");
        match restore_in(dir.path(), &repository).await {
            Ok(_) => {}
            // What is swapped in stays, and stands in the way of the same restore.
            Err(Error::TargetExists { .. }) => {
                for standing in std::fs::read_dir(&target).unwrap() {
                    let standing = standing.unwrap().path();
                    if !standing.to_str().unwrap().contains(".restoring-") {
                        let name = standing.file_name().unwrap().to_str().unwrap();
                        let mut whole = expected();
                        whole.retain(|path, _| path.starts_with(&format!("{name}/")));
                        assert_eq!(files(&standing).len(), whole.len(), "after {point}");
                        std::fs::remove_dir_all(standing).unwrap();
                    }
                }
                restore_in(dir.path(), &repository).await.unwrap();
            }
            Err(error) => panic!("after {point}: {error:?}"),
        }
        assert_eq!(files(&target), expected(), "after {point}");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2, "after {point}");
    }
}
