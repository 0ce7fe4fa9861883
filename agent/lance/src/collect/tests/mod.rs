mod lancedb;
mod shapes;
mod surroundings;
mod writer;

use std::collections::BTreeSet;

use super::*;
use crate::fixtures::{archives, files_below, unpack};
use crate::report::Problem;

fn descriptors(history: History) -> CollectOptions {
    CollectOptions {
        history,
        pins: vec![PinMethod::Descriptor],
        ..CollectOptions::default()
    }
}

fn files(collected: &Collected) -> BTreeSet<String> {
    let files = collected
        .entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
    files.map(|entry| entry.path.clone()).collect()
}

/// Writes the cut out, as a restore would.
fn write_out(collected: &Collected, to: &Path) {
    for entry in &collected.entries {
        let target = to.join(&entry.path);
        match entry.file().unwrap() {
            None => std::fs::create_dir_all(target).unwrap(),
            Some(_) => {
                let mut bytes = vec![0; usize::try_from(entry.len()).unwrap()];
                let mut at = 0;
                while at < bytes.len() {
                    let read = entry.read_at(&mut bytes[at..], at as u64).unwrap();
                    assert!(read > 0, "{} is shorter than pinned", entry.path);
                    at += read;
                }
                std::fs::write(target, bytes).unwrap();
            }
        }
    }
}

#[test]
fn fixtures_are_taken_whole() {
    for archive in archives() {
        let fixture = unpack(&archive);
        let collected = collect(&fixture.database, &descriptors(History::All)).unwrap();
        assert_eq!(collected.damage, []);
        let tables = fixture.facts["tables"].as_object().unwrap();
        assert_eq!(collected.tables.len(), tables.len());
        for stamp in &collected.tables {
            let facts = &tables[&stamp.name];
            assert_eq!(stamp.version, facts["version"].as_u64().unwrap(), "{stamp:?}");
            assert_eq!(stamp.rows, facts["rows"].as_u64(), "{stamp:?}");
            let top: Vec<_> = stamp
                .columns
                .iter()
                .filter(|column| !column.name.contains('.'))
                .map(|c| c.name.as_str())
                .collect();
            let expected: Vec<_> = facts["columns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c.as_str().unwrap())
                .collect();
            assert_eq!(top, expected);
        }
        let on_disk: BTreeSet<String> = files_below(&fixture.database).into_iter().collect();
        let left: Vec<_> = on_disk
            .difference(&files(&collected))
            .filter(|path| !path.ends_with("_hint.json"))
            .cloned()
            .collect();
        eprintln!("{} left out: {left:#?}", archive.display());
        let whole: Vec<_> = files(&collected).difference(&on_disk).cloned().collect();
        assert_eq!(whole, Vec::<String>::new());
    }
}

#[test]
fn a_written_out_cut_collects_to_itself() {
    for archive in archives() {
        let fixture = unpack(&archive);
        for history in [History::Heads, History::Tagged, History::All] {
            let collected = collect(&fixture.database, &descriptors(history)).unwrap();
            let copy = tempfile::tempdir().unwrap();
            write_out(&collected, copy.path());
            let again = collect(copy.path(), &descriptors(history)).unwrap();
            assert_eq!(files(&again), files(&collected));
            assert_eq!(again.damage, []);
            assert_eq!(again.tables, collected.tables);
        }
    }
}

#[test]
fn stands_still_until_it_moves() {
    let Some(archive) = archives().pop() else { return };
    let fixture = unpack(&archive);
    let mut collected = collect(&fixture.database, &descriptors(History::Heads)).unwrap();
    assert_eq!(collected.moved().unwrap(), Vec::<String>::new());
    let versions = fixture.database.join("context.lance/_versions");
    std::fs::rename(
        versions.join("18446744073709551612.manifest"),
        versions.join("18446744073709551611.manifest"),
    )
    .unwrap();
    std::fs::remove_dir_all(fixture.database.join("tool_calls.lance")).unwrap();
    assert_eq!(collected.moved().unwrap(), ["context.lance", "tool_calls.lance"]);
    let moved = collected.moved().unwrap();
    collected.recollect(&moved).unwrap();
    assert_eq!(collected.moved().unwrap(), Vec::<String>::new());
    assert_eq!(
        collected
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect::<Vec<_>>(),
        ["context", "memory"]
    );
}

#[test]
fn damage_at_the_head_falls_back() {
    let Some(archive) = archives().pop() else { return };
    let fixture = unpack(&archive);
    let head = collect(&fixture.database, &descriptors(History::Heads)).unwrap();
    let table = head.tables.iter().find(|table| table.name == "memory").unwrap();
    let manifest = fixture
        .database
        .join("memory.lance/_versions")
        .join(&table.manifest);
    std::fs::write(manifest, b"").unwrap();
    let collected = collect(&fixture.database, &descriptors(History::Heads)).unwrap();
    assert_eq!(collected.damage.len(), 1);
    assert_eq!(collected.damage[0].problem, Problem::Empty);
    let fallback = collected
        .tables
        .iter()
        .find(|table| table.name == "memory")
        .unwrap();
    assert_eq!(
        (fallback.mode, fallback.version),
        (Mode::Fallback, table.version - 1)
    );
    assert_eq!(fallback.damaged_head, Some(table.version));
    assert!(!files(&collected).contains(&format!("memory.lance/_versions/{}", table.manifest)));
}
