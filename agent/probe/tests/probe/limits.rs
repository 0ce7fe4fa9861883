//! Limits, cancellation, and jobs that make no sense.

use std::sync::Arc;
use std::time::Duration;

use dr_probe_wire::compare::{self, Outcome, Rules};
use dr_probe_wire::fault::FaultKind;
use dr_probe_wire::host::{self, Ended};
use dr_probe_wire::job::{Job, Limits, Location};
use dr_probe_wire::tree::TreeError;
use tokio_util::sync::CancellationToken;

use crate::rig::{everything, facts, run, runtime, sample_facts, sample_tree, tree};

#[test]
fn a_probe_that_grows_too_large_says_so_and_ends() {
    let limits = Limits {
        memory: 8 << 20,
        ..Limits::default()
    };
    let outcome = run(
        &Job {
            limits,
            ..everything(tree())
        },
        Some(sample_tree()),
    );
    let Ended::Failed(fault) = &outcome.ended else {
        panic!("{:?}", outcome.ended)
    };
    assert_eq!(fault.kind, FaultKind::Limit);
    assert!(fault.message.contains("8 MiB allowed"), "{fault}");
}

#[test]
fn a_deadline_and_a_cancellation_end_a_probe_that_waits() {
    let mut options = host::Options::new(env!("CARGO_BIN_EXE_dr-probe"));
    options.deadline = Duration::from_millis(1500);
    let (never, soon) = (CancellationToken::new(), CancellationToken::new());
    let run = |cancel: CancellationToken| {
        let options = options.clone();
        async move {
            let tree = Arc::new(Waiting);
            host::run(
                &options,
                &everything(crate::rig::tree()),
                Some(tree),
                |_| {},
                &cancel,
            )
            .await
        }
    };
    let (late, cancelled) = runtime().block_on(async {
        let stop = soon.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop.cancel();
        });
        tokio::join!(run(never), run(soon))
    });
    assert!(matches!(late.ended, Ended::Deadline(_)), "{:?}", late.ended);
    assert!(
        matches!(cancelled.ended, Ended::Cancelled),
        "{:?}",
        cancelled.ended
    );
}

/// A tree that never answers.
struct Waiting;

#[async_trait::async_trait]
impl dr_probe_wire::tree::FileTree for Waiting {
    async fn stat(&self, _: &str) -> Result<Option<dr_probe_wire::tree::FileStat>, TreeError> {
        std::future::pending().await
    }

    async fn list(
        &self,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<dr_probe_wire::tree::Listed>, TreeError> {
        std::future::pending().await
    }

    async fn read(&self, _: &str, _: std::ops::Range<u64>) -> Result<bytes::Bytes, TreeError> {
        std::future::pending().await
    }
}

#[test]
fn a_probe_says_what_the_kernel_keeps_it_from() {
    let outcome = run(&everything(tree()), Some(sample_tree()));
    let Ended::Done(summary) = &outcome.ended else {
        panic!("{:?}", outcome.ended)
    };
    let confinement = &summary.confinement;
    assert_eq!(
        confinement.files && confinement.calls,
        confinement.missing.is_empty(),
        "{confinement:?}"
    );
    if std::env::var_os("CI").is_some() {
        assert!(confinement.missing.is_empty(), "{confinement:?}");
    }
}

#[test]
fn a_write_test_on_a_tree_is_refused() {
    let outcome = run(
        &Job {
            write_test: true,
            ..everything(tree())
        },
        Some(sample_tree()),
    );
    assert!(
        matches!(&outcome.ended, Ended::Failed(fault) if fault.message.contains("a folder")),
        "{:?}",
        outcome.ended
    );
}

#[test]
fn a_folder_that_is_missing_is_missing_and_not_created() {
    let folder = tempfile::tempdir().unwrap().path().join("gone");
    let outcome = run(&Job::open(Location::Directory { path: folder.clone() }), None);
    assert!(
        matches!(&outcome.ended, Ended::Failed(fault) if fault.kind == FaultKind::Missing),
        "{:?}",
        outcome.ended
    );
    assert!(!folder.exists());
}

#[test]
fn known_fragments_are_not_read_again_and_the_answers_stay_exact() {
    let recorded = sample_facts();
    let mut job = everything(tree());
    job.content.as_mut().unwrap().known = recorded.known();
    let again = facts(&job, Some(sample_tree()));
    for (then, now) in recorded.tables.iter().zip(&again.tables) {
        let (then_content, now_content) = (then.content.as_ref().unwrap(), now.content.as_ref().unwrap());
        assert_eq!(then_content.digest, now_content.digest);
        assert_eq!(now_content.rows_read, 0, "{}", now.path);
    }
    let queries = compare::queries(recorded, &again, Rules::default());
    assert!(
        queries
            .iter()
            .all(|finding| finding.outcome <= Outcome::NotApplicable),
        "{queries:?}"
    );
}
