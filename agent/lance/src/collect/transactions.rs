//! Transactions that are no part of the cut: what the commits between two snapshots say they did.
//!
//! A manifest names its own transaction alone, and the versions between two cuts are not taken. What a rewrite
//! between them did to rows can be judged only while its transaction file still lies in the table's folder. It is
//! evidence, not data: nothing is lost where it is gone, so what can not be read is left out.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::layout::{self, TRANSACTIONS};
use crate::pins::{Attributes, Pin};

use super::table::TableState;
use super::{Collected, PinnedEntry};

/// The newest of each table that are looked at.
const PER_TABLE: usize = 256;
/// The largest that is read: it names the fragments that a commit touched, some 100 bytes each.
const LARGEST: u64 = 1 << 20;
/// The most that is held in memory for a database, in bytes.
const MEMORY: u64 = 16 << 20;

impl Collected {
    /// Transaction files that lie in the tables' folders now and are not in the cut, read into memory: of each table
    /// the newest, of the database no more than 16 MiB. Blocks.
    pub fn transactions(&self) -> Vec<Arc<PinnedEntry>> {
        let mut room = MEMORY;
        let mut found = Vec::new();
        for state in self.states.values() {
            for name in newest(state) {
                let Some(entry) = read(state, &name, room) else {
                    continue;
                };
                room -= entry.len();
                found.push(entry);
            }
        }
        found
    }
}

/// Names of a table's newest transaction files, the newest first.
fn newest(state: &TableState) -> Vec<String> {
    let listed = state
        .folder
        .sub(TRANSACTIONS)
        .and_then(|folder| folder.list())
        .unwrap_or_default();
    let mut files: Vec<(u64, String)> = listed
        .into_iter()
        .filter(|item| item.kind == FileType::RegularFile)
        .filter_map(|item| Some((layout::transaction_version(&item.name)?, item.name)))
        .collect();
    files.sort_unstable_by(|left, right| right.cmp(left));
    files.truncate(PER_TABLE);
    files.into_iter().map(|(_, name)| name).collect()
}

fn read(state: &TableState, name: &str, room: u64) -> Option<Arc<PinnedEntry>> {
    let below = format!("{TRANSACTIONS}/{name}");
    let path = format!("{}/{below}", state.stamp.path);
    if state.entries.contains_key(&path) {
        return None;
    }
    let (file, stat) = state.folder.file(&below).ok()?;
    let mut attributes = Attributes::of(&stat, Vec::new());
    let limit = LARGEST.min(room);
    let bytes = whole(&file, attributes.len, limit)?;
    attributes.len = bytes.len() as u64;
    Some(PinnedEntry::held(
        path,
        attributes.len,
        true,
        attributes,
        Pin::memory(bytes),
    ))
}

/// The file's bytes, unless they are more than `limit`.
fn whole(file: &File, len: u64, limit: u64) -> Option<Vec<u8>> {
    if len > limit {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
