//! Messages drawn by chance, every field of them.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{
    AgentMessage, Allow, CancelTask, CheckKind, CheckWork, CoordinatorMessage, DrillKind, DrillWork,
    Existing, Farewell, Fence, Goodbye, GoodbyeReason, Heartbeat, Hello, History, HoldChange, HoldInfo,
    HoldTerms, HoldWork, HostName, Inventory, Labels, Loss, PlanText, Progress, RestoreWork, RunEnded, RunId,
    Slot, SnapshotInfo, SnapshotWork, SourceInfo, SourceKind, StartTask, Suspension, TaskId, TaskKey,
    TaskOutcome, TaskResult, TaskState, TaskUpdate, Verification, Welcome, Work, plan,
};

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

/// A text that says something.
fn said() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9 ./:-]{0,11}"
}

fn hold_terms() -> impl Strategy<Value = HoldTerms> {
    (said(), prop::option::of(1..1_u64 << 40)).prop_map(|(reason, lasts_seconds)| HoldTerms {
        reason,
        lasts_seconds,
    })
}

fn work() -> impl Strategy<Value = Work> {
    let snapshot = (
        names(),
        any::<[bool; 2]>(),
        maybe_word(),
        prop::option::of(hold_terms()),
    )
        .prop_map(|(sources, [reread, accept], reason, hold)| {
            Work::Snapshot(SnapshotWork {
                sources,
                reread,
                reason,
                hold,
                accept,
            })
        });
    let change = prop_oneof![
        hold_terms().prop_map(HoldChange::Set),
        said().prop_map(|reason| HoldChange::Release { reason }),
    ];
    let hold = (word(), change).prop_map(|(snapshot, change)| Work::Hold(HoldWork { snapshot, change }));
    let drill = (
        drill_kind(),
        word(),
        prop::option::of(host()),
        prop::option::of(1..u64::MAX),
        names(),
        prop::option::of(0.0..=1.0),
        prop::option::of(prop::sample::select(vec![
            SourceKind::Lancedb,
            SourceKind::AuditLog,
        ])),
        (
            prop::option::of(prop::sample::select(Loss::WORDS.map(|(_, loss)| loss).to_vec())),
            prop::option::of((0..1_000_000_000_u64).prop_map(Duration::from_secs)),
            prop::option::of((0..1_000_000_000_u64).prop_map(Duration::from_secs)),
        ),
    )
        .prop_map(
            |(kind, snapshot, from_host, bytes_budget, hooks, recall_tolerance, only, more)| {
                let (loss, bytes_cycle, content_cycle) = more;
                Work::Drill(DrillWork {
                    kind,
                    snapshot,
                    from_host,
                    bytes_budget,
                    hooks,
                    recall_tolerance,
                    only,
                    loss,
                    bytes_cycle,
                    content_cycle,
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
    prop_oneof![snapshot, drill, restore, check, hold]
}

fn progress() -> impl Strategy<Value = Progress> {
    let words = ("[a-z]{0,8}", "[a-z]{0,8}");
    (any::<[u64; 5]>(), words, prop::option::of(length())).prop_map(|(figures, (phase, items), eta)| {
        let [bytes_done, bytes_total, items_done, items_total, bytes_per_second] = figures;
        Progress {
            phase,
            bytes_done,
            bytes_total,
            items_done,
            items_total,
            items,
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
        any::<[bool; 2]>(),
    )
        .prop_map(|(drills, folders, hooks, [failover, release_holds])| Allow {
            drills,
            restore_into: folders.into_iter().map(PathBuf::from).collect(),
            hooks,
            failover,
            release_holds,
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
    let source = (word(), word(), word(), maybe_word(), any::<[bool; 2]>()).prop_map(
        |(name, kind, path, problem, [damaged, configured])| SourceInfo {
            name,
            kind,
            path,
            problem,
            damaged,
            configured,
        },
    );
    let held = (word(), moment(), prop::option::of(moment())).prop_map(|(reason, created, until)| HoldInfo {
        reason,
        created,
        until,
    });
    let snapshot = (
        word(),
        moment(),
        any::<bool>(),
        maybe_word(),
        maybe_word(),
        any::<u64>(),
        names(),
        prop::option::of(held),
    )
        .prop_map(
            |(id, cut, exact, suspect, reason, bytes, sources, hold)| SnapshotInfo {
                id,
                cut,
                exact,
                suspect,
                reason,
                bytes,
                sources,
                hold,
            },
        );
    let verification = (any::<u32>(), any::<u32>()).prop_map(|(packs, verified)| Verification {
        packs: u64::from(packs) + u64::from(verified),
        verified: u64::from(verified),
    });
    (
        vec(source, 0..3),
        vec(snapshot, 0..3),
        maybe_word(),
        any::<u64>(),
        prop::option::of(verification),
    )
        .prop_map(
            |(sources, snapshots, snapshots_problem, stored_bytes, verification)| Inventory {
                sources,
                snapshots,
                snapshots_problem,
                stored_bytes,
                verification,
            },
        )
}

pub(super) fn from_agent() -> impl Strategy<Value = AgentMessage> {
    let history = (vec(result(), 0..3), vec(plan_text(), 0..3))
        .prop_map(|(results, plans)| AgentMessage::History(History { results, plans }));
    prop_oneof![
        hello().prop_map(|hello| AgentMessage::Hello(Box::new(hello))),
        heartbeat().prop_map(AgentMessage::Heartbeat),
        inventory().prop_map(AgentMessage::Inventory),
        word().prop_map(|incarnation| AgentMessage::Farewell(Farewell { incarnation })),
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

pub(super) fn to_agent() -> impl Strategy<Value = CoordinatorMessage> {
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
        ("[0-9a-f]{32}", any::<bool>())
            .prop_map(|(trace_id, passed)| CoordinatorMessage::RunEnded(RunEnded { trace_id, passed })),
    ]
}
