//! What a task asks.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Within;
use super::read::{bounded, given, maybe_parsed, optional, or_empty, required, texts};
use super::task::{drill_kind, word};
use super::time::{duration, maybe_length};
use super::{Error, limits};
use crate::model::{
    CheckKind, CheckWork, DrillWork, Existing, HoldChange, HoldTerms, HoldWork, HostName, Loss, RestoreWork,
    SnapshotWork, Work,
};
use crate::v1;

impl TryFrom<v1::Work> for Work {
    type Error = Error;

    fn try_from(work: v1::Work) -> Result<Self, Error> {
        use v1::work::Kind;
        let v1::Work { kind } = work;
        match required("kind", kind)? {
            Kind::Snapshot(work) => work.try_into().map(Self::Snapshot).within("snapshot"),
            Kind::Drill(work) => work.try_into().map(Self::Drill).within("drill"),
            Kind::Restore(work) => work.try_into().map(Self::Restore).within("restore"),
            Kind::Check(work) => work.try_into().map(Self::Check).within("check"),
            Kind::Hold(work) => work.try_into().map(Self::Hold).within("hold"),
        }
    }
}

impl From<Work> for v1::Work {
    fn from(work: Work) -> Self {
        use v1::work::Kind;
        Self {
            kind: Some(match work {
                Work::Snapshot(work) => Kind::Snapshot(work.into()),
                Work::Drill(work) => Kind::Drill(work.into()),
                Work::Restore(work) => Kind::Restore(work.into()),
                Work::Check(work) => Kind::Check(work.into()),
                Work::Hold(work) => Kind::Hold(work.into()),
            }),
        }
    }
}

impl TryFrom<v1::SnapshotWork> for SnapshotWork {
    type Error = Error;

    fn try_from(work: v1::SnapshotWork) -> Result<Self, Error> {
        let v1::SnapshotWork {
            sources,
            reread,
            reason,
            hold,
            accept,
        } = work;
        Ok(Self {
            sources: texts("sources", sources, limits::NAMES)?,
            reread,
            reason: optional("reason", reason)?,
            hold: hold.map(HoldTerms::try_from).transpose().within("hold")?,
            accept,
        })
    }
}

impl From<SnapshotWork> for v1::SnapshotWork {
    fn from(work: SnapshotWork) -> Self {
        let SnapshotWork {
            sources,
            reread,
            reason,
            hold,
            accept,
        } = work;
        Self {
            sources,
            reread,
            reason: or_empty(reason),
            hold: hold.map(Into::into),
            accept,
        }
    }
}

/// The longest reason of a hold: it is read in lists.
const LONGEST_REASON: usize = 1_000;

fn reason(text: String) -> Result<String, Error> {
    if text.trim().is_empty() {
        return Err(Error::Missing("reason".to_owned()));
    }
    bounded("reason", text, LONGEST_REASON)
}

impl TryFrom<v1::HoldTerms> for HoldTerms {
    type Error = Error;

    fn try_from(terms: v1::HoldTerms) -> Result<Self, Error> {
        let v1::HoldTerms { reason: why, lasts } = terms;
        let lasts = maybe_length("lasts", lasts)?;
        if lasts.is_some_and(|lasts| lasts.as_secs() == 0) {
            return Err(Error::invalid("lasts", "0s", "a hold lasts a second or longer"));
        }
        Ok(Self {
            reason: reason(why)?,
            lasts_seconds: lasts.map(|lasts| lasts.as_secs()),
        })
    }
}

impl From<HoldTerms> for v1::HoldTerms {
    fn from(terms: HoldTerms) -> Self {
        let HoldTerms {
            reason,
            lasts_seconds,
        } = terms;
        Self {
            reason,
            lasts: lasts_seconds.map(|seconds| duration(Duration::from_secs(seconds))),
        }
    }
}

impl TryFrom<v1::HoldWork> for HoldWork {
    type Error = Error;

    fn try_from(work: v1::HoldWork) -> Result<Self, Error> {
        use v1::hold_work::Change;
        let v1::HoldWork { snapshot, change } = work;
        Ok(Self {
            snapshot: given("snapshot", snapshot)?,
            change: match required("change", change)? {
                Change::Set(terms) => HoldChange::Set(terms.try_into().within("set")?),
                Change::Release(v1::ReleaseTerms { reason: why }) => HoldChange::Release {
                    reason: reason(why).within("release")?,
                },
            },
        })
    }
}

impl From<HoldWork> for v1::HoldWork {
    fn from(work: HoldWork) -> Self {
        use v1::hold_work::Change;
        let HoldWork { snapshot, change } = work;
        Self {
            snapshot,
            change: Some(match change {
                HoldChange::Set(terms) => Change::Set(terms.into()),
                HoldChange::Release { reason } => Change::Release(v1::ReleaseTerms { reason }),
            }),
        }
    }
}

impl TryFrom<v1::DrillWork> for DrillWork {
    type Error = Error;

