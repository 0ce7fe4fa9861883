use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::model::{
    AgentMessage, Allow, CancelTask, CheckKind, CheckWork, CoordinatorMessage, DrillKind, DrillWork,
    Existing, Fence, Goodbye, GoodbyeReason, Heartbeat, Hello, History, HostName, Inventory, Labels,
    PlanText, Progress, RestoreWork, RunId, Slot, SnapshotInfo, SnapshotWork, SourceInfo, StartTask,
    Suspension, TaskId, TaskKey, TaskOutcome, TaskResult, TaskState, TaskUpdate, Welcome, Work, plan,
};
use crate::v1;

fn moment() -> impl Strategy<Value = Timestamp> {
    (-10_000_000_000_i64..200_000_000_000, 0..1_000_000_000_i32)
        .prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap())
}

fn length() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 40, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 ./:-]{1,12}"
}

fn maybe_word() -> impl Strategy<Value = Option<String>> {
    prop::option::of(word())
}

fn host() -> impl Strategy<Value = HostName> {
    "[a-z0-9]{1,8}(-[0-9]{1,3})?".prop_map(|name| name.parse().unwrap())
}

fn names() -> impl Strategy<Value = Vec<String>> {
    vec(word(), 0..4)
}

fn key() -> impl Strategy<Value = TaskKey> {
    (any::<u32>(), any::<u64>(), 1..u32::MAX).prop_map(|(at, epoch, attempt)| TaskKey {
        task: TaskId::new(Timestamp::from_second(i64::from(at)).unwrap()),
        fence: Fence { epoch, attempt },
    })
}

fn drill_kind() -> impl Strategy<Value = DrillKind> {
    prop::sample::select(vec![
        DrillKind::Verify,
        DrillKind::Restore,
        DrillKind::Failover,
        DrillKind::Negative,
    ])
}

fn work() -> impl Strategy<Value = Work> {
    let snapshot = (names(), any::<bool>(), maybe_word()).prop_map(|(sources, reread, reason)| {
        Work::Snapshot(SnapshotWork {
            sources,
            reread,
            reason,
        })
    });
    let drill = (
        drill_kind(),
        word(),
        prop::option::of(host()),
        prop::option::of(1..u64::MAX),
        names(),
        prop::option::of(0.0..=1.0),
    )
        .prop_map(
            |(kind, snapshot, from_host, bytes_budget, hooks, recall_tolerance)| {
                Work::Drill(DrillWork {
                    kind,
                    snapshot,
                    from_host,
                    bytes_budget,
                    hooks,
                    recall_tolerance,
                })
            },
        );
    let existing = prop::sample::select(vec![Existing::Refuse, Existing::Exchange, Existing::Entries]);
    let restore = (
        (prop::option::of(host()), word(), names(), maybe_word()),
        (
            names(),
            "(/[a-z]{1,4}){1,3}",
            existing,
            any::<bool>(),
            any::<bool>(),
        ),
    )
        .prop_map(
            |((from_host, snapshot, sources, table), (paths, to, existing, fetch_all, plan_only))| {
                Work::Restore(RestoreWork {
                    from_host,
                    snapshot,
                    sources,
                    table,
                    paths,
                    to: PathBuf::from(to),
                    existing,
                    fetch_all,
                    plan_only,
                })
            },
        );
    let kinds = vec![CheckKind::VectorDb, CheckKind::AuditLog, CheckKind::DrIntegrity];
    let check = (prop::sample::select(kinds), names())
        .prop_map(|(kind, sources)| Work::Check(CheckWork { kind, sources }));
    prop_oneof![snapshot, drill, restore, check]
}

fn progress() -> impl Strategy<Value = Progress> {
    (any::<[u64; 5]>(), "[a-z]{0,8}", prop::option::of(length())).prop_map(|(figures, phase, eta)| {
        let [bytes_done, bytes_total, items_done, items_total, bytes_per_second] = figures;
        Progress {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            bytes_per_second,
            eta,
        }
    })
}

fn outcome() -> impl Strategy<Value = TaskOutcome> {
    let answers: Vec<TaskState> = TaskState::ALL
        .into_iter()
        .filter(|state| state.is_answer())
        .collect();
    (
        prop::sample::select(answers),
        "[a-z_]{1,20}",
        "[a-z ]{0,20}",
        moment(),
        moment(),
        vec(any::<u8>(), 0..64),
    )
        .prop_map(
            |(state, cause, message, started, finished, document)| TaskOutcome {
                state,
                cause,
                message,
                started,
                finished,
                document,
            },
        )
}

fn slot() -> impl Strategy<Value = Option<Slot>> {
    prop::option::of((word(), moment()).prop_map(|(plan, at)| Slot { plan, at }))
}

fn result() -> impl Strategy<Value = TaskResult> {
    (key(), outcome(), work(), slot()).prop_map(|(key, outcome, work, slot)| TaskResult {
        key,
        outcome,
        work,
        slot,
    })
}

fn update() -> impl Strategy<Value = TaskUpdate> {
    (key(), progress()).prop_map(|(key, progress)| TaskUpdate { key, progress })
}

fn plan_text() -> impl Strategy<Value = PlanText> {
    (word(), word()).prop_map(|(name, text)| PlanText {
        name,
        hash: plan::hash_of(&text),
        text,
    })
}

