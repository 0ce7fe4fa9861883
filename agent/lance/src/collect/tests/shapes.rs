//! Databases of shapes that real writers seldom produce: branches, clones, later formats, links, remains.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::check::{CheckOptions, quick};
use crate::manifest::testing::Draft;
use crate::report::{Exclusion, Problem};

/// A database made by hand.
struct Made(tempfile::TempDir);

impl Made {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, path: &str, content: &[u8]) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn manifest(&self, table: &str, draft: &Draft) -> &Self {
        self.file(
            &format!("{table}/_versions/{:020}.manifest", u64::MAX - draft.version),
            &draft.encode(),
        )
    }

    /// A table with one version and one data file.
    fn table(&self, table: &str) -> &Self {
        self.file(&format!("{table}/data/a.lance"), b"12345");
        self.manifest(
            table,
            &Draft {
                version: 1,
                files: vec![("a.lance".into(), 5, None)],
                rows: 1,
                ..Draft::default()
            },
        )
    }

    fn collect(&self) -> Collected {
        collect(self.path(), &descriptors(History::Tagged)).unwrap()
    }
}

fn exclusion(collected: &Collected, path: &str) -> Option<Exclusion> {
    collected
        .excluded
        .iter()
        .find(|excluded| excluded.path == path)
        .map(|excluded| excluded.reason)
}

#[test]
fn child_namespaces_the_catalog_and_branches_are_tables() {
    let made = Made::new();
    for table in [
        "docs.lance",
        "__manifest",
        "f9840952_ns1$child",
        "docs.lance/tree/dev",
        "docs.lance/tree/dev/deeper",
    ] {
        made.table(table);
    }
    made.file("reserved.lance/.lance-reserved", b"")
        .file("notes.txt", b"mine");
    let collected = made.collect();
    let names: Vec<_> = collected
        .tables
        .iter()
        .map(|table| (table.name.as_str(), table.branch.as_deref()))
        .collect();
    let expected = [
        ("__manifest", None),
        ("docs", None),
        ("docs", Some("dev")),
        ("docs", Some("dev/deeper")),
        ("ns1$child", None),
    ];
    assert_eq!(names, expected);
    let taken = files(&collected);
    assert!(taken.contains("reserved.lance/.lance-reserved") && taken.contains("notes.txt"));
    assert_eq!(taken, files_below(made.path()).into_iter().collect());
    let parents = collected
        .entries
        .iter()
        .position(|entry| entry.path == "docs.lance/tree")
        .unwrap();
    assert!(
        parents
            < collected
                .entries
                .iter()
                .position(|entry| entry.path.starts_with("docs.lance/tree/dev/"))
                .unwrap()
    );
}

#[test]
fn a_branch_takes_its_base_along_and_names_what_lies_outside() {
    let made = Made::new();
    made.table("docs.lance")
        .file("docs.lance/data/only-branch.lance", b"123");
    let root = made.path().join("docs.lance");
    let inside = [
        root.display().to_string(),
        format!("file://{}/", root.display()),
        format!("{}/./../docs.lance", root.display()),
    ];
    for (number, spelled) in inside.into_iter().enumerate() {
        let draft = Draft {
            version: number as u64 + 2,
            files: vec![("only-branch.lance".into(), 3, Some(4))],
            bases: vec![(4, spelled, true)],
            branch: Some("dev".into()),
            ..Draft::default()
        };
        made.manifest("docs.lance/tree/dev", &draft);
        let collected = made.collect();
        assert_eq!((collected.damage.len(), collected.external_bases.len()), (0, 0));
        assert!(
            files(&collected).contains("docs.lance/data/only-branch.lance"),
            "{draft:?}",
            draft = draft.bases
        );
    }
    let draft = Draft {
        version: 9,
        files: vec![("x.lance".into(), 3, Some(1))],
        bases: vec![(1, "s3://bucket/elsewhere".into(), true)],
        ..Draft::default()
    };
    made.manifest("docs.lance/tree/dev", &draft);
    let collected = made.collect();
    assert_eq!(collected.external_bases.len(), 1);
    assert_eq!(
        (
            collected.external_bases[0].path.as_str(),
            collected.external_bases[0].files
        ),
        ("s3://bucket/elsewhere", 1)
    );
}

