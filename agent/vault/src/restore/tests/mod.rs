//! Restores from a store in memory into temporary folders: what is selected, where it goes, what stands there after.

mod faults;
mod resume;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::backup::tests::memory_source::{MemorySource, store};
use crate::progress::Progress;
use crate::repository::tests::{Bench, noise};
use crate::storage::{PutMode, Storage};
use crate::{Manifest, Repository, SnapshotId};

/// A repository with one snapshot of a database of two tables and a log, and a folder to restore into.
struct Rig {
    bench: Bench,
    repository: Repository,
    snapshot: SnapshotId,
    manifest: Manifest,
    dir: tempfile::TempDir,
}

fn database() -> MemorySource {
    MemorySource::new("memory")
        .with("docs.lance/_versions/1.manifest", noise(1, 700))
        .with("docs.lance/data/a.lance", noise(2, 300_000))
        .with("docs.lance/data/b.lance", noise(3, 100_000))
        .with("notes.lance/_versions/1.manifest", noise(4, 700))
        .with("notes.lance/data/c.lance", noise(5, 50_000))
        .with("notes.lance/data/empty", Bytes::new())
}

fn log() -> MemorySource {
    MemorySource::new("audit").with_changing("audit.log", Bytes::from(b"{\"line\":1}\n".repeat(999)))
}

impl Rig {
    async fn new() -> Self {
        Self::with(&[&database(), &log()]).await
    }

    async fn with(sources: &[&MemorySource]) -> Self {
        let bench = Bench::new();
        let repository = bench.init().await;
        let snapshot = store(&repository, sources, None).await.unwrap().id;
        let manifest = repository.manifest(&snapshot).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self {
            bench,
            repository,
            snapshot,
            manifest,
            dir,
        }
    }

    fn place(&self) -> Place {
        Place::BySource(self.dir.path().to_owned())
    }

    fn target(&self, source: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(source)
    }

    async fn plan(&self, selection: Selection, options: Options) -> Result<Plan, Error> {
        plan_of(self, &self.repository, selection, options).await
    }

    async fn restore(&self, selection: Selection, options: Options) -> Result<Report, Error> {
        let plan = self.plan(selection, options).await?;
        self.execute(plan).await
    }

    async fn execute(&self, plan: Plan) -> Result<Report, Error> {
        run(self, &self.repository, plan, &CancellationToken::new()).await
    }

    /// What lies in the folder beside the targets.
    fn beside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names
            .filter(|name| name.contains(".restoring-") || name.contains(".displaced-"))
            .collect();
        names.sort();
        names
    }
}

/// The plan by another handle of the repository, such as one whose store is ill.
async fn plan_of(
    rig: &Rig,
    repository: &Repository,
    selection: Selection,
    options: Options,
) -> Result<Plan, Error> {
    plan(
        repository,
        rig.snapshot,
        &rig.manifest,
        selection,
        &rig.place(),
        options,
    )
    .await
}

async fn run(
    rig: &Rig,
    repository: &Repository,
    plan: Plan,
    cancel: &CancellationToken,
) -> Result<Report, Error> {
    let spool = rig.bench.cache.path();
    let staged = execute(repository, &rig.manifest, plan, spool, &Progress::new(), cancel).await?;
    staged.commit().await
}

/// All files below `root`, by their path relative to it.
fn files(root: &Path) -> BTreeMap<String, Bytes> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap().into());
            }
        }
    }
    found
}

fn everything() -> BTreeMap<String, Bytes> {
    let mut all = database().expected();
    all.extend(log().expected());
    all
}

fn only(prefix: &str) -> BTreeMap<String, Bytes> {
    let mut some = everything();
    some.retain(|path, _| path.starts_with(prefix));
    some
}

#[tokio::test]
async fn a_whole_snapshot_comes_back_with_its_metadata() {
    let rig = Rig::new().await;
    let report = rig.restore(Selection::whole(), Options::default()).await.unwrap();
    assert_eq!(files(rig.dir.path()), everything());
    assert_eq!((report.files, report.placed.len()), (7, 2));
    assert_eq!(
        (report.files_kept, report.files_resumed, report.bytes_resumed),
        (0, 0, 0)
    );
    assert!(report.bytes_fetched > 450_000, "{}", report.bytes_fetched);
    let file = rig.target("memory").join("docs.lance/data/a.lance");
    let found = std::fs::metadata(&file).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o640);
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_700_000_000, 0));
    let folder = std::fs::metadata(file.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o7777, 0o750);
    assert_eq!(folder.mtime(), 1_700_000_000);
    assert_eq!(rig.beside(), Vec::<String>::new());
}

#[tokio::test]
async fn a_source_a_table_a_glob_and_nothing_else() {
    let cases = [
        (Selection::source("audit"), only("audit/")),
        (
            Selection::source("memory").path("docs.lance"),
            only("memory/docs.lance/"),
        ),
        (
            Selection::source("memory").path("docs.lance/"),
            only("memory/docs.lance/"),
        ),
        (
            Selection::source("memory").path("n*.lance"),
            only("memory/notes.lance/"),
        ),
        (Selection::whole().path("*/_versions"), {
            let mut manifests = everything();
            manifests.retain(|path, _| path.contains("_versions"));
            manifests
        }),
        (Selection::whole().path("**/a.lance").path("audit.log"), {
            let mut two = everything();
            two.retain(|path, _| path.ends_with("/a.lance") || path.ends_with("audit.log"));
            two
        }),
    ];
    for (selection, expected) in cases {
        let rig = Rig::new().await;
        let shown = format!("{selection:?}");
        let plan = rig.plan(selection, Options::default()).await.unwrap();
        let sum: usize = expected.values().map(Bytes::len).sum();
        assert_eq!(
            (plan.files, plan.bytes),
            (expected.len() as u64, sum as u64),
            "{shown}: the plan says what the restore does"
        );
        rig.execute(plan).await.unwrap();
        assert_eq!(files(rig.dir.path()), expected, "{shown}");
    }
}