fn allow() -> impl Strategy<Value = Allow> {
    (
        vec(drill_kind(), 0..4),
        vec("/[a-z]{1,4}", 0..3),
        names(),
        any::<bool>(),
    )
        .prop_map(|(drills, folders, hooks, failover)| Allow {
            drills,
            restore_into: folders.into_iter().map(PathBuf::from).collect(),
            hooks,
            failover,
        })
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        (any::<u32>(), word(), host(), word(), moment(), names()),
        (
            allow(),
            maybe_word(),
            any::<bool>(),
            names(),
            vec(key(), 0..3),
            maybe_word(),
        ),
    )
        .prop_map(
            |(
                (protocol, version, host, incarnation, clock, capabilities),
                (allow, repository, repository_encrypted, probes, tasks, suspended),
            )| Hello {
                protocol,
                version,
                host,
                incarnation,
                clock,
                capabilities,
                allow,
                repository,
                repository_encrypted,
                probes,
                tasks,
                suspended,
            },
        )
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    (
        moment(),
        maybe_word(),
        vec(update(), 0..3),
        prop::option::of(length()),
        any::<u64>(),
    )
        .prop_map(|(clock, suspended, tasks, oldest_pin, scratch_bytes)| Heartbeat {
            clock,
            suspended,
            tasks,
            oldest_pin,
            scratch_bytes,
        })
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let source = (word(), word(), word(), maybe_word(), any::<bool>()).prop_map(
        |(name, kind, path, problem, configured)| SourceInfo {
            name,
            kind,
            path,
            problem,
            configured,
        },
    );
    let snapshot = (
        word(),
        moment(),
        any::<bool>(),
        maybe_word(),
        maybe_word(),
        any::<u64>(),
        names(),
    )
        .prop_map(|(id, cut, exact, suspect, reason, bytes, sources)| SnapshotInfo {
            id,
            cut,
            exact,
            suspect,
            reason,
            bytes,
            sources,
        });
    (vec(source, 0..3), vec(snapshot, 0..3), maybe_word(), any::<u64>()).prop_map(
        |(sources, snapshots, snapshots_problem, stored_bytes)| Inventory {
            sources,
            snapshots,
            snapshots_problem,
            stored_bytes,
        },
    )
}

fn from_agent() -> impl Strategy<Value = AgentMessage> {
    let history = (vec(result(), 0..3), vec(plan_text(), 0..3))
        .prop_map(|(results, plans)| AgentMessage::History(History { results, plans }));
    prop_oneof![
        hello().prop_map(|hello| AgentMessage::Hello(Box::new(hello))),
        heartbeat().prop_map(AgentMessage::Heartbeat),
        inventory().prop_map(AgentMessage::Inventory),
        update().prop_map(AgentMessage::Update),
        result().prop_map(|result| AgentMessage::Result(Box::new(result))),
        history,
    ]
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let labels = prop::collection::btree_map("[a-g]{1,4}", "[a-z0-9]{1,8}", 0..4);
    (
        any::<u32>(),
        word(),
        any::<u64>(),
        length().prop_map(|length| length + Duration::from_nanos(1)),
        moment(),
        labels,
        any::<bool>(),
    )
        .prop_map(
            |(protocol, version, epoch, heartbeat, clock, labels, wants_history)| Welcome {
                protocol,
                version,
                epoch,
                heartbeat,
                clock,
                labels: Labels::try_from(labels).unwrap(),
                wants_history,
            },
        )
}

fn start() -> impl Strategy<Value = StartTask> {
    (key(), work(), length(), slot(), any::<u32>(), maybe_word()).prop_map(
        |(key, work, deadline, slot, at, traceparent)| StartTask {
            key,
            work,
            deadline,
            slot,
            run: RunId::new(Timestamp::from_second(i64::from(at)).unwrap()),
            traceparent,
        },
    )
}

fn to_agent() -> impl Strategy<Value = CoordinatorMessage> {
    let reasons = vec![
        GoodbyeReason::Replaced,
        GoodbyeReason::Revoked,
        GoodbyeReason::Shutdown,
        GoodbyeReason::Version,
        GoodbyeReason::Protocol,
    ];
    let goodbye = (prop::sample::select(reasons), "[a-z ]{0,20}")
        .prop_map(|(reason, message)| CoordinatorMessage::Goodbye(Goodbye { reason, message }));
    let cancel = (key(), "[a-z ]{0,20}")
        .prop_map(|(key, reason)| CoordinatorMessage::Cancel(CancelTask { key, reason }));
    let suspension = (maybe_word(), prop::option::of(moment()))
        .prop_map(|(reason, until)| CoordinatorMessage::Suspension(Suspension { reason, until }));
    prop_oneof![
        welcome().prop_map(CoordinatorMessage::Welcome),
        start().prop_map(|start| CoordinatorMessage::Start(Box::new(start))),
        cancel,
        key().prop_map(CoordinatorMessage::Acknowledged),
        vec(plan_text(), 0..3).prop_map(CoordinatorMessage::Plans),
        suspension,
        goodbye,
    ]
}

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
            kind: DrillKind::Verify,
            snapshot: "latest".to_owned(),
            from_host: None,
            bytes_budget: None,
            hooks: Vec::new(),
            recall_tolerance: None,
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
    let missing: [(&str, fn(&mut v1::StartTask)); 9] = [
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
    let invalid: [(&str, &str, fn(&mut v1::StartTask)); 7] = [
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
