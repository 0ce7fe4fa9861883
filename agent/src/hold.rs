//! Holds on snapshots: what retention must leave alone, why, and until when.
//!
//! ## Overview
//! A hold is a record of the repository, beside the snapshot that it holds. Several may lie on one snapshot; it is held
//! while one of them stands. Setting one twice holds twice and does no harm; a release ends all of them.
//!
//! ## Crash consistency
//! A hold is one PUT. A release is one PUT for each hold: after a crash in between some of them still stand, and the
//! same release given again ends those.

use std::collections::HashMap;

use dr_proto::model::{HoldInfo, HoldTerms};
use dr_vault::repository::Hold;
use dr_vault::{Repository, SnapshotId};
use jiff::{SignedDuration, Timestamp};

/// The longest that a hold lasts which has an end: a century. What is to stay longer is held until it is released.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 365 * 100);

/// Holds a snapshot from `now` on.
///
/// # Errors
/// The store's.
pub async fn set(
    repository: &Repository,
    snapshot: &SnapshotId,
    terms: &HoldTerms,
    now: Timestamp,
) -> Result<HoldInfo, dr_vault::Error> {
    let hold = Hold {
        reason: terms.reason.clone(),
        created: now,
        until: terms.lasts_seconds.and_then(|seconds| end(now, seconds)),
    };
    repository.put_hold(snapshot, &hold).await?;
    Ok(info(hold))
}

/// When a hold ends that is set at `now`; `None` beyond the end of the calendar.
fn end(now: Timestamp, seconds: u64) -> Option<Timestamp> {
    let lasts = i64::try_from(seconds).map_or(LONGEST, SignedDuration::from_secs);
    now.checked_add(lasts.min(LONGEST)).ok()
}

/// Ends every hold on a snapshot; those that were ended.
///
/// # Errors
/// The store's; what was released until then stays released.
pub async fn release(
    repository: &Repository,
    snapshot: &SnapshotId,
    reason: &str,
) -> Result<Vec<HoldInfo>, dr_vault::Error> {
    let mut ended = Vec::new();
    for (of, hold, object) in repository.holds().await? {
        if of == *snapshot {
            repository.release_hold(&object, Some(reason)).await?;
            ended.push(info(hold));
        }
    }
    ended.sort_by_key(|hold| hold.created);
    Ok(ended)
}

/// What holds each snapshot: of several holds the one that ends last. Those that are over are among them.
///
/// # Errors
/// Damage, or the store's.
pub async fn by_snapshot(repository: &Repository) -> Result<HashMap<SnapshotId, HoldInfo>, dr_vault::Error> {
    let mut held: HashMap<SnapshotId, HoldInfo> = HashMap::new();
    for (snapshot, hold, _) in repository.holds().await? {
        let new = info(hold);
        match held.get_mut(&snapshot) {
            Some(known) if lasts(known) >= lasts(&new) => {}
            Some(known) => *known = new,
            None => {
                held.insert(snapshot, new);
            }
        }
    }
    Ok(held)
}

/// What orders holds: one without an end lasts longest, and of two that end together the newer one is told.
fn lasts(hold: &HoldInfo) -> (Timestamp, Timestamp) {
    (hold.until.unwrap_or(Timestamp::MAX), hold.created)
}

fn info(hold: Hold) -> HoldInfo {
    let Hold {
        reason,
        created,
        until,
    } = hold;
    HoldInfo {
        reason,
        created,
        until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_that_lasts_too_long_for_the_calendar_has_no_end() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a moment");
        let month = end(now, 30 * 86_400).expect("it ends");
        assert_eq!(month, "2026-01-31T00:00:00Z".parse().expect("a moment"));
        let century = end(now, u64::MAX).expect("it ends");
        assert_eq!(century.duration_since(now), LONGEST);
        assert_eq!(end(Timestamp::MAX, 1), None);
    }
}
