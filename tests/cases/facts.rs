//! What is measured of a snapshot when the one before is known: no more than what changed.

use dr_tests::application::Application;

#[test]
fn only_what_commits_changed_is_read_and_their_rewrites_are_judged() {
    let case = "only_what_commits_changed_is_read_and_their_rewrites_are_judged";
    let Some(application) = Application::start(case, "commits.py", &["make"]) else {
        return;
    };
    let host = &application.host;
    let measured = |snapshot: serde_json::Value| {
        let facts = &snapshot["facts"];
        assert_eq!(facts["faults"], serde_json::json!([]), "{snapshot:#}");
        (facts["rows_read"].clone(), facts["rewrites"].clone())
    };
    assert_eq!(measured(host.snapshot()), (2000.into(), 0.into()));
    // The compaction is not what made the newest version, and none of its files is stored but that one's.
    application.step("compact");
    assert_eq!(measured(host.snapshot()), (2100.into(), 1.into()));
    // Of both fragments only the rows that are deleted, seven and one.
    application.step("forget");
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
    let Some(application) = Application::start(case, "commits.py", &["make", "clone"]) else {
        return;
    };
    let host = &application.host;
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
        application.database().display()
    );
    assert!(restored.to_string().contains(&elsewhere), "{report:#}");
}
