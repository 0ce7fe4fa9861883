//! The fragments of a table while it is scanned: what is known of each, and where it came from.

use std::collections::{BTreeSet, HashMap};

use dr_probe_wire::measure::{Content, Digest, FragmentDigest};
use futures::StreamExt;
use lance::Dataset;
use lance_table::format::Fragment;

use crate::conserved::{self, Conserved, Sides, first_file};
use crate::deleted::Deleted;
use crate::digest::ByFragment;
use crate::fragments::{Known, key, undeleted};

use super::Error;

/// All fragments of a version.
pub(super) struct Table<'a> {
    fragments: Vec<Held<'a>>,
}

/// One fragment, as far as it is known.
struct Held<'a> {
    fragment: &'a Fragment,
    /// The rows that it has.
    live: Option<Digest>,
    /// The same with those that were deleted; for fragments of which rows were deleted.
    whole: Option<Digest>,
}

impl<'a> Table<'a> {
    /// What an earlier measurement says of this version's fragments.
    pub(super) fn new(dataset: &'a Dataset, known: &Known<'_>) -> Self {
        let held = |fragment| Held {
            fragment,
            live: known.of(fragment).cloned(),
            whole: undeleted(fragment).and_then(|whole| known.of(&whole).cloned()),
        };
        Self {
            fragments: dataset.fragments().iter().map(held).collect(),
        }
    }

    /// Where only the whole is known, subtracts what is deleted by now; gives how many rows were read for it.
    pub(super) async fn subtract(
        &mut self,
        deleted: &Deleted<'_>,
        threads: usize,
        notes: &mut Vec<String>,
    ) -> u64 {
        let wanted = |held: &Held<'_>| held.live.is_none() && held.whole.is_some();
        let mut rows = 0;
        for (at, gone) in self.deleted(deleted, wanted, threads, notes).await {
            rows += gone.rows;
            let held = &mut self.fragments[at];
            // A whole that does not hold what was deleted of it is no whole: the fragment is read.
            held.live = held.whole.as_ref().and_then(|whole| whole.without(&gone));
        }
        rows
    }

    /// Fragments whose rows are still to be read.
    pub(super) fn unread(&self) -> Vec<Fragment> {
        let unread = self.fragments.iter().filter(|held| held.live.is_none());
        unread.map(|held| held.fragment.clone()).collect()
    }

    /// Takes what was read, by fragment; one without any row has an empty digest.
    pub(super) fn take(&mut self, read: &mut ByFragment) {
        for held in self.fragments.iter_mut().filter(|held| held.live.is_none()) {
            held.live = Some(read.remove(&held.fragment.id).unwrap_or_default());
        }
    }

    /// Of those that were read, adds what is deleted, so that the next measurement can subtract; gives how many rows
    /// were read for it.
    pub(super) async fn add_deleted(
        &mut self,
        deleted: &Deleted<'_>,
        read: &[Fragment],
        threads: usize,
        notes: &mut Vec<String>,
    ) -> u64 {
        let read: BTreeSet<u64> = read.iter().map(|fragment| fragment.id).collect();
        let mut rows = 0;
        let wanted = |held: &Held<'_>| read.contains(&held.fragment.id);
        for (at, gone) in self.deleted(deleted, wanted, threads, notes).await {
            rows += gone.rows;
            let held = &mut self.fragments[at];
            let mut whole = held.live.clone().unwrap_or_default();
            whole.add(&gone);
            held.whole = Some(whole);
        }
        rows
    }

    /// Digests of the deleted rows of some fragments. Rows that can not be read are noted: the table is not worse for
    /// them, and what could have been known by them is read instead.
    async fn deleted(
        &self,
        deleted: &Deleted<'_>,
        wanted: impl Fn(&Held<'_>) -> bool,
        threads: usize,
        notes: &mut Vec<String>,
    ) -> Vec<(usize, Digest)> {
        let wanted = |(_, held): &(usize, &Held<'a>)| wanted(held) && deleted.is_worth_it(held.fragment);
        let digest = |(at, held): (usize, &Held<'a>)| {
            let fragment = held.fragment;
            async move { (at, fragment.id, deleted.digest(fragment).await) }
        };
        let work: Vec<_> = self
            .fragments
            .iter()
            .enumerate()
            .filter(wanted)
            .map(digest)
            .collect();
        let done: Vec<_> = futures::stream::iter(work)
            .buffer_unordered(threads.max(1))
            .collect()
            .await;
        let mut digests = Vec::new();
        for (at, id, digest) in done {
            match digest {
                Ok(digest) => digests.push((at, digest)),
                Err(error) => notes.push(unreadable(id, &error)),
            }
        }
        digests
    }

    /// Judges the rewrites since the earlier measurement, if there was one.
    pub(super) async fn conserved(&self, dataset: &Dataset, known: &Known<'_>) -> lance::Result<Conserved> {
        if known.is_empty() {
            return Ok(Conserved::default());
        }
        let by_file: HashMap<&str, &Held<'_>> = self
            .fragments
            .iter()
            .filter_map(|held| Some((first_file(held.fragment)?, held)))
            .collect();
        let now = |written: &Fragment| {
            let held = by_file.get(first_file(written)?)?;
            let now = if held.fragment.deletion_file.is_some() {
                &held.whole
            } else {
                &held.live
            };
            now.clone().filter(|_| is_as_written(held.fragment, written))
        };
        let sides = Sides {
            before: &|fragment| known.of(fragment).cloned(),
            now: &now,
        };
        conserved::judge(dataset, &sides).await
    }

    /// The table's digest and those of its fragments.
    pub(super) fn content(self, columns: &[String]) -> Content {
        let mut content = Content::default();
        for held in self.fragments {
            let digest = held.live.unwrap_or_default();
            content.digest.add(&digest);
            let known = |fragment: &Fragment, digest| FragmentDigest {
                key: key(fragment, columns),
                digest,
            };
            content.fragments.push(known(held.fragment, digest));
            let whole = undeleted(held.fragment).zip(held.whole);
            content
                .undeleted
                .extend(whole.map(|(fragment, digest)| known(&fragment, digest)));
        }
        content
    }
}

/// Whether nothing but deletions came over a fragment since it was written.
fn is_as_written(now: &Fragment, written: &Fragment) -> bool {
    let same_files = now.files.len() == written.files.len()
        && now.files.iter().zip(&written.files).all(|(now, then)| {
            (&now.path, &now.fields, now.base_id) == (&then.path, &then.fields, then.base_id)
        });
    same_files && now.overlays == written.overlays
}

fn unreadable(fragment: u64, error: &Error) -> String {
    format!("the deleted rows of fragment {fragment} can not be read: {error}")
}
