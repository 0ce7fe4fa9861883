use std::collections::BTreeMap;

use super::*;
use crate::header::HEADER_LEN;
use crate::pack::FooterEntry;

/// Spreads a number over an id like a hash does.
fn id(n: u64) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn index_id(n: u64) -> IndexId {
    IndexId::from_bytes(*blake3::hash(&[b"index".as_slice(), &n.to_le_bytes()].concat()).as_bytes())
}

/// A pack that holds the chunks of these numbers.
fn pack(chunks: impl IntoIterator<Item = u64>) -> Contents {
    let mut offset = HEADER_LEN as u32;
    let mut entries = Vec::new();
    for n in chunks {
        let raw_len = 100 + (n % 50) as u32;
        entries.push(FooterEntry {
            chunk: id(n),
            offset,
            sealed_len: raw_len + 17,
            raw_len,
        });
        offset += raw_len + 17;
    }
    let first = entries.first().map_or([0; 32], |e| *e.chunk.as_bytes());
    Contents {
        pack: PackId::from_bytes(first),
        salt: first,
        size: offset + 100,
        entries,
    }
}

fn open(dir: &Path) -> LocalIndex {
    LocalIndex::open(dir).unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect()
}

#[test]
fn finds_what_was_added_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index
        .add(&[(index_id(1), vec![pack(0..500), pack(500..777)])])
        .unwrap();
    index.add(&[(index_id(2), vec![pack(1000..1003)])]).unwrap();
    for index in [&index, &open(dir.path())] {
        for n in (0..777).chain(1000..1003) {
            let [found] = index.locate(&id(n)).unwrap()[..] else {
                panic!("{n}")
            };
            assert_eq!(found.raw_len, 100 + (n % 50) as u32);
            assert!(index.contains(&id(n), &mut Vec::new()).unwrap());
        }
        for n in (777..1000).chain(1003..2000) {
            assert!(index.locate(&id(n)).unwrap().is_empty());
        }
        let stats = index.stats().unwrap();
        assert_eq!((stats.objects, stats.packs, stats.chunks), (2, 3, 780));
    }
    let at = index.locate(&id(501)).unwrap()[0];
    assert_eq!(
        (at.pack, at.ordinal),
        (PackId::from_bytes(*id(500).as_bytes()), 1)
    );
}

#[test]
fn an_empty_index_answers() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    assert!(index.locate(&id(1)).unwrap().is_empty());
    index.add(&[(index_id(1), Vec::new())]).unwrap();
    assert!(index.locate(&id(1)).unwrap().is_empty());
    assert!(index.sources().contains(&index_id(1)));
}

#[test]
fn every_copy_of_a_chunk_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for n in 0..10 {
        index.add(&[(index_id(n), vec![pack([1000 + n, 5, 6])])]).unwrap();
    }
    assert_eq!(index.locate(&id(5)).unwrap().len(), 10);
    // More copies than a page holds.
    let many = (0..200).map(|n| pack([10_000 + n, 7])).collect();
    index.add(&[(index_id(100), many)]).unwrap();
    assert_eq!(index.locate(&id(7)).unwrap().len(), 200);
}

#[test]
fn many_segments_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for n in 0..40 {
        index
            .add(&[(index_id(n), vec![pack(n * 100..n * 100 + 100)])])
            .unwrap();
    }
    assert!(segments(dir.path()).len() < TIER, "{:?}", segments(dir.path()));
    assert_eq!(index.sources().len(), 40);
    for n in 0..4000 {
        assert_eq!(index.locate(&id(n)).unwrap().len(), 1);
    }
}

#[test]
fn what_comes_from_a_vanished_source_goes() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for n in 0..9 {
        index
            .add(&[(index_id(n), vec![pack(n * 100..n * 100 + 100)])])
            .unwrap();
    }
    index.remove(&HashSet::from([index_id(3), index_id(8)])).unwrap();
    for index in [&index, &open(dir.path())] {
        for n in 0..900 {
            let gone = matches!(n / 100, 3 | 8);
            assert_eq!(index.locate(&id(n)).unwrap().is_empty(), gone, "{n}");
        }
        assert_eq!(index.sources().len(), 7);
        assert_eq!(index.stats().unwrap().packs, 7);
    }
}

