mod drawn;

use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use self::drawn::{from_agent, to_agent};
use super::*;
use crate::model::{
    AgentMessage, Allow, CoordinatorMessage, DrillKind, DrillWork, Fence, PlanText, RunId, Slot, StartTask,
    TaskId, TaskKey, TaskOutcome, TaskState, Work, plan,
};
use crate::v1;

proptest! {
    #[test]
    fn what_an_agent_says_arrives_as_it_was_said(message in from_agent()) {
        let bytes = v1::AgentMessage::from(message.clone()).encode_to_vec();
        let arrived = v1::AgentMessage::decode(&bytes[..]).unwrap();
        prop_assert_eq!(AgentMessage::try_from(arrived), Ok(message));
    }

    #[test]
    fn what_the_coordinator_says_arrives_as_it_was_said(message in to_agent()) {
        let bytes = v1::CoordinatorMessage::from(message.clone()).encode_to_vec();
        let arrived = v1::CoordinatorMessage::decode(&bytes[..]).unwrap();
        prop_assert_eq!(CoordinatorMessage::try_from(arrived), Ok(message));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = v1::AgentMessage::decode(&bytes[..]) {
            drop(AgentMessage::try_from(message));
        }
        if let Ok(message) = v1::CoordinatorMessage::decode(&bytes[..]) {
            drop(CoordinatorMessage::try_from(message));
        }
    }

    /// Damage of real messages reaches deeper than noise.
    #[test]
    fn no_damaged_message_panics(message in from_agent(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = v1::AgentMessage::from(message).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(message) = v1::AgentMessage::decode(&bytes[..]) {
            drop(AgentMessage::try_from(message));
        }
    }

    #[test]
    fn no_damaged_answer_panics(message in to_agent(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = v1::CoordinatorMessage::from(message).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(message) = v1::CoordinatorMessage::decode(&bytes[..]) {
            drop(CoordinatorMessage::try_from(message));
        }
    }
}

/// A start as a coordinator sends it.
fn a_start() -> v1::StartTask {
    let at = Timestamp::from_second(1_780_000_000).unwrap();
    v1::StartTask::from(StartTask {
        key: TaskKey {
            task: TaskId::new(at),
            fence: Fence { epoch: 7, attempt: 1 },
        },
        work: Work::Drill(DrillWork {
            only: None,
            kind: DrillKind::Verify,
            snapshot: "latest".to_owned(),
            from_host: None,
            bytes_budget: None,
            hooks: Vec::new(),
            recall_tolerance: None,
            loss: None,
            bytes_cycle: None,
            content_cycle: None,
        }),
        deadline: Duration::from_secs(60),
        slot: Some(Slot {
            plan: "nightly".to_owned(),
            at,
        }),
        run: RunId::new(at),
        traceparent: None,
    })
}

/// What a test does to a start.
type Change = fn(&mut v1::StartTask);

fn refusal(change: impl FnOnce(&mut v1::StartTask)) -> Error {
    let mut start = a_start();
    change(&mut start);
    let message = v1::CoordinatorMessage {
        message: Some(v1::coordinator_message::Message::Start(start)),
    };
    CoordinatorMessage::try_from(message).unwrap_err()
}

fn drill(start: &mut v1::StartTask) -> &mut v1::DrillWork {
    match start.work.as_mut().and_then(|work| work.kind.as_mut()) {
        Some(v1::work::Kind::Drill(drill)) => drill,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_missing_is_named_by_its_path() {
    let missing: [(&str, Change); 9] = [
        ("start.task", |start| start.task.clear()),
        ("start.fence", |start| start.fence = None),
        ("start.fence.attempt", |start| {
            start.fence = Some(v1::Fence::default())
        }),
        ("start.work", |start| start.work = None),
        ("start.work.drill.kind", |start| drill(start).kind = 0),
        ("start.work.drill.snapshot", |start| drill(start).snapshot.clear()),
        ("start.deadline", |start| start.deadline = None),
        ("start.run", |start| start.run.clear()),
        ("start.plan", |start| start.plan.clear()),
    ];
    for (field, change) in missing {
        assert_eq!(refusal(change), Error::Missing(field.to_owned()));
    }
}

#[test]
fn what_cannot_be_is_named_with_its_value_and_the_reason() {
    let invalid: [(&str, &str, Change); 7] = [
        ("start.task", "not a task id", |start| start.task = "7".to_owned()),
        ("start.deadline", "negative", |start| {
            start.deadline = Some(prost_types::Duration {
                seconds: -1,
                nanos: 0,
            });
        }),
        ("start.slot", "nanoseconds", |start| {
            start.slot = Some(prost_types::Timestamp {
                seconds: 0,
                nanos: -1,
            });
        }),
        ("start.slot", "calendar", |start| {
            start.slot = Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            });
        }),
        ("start.work.drill.from_host", "not a host name", |start| {
            drill(start).from_host = "../x".to_owned();
        }),
        (
            "start.work.drill.recall_tolerance",
            "share from 0 to 1",
            |start| {
                drill(start).recall_tolerance = Some(f64::NAN);
            },
        ),
        ("start.work.drill.hooks", "1000 are the most", |start| {
            drill(start).hooks = vec!["smoke".to_owned(); 1_001];
        }),
    ];
    for (field, expected, change) in invalid {
        let Error::Invalid {
            field: at, reason, ..
        } = refusal(change)
        else {
            panic!("{field} is invalid");
        };
        assert_eq!(at, field);
        assert!(reason.contains(expected), "{field}: {reason}");
    }
}

#[test]
fn texts_and_documents_have_a_limit() {
    let long = refusal(|start| drill(start).snapshot = "a".repeat(limits::TEXT + 1));
    assert!(long.to_string().contains("65536 are the most"), "{long}");
    assert!(long.to_string().len() < 400, "{long}");
    let outcome = v1::Outcome {
        state: v1::TaskState::Passed.into(),
        cause: String::new(),
        message: String::new(),
        started: Some(timestamp(Timestamp::UNIX_EPOCH)),
        finished: Some(timestamp(Timestamp::UNIX_EPOCH)),
        document: vec![0; limits::DOCUMENT + 1],
    };
    let largest = v1::Outcome {
        document: vec![0; limits::DOCUMENT],
        ..outcome.clone()
    };
    assert!(largest.encoded_len() < limits::MESSAGE);
    assert!(TaskOutcome::try_from(largest).is_ok());
    assert_eq!(TaskOutcome::try_from(outcome).unwrap_err().field(), "document");
}

#[test]
fn no_agent_ends_a_task_in_a_state_that_is_not_its_own_to_give() {
    for state in TaskState::ALL {
        let outcome = v1::Outcome {
            state: v1::TaskState::from(state).into(),
            cause: "somehow".to_owned(),
            started: Some(timestamp(Timestamp::UNIX_EPOCH)),
            finished: Some(timestamp(Timestamp::UNIX_EPOCH)),
            ..v1::Outcome::default()
        };
        assert_eq!(
            TaskOutcome::try_from(outcome).is_ok(),
            state.is_answer(),
            "{state}"
        );
    }
}

#[test]
fn what_only_a_newer_peer_knows_can_be_passed_over() {
    assert!(refusal(|start| drill(start).kind = 99).is_unknown());
    assert!(
        AgentMessage::try_from(v1::AgentMessage::default())
            .unwrap_err()
            .is_unknown()
    );
    assert!(
        CoordinatorMessage::try_from(v1::CoordinatorMessage::default())
            .unwrap_err()
            .is_unknown()
    );
    // A field and a kind of message that this version has never heard of.
    let mut bytes = v1::CoordinatorMessage {
        message: Some(v1::coordinator_message::Message::Start(a_start())),
    }
    .encode_to_vec();
    bytes.extend([0xfa, 0x06, 0x03, b'n', b'e', b'w']);
    let message = v1::CoordinatorMessage::decode(&bytes[..]).unwrap();
    assert!(CoordinatorMessage::try_from(message).is_ok());
    let newer = v1::CoordinatorMessage::decode(&[0xfa, 0x06, 0x03, b'n', b'e', b'w'][..]).unwrap();
    assert!(CoordinatorMessage::try_from(newer).unwrap_err().is_unknown());
    // A newer agent allows more than we know of.
    let allow = v1::Allow {
        drills: vec![v1::DrillKind::Verify.into(), 99],
        ..v1::Allow::default()
    };
    assert_eq!(Allow::try_from(allow).unwrap().drills, [DrillKind::Verify]);
}

#[test]
fn a_plan_whose_text_is_not_what_was_hashed_is_refused() {
    let text = v1::PlanText {
        name: "nightly".to_owned(),
        text: "schema = 1".to_owned(),
        hash: plan::hash_of("schema = 2"),
    };
    assert_eq!(PlanText::try_from(text).unwrap_err().field(), "hash");
}

#[test]
fn moments_before_1970_keep_their_nanoseconds() {
    let before = Timestamp::new(-5, -1).unwrap();
    assert_eq!(
        timestamp(before),
        prost_types::Timestamp {
            seconds: -6,
            nanos: 999_999_999
        }
    );
}
