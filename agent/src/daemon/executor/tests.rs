use std::path::Path;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::*;
use crate::daemon::journal::Journal;
use crate::daemon::testing::{self, Begun, Counting, Scripted, StandingClock, owed, task, time, until_owed};

struct Rig {
    dir: TempDir,
    desk: Desk,
    clock: Arc<StandingClock>,
    begun: UnboundedReceiver<Begun>,
    cancel: CancellationToken,
    running: JoinHandle<Result<(), desk::Error>>,
    counting: Arc<Counting>,
}

fn rig(obedient: bool) -> Rig {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clock = StandingClock::new();
    let (jobs, begun) = Scripted::new(obedient);
    let journal = Journal::open(&dir.path().join("daemon")).expect("open the journal");
    let desk = Desk::open(journal, time("2026-01-02T03:00:00Z")).expect("open the desk");
    let counting = Arc::new(Counting::default());
    let executor = Executor {
        desk: desk.clone(),
        jobs,
        observer: counting.clone(),
        gate: gate(dir.path()),
        clock: clock.clone(),
    };
    let cancel = CancellationToken::new();
    let running = tokio::spawn(executor.run(cancel.clone()));
    Rig {
        dir,
        desk,
        clock,
        begun,
        cancel,
        running,
        counting,
    }
}

fn gate(dir: &Path) -> Gate {
    Gate::new(dir.join("SUSPEND"))
}

impl Rig {
    async fn start(&self, task: &StartTask) {
        let now = dr_vault::clock::Clock::now(&*self.clock);
        self.desk.start(task.clone(), now).await.expect("start");
    }

    async fn begun(&mut self) -> Begun {
        self.begun.recv().await.expect("a job begins")
    }
}

fn of(result: &dr_proto::model::TaskResult) -> (TaskState, &str) {
    (result.outcome.state, result.outcome.cause.as_str())
}

