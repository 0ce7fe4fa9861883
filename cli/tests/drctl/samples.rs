//! Answers that a coordinator could give.

use dr_proto::v1;
use prost_types::{Duration, Timestamp};

pub(crate) const RUN: &str = "0192f0c1-0000-7000-8000-000000000001";
pub(crate) const TASK_1: &str = "0192f0c1-0000-7000-8000-000000000011";
pub(crate) const TASK_2: &str = "0192f0c1-0000-7000-8000-000000000012";

/// A second of the first hours of 2026.
pub(crate) fn at(second: i64) -> Option<Timestamp> {
    let seconds = 1_767_225_600 + second;
    Some(Timestamp { seconds, nanos: 0 })
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) fn status() -> v1::Status {
    v1::Status {
        version: text("0.1.0"),
        now: at(7_200),
        epoch: 3,
        agents_connected: 1,
        agents_lost: 1,
        runs_active: 0,
        tasks_queued: 0,
        tasks_running: 0,
        concerns: vec![
            v1::Concern {
                severity: v1::concern::Severity::Page.into(),
                kind: text("snapshot_stale"),
                host: text("db-2"),
                source: text("memory"),
                message: text("the newest snapshot is 2h old, the objective is 1h"),
                remedy: text("`drctl agent show db-2` tells why none was taken"),
            },
            v1::Concern {
                severity: v1::concern::Severity::Ticket.into(),
                kind: text("sources_uncovered"),
                host: String::new(),
                source: String::new(),
                message: text("1 source is covered by no plan"),
                remedy: text("`drctl source list --uncovered` lists it"),
            },
        ],
        readiness: vec![
            v1::Readiness {
                host: text("db-1"),
                source: text("memory"),
                last_snapshot: at(5_400),
                last_proof: at(3_600),
                proof: v1::ProofLevel::Restored.into(),
                rto: seconds(42),
                rpo_worst: seconds(1_800),
                rto_objective: seconds(1_800),
                rpo_objective: seconds(3_600),
                proof_age_objective: seconds(691_200),
                proof_objective: v1::ProofLevel::Restored.into(),
                breached: Vec::new(),
            },
            v1::Readiness {
                host: text("db-2"),
                source: text("memory"),
                breached: vec![text("rpo"), text("proof")],
                rpo_objective: seconds(3_600),
                ..Default::default()
            },
        ],
        suspensions: vec![suspension()],
        reconcilers: vec![v1::Reconciler {
            name: text("scheduler"),
            last_success: at(7_190),
            last_error: String::new(),
            status: text("no slot is due"),
        }],
    }
}

pub(crate) fn suspension() -> v1::SuspensionEntry {
    v1::SuspensionEntry {
        id: text("s-1"),
        scope: text("fleet"),
        reason: text("storage maintenance"),
        by: text("spiffe://acme.example/operator/ana"),
        until: at(14_400),
    }
}

fn source(name: &str, kind: &str, path: &str) -> v1::Source {
    v1::Source {
        name: text(name),
        kind: text(kind),
        path: text(path),
        problem: String::new(),
        configured: true,
        damaged: false,
    }
}

pub(crate) fn agent() -> v1::Agent {
    v1::Agent {
        host: text("db-1"),
        state: v1::agent::State::Connected.into(),
        version: text("0.1.0"),
        labels: [(text("env"), text("prod")), (text("tier"), text("gold"))].into(),
        enrolled: at(0),
        last_seen: at(7_195),
        certificate_expires: at(600_000),
        clock_skew: Some(Duration {
            seconds: 0,
            nanos: -200_000_000,
        }),
        allow: Some(v1::Allow {
            drills: vec![v1::DrillKind::Verify.into(), v1::DrillKind::Restore.into()],
            restore_into: vec![text("/srv/restore")],
            hooks: vec![text("smoke")],
            failover: false,
            release_holds: true,
        }),
        repository: text("s3://acme-dr/hosts/db-1"),
        repository_encrypted: true,
        probes: vec![text("0.1.0")],
        suspended: String::new(),
        sources: vec![
            source("memory", "lancedb", "/srv/app/data/db"),
            source("audit", "audit-log", "/srv/app/logs/audit.log"),
        ],
        problems: Vec::new(),
        capabilities: vec![text("restore.resume")],
        machine: 2,
    }
}

pub(crate) fn lost_agent() -> v1::Agent {
    v1::Agent {
        host: text("db-2"),
        state: v1::agent::State::Lost.into(),
        labels: [(text("env"), text("prod"))].into(),
        last_seen: at(0),
        problems: vec![text("clock skew 95 s: let it keep time with NTP")],
        suspended: text("SUSPEND is there"),
        ..agent()
    }
}

