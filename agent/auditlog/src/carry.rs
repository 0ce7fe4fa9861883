//! Segments that the host has rotated away stay in snapshots for a while, or rotation would age them out of those
//! too.
//!
//! Who a segment is, is told by its first line ([`SegmentState::id`]), so this needs no second reading.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::facts::LogFacts;
use crate::state::{LogState, SegmentState};

/// Folder of carried segments within a source's files.
pub const FOLDER: &str = "carried";

/// A segment that is no longer on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Where its bytes lie among the source's files of the snapshot that this is planned for.
    pub name: String,
    /// Where they lie in the snapshot before.
    pub from: String,
    /// When it was first not there any more.
    pub since: Timestamp,
    /// What is known of it.
    pub segment: SegmentState,
}

/// What to carry over from the previous snapshot, oldest first: what was on the host or carried then, is not, or not
/// all, in `now` any more, and has been gone for less than `keep_for` at `at`.
///
/// `now` must have been verified against `previous`: what became of its segments is taken from there.
pub fn plan(previous: &LogState, now: &LogFacts, at: Timestamp, keep_for: SignedDuration) -> Vec<Carried> {
    let gone = previous
        .segments
        .iter()
        .filter(|segment| segment.len > 0 && !is_here(segment, now))
        .map(|segment| Carried {
            name: name(segment),
            from: segment.name.clone(),
            since: at,
            segment: segment.clone(),
        });
    let mut carried: Vec<Carried> = previous
        .carried
        .iter()
        .filter(|carried| !is_again(&carried.segment, now))
        .map(|carried| Carried {
            from: carried.name.clone(),
            ..carried.clone()
        })
        .collect();
    // One that came back and went again is carried as it was last.
    for gone in gone {
        carried.retain(|carried| carried.name != gone.name);
        carried.push(gone);
    }
    carried.retain(|carried| at.duration_since(carried.since) < keep_for);
    carried
}

/// Joins of carried and present segments that the chain does not bridge: what was written between the last snapshot
/// of a segment and its removal from the host. Each is told by the names of the two.
pub fn gaps(carried: &[Carried], now: &LogFacts) -> Vec<(String, String)> {
    let number = carried.len();
    let carried = carried.iter().map(|carried| &carried.segment);
    let here = now.segments.iter().map(|segment| &segment.state);
    let all: Vec<&SegmentState> = carried.chain(here).filter(|segment| segment.len > 0).collect();
    let torn = |pair: &[&SegmentState]| match (&pair[0].head, &pair[1].first_previous) {
        (Some(head), Some(previous)) => !chain::same(head, previous),
        _ => false,
    };
    all.windows(2)
        .take(number)
        .filter(|pair| torn(pair))
        .map(|pair| (pair[0].name.clone(), pair[1].name.clone()))
        .collect()
}

/// Whether all of a segment of the previous snapshot is still on the host.
fn is_here(segment: &SegmentState, now: &LogFacts) -> bool {
    now.continuity.segments.iter().any(|fate| {
        fate.segment == segment.name
            && fate.id == segment.id
            && fate.now.is_some()
            && !fate.fate.standing().is_broken()
    })
}

/// Whether a segment that had gone is back, at least as long as it was.
fn is_again(segment: &SegmentState, now: &LogFacts) -> bool {
    let mut here = now.segments.iter().map(|here| &here.state);
    here.any(|here| here.id == segment.id && here.len >= segment.len)
}

/// A name that no segment on the host has, and that stays the same from snapshot to snapshot.
fn name(segment: &SegmentState) -> String {
    let file = segment.name.rsplit('/').next().unwrap_or(&segment.name);
    format!("{FOLDER}/{}-{file}", segment.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::capture;
    use crate::fixture;
    use crate::options::{LogOptions, VerifyOptions};
    use tokio_util::sync::CancellationToken;

    #[test]
    fn a_segment_that_was_rotated_away_is_carried_for_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let lines = fixture::chained(0, 30, "");
        fixture::append(&path("audit.log.1"), &fixture::joined(&lines[..10]));
        fixture::append(&path("audit.log"), &fixture::joined(&lines[10..20]));
        let options = LogOptions::new(path("audit.log")).rotated("audit.log.*");
        let verified = |previous: Option<&LogState>| {
            let captured = capture(&options).unwrap();
            captured
                .verify(&VerifyOptions::default(), previous, &CancellationToken::new())
                .unwrap()
        };
        let day = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        let week = SignedDuration::from_hours(7 * 24);
        let first = verified(None).state();
        assert_eq!(plan(&first, &verified(Some(&first)), day(1), week), []);

        std::fs::rename(path("audit.log"), path("audit.log.1")).unwrap();
        fixture::append(&path("audit.log"), &fixture::joined(&lines[20..]));
        let now = verified(Some(&first));
        let mut second = now.state();
        second.carried = plan(&first, &now, day(2), week);
        assert_eq!(second.carried.len(), 1);
        assert_eq!(second.carried[0].from, "audit.log.1");
        assert_eq!(second.carried[0].segment.records, 10);
        assert_eq!(gaps(&second.carried, &now), []);

        let now = verified(Some(&second));
        let later = plan(&second, &now, day(8), week);
        assert_eq!(later.len(), 1);
        assert_eq!(
            (&later[0].from, later[0].since),
            (&second.carried[0].name, day(2))
        );
        assert_eq!(plan(&second, &now, day(9), week), []);
    }

    #[test]
    fn what_was_written_between_a_snapshot_and_the_removal_is_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let lines = fixture::chained(0, 30, "");
        let options = LogOptions::new(&path).rotated("audit.log.*");
        let chained = VerifyOptions {
            chain: Some(crate::ChainConfig::default()),
            ..VerifyOptions::default()
        };
        let verified = |previous: Option<&LogState>| {
            let captured = capture(&options).unwrap();
            captured
                .verify(&chained, previous, &CancellationToken::new())
                .unwrap()
        };
        fixture::append(&path, &fixture::joined(&lines[..10]));
        let first = verified(None).state();
        // Ten more records, then rotated, removed and begun anew, all between two snapshots.
        std::fs::remove_file(&path).unwrap();
        fixture::append(&path, &fixture::joined(&lines[20..]));
        let now = verified(Some(&first));
        let carried = plan(
            &first,
            &now,
            Timestamp::from_second(1).unwrap(),
            SignedDuration::from_hours(1),
        );
        assert_eq!(carried.len(), 1, "{:?}", now.continuity);
        let gap = ("audit.log".to_owned(), "audit.log".to_owned());
        assert_eq!(gaps(&carried, &now), [gap]);
    }
}