    fn try_from(work: v1::DrillWork) -> Result<Self, Error> {
        let v1::DrillWork {
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
        } = work;
        if let Some(tolerance) = recall_tolerance.filter(|share| !(0.0..=1.0).contains(share)) {
            let reason = "a share from 0 to 1 is expected";
            return Err(Error::invalid("recall_tolerance", tolerance.to_string(), reason));
        }
        Ok(Self {
            kind: drill_kind("kind", kind)?,
            snapshot: given("snapshot", snapshot)?,
            from_host: maybe_parsed("from_host", &from_host)?,
            bytes_budget: (bytes_budget > 0).then_some(bytes_budget),
            hooks: texts("hooks", hooks, limits::NAMES)?,
            recall_tolerance,
            only: maybe_parsed("only", &only)?,
            loss: loss_of(loss)?,
            bytes_cycle: maybe_length("bytes_cycle", bytes_cycle)?,
            content_cycle: maybe_length("content_cycle", content_cycle)?,
        })
    }
}

impl From<DrillWork> for v1::DrillWork {
    fn from(work: DrillWork) -> Self {
        let DrillWork {
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
        } = work;
        Self {
            kind: v1::DrillKind::from(kind).into(),
            snapshot,
            from_host: host_or_empty(from_host),
            // 0 is "everything" on the wire; a budget of nothing is the least there is.
            bytes_budget: bytes_budget.map_or(0, |budget| budget.max(1)),
            hooks,
            recall_tolerance,
            only: only.map(|kind| kind.to_string()).unwrap_or_default(),
            loss: loss.map_or(v1::Loss::Unspecified, v1::Loss::from).into(),
            bytes_cycle: bytes_cycle.map(duration),
            content_cycle: content_cycle.map(duration),
        }
    }
}

fn loss_of(value: i32) -> Result<Option<Loss>, Error> {
    Ok(match word("loss", value)? {
        v1::Loss::Unspecified => None,
        v1::Loss::Moved => Some(Loss::Moved),
        v1::Loss::Deleted => Some(Loss::Deleted),
        v1::Loss::Truncated => Some(Loss::Truncated),
        v1::Loss::Corrupted => Some(Loss::Corrupted),
    })
}

impl From<Loss> for v1::Loss {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Moved => Self::Moved,
            Loss::Deleted => Self::Deleted,
            Loss::Truncated => Self::Truncated,
            Loss::Corrupted => Self::Corrupted,
        }
    }
}

fn host_or_empty(host: Option<HostName>) -> String {
    host.map(String::from).unwrap_or_default()
}

impl TryFrom<v1::RestoreWork> for RestoreWork {
    type Error = Error;

    fn try_from(work: v1::RestoreWork) -> Result<Self, Error> {
        let v1::RestoreWork {
            from_host,
            snapshot,
            sources,
            table,
            paths,
            to,
            existing,
            fetch_all,
            plan_only,
        } = work;
        Ok(Self {
            from_host: maybe_parsed("from_host", &from_host)?,
            snapshot: given("snapshot", snapshot)?,
            sources: texts("sources", sources, limits::NAMES)?,
            table: optional("table", table)?,
            paths: texts("paths", paths, limits::NAMES)?,
            to: absolute("to", given("to", to)?)?,
            existing: match word("existing", existing)? {
                v1::Existing::Unspecified => Existing::Refuse,
                v1::Existing::Exchange => Existing::Exchange,
                v1::Existing::Entries => Existing::Entries,
            },
            fetch_all,
            plan_only,
        })
    }
}

/// An absolute path. Whether it is allowed, the agent's own file says.
fn absolute(field: &str, path: String) -> Result<PathBuf, Error> {
    if path.starts_with('/') && !path.contains('\0') {
        Ok(PathBuf::from(path))
    } else {
        Err(Error::invalid(field, path, "an absolute path is expected"))
    }
}

impl From<RestoreWork> for v1::RestoreWork {
    fn from(work: RestoreWork) -> Self {
        let RestoreWork {
            from_host,
            snapshot,
            sources,
            table,
            paths,
            to,
            existing,
            fetch_all,
            plan_only,
        } = work;
        let existing = match existing {
            Existing::Refuse => v1::Existing::Unspecified,
            Existing::Exchange => v1::Existing::Exchange,
            Existing::Entries => v1::Existing::Entries,
        };
        Self {
            from_host: host_or_empty(from_host),
            snapshot,
            sources,
            table: or_empty(table),
            paths,
            to: to.to_string_lossy().into_owned(),
            existing: existing.into(),
            fetch_all,
            plan_only,
        }
    }
}

impl TryFrom<v1::CheckWork> for CheckWork {
    type Error = Error;

    fn try_from(work: v1::CheckWork) -> Result<Self, Error> {
        use v1::CheckKind as Wire;
        let v1::CheckWork { kind, sources } = work;
        let kind = match word("kind", kind)? {
            Wire::Unspecified => None,
            Wire::VectorDb => Some(CheckKind::VectorDb),
            Wire::AuditLog => Some(CheckKind::AuditLog),
            Wire::DrIntegrity => Some(CheckKind::DrIntegrity),
        };
        Ok(Self {
            kind: required("kind", kind)?,
            sources: texts("sources", sources, limits::NAMES)?,
        })
    }
}

impl From<CheckWork> for v1::CheckWork {
    fn from(work: CheckWork) -> Self {
        let CheckWork { kind, sources } = work;
        let kind = match kind {
            CheckKind::VectorDb => v1::CheckKind::VectorDb,
            CheckKind::AuditLog => v1::CheckKind::AuditLog,
            CheckKind::DrIntegrity => v1::CheckKind::DrIntegrity,
        };
        Self {
            kind: kind.into(),
            sources,
        }
    }
}
