//! Data that Python wrote with three versions of LanceDB; the answers in `facts.json` come from numpy.

use dr_probe_wire::compare::{self, Outcome, Rules, Stamped};
use dr_probe_wire::facts::Facts;
use dr_probe_wire::job::{Job, Location};

use crate::folder::Folder;
use crate::rig::{everything, facts, tree};
use crate::unpack::fixture;

fn check(version: &str) {
    let Some((_scratch, root)) = fixture(version) else {
        eprintln!("no fixture {version}: skipped");
        return;
    };
    let database = root.join("rocketship-db");
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.join("facts.json")).unwrap()).unwrap();
    let recorded = facts(&everything(tree()), Some(Folder::new(&database)));
    for table in &recorded.tables {
        eprintln!(
            "{version} {} v{:?} rows {:?} indices {:?} golden {} notes {:?} faults {:?} {} ms",
            table.path,
            table.version,
            table.rows,
            table
                .indices
                .iter()
                .map(|i| (&i.name, &i.kind, i.prewarmed))
                .collect::<Vec<_>>(),
            table.golden.len(),
            table.notes,
            table.faults,
            table.millis
        );
        assert_eq!(table.faults, [], "{}", table.path);
    }
    stamps_hold(&recorded, &truth);
    let replay = Job {
        queries: Some(recorded.replay()),
        ..everything(tree())
    };
    let again = facts(&replay, Some(Folder::new(&database)));
    same(&recorded, &again);
    let restored = Job {
        location: Location::Directory {
            path: database.clone(),
        },
        write_test: true,
        ..replay
    };
    let restored = facts(&restored, None);
    same(&recorded, &restored);
    let written = compare::write_tests(&restored.tables);
    assert_eq!(compare::worst(&written), Some(Outcome::Proved), "{written:?}");
}

/// Versions and rows are those that Python saw.
fn stamps_hold(recorded: &Facts, truth: &serde_json::Value) {
    let stamps: Vec<Stamped> = truth["tables"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, table)| Stamped {
            path: format!("{name}.lance"),
            version: table["version"].as_u64().unwrap(),
            rows: table["rows"].as_u64(),
        })
        .collect();
    assert_eq!(stamps.len(), recorded.tables.len());
    let findings = compare::tables(&stamps, &recorded.tables);
    assert!(
        findings.iter().all(|finding| finding.outcome == Outcome::Proved),
        "{findings:?}"
    );
}

fn same(recorded: &Facts, measured: &Facts) {
    let content = compare::content(recorded, &measured.tables);
    assert!(
        content.iter().all(|finding| finding.outcome == Outcome::Proved),
        "{content:?}"
    );
    let queries = compare::queries(recorded, measured, Rules::default());
    assert!(
        queries
            .iter()
            .all(|finding| finding.outcome <= Outcome::NotApplicable),
        "{queries:?}"
    );
    assert!(
        queries
            .iter()
            .filter(|finding| finding.outcome == Outcome::Proved)
            .count()
            > 6
    );
}

#[test]
fn lancedb_0_14_is_read_and_written() {
    check("0.14.0");
}

#[test]
fn lancedb_0_29_is_read_and_written() {
    check("0.29.2");
}

#[test]
fn lancedb_0_40_is_read_and_written() {
    check("0.40.0");
}
