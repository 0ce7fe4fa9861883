//! Whether the commits since the measurement before, as far as they only rewrote rows, kept every one of them.
//!
//! # Overview
//! Compaction moves rows from some fragments to others; the sums of both sides must be the same. Transactions say
//! which went where: that of the version itself, and those that the tree still holds of commits before it. The
//! measurement before says what the old fragments held, this one what the new ones hold. Where a later rewrite took the
//! rows on, the sum goes with them.
//!
//! A group can be judged only if all its old fragments were measured as they were rewritten, and its new ones are
//! still what the rewrite made of them, deletions aside. A transaction whose commit failed names files that no version
//! has, so it is never judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dr_probe_wire::measure::Digest;
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance_table::format::{Fragment, pb};
use lance_table::transaction::{Operation, RewriteGroup, Transaction};
use prost::Message;

/// The most transactions that are read; a tree offers the newest.
const TRANSACTIONS: usize = 512;

/// What the measurement before and this one say of fragments.
pub struct Sides<'a> {
    /// What a fragment held, as it was measured before.
    pub before: &'a (dyn Fn(&Fragment) -> Option<Digest> + Sync),
    /// What a fragment that a rewrite wrote holds now, rows that were deleted since included.
    pub now: &'a (dyn Fn(&Fragment) -> Option<Digest> + Sync),
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Conserved {
    /// Groups of rewritten fragments that could be judged.
    pub judged: u64,
    /// What is wrong with each whose rows are not what they were.
    pub broken: Vec<String>,
}

/// Judges every rewrite that can be judged.
///
/// # Errors
/// When a transaction is there and can not be read.
pub async fn judge(dataset: &Dataset, sides: &Sides<'_>) -> lance::Result<Conserved> {
    let mut passed_on = HashMap::new();
    let mut conserved = Conserved::default();
    for group in rewrites(dataset).await? {
        let old = |fragment: &Fragment| {
            let passed_on = || passed_on.get(first_file(fragment)?).cloned();
            (sides.before)(fragment).or_else(|| passed_on().filter(|_| fragment.deletion_file.is_none()))
        };
        let Some(before) = sum(group.old_fragments.iter().map(old)) else {
            continue;
        };
        if let Some(now) = sum(group.new_fragments.iter().map(sides.now)) {
            conserved.judged += 1;
            conserved.broken.extend(broken(&group, &before, &now));
        } else if let [only] = &group.new_fragments[..] {
            passed_on.extend(first_file(only).map(|file| (file.to_owned(), before)));
        }
    }
    Ok(conserved)
}

/// The rewrites among the transactions at hand, in the order of the versions that they were made upon.
async fn rewrites(dataset: &Dataset) -> lance::Result<Vec<RewriteGroup>> {
    let mut transactions: BTreeMap<(u64, String), Transaction> = BTreeMap::new();
    let mut add = |transaction: Transaction| {
        transactions.insert((transaction.read_version, transaction.uuid.clone()), transaction);
    };
    dataset.read_transaction().await?.map(&mut add);
    let store = dataset.object_store(None).await?;
    let files = store.list(Some(dataset.transactions_dir()));
    let files: Vec<_> = files.take(TRANSACTIONS).try_collect().await?;
    for file in files {
        let bytes = store.read_one_all(&file.location).await?;
        add(pb::Transaction::decode(bytes)?.try_into()?);
    }
    let groups = transactions
        .into_values()
        .filter_map(|transaction| match transaction.operation {
            Operation::Rewrite { groups, .. } => Some(groups),
            _ => None,
        });
    Ok(groups.flatten().collect())
}

/// What is wrong, if anything is.
fn broken(group: &RewriteGroup, before: &Digest, now: &Digest) -> Option<String> {
    let column = |digest: &Digest, name: &String| digest.columns.get(name).copied().unwrap_or_default();
    let names: BTreeSet<&String> = before.columns.keys().chain(now.columns.keys()).collect();
    let differ: Vec<&str> = names
        .into_iter()
        .filter(|name| column(before, name) != column(now, name))
        .map(String::as_str)
        .collect();
    let what = if before.rows != now.rows {
        format!("{} rows became {}", before.rows, now.rows)
    } else if before.sum != now.sum || !differ.is_empty() {
        format!(
            "the digest of {} rows changed, in {}",
            now.rows,
            differ.join(", ")
        )
    } else {
        return None;
    };
    let ids: Vec<String> = group
        .old_fragments
        .iter()
        .map(|fragment| fragment.id.to_string())
        .collect();
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
