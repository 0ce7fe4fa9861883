use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dr_proto::model::{DrillKind, Outcome, Report, Verdict};
use dr_vault::backup::{self, Input, InputEntry, InputKind};
use dr_vault::clock::SharedClock;
use dr_vault::keys::Unlock;
use dr_vault::progress::Progress;
use dr_vault::repository::{InitOptions, OpenOptions};
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use dr_vault::storage::faulty::{Fault, Faults, Faulty, Rule};
use dr_vault::storage::memory::MemoryStorage;
use dr_vault::storage::retrying::{RetryOptions, Retrying};
use dr_vault::storage::{Operation, SharedStorage};
use dr_vault::tree::{Metadata, TreePath};
use dr_vault::{Cipher, Repository};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::testing::StandingClock;
use crate::drill::{ProbeOptions, Request, Store, run};

const TRIES: u32 = 4;
/// Sources of the snapshot, one small file each.
const SOURCES: u64 = 6;

/// A repository of one snapshot, and a way to it that can be cut.
struct Rig {
    storage: SharedStorage,
    clock: SharedClock,
}

fn file(content: &str) -> InputEntry {
    let content = Bytes::from(content.repeat(2_000));
    InputEntry {
        path: TreePath::new("file").unwrap(),
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
    async fn new() -> Self {
        let storage: SharedStorage = Arc::new(MemoryStorage::new());
        let clock: SharedClock = StandingClock::new();
        let cache = tempfile::tempdir().unwrap();
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
        backup::run(&repository.unwrap(), request, &progress, &cancel)
            .await
            .unwrap();
        Self { storage, clock }
    }

    /// A restore drill whose store is away from the GET number `from` of it on; the report, and how many calls met
    /// no store.
    async fn drill(&self, from: u64) -> (Report, u64) {
        let faults = Faults::none();
        let faulty = Arc::new(Faulty::new(Arc::clone(&self.storage), faults.clone()));
        let retries = RetryOptions {
            tries: TRIES,
            first_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(1),
            total: Duration::from_secs(60),
        };
        let circuit = Circuit::default();
        let storage = Arc::new(Retrying::with_circuit(faulty, retries, circuit.clone()));
        let dir = tempfile::tempdir().unwrap();
        let unlock = Unlock::Nothing;
        let repository = Repository::open(storage, &unlock, options(&dir, &self.clock))
            .await
            .unwrap();
        faults.add(Rule::on(Operation::Get, "packs/").after(from), Fault::Before);
        let request = request(&dir);
        let counters = Counters::new();
        let store = Store {
            counters: &counters,
            circuit: &circuit,
        };
        let (progress, cancel) = (Progress::new(), CancellationToken::new());
        let report = run(&repository, store, &request, &self.clock, &progress, &cancel).await;
        (report.unwrap(), faults.hits())
    }
}

fn options(cache: &TempDir, clock: &SharedClock) -> OpenOptions {
    OpenOptions {
        clock: Arc::clone(clock),
        ..OpenOptions::new(cache.path().join("cache"))
    }
}

fn request(dir: &TempDir) -> Request {
    Request {
        kind: DrillKind::Restore,
        snapshot: "latest".to_owned(),
        host: "host-1".to_owned(),
        scratch: dir.path().join("scratch"),
        spool: dir.path().join("spool"),
        bytes_budget: None,
        only: None,
        probe: ProbeOptions {
            probes: None,
            beside: None,
            memory: 0,
            deadline: Duration::from_secs(1),
            rules: dr_probe_wire::compare::Rules::default(),
        },
        asked: Instant::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_is_waited_for_once() {
    let rig = Rig::new().await;
    let mut interrupted = 0;
    for from in 0.. {
        let (report, unmet) = rig.drill(from).await;
        let checks = || report.sources.iter().flat_map(|source| &source.checks);
        assert!(
            checks().all(|check| check.outcome != Outcome::Failed),
            "{report:#?}"
        );
        if unmet == 0 {
            assert_eq!(report.verdict, Verdict::Passed, "{report:#?}");
            break;
        }
        interrupted += 1;
        assert_eq!(report.verdict, Verdict::Inconclusive);
        let away = |check: &&CheckResult| check.outcome == Outcome::Inconclusive(Cause::StoreUnavailable);
        assert!(checks().filter(away).count() > 0, "{report:#?}");
        assert!(
            unmet <= u64::from(TRIES),
            "{unmet} calls from {from}: {report:#?}"
        );
    }
    assert!(interrupted > SOURCES, "each source is fetched on its own");
}
