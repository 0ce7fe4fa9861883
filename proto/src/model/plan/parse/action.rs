//! The tables `drill` and `checks`: what is asked of each host.

use std::str::FromStr;
use std::time::Duration;

use super::{DAY, is_name, period};
use crate::model::plan::reader::Section;
use crate::model::plan::{Action, Drill, On};
use crate::model::units::Size;
use crate::model::{CheckKind, DrillKind, Loss};

#[derive(Clone, Copy)]
enum Kind {
    Snapshot,
    Drill(DrillKind),
    Check(CheckKind),
}

const KINDS: [(&str, Kind); 8] = [
    ("snapshot", Kind::Snapshot),
    ("verify", Kind::Drill(DrillKind::Verify)),
    ("restore", Kind::Drill(DrillKind::Restore)),
    ("failover", Kind::Drill(DrillKind::Failover)),
    ("negative", Kind::Drill(DrillKind::Negative)),
    ("check-vector-db", Kind::Check(CheckKind::VectorDb)),
    ("check-audit-log", Kind::Check(CheckKind::AuditLog)),
    ("check-dr-integrity", Kind::Check(CheckKind::DrIntegrity)),
];

pub(super) fn action(drill: &Section<'_>, checks: &Section<'_>, plan: Option<&str>) -> Option<Action> {
    let kind = drill.word("kind", &KINDS);
    if drill.is_there() && !drill.has("kind") {
        let known: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        drill.wrong(
            "kind",
            "the key `kind` is missing",
            Some(&format!("one of {}", known.join(", "))),
        );
    }
    let reread = drill.flag("reread");
    let rehearsal = rehearsal(drill, checks);
    let confirm = drill.text("confirm");
    drill.finish(&[]);
    let kind = kind?;
    only_of(drill, "reread", matches!(kind, Kind::Snapshot), "snapshots");
    let drills = matches!(kind, Kind::Drill(_));
    only_of(drill, "snapshot", drills, "drills");
    let movable = matches!(kind, Kind::Drill(kind) if kind != DrillKind::Failover);
    only_of(drill, "on", movable, "drills that leave the live host alone");
    let restores = matches!(kind, Kind::Drill(DrillKind::Restore));
    only_of(drill, "loss", restores, "restore drills");
    let failover = matches!(kind, Kind::Drill(DrillKind::Failover));
    only_of(drill, "confirm", failover, "failover drills");
    if failover && (confirm.is_none() || confirm.as_deref() != plan) {
        let reason = "a failover drill stops the application on every host that the plan covers";
        drill.wrong("confirm", reason, Some("set confirm to the plan's name"));
    }
    if checks.is_there() && !drills {
        checks.misplaced("checks are part of drills", "leave the table out");
    }
    Some(match kind {
        Kind::Snapshot => Action::Snapshot {
            reread: reread.unwrap_or_default(),
        },
        Kind::Check(kind) => Action::Check(kind),
        Kind::Drill(kind) => Action::Drill(Drill { kind, ..rehearsal }),
    })
}

fn only_of(section: &Section<'_>, key: &'static str, fits: bool, what: &str) {
    if section.has(key) && !fits {
        section.wrong(key, format!("`{key}` is part of {what}"), Some("leave it out"));
    }
}

/// What a drill says besides its kind.
fn rehearsal(drill: &Section<'_>, checks: &Section<'_>) -> Drill {
    let snapshot = drill.text("snapshot").unwrap_or_else(|| "latest".to_owned());
    let id = (8..=32).contains(&snapshot.len()) && snapshot.bytes().all(|byte| byte.is_ascii_hexdigit());
    if snapshot != "latest" && !id {
        let reason = format!("`{snapshot}` names no snapshot");
        drill.wrong(
            "snapshot",
            reason,
            Some("write latest, or at least 8 hex digits of an id"),
        );
    }
    let bytes = checks.section("bytes");
    let content = checks.section("content");
    let queries = checks.section("queries");
    let found = Drill {
        kind: DrillKind::Verify,
        snapshot,
        on: drill.parsed::<On>("on").unwrap_or_default(),
        bytes_budget: bytes.parsed("budget").map(|Size(bytes)| bytes.max(1)),
        recall_tolerance: queries.fraction("recall_tolerance"),
        hooks: checks
            .list::<HookName>("application")
            .unwrap_or_default()
            .into_iter()
            .map(|hook| hook.0)
            .collect(),
        loss: drill.word("loss", &Loss::WORDS),
        bytes_cycle: cycle(&bytes),
        content_cycle: cycle(&content),
    };
    if bytes.has("cycle") && !bytes.has("budget") {
        let reason = "`cycle` means nothing without `budget`: every drill reads everything";
        bytes.wrong("cycle", reason, Some("add budget, or leave it out"));
    }
    bytes.finish(&[]);
    content.finish(&[]);
    queries.finish(&[]);
    checks.finish(&[]);
    found
}

/// The time within which everything has its turn.
fn cycle(section: &Section<'_>) -> Option<Duration> {
    period(section, "cycle", Duration::from_secs(3_600), 400 * DAY)
}

/// The name of a hook; never a command.
struct HookName(String);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the name of a hook: the agent's own file defines hooks, a plan names them")]
struct HookNameError(String);

impl FromStr for HookName {
    type Err = HookNameError;

    fn from_str(text: &str) -> Result<Self, HookNameError> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HookNameError(text.chars().take(80).collect()))
        }
    }
}
