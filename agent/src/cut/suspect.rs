//! Cuts that are not to be trusted: empty, shrunk to less than half, or of something else than before.
//!
//! A suspect cut is kept and alarmed, but never becomes `latest`: a replaced host or a wiped folder must not push
//! the good snapshots out. The first cut of a replaced host must go on from the one before in every table and every
//! record. Whoever looked and finds the data right takes one that is accepted: later cuts are compared with that.

use std::collections::BTreeSet;

use crate::stamp::{LanceStamp, LogStamp, Stamp};

/// Who took the cut before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// This machine, or nobody, or one that did not say.
    Same,
    /// Another one: the host was built anew, or its state folder was lost. What it has may be old, or somebody else's.
    Other,
}

/// Why a source's cut is suspect beside the cut before it, if it is.
pub fn suspect(before: Option<&Stamp>, now: &Stamp, machine: Machine) -> Option<String> {
    match (before, now) {
        (Some(Stamp::Lancedb(before)), Stamp::Lancedb(now)) => {
            database(Some(before), now).or_else(|| match machine {
                Machine::Same => None,
                Machine::Other => older(before, now),
            })
        }
        (_, Stamp::Lancedb(now)) => database(None, now),
        // Records that were captured are compared whoever captured them.
        (_, Stamp::AuditLog(now)) => log(now),
    }
}

/// What a database of another machine lacks to go on from the one before. Versions of a table only ever grow, so that a
/// lower one is an older state, or another table of the same name.
fn older(before: &LanceStamp, now: &LanceStamp) -> Option<String> {
    let lacks = before.tables.iter().find_map(|table| {
        match now.tables.iter().find(|found| found.path == table.path) {
            None => Some(format!(
                "table {} of the snapshot before is not there",
                table.path
            )),
            Some(found) if found.version < table.version => Some(format!(
                "table {} is at version {}, and the snapshot before has {}",
                table.path, found.version, table.version
            )),
            Some(_) => None,
        }
    })?;
    Some(format!(
        "this is the first snapshot of another machine, and {lacks}"
    ))
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
    // A table that is taken whole tells no rows: nothing is known of it, so nothing has gone.
    let unknown = |path: &str| {
        now.tables
            .iter()
            .any(|table| table.path == path && table.rows.is_none())
    };
    let known = before.tables.iter().filter(|table| !unknown(&table.path));
    let (rows_before, rows) = (known.filter_map(|table| table.rows).sum::<u64>(), now.rows());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::testing::{database, table};

    #[test]
    fn what_is_lost_is_suspect_and_what_is_unknown_is_not() {
        let before = database(vec![
            table("a.lance", 7, Some(900)),
            table("b.lance", 3, Some(10)),
        ]);
        let judged = |now: Vec<dr_lance::TableStamp>| suspect(Some(&before), &database(now), Machine::Same);
        assert_eq!(judged(vec![table("a.lance", 8, Some(500))]), None);
        let shrunk = judged(vec![table("a.lance", 8, Some(20)), table("b.lance", 3, Some(10))]);
        assert_eq!(shrunk.as_deref(), Some("30 rows are left of 910"));
        assert_eq!(
            judged(vec![table("a.lance", 8, None), table("b.lance", 3, Some(10))]),
            None
        );
        let hidden = judged(vec![table("a.lance", 8, None), table("b.lance", 4, Some(1))]);
        assert_eq!(hidden.as_deref(), Some("1 rows are left of 10"));
        assert!(
            judged(vec![table("c.lance", 1, Some(900))]).is_some(),
            "another database"
        );
        assert!(judged(Vec::new()).is_some(), "an empty one");
    }
}