pub(crate) fn sources() -> Vec<v1::SourceCoverage> {
    let covered = |source, plans: &[&str]| v1::SourceCoverage {
        host: text("db-1"),
        source: Some(source),
        plans: plans.iter().map(|plan| text(plan)).collect(),
        excluded: false,
    };
    let left_out = v1::SourceCoverage {
        excluded: true,
        ..covered(source("audit", "audit-log", "/srv/app/logs/audit.log"), &[])
    };
    let found = v1::Source {
        configured: false,
        ..source("scratch", "lancedb", "/srv/scratch/db")
    };
    vec![
        covered(source("memory", "lancedb", "/srv/app/data/db"), &["weekly"]),
        left_out,
        covered(found, &[]),
    ]
}

pub(crate) fn snapshots() -> Vec<v1::HostSnapshot> {
    let hold = |reason: &str, until: &str| v1::Hold {
        reason: text(reason),
        created: at(5_400),
        until: Some(until.parse().expect("a moment")),
    };
    let snapshot = |id: &str, host: &str, suspect: &str, hold: Option<v1::Hold>| v1::HostSnapshot {
        host: text(host),
        snapshot: Some(v1::Snapshot {
            id: text(id),
            cut: at(5_400),
            exact: suspect.is_empty(),
            suspect: text(suspect),
            reason: text("pre-upgrade"),
            bytes: 3 << 30,
            sources: vec![text("memory"), text("audit")],
            hold,
        }),
    };
    let held = hold("OPS-4411", "2099-01-31T00:00:00Z");
    let over = hold("pre-upgrade", "2026-01-31T00:00:00Z");
    vec![
        snapshot("0192aaaaaaaa7000800000000000000a", "db-1", "", Some(over)),
        snapshot(
            "0192bbbbbbbb7000800000000000000b",
            "db-2",
            "lost more than half",
            Some(held),
        ),
    ]
}

pub(crate) fn tokens() -> Vec<v1::Token> {
    vec![
        v1::Token {
            id: text("t-1"),
            host: text("db-3"),
            labels: [(text("env"), text("prod"))].into(),
            expires: Some(Timestamp {
                seconds: 4_102_444_800,
                nanos: 0,
            }),
            text: String::new(),
            created_by: text("spiffe://acme.example/operator/ana"),
            used: None,
            used_by: String::new(),
            needs_approval: true,
        },
        v1::Token {
            id: text("t-0"),
            expires: at(3_600),
            used: at(60),
            used_by: text("db-1"),
            created_by: text("spiffe://acme.example/operator/ana"),
            ..Default::default()
        },
    ]
}

pub(crate) fn inventory_diff() -> v1::InventoryDiff {
    let missing = |host: &str, last_seen, reason: &str, overdue| v1::MissingHost {
        host: text(host),
        labels: [(text("env"), text("prod"))].into(),
        listed: at(0),
        last_seen,
        reason: text(reason),
        overdue,
    };
    v1::InventoryDiff {
        imported: at(3_600),
        imported_by: text("spiffe://acme.example/operator/ana"),
        hosts: 4,
        missing: vec![
            missing("db-7", None, "it never enrolled", true),
            missing("db-8", at(60), "it was revoked: stolen", false),
        ],
        unexpected: vec![v1::UnexpectedHost {
            host: text("db-9"),
            labels: [].into(),
            enrolled: at(60),
            last_seen: at(7_000),
        }],
        missing_after: seconds(86_400),
    }
}

pub(crate) fn plan() -> v1::Plan {
    v1::Plan {
        name: text("weekly"),
        text: text("schema = 1\nname = \"weekly\"\n"),
        hash: text("8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"),
        enabled: true,
        applied: at(60),
        applied_by: text("spiffe://acme.example/operator/ana"),
        next_slot: at(259_200),
        last_run: text(RUN),
        last_state: v1::RunState::Failed.into(),
        hosts: 2,
    }
}

pub(crate) fn drill() -> v1::Work {
    v1::Work {
        kind: Some(v1::work::Kind::Drill(v1::DrillWork {
            kind: v1::DrillKind::Restore.into(),
            snapshot: text("latest"),
            ..Default::default()
        })),
    }
}

pub(crate) fn preview() -> v1::PlanPreview {
    let host = |name: &str, wave| v1::PreviewHost {
        host: text(name),
        on: text(name),
        sources: vec![text("memory"), text("audit")],
        bytes: 3 << 30,
        wave,
        work: Some(drill()),
        not_before: at(259_200 + i64::from(wave) * 60),
    };
    v1::PlanPreview {
        name: text("weekly"),
        slot: at(259_200),
        hosts: vec![host("db-1", 1), host("db-2", 2)],
        excluded: vec![v1::PreviewExcluded {
            host: text("db-7"),
            reason: text("OPS-4411, by ana, until 2026-12-31"),
        }],
        bytes: 6 << 30,
        warnings: vec![text("db-2 is lost")],
    }
}

/// A run that has begun.
pub(crate) fn begun_run() -> v1::Run {
    v1::Run {
        id: text(RUN),
        state: v1::RunState::Running.into(),
        work: text("drill restore"),
        requested_by: text("spiffe://acme.example/operator/ana"),
        created: at(100),
        started: at(101),
        tasks: [(text("running"), 1), (text("queued"), 1)].into(),
        trace_id: text("4bf92f3577b34da6a3ce929d0e0e4736"),
        ..Default::default()
    }
}

