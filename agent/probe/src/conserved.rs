//! Whether the commit that made a version, if it only rewrote rows, kept every one of them.
//!
//! # Overview
//! Compaction moves rows from some fragments to others; the sums of both sides must be the same. The transaction of
//! the version says which went where, and the measurement before says what the old ones held. A group of which one
//! old fragment was not measured can not be judged, and is not.

use std::collections::{BTreeSet, HashMap};

use dr_probe_wire::measure::Digest;
use lance::Dataset;
use lance_table::format::Fragment;
use lance_table::transaction::{Operation, RewriteGroup};

/// What the measurement before and this one say of fragments.
pub struct Sides<'a> {
    /// The digest of a fragment as it was measured before, by everything that decides its rows.
    pub before: &'a (dyn Fn(&Fragment) -> Option<Digest> + Sync),
    /// Digests of the fragments of this version, by their first data file.
    pub now: HashMap<String, Digest>,
}

/// What is wrong with each group of rewritten fragments whose rows are not what they were.
///
/// # Errors
/// When the transaction is there and can not be read.
pub async fn broken(dataset: &Dataset, sides: &Sides<'_>) -> lance::Result<Vec<String>> {
    let Some(transaction) = dataset.read_transaction().await? else {
        return Ok(Vec::new());
    };
    let Operation::Rewrite { groups, .. } = transaction.operation else {
        return Ok(Vec::new());
    };
    Ok(groups.iter().filter_map(|group| judge(group, sides)).collect())
}

fn judge(group: &RewriteGroup, sides: &Sides<'_>) -> Option<String> {
    let before = sum(group.old_fragments.iter().map(|old| (sides.before)(old)))?;
    let now = |fragment: &Fragment| sides.now.get(first_file(fragment)?).cloned();
    let now = sum(group.new_fragments.iter().map(now))?;
    if before == now {
        return None;
    }
    let ids: Vec<String> = group
        .old_fragments
        .iter()
        .map(|fragment| fragment.id.to_string())
        .collect();
    let what = if before.rows == now.rows {
        let names: BTreeSet<&String> = before.columns.keys().chain(now.columns.keys()).collect();
        let differ = names
            .into_iter()
            .filter(|name| before.columns.get(*name) != now.columns.get(*name));
        let differ: Vec<&str> = differ.map(String::as_str).collect();
        format!(
            "the digest of {} rows changed, in {}",
            now.rows,
            differ.join(", ")
        )
    } else {
        format!("{} rows became {}", before.rows, now.rows)
    };
    Some(format!(
        "a rewrite did not conserve the rows of fragments {}: {what}",
        ids.join(", ")
    ))
}

/// The digest of several fragments together; `None` if one is not known.
fn sum(parts: impl Iterator<Item = Option<Digest>>) -> Option<Digest> {
    let mut sum = Digest::default();
    for part in parts {
        sum.add(&part?);
    }
    Some(sum)
}

/// What tells a fragment before its id is assigned.
pub fn first_file(fragment: &Fragment) -> Option<&str> {
    fragment.files.first().map(|file| file.path.as_str())
}
