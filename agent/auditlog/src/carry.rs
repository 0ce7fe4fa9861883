//! Segments that the host has rotated away stay in snapshots for a while, or rotation would age them out of those
//! too.
//!
//! Who a segment is, is told by its first line ([`SegmentState::id`]), so this needs no second reading.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::capture::Captured;
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

/// What to carry over from the previous snapshot, oldest first: what was on the host or carried then, is not in
/// `captured`, and has been gone for less than `keep_for` at `now`.
pub fn plan(
    previous: &LogState,
    captured: &Captured,
    now: Timestamp,
    keep_for: SignedDuration,
) -> Vec<Carried> {
    let here = |segment: &SegmentState| captured.segments.iter().any(|other| other.id == segment.id);
    let carried = previous.carried.iter().map(|carried| Carried {
        name: carried.name.clone(),
        from: carried.name.clone(),
        since: carried.since,
        segment: carried.segment.clone(),
    });
    let gone = previous
        .segments
        .iter()
        .filter(|segment| segment.len > 0)
        .map(|segment| Carried {
            name: name(segment),
            from: segment.name.clone(),
            since: now,
            segment: segment.clone(),
        });
    carried
        .chain(gone)
        .filter(|carried| !here(&carried.segment) && now.duration_since(carried.since) < keep_for)
        .collect()
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
        let state = || {
            let captured = capture(&options).unwrap();
            let facts = captured
                .verify(&VerifyOptions::default(), None, &CancellationToken::new())
                .unwrap();
            (facts.state(), captured)
        };
        let day = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        let week = SignedDuration::from_hours(7 * 24);
        let (first, captured) = state();
        assert_eq!(plan(&first, &captured, day(1), week), []);

        std::fs::rename(path("audit.log"), path("audit.log.1")).unwrap();
        fixture::append(&path("audit.log"), &fixture::joined(&lines[20..]));
        let (mut second, captured) = state();
        second.carried = plan(&first, &captured, day(2), week);
        assert_eq!(second.carried.len(), 1);
        assert_eq!(second.carried[0].from, "audit.log.1");
        assert_eq!(second.carried[0].segment.records, 10);

        let later = plan(&second, &captured, day(8), week);
        assert_eq!(later.len(), 1);
        assert_eq!(
            (&later[0].from, later[0].since),
            (&second.carried[0].name, day(2))
        );
        assert_eq!(plan(&second, &captured, day(9), week), []);
    }
}
