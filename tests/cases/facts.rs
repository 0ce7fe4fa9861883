//! What is measured of a snapshot when the one before is known: no more than what changed.

use std::path::Path;
use std::time::Duration;

use dr_tests::host::Host;
use dr_tests::oracle::Python;
use dr_tests::process::run;

#[test]
fn only_what_commits_changed_is_read_and_their_rewrites_are_judged() {
    let case = "only_what_commits_changed_is_read_and_their_rewrites_are_judged";
    let (Some(python), Some(_)) = (Python::find(), dr_tests::binaries::probe()) else {
        return dr_tests::skip(case, "no Python with lancedb, or no probe");
    };
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let database = host.path().join("application");
    let host = host.with_database("memory", &database);
    commit(&python, &database, "make");
    host.set_up();
    let measured = |snapshot: serde_json::Value| {
        let facts = &snapshot["facts"];
        assert_eq!(facts["faults"], serde_json::json!([]), "{snapshot:#}");
        (facts["rows_read"].clone(), facts["rewrites"].clone())
    };
    assert_eq!(measured(host.snapshot()), (2000.into(), 0.into()));
    // The compaction is not what made the newest version, and none of its files is stored but that one's.
    commit(&python, &database, "compact");
    assert_eq!(measured(host.snapshot()), (2100.into(), 1.into()));
    // Of both fragments only the rows that are deleted, seven and one.
    commit(&python, &database, "forget");
    assert_eq!(measured(host.snapshot()), (8.into(), 0.into()));
    // A drill knows nothing of this and reads every row.
    let drill = host
        .run(&["drill", "--kind", "verify", "--output", "json"])
        .expect_code(0);
    let report = drill.json();
    assert_eq!(report["proof"], "queries", "{report:#}");
    assert!(
        format!("{report}").contains("2092 rows scanned, digests of 1 of 1 tables as recorded"),
        "{report:#}"
    );
}

/// On the host itself the files that a clone refers to are still there: a drill must not be content with those.
#[test]
fn a_clone_is_not_proved_by_live_files_outside_of_the_restored_copy() {
    let case = "a_clone_is_not_proved_by_live_files_outside_of_the_restored_copy";
    let (Some(python), Some(_)) = (Python::find(), dr_tests::binaries::probe()) else {
        return dr_tests::skip(case, "no Python with lancedb, or no probe");
    };
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let database = host.path().join("application");
    let host = host.with_database("memory", &database);
    commit(&python, &database, "make");
    commit(&python, &database, "clone");
    host.set_up();
    let _without = host.run(&["snapshot"]).expect_code(3);
    let drill = host
        .run(&["drill", "--kind", "restore", "--output", "json"])
        .expect_code(1);
    let report = drill.json();
    let checks = report["sources"][0]["checks"].as_array().unwrap();
    let restored = checks.iter().find(|check| check["rung"] == "restore").unwrap();
    assert_eq!(restored["outcome"], "failed", "{report:#}");
    let elsewhere = format!(
        "it needs files below {}-elsewhere/memory.lance",
        database.display()
    );
    assert!(restored.to_string().contains(&elsewhere), "{report:#}");
}

#[track_caller]
fn commit(python: &Python, database: &Path, step: &str) {
    let mut command = python.script("commits.py");
    let _committed = run(command.arg(database).arg(step), Duration::from_secs(240)).expect_code(0);
}
