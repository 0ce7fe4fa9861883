//! Runs the probe and finds data for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
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
    options.deadline = Duration::from_secs(120);
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

/// The fixtures written by Python, unpacked; `None` in a clone that has none.
pub(crate) fn fixture(version: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let archive = format!("lancedb-{version}.tar.zst");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().map(|folder| folder.join("shared/fixtures"));
    let named = std::env::var_os("DR_FIXTURES").map(PathBuf::from);
    let archive = named
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join(&archive))
        .find(|path| path.is_file())?;
    let scratch = tempfile::tempdir().unwrap();
    let status = Command::new("tar")
        .arg("--zstd")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(scratch.path())
        .status();
    assert!(status.unwrap().success());
    let path = scratch.path().to_owned();
    Some((scratch, path))
}
