//! Cuts that are not to be trusted: empty, shrunk to less than half, or of something else than before.
//!
//! A suspect cut is kept and alarmed, but never becomes `latest`: a replaced host or a wiped folder must not push
//! the good snapshots out.

use std::collections::BTreeSet;

use crate::stamp::{LanceStamp, LogStamp, Stamp};

/// Why a source's cut is suspect beside the cut before it, if it is.
pub fn suspect(before: Option<&Stamp>, now: &Stamp) -> Option<String> {
    match (before, now) {
        (Some(Stamp::Lancedb(before)), Stamp::Lancedb(now)) => database(Some(before), now),
        (_, Stamp::Lancedb(now)) => database(None, now),
        (_, Stamp::AuditLog(now)) => log(now),
    }
}

fn database(before: Option<&LanceStamp>, now: &LanceStamp) -> Option<String> {
    if now.tables.is_empty() {
        return Some("the database holds no table".to_owned());
    }
    let before = before?;
    let names = |stamp: &LanceStamp| -> BTreeSet<String> {
        stamp.tables.iter().map(|table| table.path.clone()).collect()
    };
    let (had, has) = (names(before), names(now));
    if !had.is_empty() && had.is_disjoint(&has) {
        return Some(format!(
            "none of the {} tables of the snapshot before is there any more",
            had.len()
        ));
    }
    if has.len() * 2 < had.len() {
        return Some(format!("{} tables are left of {}", has.len(), had.len()));
    }
    let (rows_before, rows) = (before.rows(), now.rows());
    (rows < rows_before.div_ceil(2)).then(|| format!("{rows} rows are left of {rows_before}"))
}

fn log(now: &LogStamp) -> Option<String> {
    if now.facts.segments.iter().all(|segment| segment.state.len == 0) {
        return Some("the log is empty".to_owned());
    }
    let continuity = &now.facts.continuity;
    continuity.is_broken().then(|| {
        let fates: Vec<String> = continuity.breaks().map(ToString::to_string).collect();
        format!(
            "the log does not continue the snapshot before ({}): {}",
            continuity.standing.name(),
            fates.join("; ")
        )
    })
}
