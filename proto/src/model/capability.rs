//! What an agent may be too old to understand, by the names that it announces in its hello.
//!
//! # Overview
//! A field that an older agent does not know is skipped by it without a word, and the work it then does is another one
//! than was asked: everything instead of one kind of source, its own repository instead of another host's. So whatever
//! narrows or redirects work has a name here. [`needs`] says which names a piece of work stands on, and a coordinator
//! hands it only to agents that announced them. A name, once given out, never changes its meaning.

use super::{CheckWork, DrillWork, HoldWork, RestoreWork, SnapshotWork, Work};

/// A drill rehearses another host's repository (`from_host`).
pub const DRILL_CROSS_HOST: &str = "drill.cross_host";
/// A drill asks only of sources of one kind (`only`).
pub const DRILL_ONLY: &str = "drill.only";
/// A restore drill brings data back that was lost in a given way (`loss`).
pub const DRILL_LOSS: &str = "drill.loss";
/// A restore reads another host's repository (`from_host`).
pub const RESTORE_CROSS_HOST: &str = "restore.cross_host";
/// A restore that was cut short fetches only what is missing when it is given again.
pub const RESTORE_RESUME: &str = "restore.resume";
/// A snapshot is held against retention, when it is taken or later.
pub const SNAPSHOT_HOLD: &str = "snapshot.hold";
/// A snapshot that looks suspect is taken for right (`accept`).
pub const SNAPSHOT_ACCEPT: &str = "snapshot.accept";
/// Plans go on while no coordinator answers.
pub const PLANS_OFFLINE: &str = "plans.offline";
/// A goodbye because of a newer stream is answered with a farewell: see [`super::AgentMessage::Farewell`].
pub const FAREWELL: &str = "link.farewell";

/// All that this version understands.
pub const ALL: &[&str] = &[
    DRILL_CROSS_HOST,
    DRILL_ONLY,
    DRILL_LOSS,
    RESTORE_CROSS_HOST,
    RESTORE_RESUME,
    SNAPSHOT_HOLD,
    SNAPSHOT_ACCEPT,
    PLANS_OFFLINE,
    FAREWELL,
];

/// What an agent must have announced to do exactly this. Every field is looked at: a new one breaks the build here, and
/// whoever adds it decides.
pub fn needs(work: &Work) -> Vec<&'static str> {
    match work {
        Work::Snapshot(SnapshotWork {
            sources: _,
            reread: _,
            reason: _,
            hold,
            accept,
        }) => {
            let hold = hold.as_ref().map(|_| SNAPSHOT_HOLD);
            hold.into_iter()
                .chain(accept.then_some(SNAPSHOT_ACCEPT))
                .collect()
        }
        Work::Drill(DrillWork {
            kind: _,
            snapshot: _,
            from_host,
            bytes_budget: _,
            hooks: _,
            recall_tolerance: _,
            only,
            loss,
            // Who skips these reads more than asked, and proves no less.
            bytes_cycle: _,
            content_cycle: _,
        }) => [
            from_host.as_ref().map(|_| DRILL_CROSS_HOST),
            only.map(|_| DRILL_ONLY),
            loss.as_ref().map(|_| DRILL_LOSS),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Work::Restore(RestoreWork {
            from_host,
            snapshot: _,
            sources: _,
            table: _,
            paths: _,
            to: _,
            existing: _,
            fetch_all: _,
            plan_only: _,
        }) => from_host.iter().map(|_| RESTORE_CROSS_HOST).collect(),
        Work::Check(CheckWork { kind: _, sources: _ }) => Vec::new(),
        Work::Hold(HoldWork {
            snapshot: _,
            change: _,
        }) => vec![SNAPSHOT_HOLD],
    }
}

/// What of [`needs`] is not among `announced`.
pub fn missing(work: &Work, announced: &[String]) -> Vec<&'static str> {
    let announces = |need: &&str| announced.iter().any(|name| name == need);
    needs(work).into_iter().filter(|need| !announces(need)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DrillKind, SourceKind};

    fn drill() -> DrillWork {
        DrillWork {
            kind: DrillKind::Verify,
            snapshot: "latest".to_owned(),
            from_host: None,
            bytes_budget: None,
            hooks: Vec::new(),
            recall_tolerance: None,
            only: None,
            loss: None,
            bytes_cycle: None,
            content_cycle: None,
        }
    }

    #[test]
    fn plain_work_needs_nothing_and_narrowed_work_needs_its_name() {
        assert!(missing(&Work::Drill(drill()), &[]).is_empty());
        let narrow = Work::Drill(DrillWork {
            only: Some(SourceKind::AuditLog),
            from_host: Some("db-2".parse().unwrap()),
            ..drill()
        });
        assert_eq!(missing(&narrow, &[]), [DRILL_CROSS_HOST, DRILL_ONLY]);
        assert_eq!(
            missing(
                &narrow,
                &[DRILL_CROSS_HOST.to_owned(), "of.the.future".to_owned()]
            ),
            [DRILL_ONLY]
        );
        let all: Vec<String> = ALL.iter().map(|&name| name.to_owned()).collect();
        assert!(missing(&narrow, &all).is_empty());
    }
}
