use dr_proto::model::{Fence, Suspension};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn host() -> HostName {
    "db-1".parse().unwrap()
}

fn facts(incarnation: &str) -> Facts {
    Facts {
        incarnation: incarnation.to_owned(),
        serial: "01".to_owned(),
        since: at(100),
        heard: at(100),
        skew: SignedDuration::ZERO,
        suspended: None,
        oldest_pin: None,
        scratch_bytes: 0,
        says_farewell: false,
    }
}

fn message() -> CoordinatorMessage {
    CoordinatorMessage::Suspension(Suspension::default())
}

#[tokio::test]
async fn the_newest_stream_wins_and_the_older_hears_why() {
    let live = Live::default();
    let older = live.attach(host(), facts("one"));
    let newer = live.attach(host(), facts("two"));
    newer.open();
    assert_eq!(older.ending.ended().await.reason, GoodbyeReason::Replaced);
    assert_eq!(
        newer.replaced.as_ref().map(|facts| facts.incarnation.as_str()),
        Some("one")
    );
    assert!(!older.is_current() && newer.is_current());
    drop(older);
    assert!(
        live.is_connected(&host()),
        "the end of the older stream must not take the newer one along"
    );
    drop(newer);
    assert!(!live.is_connected(&host()));
    assert_eq!(live.count(), 0);
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_disconnected_not_waited_for() {
    let live = Live::default();
    let stream = live.attach(host(), facts("one"));
    assert_eq!(
        live.send(&host(), message()),
        Err(SendError::Away),
        "it has not been greeted yet"
    );
    stream.open();
    for _ in 0..QUEUE {
        live.send(&host(), message()).unwrap();
    }
    assert_eq!(live.send(&host(), message()), Err(SendError::Slow));
    assert_eq!(stream.ending.ended().await.reason, GoodbyeReason::Shutdown);
    assert_eq!(
        live.send(&host(), message()),
        Err(SendError::Away),
        "nothing more is queued for it"
    );
}

#[tokio::test]
async fn the_first_goodbye_stays() {
    let ending = Ending::default();
    for reason in [GoodbyeReason::Revoked, GoodbyeReason::Shutdown] {
        ending.end(Goodbye {
            reason,
            message: String::new(),
        });
    }
    assert_eq!(ending.ended().await.reason, GoodbyeReason::Revoked);
}

#[test]
fn progress_is_bounded_and_goes_with_the_stream() {
    let live = Live::default();
    let stream = live.attach(host(), facts("one"));
    let key = |second| TaskKey {
        task: TaskId::new(at(second)),
        fence: Fence { epoch: 1, attempt: 1 },
    };
    let first = key(0);
    for update in std::iter::once(first).chain((1..400).map(key)) {
        stream.progressed(TaskUpdate {
            key: update,
            progress: Progress::default(),
        });
    }
    assert_eq!(live.lock().hosts[&host()].progress.len(), MOST_TASKS);
    assert!(live.progress(&host(), first.task).is_some());
    stream.finished(first.task);
    assert!(live.progress(&host(), first.task).is_none());
    drop(stream);
    assert!(live.all().is_empty());
}
