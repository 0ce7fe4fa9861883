use std::collections::BTreeMap;

use super::*;
use crate::fixtures::{archives, unpack};
use crate::report::Problem;

#[test]
fn fixtures_are_healthy() {
    for archive in archives() {
        let fixture = unpack(&archive);
        let check = quick(&fixture.database, &CheckOptions::default()).unwrap();
        assert!(check.is_healthy(), "{check:#?}");
        assert_eq!(check.tables.len(), 3);
        for table in &check.tables {
            assert_eq!(table.warnings, []);
            let orphans = table.orphans.unwrap();
            // LanceDB 0.14 left the transaction of a create that failed.
            assert!(orphans.files <= 1, "{table:#?}");
            assert!(table.total.bytes > table.referenced.bytes);
        }
    }
}

#[test]
fn names_each_damaged_file() {
    let Some(archive) = archives().pop() else { return };
    let fixture = unpack(&archive);
    let collected = crate::collect(&fixture.database, &crate::CollectOptions::default()).unwrap();
    let pick = |part: &str| {
        let entry = collected
            .entries
            .iter()
            .find(|entry| entry.path.starts_with(part) && !entry.is_empty());
        entry.unwrap_or_else(|| panic!("no {part}")).path.clone()
    };
    let data = pick("memory.lance/data/");
    let deletion = pick("context.lance/_deletions/");
    let index = collected
        .tables
        .iter()
        .find(|table| table.name == "memory")
        .map(|table| format!("memory.lance/_indices/{}/", table.indices[0].uuid))
        .unwrap();
    let index = pick(&index);
    std::fs::remove_file(fixture.database.join(&deletion)).unwrap();
    std::fs::write(fixture.database.join(&data), b"short").unwrap();
    std::fs::write(fixture.database.join(&index), b"").unwrap();
    let check = quick(&fixture.database, &CheckOptions::default()).unwrap();
    let found: BTreeMap<String, Problem> = check
        .damage()
        .map(|damage| (damage.path.clone(), damage.problem.clone()))
        .collect();
    assert!(
        matches!(found[&data], Problem::Size { found: 5, .. } | Problem::Empty),
        "{found:?}"
    );
    assert_eq!(found[&deletion], Problem::Missing);
    assert_eq!(found[&index], Problem::Empty);
}

#[test]
fn a_damaged_head_says_what_to_roll_back_to() {
    let Some(archive) = archives().pop() else { return };
    let fixture = unpack(&archive);
    let versions = fixture.database.join("memory.lance/_versions");
    let mut names: Vec<_> = std::fs::read_dir(&versions)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "manifest"));
    names.sort();
    std::fs::write(&names[0], b"").unwrap();
    let bytes = std::fs::read(&names[1]).unwrap();
    std::fs::write(&names[1], &bytes[..bytes.len() / 2]).unwrap();
    let check = quick(&fixture.database, &CheckOptions::default()).unwrap();
    let memory = check
        .tables
        .iter()
        .find(|table| table.stamp.name == "memory")
        .unwrap();
    assert_eq!(
        memory
            .damage
            .iter()
            .map(|damage| &damage.problem)
            .collect::<Vec<_>>(),
        [&Problem::Empty]
    );
    let head = u64::MAX
        - names[0]
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .parse::<u64>()
            .unwrap();
    assert_eq!(memory.newest_whole, Some(head - 2));
    assert_eq!(memory.orphans, None, "not every version can be read");
    assert!(
        memory
            .warnings
            .iter()
            .any(|warning| matches!(warning, Warning::UnreadableOldVersion { .. }))
    );
}
