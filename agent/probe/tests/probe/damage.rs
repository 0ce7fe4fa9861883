//! Damage is found, and called by its name.

use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use dr_probe_wire::compare::{self, Finding, Outcome, Question, Rules};
use dr_probe_wire::facts::Facts;
use dr_probe_wire::fault::{FaultKind, Step};
use dr_probe_wire::host::Ended;
use dr_probe_wire::job::Job;
use dr_probe_wire::measure::TableMeasure;
use dr_probe_wire::tree::TreeError;
use futures::TryStreamExt;
use lancedb::query::{ExecutableQuery, QueryBase, Select};

use crate::folder::Folder;
use crate::rig::{everything, facts, run, runtime, sample, sample_facts, sample_files, sample_tree, tree};

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
fn a_flipped_bit_of_a_vector_is_found_in_its_column() {
    // Of rows written by the first commit, by one in the middle, and by the last; none of them was deleted.
    for (id, bit) in [(2, 0), (500, 1300), (1199, 3071)] {
        let mut copy = sample_tree();
        let (file, at) = place_of(&vector_of(id));
        copy.patch(&file, |bytes| bytes[at + bit / 8] ^= 1 << (bit % 8));
        let (_, findings) = drill(copy);
        let found = disproved(&findings);
        let told =
            |finding: &&Finding| finding.question == Question::Content && finding.table == "memory.lance";
        let content = found.into_iter().find(told).unwrap();
        assert_eq!(
            content.subject.as_deref(),
            Some("vector"),
            "row {id}: {content:?}"
        );
    }
}

/// The bytes of a row's vector, as stock LanceDB reads it.
fn vector_of(id: i64) -> Vec<u8> {
    let folder = sample().join("rocketship-db");
    let read = async {
        let connection = lancedb::connect(&folder.to_string_lossy()).execute().await?;
        let table = connection.open_table("memory").execute().await?;
        let query = table.query().only_if(format!("id = {id}"));
        let rows = query.select(Select::columns(&["vector"])).execute().await?;
        rows.try_collect::<Vec<_>>().await
    };
    let rows = runtime().block_on(read).unwrap();
    let row = rows.iter().find(|batch| batch.num_rows() == 1).unwrap();
    let vector = row["vector"].as_fixed_size_list().value(0);
    let values = vector.as_primitive::<Float32Type>().values();
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The file of the newest versions that holds these bytes, and where: vectors of floats are stored as they are.
fn place_of(bytes: &[u8]) -> (String, usize) {
    let data = sample_files().iter().filter(|path| path.contains("/data/"));
    let holds = |path: &String| {
        let file = std::fs::read(sample().join("rocketship-db").join(path)).unwrap();
        let at = file.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path.clone(), at))
    };
    data.into_iter().find_map(holds).unwrap()
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