#[test]
fn an_unprotected_branch_is_warned_of() {
    let made = Made::new();
    made.table("docs.lance");
    let canonical = made
        .path()
        .canonicalize()
        .unwrap()
        .join("docs.lance")
        .display()
        .to_string();
    for (spelled, warned) in [
        (canonical.clone(), false),
        (format!("{canonical}/"), true),
        (format!("file://{canonical}"), true),
    ] {
        let bases = vec![(1, spelled.clone(), true)];
        let draft = Draft {
            version: 1,
            files: vec![("a.lance".into(), 5, Some(1))],
            bases,
            ..Draft::default()
        };
        made.manifest("docs.lance/tree/dev", &draft);
        let check = crate::check::quick(made.path(), &crate::check::CheckOptions::default()).unwrap();
        assert!(check.is_healthy(), "{check:?}");
        let branch = check
            .tables
            .iter()
            .find(|table| table.stamp.branch.is_some())
            .unwrap();
        assert_eq!(
            !branch.warnings.is_empty(),
            warned,
            "{spelled}: {:?}",
            branch.warnings
        );
    }
}

#[test]
fn later_formats_are_taken_whole() {
    let made = Made::new();
    made.table("t.lance")
        .file("t.lance/_bt/root/x.root", b"tree")
        .file("t.lance/data/unlisted.lance", b"1");
    made.file("t.lance/_versions/latest_version_hint.json", b"{}")
        .file("t.lance/data/.tmpabc", b"half");
    made.manifest(
        "t.lance",
        &Draft {
            version: 2,
            reader_flags: 1 << 30,
            ..Draft::default()
        },
    );
    let collected = made.collect();
    let stamp = &collected.tables[0];
    assert_eq!((stamp.mode, stamp.version, stamp.rows), (Mode::Opaque, 2, None));
    assert!(stamp.opaque.as_ref().unwrap().contains("0x40000000"));
    let mut expected: BTreeSet<String> = files_below(made.path()).into_iter().collect();
    expected.retain(|path| !path.ends_with("hint.json") && !path.contains(".tmp"));
    assert_eq!(files(&collected), expected);
    assert_eq!(
        exclusion(&collected, "t.lance/data"),
        Some(Exclusion::Unpublished)
    );
    assert_eq!(
        exclusion(&collected, "t.lance/_versions/latest_version_hint.json"),
        Some(Exclusion::VersionHint)
    );
}

