use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::testing::Bench;
use super::*;

/// Counts its passes, fails every second one, and notices when two run at once.
#[derive(Debug, Default)]
struct Counts {
    passes: Arc<AtomicUsize>,
    at_once: AtomicUsize,
}

#[async_trait]
impl Reconciler for Counts {
    type Status = &'static str;

    fn name(&self) -> &'static str {
        "counts"
    }

    async fn pass(&self) -> Result<&'static str, Error> {
        assert_eq!(
            self.at_once.fetch_add(1, Ordering::SeqCst),
            0,
            "one pass at a time"
        );
        tokio::task::yield_now().await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let pass = self.passes.fetch_add(1, Ordering::SeqCst);
        if pass % 2 == 1 {
            Err(Error::Superseded(3))
        } else {
            Ok("counted")
        }
    }
}

async fn until(passes: &AtomicUsize, wanted: usize) {
    let reached = async {
        while passes.load(Ordering::SeqCst) < wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reached)
        .await
        .unwrap();
}

#[tokio::test]
async fn passes_run_one_at_a_time_when_nudged_and_end_with_the_token() {
    let bench = Bench::new().await;
    let counts = Counts::default();
    let passes = Arc::clone(&counts.passes);
    let driver = Driver::new(counts, bench.store.clone(), Duration::from_secs(3_600));
    let (nudge, cancel) = (driver.nudge(), CancellationToken::new());
    let running = tokio::spawn(driver.run(cancel.clone()));
    until(&passes, 1).await;
    for wanted in 2..6 {
        nudge.nudge();
        nudge.nudge();
        until(&passes, wanted).await;
    }
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_a_pass_did_or_why_it_failed_is_written_down() {
    let bench = Bench::new().await;
    let driver = Driver::new(Counts::default(), bench.store.clone(), Duration::from_secs(3_600));
    driver.pass().await;
    let noted = bench.store.reconcilers().list().await.unwrap().remove(0);
    assert_eq!(
        (noted.status.as_str(), noted.last_success),
        ("counted", Some(bench.now()))
    );
    bench.clock.pass(60);
    driver.pass().await;
    let noted = bench.store.reconcilers().list().await.unwrap().remove(0);
    assert!(
        noted
            .last_error
            .contains("a newer coordinator works on this store"),
        "{}",
        noted.last_error
    );
    assert!(noted.last_success < Some(bench.now()), "a failure is no success");
}

/// Never ends.
#[derive(Debug)]
struct Hangs;

#[async_trait]
impl Reconciler for Hangs {
    type Status = &'static str;

    fn name(&self) -> &'static str {
        "hangs"
    }

    async fn pass(&self) -> Result<&'static str, Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_pass_that_hangs_is_given_up_and_said_so() {
    let bench = Bench::new().await;
    let driver = Driver {
        longest: Duration::from_millis(1),
        ..Driver::new(Hangs, bench.store.clone(), Duration::from_secs(3_600))
    };
    driver.pass().await;
    let noted = bench.store.reconcilers().list().await.unwrap().remove(0);
    assert!(
        noted.last_error.contains("did not end within"),
        "{}",
        noted.last_error
    );
}