#[test]
fn what_two_processes_did_twice_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let source = (index_id(1), vec![pack(0..100)]);
    one.add(std::slice::from_ref(&source)).unwrap();
    two.add(std::slice::from_ref(&source)).unwrap();
    assert_eq!(segments(dir.path()).len(), 2);
    let three = open(dir.path());
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(three.stats().unwrap().chunks, 100);
    // The others go on reading what they have opened.
    assert_eq!(one.locate(&id(5)).unwrap().len(), 1);
    assert_eq!(two.locate(&id(5)).unwrap().len(), 1);
}

#[test]
fn every_flip_of_a_segment_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).add(&[(index_id(1), vec![pack(0..70)])]).unwrap();
    let right = std::fs::read(&segments(dir.path())[0]).unwrap();
    for n in 0..right.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut wrong = right.clone();
        wrong[n] ^= 1 << (n % 8);
        std::fs::write(dir.path().join("x.segment"), &wrong).unwrap();
        let index = open(dir.path());
        let all: Vec<_> = (0..70).map(|n| index.locate(&id(n)).unwrap()).collect();
        // Either damage was met and the segment dropped, or everything is right.
        let dropped = index.take_incomplete() || index.sources().is_empty();
        assert!(dropped || all.iter().all(|found| found.len() == 1), "byte {n}");
        for found in all.iter().flatten() {
            assert_eq!(found.pack, PackId::from_bytes(*id(0).as_bytes()));
        }
    }
}

#[test]
fn unfinished_files_are_swept_and_those_at_work_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("dead.tmp"), b"half").unwrap();
    let writer = SegmentWriter::create(dir.path()).unwrap();
    open(dir.path());
    let left = segments(dir.path());
    assert_eq!(left.len(), 1, "{left:?}");
    drop(writer);
    assert!(segments(dir.path()).is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

    /// Against a map, under any sequence of additions and removals.
    #[test]
    fn behaves_like_a_map(
        steps in proptest::collection::vec((0_u64..30, 0_u64..400, 1_u64..80, proptest::bool::weighted(0.2)), 1..25),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = open(dir.path());
        let mut model: BTreeMap<u64, std::ops::Range<u64>> = BTreeMap::new();
        for (source, first, count, reopen) in steps {
            if model.remove(&source).is_some() {
                index.remove(&HashSet::from([index_id(source)])).unwrap();
            } else {
                index.add(&[(index_id(source), vec![pack(first..first + count)])]).unwrap();
                model.insert(source, first..first + count);
            }
            if reopen {
                index = open(dir.path());
            }
        }
        for n in 0..500 {
            let expected = model.values().any(|range| range.contains(&n));
            proptest::prop_assert_eq!(index.contains(&id(n), &mut Vec::new()).unwrap(), expected);
        }
    }
}

/// Peak resident memory of this process, from the kernel's own count.
pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn grow(chunks: u64) {
    const PER_PACK: u64 = 1024;
    const PER_OBJECT: u64 = 64 * PER_PACK;
    let dir = tempfile::tempdir_in(std::env::var_os("DR_BIG_DIR").unwrap_or_else(|| "/tmp".into())).unwrap();
    let index = open(dir.path());
    let before = peak_memory();
    for object in 0..chunks / PER_OBJECT {
        let first = object * PER_OBJECT;
        let packs = (0..64)
            .map(|p| pack(first + p * PER_PACK..first + (p + 1) * PER_PACK))
            .collect();
        index.add(&[(index_id(object), packs)]).unwrap();
    }
    let step = (chunks / 10_000).max(1);
    for n in (0..chunks / PER_OBJECT * PER_OBJECT).step_by(step as usize) {
        assert!(index.contains(&id(n), &mut Vec::new()).unwrap(), "{n}");
        assert!(!index.contains(&id(n + chunks), &mut Vec::new()).unwrap());
    }
    let grown = peak_memory().saturating_sub(before);
    let held = index
        .segments()
        .iter()
        .map(|s| s.pages() as u64 * 12)
        .sum::<u64>();
    println!(
        "{chunks} chunks: {} MiB more at the peak, {} KiB held",
        grown >> 20,
        held >> 10
    );
    assert!(grown < (64 << 20), "{} MiB", grown >> 20);
}

#[test]
fn a_million_chunks_cost_little_memory() {
    grow(1 << 20);
}

/// `DR_BIG_DIR` should have 8 GB; takes minutes.
#[test]
#[ignore = "writes gigabytes"]
fn fifty_million_chunks_cost_little_memory() {
    grow(50_000_000);
}