#[tokio::test(start_paused = true)]
async fn tasks_are_done_one_after_the_other() {
    let mut rig = rig(true);
    let (first, second) = (task(), task());
    rig.start(&first).await;
    rig.start(&second).await;
    let begun = rig.begun().await;
    assert_eq!(begun.task, first);
    assert!(rig.begun.try_recv().is_err(), "the second waits");
    begun.end(Ended::passed());
    assert_eq!(rig.begun().await.task, second);
    let results = until_owed(&rig.desk, 1).await;
    assert_eq!(
        (results[0].key, of(&results[0])),
        (first.key, (TaskState::Passed, ""))
    );
    assert_eq!(rig.counting.0.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_passes_its_deadline_is_stopped_and_inconclusive() {
    let mut rig = rig(true);
    rig.start(&StartTask {
        deadline: Duration::from_secs(10),
        ..task()
    })
    .await;
    rig.begun().await;
    let results = until_owed(&rig.desk, 1).await;
    assert_eq!(of(&results[0]), (TaskState::Inconclusive, "time_limit"));
}

#[tokio::test(start_paused = true)]
async fn work_that_comes_to_no_safe_point_is_given_up_and_said_so() {
    let mut rig = rig(false);
    rig.start(&task()).await;
    let first = rig.begun().await;
    let cancel = dr_proto::model::CancelTask {
        key: first.task.key,
        reason: "by ana".to_owned(),
    };
    rig.desk
        .cancel(cancel, time("2026-01-02T03:00:00Z"))
        .await
        .expect("cancel");
    let results = until_owed(&rig.desk, 1).await;
    assert_eq!(of(&results[0]), (TaskState::Cancelled, "cancelled"));
    assert!(
        results[0].outcome.message.contains("given up"),
        "{}",
        results[0].outcome.message
    );
    let next = task();
    rig.start(&next).await;
    assert_eq!(rig.begun().await.task, next, "it holds nothing up");
}

#[tokio::test(start_paused = true)]
async fn what_waited_beyond_its_deadline_is_not_begun() {
    let mut rig = rig(true);
    rig.start(&task()).await;
    let begun = rig.begun().await;
    let late = StartTask {
        deadline: Duration::from_secs(60),
        ..task()
    };
    rig.start(&late).await;
    rig.clock.advance(Duration::from_secs(61));
    begun.end(Ended::passed());
    let results = until_owed(&rig.desk, 2).await;
    assert_eq!(
        (results[1].key, of(&results[1])),
        (late.key, (TaskState::Inconclusive, "time_limit"))
    );
    assert!(rig.begun.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_carries_the_reason_and_what_it_had_found_stands() {
    let mut rig = rig(true);
    rig.start(&task()).await;
    let key = rig.begun().await.task.key;
    let cancel = dr_proto::model::CancelTask {
        key,
        reason: "host is drained".to_owned(),
    };
    rig.desk
        .cancel(cancel, time("2026-01-02T03:00:00Z"))
        .await
        .expect("cancel");
    let results = until_owed(&rig.desk, 1).await;
    assert_eq!(of(&results[0]), (TaskState::Cancelled, "cancelled"));
    assert!(results[0].outcome.message.contains("host is drained"));
}

#[tokio::test(start_paused = true)]
async fn while_the_suspend_file_is_there_nothing_begins_and_what_runs_stops() {
    let mut rig = rig(true);
    rig.start(&task()).await;
    rig.begun().await;
    std::fs::write(rig.dir.path().join("SUSPEND"), "disk is replaced\n").expect("write");
    let results = until_owed(&rig.desk, 1).await;
    assert_eq!(of(&results[0]), (TaskState::Inconclusive, "suspended"));
    rig.start(&task()).await;
    let results = until_owed(&rig.desk, 2).await;
    assert_eq!(of(&results[1]), (TaskState::Inconclusive, "suspended"));
    assert!(results[1].outcome.message.contains("disk is replaced"));
    assert!(rig.begun.try_recv().is_err(), "it was not begun");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_daemon_every_task_is_answered() {
    let mut rig = rig(true);
    rig.start(&task()).await;
    rig.start(&task()).await;
    rig.begun().await;
    rig.cancel.cancel();
    rig.running.await.expect("no panic").expect("no error");
    let results = owed(&rig.desk).await;
    assert_eq!(results.len(), 2);
    for result in &results {
        assert_eq!(of(result), (TaskState::Inconclusive, "interrupted"));
    }
    assert!(rig.desk.tasks().await.expect("no panic").is_empty());
}

#[tokio::test(start_paused = true)]
async fn progress_comes_with_rate_and_what_is_left() {
    let mut rig = rig(true);
    rig.start(&task()).await;
    let begun = rig.begun().await;
    begun.progress.enter(dr_vault::progress::Phase::Storing);
    begun.progress.expect(2, 1000);
    for _ in 0..3 {
        begun.progress.advance(100);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let tasks = rig.desk.tasks().await.expect("no panic");
    let told = &tasks[0].progress;
    assert_eq!((told.phase.as_str(), told.bytes_total), ("storing", 1000));
    assert!(told.bytes_per_second > 0 && told.eta.is_some(), "{told:?}");
    begun.end(Ended::passed());
}

#[tokio::test]
async fn what_the_host_does_not_allow_is_refused_by_the_job_itself() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = testing::session(dir.path(), "[allow]\nrestore_into = []\n");
    let jobs = HostJobs::new(session, crate::daemon::vitals::Vitals::default());
    let asked = StartTask {
        work: dr_proto::model::Work::Restore(dr_proto::model::RestoreWork {
            from_host: None,
            snapshot: "latest".to_owned(),
            sources: Vec::new(),
            table: None,
            paths: Vec::new(),
            to: "/etc".into(),
            existing: dr_proto::model::Existing::Refuse,
            fetch_all: false,
            plan_only: false,
        }),
        ..task()
    };
    let ended = jobs.run(&asked, &Halt::default(), &Progress::new()).await;
    assert_eq!(
        (ended.state, ended.cause.as_str()),
        (TaskState::Refused, "not_allowed")
    );
}

#[tokio::test]
async fn a_job_that_can_not_begin_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = testing::session(dir.path(), "");
    let jobs = HostJobs::new(session, crate::daemon::vitals::Vitals::default());
    let halt = Halt::default();
    let ended = jobs.run(&task(), &halt, &Progress::new()).await;
    assert_eq!(
        (ended.state, ended.cause.as_str()),
        (TaskState::Failed, "configuration")
    );
    assert!(
        ended
            .message
            .contains("no source is configured; `dr-agent discover DIR`"),
        "{}",
        ended.message
    );
    assert_eq!(halt.ending(), None, "its watches ended without a reason");
}