pub(crate) fn task(id: &str, host: &str, state: v1::TaskState) -> v1::Task {
    v1::Task {
        id: text(id),
        run: text(RUN),
        host: text(host),
        on: text(host),
        state: state.into(),
        attempt: 1,
        wave: 1,
        queued: at(100),
        started: at(101),
        deadline: at(14_500),
        work: Some(drill()),
        ..Default::default()
    }
}

pub(crate) fn note(task: &str, second: i64, said: &str) -> v1::Note {
    v1::Note {
        task: text(task),
        at: at(second),
        by: text("spiffe://acme.example/operator/ana"),
        text: text(said),
    }
}

fn left_out(host: &str, reason: &str, by_plan: bool) -> v1::LeftOut {
    v1::LeftOut {
        host: text(host),
        reason: text(reason),
        by_plan,
    }
}

/// A fleet drill: one host passed, one failed, one was missed and one is excluded.
pub(crate) fn ended_run() -> v1::RunDetail {
    let passed = v1::Task {
        finished: at(150),
        explanation: text("the agent's answer"),
        proof: v1::ProofLevel::Restored.into(),
        time_to_usable: seconds(42),
        rpo: seconds(900),
        ..task(TASK_1, "db-1", v1::TaskState::Passed)
    };
    let failed = v1::Task {
        finished: at(160),
        cause: text("disproved"),
        explanation: text("content of memory differs from the cut"),
        ..task(TASK_2, "db-2", v1::TaskState::Failed)
    };
    let event = |task: &str, second, state: v1::TaskState, message: &str| v1::TaskEvent {
        task: text(task),
        at: at(second),
        state: state.into(),
        attempt: 1,
        message: text(message),
    };
    v1::RunDetail {
        run: Some(v1::Run {
            state: v1::RunState::Failed.into(),
            finished: at(160),
            tasks: [(text("passed"), 1), (text("failed"), 1)].into(),
            explanation: text("1 of 2 hosts failed"),
            ..begun_run()
        }),
        tasks: vec![passed, failed],
        events: vec![
            event(TASK_1, 100, v1::TaskState::Queued, "made for the run"),
            event(TASK_2, 100, v1::TaskState::Queued, "made for the run"),
            event(TASK_1, 101, v1::TaskState::Running, "the agent works on it"),
            event(TASK_1, 150, v1::TaskState::Passed, ""),
            event(
                TASK_2,
                160,
                v1::TaskState::Failed,
                "content of memory differs from the cut",
            ),
        ],
        notes: vec![
            note("", 200, "INC-17: the disk was swapped last night"),
            note(TASK_2, 230, "restored from the snapshot before"),
        ],
        left_out: vec![
            left_out("db-3", "OPS-4411 (ana, until 2026-12-31T00:00:00Z)", true),
            left_out("db-7", "its agent was never here", false),
        ],
    }
}

/// A run of one host that ended so.
pub(crate) fn single(work: v1::Work, name: &str, state: v1::TaskState, run: v1::RunState) -> v1::RunDetail {
    let task = v1::Task {
        finished: at(150),
        work: Some(work),
        has_report: true,
        ..task(TASK_1, "db-1", state)
    };
    v1::RunDetail {
        run: Some(v1::Run {
            state: run.into(),
            work: text(name),
            finished: at(150),
            tasks: [(task_word(state), 1)].into(),
            ..begun_run()
        }),
        tasks: vec![task],
        events: Vec::new(),
        notes: Vec::new(),
        left_out: Vec::new(),
    }
}

fn task_word(state: v1::TaskState) -> String {
    let name = state.as_str_name();
    name.trim_start_matches("TASK_STATE_").to_lowercase()
}

pub(crate) fn run_event(state: v1::RunState) -> v1::RunEvent {
    let run = v1::Run {
        state: state.into(),
        ..begun_run()
    };
    v1::RunEvent {
        event: Some(v1::run_event::Event::Run(run)),
    }
}

pub(crate) fn task_event(task: v1::Task) -> v1::RunEvent {
    v1::RunEvent {
        event: Some(v1::run_event::Event::Task(task)),
    }
}

pub(crate) fn audit_entries() -> Vec<v1::AuditEntry> {
    vec![
        v1::AuditEntry {
            number: 2,
            at: at(60),
            actor: text("spiffe://acme.example/operator/ana"),
            action: text("plan.apply"),
            subject: text("weekly"),
            details: text("{\"change\":\"created\"}"),
            hash: text("bb"),
        },
        v1::AuditEntry {
            number: 1,
            at: at(0),
            actor: text("coordinator"),
            action: text("coordinator.start"),
            subject: text("epoch 1"),
            details: text("{}"),
            hash: text("aa"),
        },
    ]
}

pub(crate) fn audit_check() -> v1::VerifyAuditResponse {
    v1::VerifyAuditResponse {
        intact: true,
        entries: 2,
        head: text("bb"),
        broken_at: 0,
        reason: String::new(),
    }
}