#[test]
fn what_is_not_taken_is_named() {
    let made = Made::new();
    let aside = format!("t.lance.displaced-{}", "0a".repeat(16));
    made.table(&aside);
    made.table("t.lance")
        .file("gone.lance/data/a.lance", b"x")
        .file("other/readme", b"x");
    made.manifest(
        "t.lance",
        &Draft {
            version: 2,
            ..Draft::default()
        },
    );
    made.manifest(
        "t.lance",
        &Draft {
            version: 3,
            ..Draft::default()
        },
    );
    made.file("t.lance/_versions/d9223372036854775809.manifest", b"x");
    std::os::unix::fs::symlink("t.lance", made.path().join("linked.lance")).unwrap();
    let elsewhere = Made::new();
    elsewhere.table("moved.lance");
    std::os::unix::fs::symlink(
        elsewhere.path().join("moved.lance"),
        made.path().join("moved.lance"),
    )
    .unwrap();
    let collected = made.collect();
    let reasons: Vec<_> = collected
        .excluded
        .iter()
        .map(|excluded| (excluded.path.as_str(), excluded.reason, excluded.files))
        .collect();
    let expected = [
        ("gone.lance", Exclusion::HalfDropped, 0),
        ("linked.lance", Exclusion::SymbolicLink, 1),
        ("moved.lance", Exclusion::LinkedTable, 1),
        ("other", Exclusion::Foreign, 0),
        (aside.as_str(), Exclusion::OfARestore, 0),
        ("t.lance/_versions", Exclusion::OlderVersions, 2),
        ("t.lance/_versions", Exclusion::DetachedVersions, 1),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(files(&collected).len(), 1);
}

#[test]
fn sidecars_blobs_and_folders_beside_the_closure() {
    let made = Made::new();
    made.table("t.lance");
    let beside = [
        "data/a/00000000000000000000000000000001.blob",
        "_blobs/0b2f7f0e-6f3c-4f0e-9c57-2b1f0a9d1c11.blob",
        "_fri/7/stable_partition.lance",
        "_computed/abc.sig",
        "_mem_wal/s/manifest/1.binpb",
        "_mem_wal/s/wal/1.arrow",
        "_indices/fts/meta.json",
        "_indices/tantivy/x.idx",
        "_from_a_later_release/file",
        ".lance-reserved",
    ];
    for path in beside {
        made.file(&format!("t.lance/{path}"), b"x");
    }
    let collected = made.collect();
    assert_eq!(collected.moved().unwrap(), Vec::<String>::new());
    made.file("t.lance/_mem_wal/s/wal/2.arrow", b"y");
    assert_eq!(
        collected.moved().unwrap(),
        ["t.lance"],
        "the log in front of the table moved on"
    );
    made.file("t.lance/data/orphan/1.blob", b"x")
        .file("t.lance/_indices/0b2f7f0e-6f3c-4f0e-9c57-2b1f0a9d1c11/x", b"x");
    let taken = files(&made.collect());
    for path in beside {
        assert!(taken.contains(&format!("t.lance/{path}")), "{path} is missing");
    }
    assert!(
        !taken
            .iter()
            .any(|path| path.contains("orphan") || path.contains("_indices/0b2f"))
    );
}

#[test]
fn tagged_versions_come_along_and_dangling_tags_are_told() {
    let made = Made::new();
    made.table("t.lance");
    made.file("t.lance/data/b.lance", b"1");
    made.manifest(
        "t.lance",
        &Draft {
            version: 2,
            files: vec![("b.lance".into(), 1, None)],
            ..Draft::default()
        },
    );
    made.file(
        "t.lance/_refs/tags/old.json",
        b"{\"branch\":null,\"version\":1,\"manifestSize\":1}",
    );
    made.file("t.lance/_refs/tags/gone.json", b"{\"version\":7}");
    made.file("t.lance/_refs/branches/dev.json", b"{}");
    let collected = made.collect();
    let stamp = &collected.tables[0];
    assert_eq!((stamp.version, stamp.history.as_slice()), (2, [1].as_slice()));
    let tags: Vec<_> = stamp
        .tags
        .iter()
        .map(|tag| (tag.name.as_str(), tag.included))
        .collect();
    assert_eq!(tags, [("gone", false), ("old", true)]);
    assert!(files(&collected).contains("t.lance/data/a.lance"));
    let heads = collect(made.path(), &descriptors(History::Heads)).unwrap();
    assert!(!files(&heads).contains("t.lance/data/a.lance"));
    let check = crate::check::quick(made.path(), &crate::check::CheckOptions::default()).unwrap();
    assert_eq!(
        check.tables[0].warnings.len(),
        2,
        "{:?}",
        check.tables[0].warnings
    );
    // A tag protects its version: what that lacks is damage.
    fs::remove_file(made.path().join("t.lance/data/a.lance")).unwrap();
    let damaged = made.collect();
    assert_eq!(
        damaged
            .damage
            .iter()
            .map(|damage| damage.version)
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(
        (damaged.tables[0].mode, damaged.tables[0].version),
        (Mode::Exact, 2)
    );
    assert_eq!(
        exclusion(&damaged, "t.lance/_versions/18446744073709551614.manifest"),
        Some(Exclusion::Damaged)
    );
    // A tag that moves is a change of the database, though no head moved.
    made.file("t.lance/_refs/tags/new.json", b"{\"version\":2}");
    assert_eq!(collected.moved().unwrap(), ["t.lance"]);
}

#[test]
fn unlisted_index_folders_are_required_but_for_lances_own() {
    let made = Made::new();
    let (index, own) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let draft = Draft {
        version: 1,
        indices: vec![(index, "by_id".into()), (own, "__lance_mem_wal".into())],
        ..Draft::default()
    };
    made.manifest("t.lance", &draft);
    let collected = made.collect();
    assert_eq!(collected.damage.len(), 1);
    assert_eq!(collected.damage[0].path, format!("t.lance/_indices/{index}"));
    assert_eq!(collected.tables[0].mode, Mode::Salvage);
    made.file(&format!("t.lance/_indices/{index}/page_data.lance"), b"x");
    assert_eq!(made.collect().damage, []);
}

#[test]
fn an_index_that_waits_for_rows_to_train_on_needs_no_folder() {
    let made = Made::new();
    let (waiting, trained) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let draft = Draft {
        version: 1,
        indices: vec![(waiting, "vector_idx".into()), (trained, "by_id".into())],
        covered: vec![(waiting, 0), (trained, 2)],
        ..Draft::default()
    };
    made.manifest("t.lance", &draft);
    let lost = format!("t.lance/_indices/{trained}");
    let damage = |found: &[crate::report::Damage]| found.iter().map(|d| d.path.clone()).collect::<Vec<_>>();
    assert_eq!(
        damage(&made.collect().damage).as_slice(),
        std::slice::from_ref(&lost)
    );
    let check = quick(made.path(), &CheckOptions::default()).unwrap();
    assert_eq!(damage(&check.damage().cloned().collect::<Vec<_>>()), [lost]);
    made.file(&format!("t.lance/_indices/{trained}/page_data.lance"), b"x");
    assert_eq!(made.collect().damage, []);
    // What lies in such a folder all the same belongs to the table, and comes along.
    let rest = format!("t.lance/_indices/{waiting}/auxiliary.idx");
    made.file(&rest, b"y");
    assert!(made.collect().entries.iter().any(|entry| entry.path == rest));
}

#[test]
fn a_link_on_the_way_to_data_is_an_error_that_says_so() {
    let made = Made::new();
    made.table("t.lance");
    fs::rename(made.path().join("t.lance/data"), made.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("../moved", made.path().join("t.lance/data")).unwrap();
    let error = collect(made.path(), &CollectOptions::default()).unwrap_err();
    assert!(matches!(error, Error::SymbolicLink { .. }), "{error}");
}

#[test]
fn a_table_without_versions_is_named_and_does_not_count_as_moving() {
    let made = Made::new();
    made.table("t.lance").file("empty.lance/_versions/.tmp1", b"half");
    let mut collected = made.collect();
    assert_eq!(collected.tables.len(), 1);
    assert_eq!(exclusion(&collected, "empty.lance"), Some(Exclusion::HalfDropped));
    assert_eq!(collected.moved().unwrap(), Vec::<String>::new());
    made.table("empty.lance");
    let moved = collected.moved().unwrap();
    assert_eq!(moved, ["empty.lance"]);
    collected.recollect(&moved).unwrap();
    assert_eq!(
        (
            collected.tables.len(),
            collected.moved().unwrap().len(),
            collected.excluded.len()
        ),
        (2, 0, 1)
    );
}

#[test]
fn a_tag_that_cannot_be_read_is_damage() {
    let made = Made::new();
    made.table("t.lance").file("t.lance/_refs/tags/torn.json", b"");
    let collected = made.collect();
    assert_eq!(collected.damage.len(), 1);
    assert!(
        matches!(collected.damage[0].problem, Problem::Tag { .. }),
        "{:?}",
        collected.damage
    );
    let check = crate::check::quick(made.path(), &crate::check::CheckOptions::default()).unwrap();
    assert!(!check.is_healthy());
}

#[test]
fn a_table_is_not_taken_for_a_database() {
    let made = Made::new();
    made.table("t.lance");
    let error = collect(&made.path().join("t.lance"), &CollectOptions::default()).unwrap_err();
    assert!(matches!(error, Error::IsTable { .. }), "{error}");
    let error = collect(&made.path().join("none"), &CollectOptions::default()).unwrap_err();
    assert!(error.to_string().contains("check that it exists"), "{error}");
    let found = crate::discover(made.path(), 3).unwrap();
    assert_eq!(
        found,
        [crate::Found {
            path: made.path().to_owned(),
            tables: vec!["t.lance".into()]
        }]
    );
}

#[test]
fn mutated_databases_never_panic() {
    let mut dice = 0x00dd_ba11_u64;
    let mut roll = |below: usize| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % below.max(1)
    };
    let Some(archive) = archives().pop() else { return };
    let fixture = unpack(&archive);
    let collected = collect(&fixture.database, &descriptors(History::Heads)).unwrap();
    for _ in 0..12 {
        let copy = tempfile::tempdir().unwrap();
        write_out(&collected, copy.path());
        let names = files_below(copy.path());
        for _ in 0..1 + roll(3) {
            let path = copy.path().join(&names[roll(names.len())]);
            let Ok(mut bytes) = fs::read(&path) else { continue };
            match roll(4) {
                0 => drop(fs::remove_file(&path)),
                1 => fs::write(&path, &bytes[..roll(bytes.len())]).unwrap(),
                2 => fs::write(&path, b"").unwrap(),
                _ => {
                    let at = roll(bytes.len());
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << roll(8);
                    }
                    fs::write(&path, bytes).unwrap();
                }
            }
        }
        let taken = collect(copy.path(), &descriptors(History::All)).unwrap();
        let check = crate::check::quick(copy.path(), &crate::check::CheckOptions::default()).unwrap();
        assert_eq!(
            check.is_healthy(),
            taken.damage.is_empty(),
            "{:?} {:?}",
            check,
            taken.damage
        );
    }
}
