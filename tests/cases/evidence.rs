//! What a build server gets: a JUnit file and a step summary, on a pass as on anything else.

use dr_tests::chunks;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;

const NOT_BUILT: &str = "dr-agent is not built";

fn protected() -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    let summary = host.path().join("summary.md").display().to_string();
    let host = host.with_environment("GITHUB_STEP_SUMMARY", &summary);
    host.set_up();
    let _snapshot = host.snapshot();
    Some((host, unpacked))
}

/// Runs with a JUnit file and `--ci`; returns the file and the summary.
#[track_caller]
fn run(host: &Host, arguments: &[&str], code: i32) -> (String, String) {
    let path = host.path().join("junit.xml");
    let text = path.display().to_string();
    let all = [arguments, &["--ci", "--junit", &text]].concat();
    let _said = host.run(&all).expect_code(code);
    let junit = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    (
        junit,
        std::fs::read_to_string(host.path().join("summary.md")).unwrap(),
    )
}

#[test]
fn a_build_server_gets_junit_and_a_summary() {
    let case = "a_build_server_gets_junit_and_a_summary";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    if dr_tests::binaries::probe().is_none() {
        return dr_tests::skip(case, "dr-probe is not built; `cargo xtask test` builds it");
    }
    assert!(!host.path().join("summary.md").exists(), "only with --ci");
    let (junit, summary) = run(&host, &["drill", "--kind", "verify"], 0);
    assert!(
        junit.contains("testsuite name=\"memory\"") && junit.contains("testsuite name=\"audit\""),
        "{junit}"
    );
    assert!(junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
    assert!(summary.contains("✅ verify drill on host-1: passed"), "{summary}");
    for check in ["vector-db", "audit-log"] {
        let (junit, summary) = run(&host, &["check", check], 0);
        assert!(junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
        assert!(
            summary.contains(&format!("check {check} on host-1: passed")),
            "{summary}"
        );
    }
    let (junit, _) = run(&host, &["repository", "check", "--full"], 0);
    assert!(
        junit.contains("name=\"repository\"") && junit.contains("failures=\"0\""),
        "{junit}"
    );

    let of_data = chunks::of_files(&host, "memory", |path| path.contains(".lance/data/"));
    let damaged = of_data.first().expect("data have chunks");
    damaged.damage(&host);
    let (junit, summary) = run(&host, &["repository", "check", "--full"], 1);
    assert!(
        junit.contains("failures=\"1\"") && junit.contains(&*damaged.pack.to_string_lossy()),
        "{junit}"
    );
    assert!(
        summary.contains("❌ repository check of host-1: failed"),
        "{summary}"
    );
    let (junit, _) = run(&host, &["drill", "--kind", "verify"], 1);
    assert!(junit.contains("<failure"), "{junit}");
}

/// A run that came to no verdict has a summary that says why, and a file that can not be written is no success.
#[test]
fn a_run_without_a_verdict_is_in_the_summary_too() {
    let case = "a_run_without_a_verdict_is_in_the_summary_too";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let refused = host
        .run(&["check", "vector-db", "--junit", "/nowhere/junit.xml"])
        .expect_code(66);
    refused.expect_said(&["/nowhere/junit.xml"]);
    std::fs::remove_dir_all(host.repository_dir()).unwrap();
    let failed = host.run(&["drill", "--ci"]);
    assert_ne!(failed.code(), 0, "{failed:?}");
    let summary = std::fs::read_to_string(host.path().join("summary.md")).unwrap();
    assert!(summary.contains("❔ dr-agent: inconclusive"), "{summary}");
}
