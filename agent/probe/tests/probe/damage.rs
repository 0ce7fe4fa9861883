//! Damage is found, and called by its name.

use std::collections::BTreeSet;

use dr_probe_wire::compare::{self, Finding, Outcome, Rules};
use dr_probe_wire::facts::Facts;
use dr_probe_wire::fault::{FaultKind, Step};
use dr_probe_wire::host::Ended;
use dr_probe_wire::job::Job;
use dr_probe_wire::measure::TableMeasure;
use dr_probe_wire::tree::TreeError;

use crate::folder::Folder;
use crate::rig::{everything, facts, run, sample_facts, sample_tree, tree};

/// What a drill finds in a copy of the sample.
fn drill(copy: Folder) -> (Facts, Vec<Finding>) {
    let recorded = sample_facts();
    let job = Job {
        queries: Some(recorded.replay()),
        ..everything(tree())
    };
    let measured = facts(&job, Some(copy));
    let mut findings = compare::content(recorded, &measured.tables);
    findings.extend(compare::queries(recorded, &measured, Rules::default()));
    (measured, findings)
}

fn disproved(findings: &[Finding]) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::Disproved)
        .collect()
}

fn memory(facts: &Facts) -> &TableMeasure {
    facts.table("memory.lance").unwrap()
}

fn kinds(table: &TableMeasure, step: Step) -> BTreeSet<FaultKind> {
    table
        .faults
        .iter()
        .filter(|fault| fault.step == step)
        .map(|fault| fault.kind)
        .collect()
}

/// The largest such file that a probe really reads: older versions leave others behind.
fn read_by_head(part: &str) -> String {
    let is_read = |path: &String| {
        let mut copy = sample_tree();
        copy.refuse
            .insert(path.clone(), TreeError::Damaged("is it read?".to_owned()));
        run(&everything(tree()), Some(copy))
            .served
            .damaged
            .contains_key(path)
    };
    sample_tree().by_size(part).into_iter().find(is_read).unwrap()
}

#[test]
fn an_undamaged_copy_is_proved() {
    let (measured, findings) = drill(sample_tree());
    assert!(
        findings
            .iter()
            .all(|finding| finding.outcome <= Outcome::NotApplicable),
        "{findings:#?}"
    );
    assert!(measured.tables.iter().all(|table| table.faults.is_empty()));
    let golden = &memory(&measured).golden;
    assert!(golden.len() > 12, "{} golden queries", golden.len());
}

#[test]
fn a_lost_data_file_is_missing_by_name() {
    let mut copy = sample_tree();
    let file = read_by_head("context.lance/data/");
    copy.remove(&file);
    let (measured, findings) = drill(copy);
    let table = measured.table("context.lance").unwrap();
    assert_eq!(
        table.rows,
        sample_facts().table("context.lance").unwrap().rows,
        "the manifest still promises them"
    );
    assert_eq!(
        kinds(table, Step::Scan),
        [FaultKind::Missing].into(),
        "{:?}",
        table.faults
    );
    assert_eq!(kinds(table, Step::Validate), [FaultKind::Missing].into());
    assert!(
        table
            .faults
            .iter()
            .any(|fault| fault.file.as_deref() == Some(file.as_str())),
        "{:?}",
        table.faults
    );
    assert!(
        disproved(&findings)
            .iter()
            .all(|finding| finding.table == "context.lance")
    );
}

#[test]
fn a_lost_deletion_file_is_missing() {
    let mut copy = sample_tree();
    let file = copy.find(&["tool_calls.lance/_deletions/"]);
    copy.remove(&file);
    let (measured, _) = drill(copy);
    let table = measured.table("tool_calls.lance").unwrap();
    assert_eq!(
        kinds(table, Step::Scan),
        [FaultKind::Missing].into(),
        "{:?}",
        table.faults
    );
}

