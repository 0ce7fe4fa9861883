//! Good data in every form that LanceDB gives it: no drill may call any of it wrong, and none may come back otherwise.

use std::path::Path;
use std::time::Duration;

use dr_tests::host::Host;
use dr_tests::oracle::Python;
use dr_tests::process::run;

#[test]
fn every_kind_of_table_comes_back_and_is_proved() {
    let case = "every_kind_of_table_comes_back_and_is_proved";
    let (Some(python), Some(_)) = (Python::find(), dr_tests::binaries::probe()) else {
        return dr_tests::skip(case, "no Python with lancedb, or no probe");
    };
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let database = host.path().join("application");
    let host = host.with_database("memory", &database);
    step(&python, &database, "make");
    host.set_up();
    let first = host.snapshot();
    assert_eq!(first["facts"]["faults"], serde_json::json!([]), "{first:#}");
    assert_eq!(first["facts"]["tables"], 45, "{first:#}");
    proved(&host, "restore", "restored");

    step(&python, &database, "churn");
    let second = host.snapshot();
    assert_eq!(second["facts"]["faults"], serde_json::json!([]), "{second:#}");
    let read = |snapshot: &serde_json::Value| snapshot["facts"]["rows_read"].as_u64().unwrap();
    assert!(
        read(&second) * 4 < read(&first),
        "of {} rows {} were read again for a few that were deleted",
        read(&first),
        read(&second)
    );
    // What was subtracted for the facts is what a scan of every row finds.
    proved(&host, "verify", "queries");
    let restored = host.restore(second["id"].as_str().unwrap(), "memory");
    assert_eq!(python.read(&restored), python.read(&database));
}

#[track_caller]
fn proved(host: &Host, kind: &str, proof: &str) {
    let drill = host
        .run(&["drill", "--kind", kind, "--output", "json"])
        .expect_code(0);
    let report = drill.json();
    assert_eq!(report["proof"], proof, "{report:#}");
}

#[track_caller]
fn step(python: &Python, database: &Path, step: &str) {
    let mut command = python.script("zoo.py");
    let _done = run(command.arg(database).arg(step), Duration::from_secs(240)).expect_code(0);
}
