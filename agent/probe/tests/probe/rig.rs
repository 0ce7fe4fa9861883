//! Runs the probe and finds data for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dr_probe_wire::facts::Facts;
use dr_probe_wire::host::{self, Ended, Outcome};
use dr_probe_wire::job::{ContentJob, Job, Location, Queries, RowKey};
use dr_probe_wire::tree::FileTree;
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;

pub(crate) const KEY: RowKey = RowKey([7; 32]);

/// A job that asks everything that a drill asks.
pub(crate) fn everything(location: Location) -> Job {
    Job {
        validate: true,
        prewarm: true,
        content: Some(ContentJob {
            key: KEY,
            known: Vec::new(),
            undeleted: true,
        }),
        queries: Some(Queries::Choose {
            seed: 11,
            count: 6,
            k: 10,
        }),
        ..Job::open(location)
    }
}

pub(crate) fn tree() -> Location {
    Location::Tree { origin: None }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs one job.
pub(crate) fn run(job: &Job, tree: Option<Folder>) -> Outcome {
    let tree = tree.map(|tree| Arc::new(tree) as Arc<dyn FileTree>);
    let mut options = host::Options::new(env!("CARGO_BIN_EXE_dr-probe"));
    options.deadline = Duration::from_secs(300);
    // Nothing else slows these probes down: one that says nothing after a panic waits for ever.
    options.after_panic = Duration::from_secs(30);
    let cancel = CancellationToken::new();
    runtime().block_on(host::run(&options, job, tree, |_| {}, &cancel))
}

/// Runs one job that must end well.
pub(crate) fn facts(job: &Job, tree: Option<Folder>) -> Facts {
    let outcome = run(job, tree);
    assert!(
        matches!(outcome.ended, Ended::Done(_)),
        "{:?}\n{}",
        outcome.ended,
        outcome.stderr
    );
    outcome.facts
}

/// What `dr-sample create` writes; made once for all tests, and not to be changed.
pub(crate) fn sample() -> &'static Path {
    static SAMPLE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), 1200);
        folder
    });
    folder.path()
}

/// Runs `dr-sample create`.
pub(crate) fn create(folder: &Path, rows: u64) {
    let program = env!("CARGO_BIN_EXE_dr-sample");
    let status = Command::new(program)
        .arg("create")
        .arg(folder)
        .args(["--rows", &rows.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// The sample's database as a tree.
pub(crate) fn sample_tree() -> Folder {
    Folder::new(&sample().join("rocketship-db"))
}

/// What an undamaged sample gives; measured once.
pub(crate) fn sample_facts() -> &'static Facts {
    &measured_sample().0
}

/// The files of the sample that its newest versions need: a snapshot would hold no others.
pub(crate) fn sample_files() -> &'static BTreeSet<String> {
    &measured_sample().1
}

fn measured_sample() -> &'static (Facts, BTreeSet<String>) {
    static MEASURED: OnceLock<(Facts, BTreeSet<String>)> = OnceLock::new();
    MEASURED.get_or_init(|| {
        let folder = sample_tree();
        let read = Arc::clone(&folder.read);
        let facts = facts(&everything(tree()), Some(folder));
        let read = read.lock().unwrap().clone();
        (facts, read)
    })
}
