//! Good data in every form that LanceDB gives it: no drill may call any of it wrong, and none may come back otherwise.

use dr_tests::application::Application;
use dr_tests::host::Host;

#[test]
fn every_kind_of_table_comes_back_and_is_proved() {
    let case = "every_kind_of_table_comes_back_and_is_proved";
    let Some(application) = Application::start(case, "zoo.py", &["make"]) else {
        return;
    };
    let host = &application.host;
    let first = host.snapshot();
    assert_eq!(first["facts"]["faults"], serde_json::json!([]), "{first:#}");
    assert_eq!(first["facts"]["tables"], 45, "{first:#}");
    proved(host, "restore", "restored");

    application.step("churn");
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
    proved(host, "verify", "queries");
    let restored = host.restore(second["id"].as_str().unwrap(), "memory");
    assert_eq!(
        application.read(&restored),
        application.read(application.database())
    );
}

#[track_caller]
fn proved(host: &Host, kind: &str, proof: &str) {
    let drill = host
        .run(&["drill", "--kind", kind, "--output", "json"])
        .expect_code(0);
    let report = drill.json();
    assert_eq!(report["proof"], proof, "{report:#}");
}
