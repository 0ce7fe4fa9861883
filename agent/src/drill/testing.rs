//! Small repositories for tests of drills.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dr_proto::model::{DrillKind, Report};
use dr_vault::backup::{self, Input, InputEntry, InputKind};
use dr_vault::clock::SharedClock;
use dr_vault::keys::Unlock;
use dr_vault::progress::Progress;
use dr_vault::repository::{InitOptions, OpenOptions};
use dr_vault::storage::SharedStorage;
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use dr_vault::storage::memory::MemoryStorage;
use dr_vault::tree::{Metadata, TreePath};
use dr_vault::{Cipher, Repository};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ProbeOptions, Request, Store, run};
use crate::daemon::testing::StandingClock;

/// Sources of the snapshot, one small file each.
pub(super) const SOURCES: u64 = 6;

/// A repository of one snapshot, whose sources are of a kind that no drill has more questions about.
pub(super) struct Rig {
    pub(super) storage: SharedStorage,
    clock: SharedClock,
}

pub(crate) fn file(content: &str) -> InputEntry {
    let content = Bytes::from(content.repeat(2_000));
    InputEntry {
        path: TreePath::new("file").expect("a path"),
        kind: InputKind::File {
            len: content.len() as u64,
            content: Arc::new(content),
        },
        metadata: Metadata {
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime_ns: 0,
            xattrs: Vec::new(),
        },
        identity: None,
    }
}

impl Rig {
    pub(super) async fn new() -> Self {
        let storage: SharedStorage = Arc::new(MemoryStorage::new());
        let clock: SharedClock = StandingClock::new();
        let cache = tempfile::tempdir().expect("a folder");
        let init = InitOptions {
            cipher: Cipher::None,
            ..InitOptions::default()
        };
        let repository = Repository::init(Arc::clone(&storage), init, options(&cache, &clock)).await;
        let inputs = (0..SOURCES).map(|number| {
            let name = format!("source-{number}");
            Input::new(&name, "notes", "/srv", vec![file(&name)])
        });
        let request = backup::Request {
            inputs: inputs.collect(),
            ..backup::Request::new(clock.now(), "host-1", "test")
        };
        let (progress, cancel) = (Progress::new(), CancellationToken::new());
        let repository = repository.expect("a repository");
        let taken = backup::run(&repository, request, &progress, &cancel).await;
        taken.expect("a snapshot");
        Self { storage, clock }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The repository behind `storage`, with a cache in `dir`.
    pub(super) async fn open_through(&self, storage: SharedStorage, dir: &TempDir) -> Repository {
        let unlock = Unlock::Nothing;
        let opened = Repository::open(storage, &unlock, options(dir, &self.clock)).await;
        opened.expect("the repository opens")
    }

    pub(super) async fn drill(&self, dir: &TempDir, request: Request) -> Report {
        let repository = self.open_through(Arc::clone(&self.storage), dir).await;
        self.drill_of(&repository, &Circuit::default(), request).await
    }

    pub(super) async fn drill_of(
        &self,
        repository: &Repository,
        circuit: &Circuit,
        request: Request,
    ) -> Report {
        let counters = Counters::new();
        let store = Store {
            counters: &counters,
            circuit,
        };
        let (progress, cancel) = (Progress::new(), CancellationToken::new());
        let report = run(repository, store, &request, &self.clock, &progress, &cancel).await;
        report.expect("a report")
    }
}

fn options(cache: &TempDir, clock: &SharedClock) -> OpenOptions {
    OpenOptions {
        clock: Arc::clone(clock),
        ..OpenOptions::new(cache.path().join("cache"))
    }
}

/// A restore drill of everything, in `dir`.
pub(super) fn request(dir: &TempDir) -> Request {
    for folder in ["scratch", "spool"] {
        std::fs::create_dir_all(dir.path().join(folder)).expect("a folder");
    }
    Request {
        kind: DrillKind::Restore,
        snapshot: "latest".to_owned(),
        host: "host-1".to_owned(),
        scratch: dir.path().join("scratch"),
        spool: dir.path().join("spool"),
        scratch_room: None,
        bytes_budget: None,
        bytes_cycle: None,
        content_cycle: None,
        loss: None,
        only: None,
        probe: ProbeOptions {
            probes: None,
            beside: None,
            memory: 0,
            deadline: Duration::from_secs(1),
            exits: crate::probe::Exits::default(),
            rules: dr_probe_wire::compare::Rules::default(),
        },
        asked: Instant::now(),
    }
}
