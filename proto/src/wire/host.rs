//! What a host has and allows.

use std::path::PathBuf;

use super::error::Within;
use super::read::{counted, given, optional, or_empty, text, texts};
use super::task::drill_kind;
use super::time::{maybe_moment, moment, timestamp};
use super::{Error, limits};
use crate::model::{Allow, HoldInfo, SnapshotInfo, SourceInfo};
use crate::v1;

impl TryFrom<v1::Source> for SourceInfo {
    type Error = Error;

    fn try_from(source: v1::Source) -> Result<Self, Error> {
        let v1::Source {
            name,
            kind,
            path,
            problem,
            configured,
            damaged,
        } = source;
        Ok(Self {
            name: given("name", name)?,
            kind: given("kind", kind)?,
            path: text("path", path)?,
            problem: optional("problem", problem)?,
            damaged,
            configured,
        })
    }
}

impl From<SourceInfo> for v1::Source {
    fn from(source: SourceInfo) -> Self {
        let SourceInfo {
            name,
            kind,
            path,
            problem,
            configured,
            damaged,
        } = source;
        Self {
            name,
            kind,
            path,
            problem: or_empty(problem),
            configured,
            damaged,
        }
    }
}

impl TryFrom<v1::Snapshot> for SnapshotInfo {
    type Error = Error;

    fn try_from(snapshot: v1::Snapshot) -> Result<Self, Error> {
        let v1::Snapshot {
            id,
            cut,
            exact,
            suspect,
            reason,
            bytes,
            sources,
            hold,
        } = snapshot;
        Ok(Self {
            id: given("id", id)?,
            cut: moment("cut", cut)?,
            exact,
            suspect: optional("suspect", suspect)?,
            reason: optional("reason", reason)?,
            bytes,
            sources: texts("sources", sources, limits::SOURCES)?,
            hold: hold.map(HoldInfo::try_from).transpose().within("hold")?,
        })
    }
}

impl From<SnapshotInfo> for v1::Snapshot {
    fn from(snapshot: SnapshotInfo) -> Self {
        let SnapshotInfo {
            id,
            cut,
            exact,
            suspect,
            reason,
            bytes,
            sources,
            hold,
        } = snapshot;
        Self {
            id,
            cut: Some(timestamp(cut)),
            exact,
            suspect: or_empty(suspect),
            reason: or_empty(reason),
            bytes,
            sources,
            hold: hold.map(Into::into),
        }
    }
}

impl TryFrom<v1::Hold> for HoldInfo {
    type Error = Error;

    fn try_from(hold: v1::Hold) -> Result<Self, Error> {
        let v1::Hold {
            reason,
            created,
            until,
        } = hold;
        Ok(Self {
            reason: text("reason", reason)?,
            created: moment("created", created)?,
            until: maybe_moment("until", until)?,
        })
    }
}

impl From<HoldInfo> for v1::Hold {
    fn from(hold: HoldInfo) -> Self {
        let HoldInfo {
            reason,
            created,
            until,
        } = hold;
        Self {
            reason,
            created: Some(timestamp(created)),
            until: until.map(timestamp),
        }
    }
}

impl TryFrom<v1::Allow> for Allow {
    type Error = Error;

    /// A kind of drill that only a newer agent knows is left out: nobody here could ask for it.
    fn try_from(allow: v1::Allow) -> Result<Self, Error> {
        let v1::Allow {
            drills,
            restore_into,
            hooks,
            failover,
            release_holds,
        } = allow;
        counted("drills", drills.len(), limits::NAMES)?;
        let mut kinds = Vec::new();
        for (index, kind) in drills.into_iter().enumerate() {
            match drill_kind(&format!("drills[{index}]"), kind) {
                Ok(kind) => kinds.push(kind),
                Err(error) if error.is_unknown() => {}
                Err(error) => return Err(error),
            }
        }
        let folders = texts("restore_into", restore_into, limits::NAMES)?;
        Ok(Self {
            drills: kinds,
            restore_into: folders.into_iter().map(PathBuf::from).collect(),
            hooks: texts("hooks", hooks, limits::NAMES)?,
            failover,
            release_holds,
        })
    }
}

impl From<Allow> for v1::Allow {
    fn from(allow: Allow) -> Self {
        let Allow {
            drills,
            restore_into,
            hooks,
            failover,
            release_holds,
        } = allow;
        let kinds = drills.into_iter().map(|kind| v1::DrillKind::from(kind).into());
        let folders = restore_into
            .iter()
            .map(|folder| folder.to_string_lossy().into_owned());
        Self {
            drills: kinds.collect(),
            restore_into: folders.collect(),
            hooks,
            failover,
            release_holds,
        }
    }
}
