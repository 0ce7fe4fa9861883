//! Databases: heads readable, closures complete, branches safe, orphans counted.

use dr_lance::Exclusion;
use dr_lance::check::{CheckOptions, LiveCheck, TableCheck, quick};
use dr_proto::model::{Finding, Verdict};
use tokio_util::sync::CancellationToken;

use super::{Checked, MOST, limited};
use crate::config::{ResolvedSource, Size};

/// Looks at a database. Blocking.
pub fn check(source: &ResolvedSource, cancel: &CancellationToken) -> Checked {
    let options = CheckOptions {
        cancel: cancel.clone(),
        ..CheckOptions::default()
    };
    match quick(&source.path, &options) {
        Ok(live) => judged(&source.name, &live),
        Err(error) => Checked::unasked(&source.name, &error),
    }
}

fn judged(name: &str, live: &LiveCheck) -> Checked {
    // An empty folder where a database should be is a loss that every other question would pass over.
    if live.tables.is_empty() {
        let mut checked = Checked::new(name, Verdict::Inconclusive, "no table");
        let what = "the folder holds no table: is it the right one, and is it mounted?".to_owned();
        checked.findings.push(Finding {
            subject: name.to_owned(),
            what,
        });
        return checked;
    }
    let linked = linked(live);
    let verdict = match (live.is_healthy(), linked.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Inconclusive,
        (true, true) => Verdict::Passed,
    };
    let mut checked = Checked::new(name, verdict, figure(live));
    checked.findings = limited(live.tables.iter().flat_map(damage).chain(linked), MOST);
    checked.warnings = limited(live.tables.iter().flat_map(warnings), MOST);
    checked
}

/// Tables that an application finds and that were not looked at.
fn linked(live: &LiveCheck) -> Vec<Finding> {
    let linked = live
        .other
        .iter()
        .filter(|other| other.reason == Exclusion::LinkedTable);
    let said = linked.map(|other| Finding {
        subject: other.path.clone(),
        what: other.reason.to_string(),
    });
    said.collect()
}

fn figure(live: &LiveCheck) -> String {
    let rows: u64 = live.tables.iter().filter_map(|table| table.stamp.rows).sum();
    let bytes: u64 = live.tables.iter().map(|table| table.referenced.bytes).sum();
    let orphans: u64 = live
        .tables
        .iter()
        .filter_map(|table| table.orphans)
        .map(|orphans| orphans.bytes)
        .sum();
    let count = live.tables.len();
    let plural = if count == 1 { "" } else { "s" };
    format!(
        "{count} table{plural}, {rows} rows, {} in use, {} orphaned",
        Size(bytes),
        Size(orphans)
    )
}

fn damage(table: &TableCheck) -> impl Iterator<Item = Finding> + '_ {
    let repair = table
        .newest_whole
        .map(|version| format!("; version {version} is whole: roll back to it"));
    table.damage.iter().map(move |damage| Finding {
        subject: damage.table.clone(),
        what: format!("{damage}{}", repair.as_deref().unwrap_or_default()),
    })
}

fn warnings(table: &TableCheck) -> impl Iterator<Item = Finding> + '_ {
    table.warnings.iter().map(|warning| Finding {
        subject: table.stamp.name.clone(),
        what: warning.to_string(),
    })
}