#[tokio::test]
async fn what_can_not_be_is_refused_before_anything_is_written() {
    let rig = Rig::new().await;
    let refused = |selection| rig.plan(selection, Options::default());
    let error = refused(Selection::source("memroy")).await.unwrap_err();
    assert!(error.to_string().contains("memory, audit"), "{error}");
    let error = refused(Selection::source("memory").path("absent.lance"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NothingSelected { .. }), "{error}");
    let error = refused(Selection::whole().path("../etc")).await.unwrap_err();
    assert!(matches!(error, Error::Pattern { .. }), "{error}");
    let one = Place::Directory(rig.dir.path().join("x"));
    let error = plan(
        &rig.repository,
        rig.snapshot,
        &rig.manifest,
        Selection::whole(),
        &one,
        Options::default(),
    );
    assert!(matches!(error.await, Err(Error::SeveralSources { .. })));
    let mut plan = refused(Selection::whole()).await.unwrap();
    plan.placements[0].space_needed = u64::MAX / 2;
    let error = rig.execute(plan).await.unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(std::fs::read_dir(rig.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_stands_at_the_target_is_refused_exchanged_or_kept_beside() {
    let rig = Rig::new().await;
    let memory = rig.target("memory");
    std::fs::create_dir(&memory).unwrap();
    // An empty directory is no obstacle.
    rig.plan(Selection::source("memory"), Options::default())
        .await
        .unwrap();
    std::fs::write(memory.join("own"), "mine").unwrap();
    let error = rig
        .plan(Selection::source("memory"), Options::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TargetExists { .. }), "{error}");
    let with = |existing| Options {
        existing,
        ..Options::default()
    };
    let report = rig
        .restore(
            Selection::source("memory").path("notes.lance"),
            with(Existing::Entries),
        )
        .await
        .unwrap();
    assert_eq!(
        report.placed[0].displaced, None,
        "nothing stood in the way of the table"
    );
    assert_eq!(std::fs::read(memory.join("own")).unwrap(), b"mine");
    assert_eq!(files(&memory).len(), 1 + 3);
    let report = rig
        .restore(Selection::source("memory"), with(Existing::Exchange))
        .await
        .unwrap();
    assert_eq!(files(&memory).len(), 6);
    let displaced = report.placed[0].displaced.clone().unwrap();
    assert_eq!(files(&displaced).len(), 1 + 3, "what stood there lies beside it");
    let error = rig
        .plan(
            Selection::source("memory").path("notes.lance"),
            with(Existing::Exchange),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Swap { .. }), "{error}");
}

#[tokio::test]
async fn files_that_are_right_at_the_target_are_not_fetched() {
    let rig = Rig::new().await;
    let full = rig
        .restore(Selection::source("memory"), Options::default())
        .await
        .unwrap();
    let spoilt = rig.target("memory").join("docs.lance/data/b.lance");
    let mut bytes = std::fs::read(&spoilt).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&spoilt, bytes).unwrap();
    let options = Options {
        existing: Existing::Exchange,
        keep_right_files: true,
        ..Options::default()
    };
    let again = rig.restore(Selection::source("memory"), options).await.unwrap();
    assert_eq!(files(&rig.target("memory")).len(), 6);
    assert_eq!(
        std::fs::read(&spoilt).unwrap(),
        database().expected()["memory/docs.lance/data/b.lance"]
    );
    assert_eq!((again.files_kept, again.bytes_kept), (5, full.bytes - 100_000));
    assert!(again.bytes_fetched >= 100_000 && again.bytes_fetched < full.bytes_fetched / 3);
}

#[tokio::test]
async fn damage_is_named_by_file_and_chunk_and_leaves_nothing() {
    let rig = Rig::new().await;
    let chunk = rig
        .repository
        .chunk_id(&database().expected()["memory/notes.lance/_versions/1.manifest"]);
    let at = rig.repository.locate(&chunk).await.unwrap().unwrap();
    let pack = crate::layout::pack(&at.pack);
    let mut bytes = rig.bench.object(&pack).await;
    bytes[at.offset as usize + 30] ^= 1;
    rig.bench
        .storage
        .put(&pack, bytes.into(), PutMode::Overwrite)
        .await
        .unwrap();
    let error = rig
        .restore(Selection::whole(), Options::default())
        .await
        .unwrap_err();
    assert!(error.is_damage() && !error.is_unavailable(), "{error:?}");
    let Error::Fetch {
        origin,
        path,
        chunk: named,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((origin.as_str(), *named), ("memory", chunk));
    assert_eq!(path.to_string(), "notes.lance/_versions/1.manifest");
    assert_eq!(std::fs::read_dir(rig.dir.path()).unwrap().count(), 0);
    // What does not need the chunk comes back.
    rig.restore(Selection::source("audit"), Options::default())
        .await
        .unwrap();
    rig.restore(Selection::source("memory").path("docs.lance"), Options::default())
        .await
        .unwrap();
}