#[test]
fn lost_indices_are_found_though_every_row_is_there() {
    let mut copy = sample_tree();
    while let Some(path) = copy.matching(&["memory.lance/_indices/"]) {
        copy.remove(&path);
    }
    let (measured, findings) = drill(copy);
    let table = memory(&measured);
    assert!(table.content.is_some() && kinds(table, Step::Scan).is_empty());
    assert_eq!(
        kinds(table, Step::Prewarm),
        [FaultKind::Missing].into(),
        "{:?}",
        table.faults
    );
    let lost: BTreeSet<_> = disproved(&findings)
        .iter()
        .filter_map(|finding| finding.subject.clone())
        .collect();
    for index in &memory(sample_facts()).indices {
        assert!(lost.contains(&index.name), "{} in {lost:?}", index.name);
    }
}

#[test]
fn flipped_vectors_differ_in_their_column() {
    let mut found = 0;
    for seed in 0..6u64 {
        let mut copy = sample_tree();
        let file = read_by_head("memory.lance/data/");
        copy.patch(&file, |bytes| {
            let place = bytes.len() / 8 + (seed as usize * 7919) % (bytes.len() / 2);
            bytes[place] ^= 1 << (seed % 8);
        });
        let (_, findings) = drill(copy);
        let content = disproved(&findings);
        found += usize::from(content.iter().any(|finding| finding.table == "memory.lance"));
    }
    assert!(found >= 5, "{found} of 6 flips were found");
}

#[test]
fn a_cut_manifest_is_undecodable() {
    for keep in [0, 7, 100] {
        let mut copy = sample_tree();
        let file = copy.find(&["context.lance/_versions/", ".manifest"]);
        copy.patch(&file, |bytes| bytes.truncate(keep));
        let (measured, findings) = drill(copy);
        let table = measured.table("context.lance").unwrap();
        assert_eq!(
            kinds(table, Step::Open),
            [FaultKind::Undecodable].into(),
            "{:?}",
            table.faults
        );
        assert_eq!(table.version, None);
        assert!(
            findings
                .iter()
                .any(|finding| finding.table == "context.lance" && finding.outcome == Outcome::Unknown)
        );
        assert!(
            disproved(&findings).is_empty(),
            "rung `tables` says it; the others could not ask"
        );
    }
}

#[test]
fn what_the_tree_calls_damaged_is_damaged_whatever_lance_makes_of_it() {
    let mut copy = sample_tree();
    let data = read_by_head("memory.lance/data/");
    let index = copy.find(&["tool_calls.lance/_indices/"]);
    for file in [&data, &index] {
        copy.refuse.insert(
            file.clone(),
            TreeError::Damaged("chunk 3 does not match its hash".to_owned()),
        );
    }
    let job = everything(tree());
    let outcome = run(&job, Some(copy));
    assert!(matches!(outcome.ended, Ended::Done(_)), "{:?}", outcome.ended);
    assert_eq!(outcome.served.damaged.keys().collect::<Vec<_>>(), [&data, &index]);
    for (path, file) in [("memory.lance", &data), ("tool_calls.lance", &index)] {
        let table = outcome.facts.table(path).unwrap();
        assert!(!table.faults.is_empty());
        for fault in &table.faults {
            assert_eq!(
                (fault.kind, fault.file.as_deref()),
                (FaultKind::Damaged, Some(file.as_str())),
                "{fault}"
            );
            assert!(fault.message.contains("chunk 3"), "{fault}");
        }
    }
}

#[test]
fn a_store_that_is_away_disproves_nothing() {
    let mut copy = sample_tree();
    let data: Vec<String> = copy
        .files()
        .filter(|path| path.contains("/data/"))
        .cloned()
        .collect();
    for path in data {
        copy.refuse
            .insert(path, TreeError::Unavailable("503 slow down".to_owned()));
    }
    let (measured, findings) = drill(copy);
    assert!(disproved(&findings).is_empty(), "{:#?}", disproved(&findings));
    assert_eq!(
        kinds(memory(&measured), Step::Scan),
        [FaultKind::Unavailable].into()
    );
}
