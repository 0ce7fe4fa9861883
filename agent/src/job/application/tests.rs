use std::path::PathBuf;

use dr_proto::model::{Bytes, DrillId, DrillKind, Freshness, ProofLevel, Rpo, Verdict};

use super::*;

fn source(name: &str) -> SourceReport {
    let bytes = CheckResult {
        rung: Rung::Bytes,
        outcome: Outcome::Passed,
        figure: String::new(),
        findings: Vec::new(),
        seconds: 0.0,
    };
    SourceReport {
        name: name.to_owned(),
        kind: "lancedb".to_owned(),
        root: "/srv/db".to_owned(),
        files: 1,
        bytes: 1,
        capture: None,
        verdict: Verdict::Passed,
        proof: ProofLevel::Bytes,
        checks: vec![bytes],
        notes: Vec::new(),
    }
}

fn report() -> Report {
    let at: jiff::Timestamp = "2026-01-02T03:00:00Z".parse().expect("a time");
    Report {
        schema: 1,
        drill: DrillId::new(at),
        kind: DrillKind::Restore,
        loss: None,
        host: "host-1".to_owned(),
        agent: "0.1.0".to_owned(),
        probe: None,
        started: at,
        finished: at,
        snapshot: None,
        repository: "memory".to_owned(),
        encrypted: true,
        freshness: Freshness::Fresh,
        verdict: Verdict::Passed,
        proof: ProofLevel::Bytes,
        binding: "bound".to_owned(),
        time_to_usable: None,
        time_to_proven: 0.0,
        rpo: Rpo {
            at_loss: None,
            worst_gap: None,
            snapshots: 1,
        },
        bytes: Bytes::default(),
        phases: Vec::new(),
        sources: vec![source("memory"), source("audit")],
        notes: Vec::new(),
    }
}

/// What a shell script as hook `smoke` makes of the report.
async fn asked(script: &str, timeout: &str) -> Report {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let restored = dir.path().join("restored");
    std::fs::create_dir_all(restored.join("memory")).expect("create");
    let hook = format!(
        "{{ command = [\"/bin/sh\", \"-c\", {script:?}, \"{{restored.memory}}\"], timeout = \"{timeout}\" }}"
    );
    let config: Config = toml::from_str(&format!("[hook]\nsmoke = {hook}\n")).expect("a configuration");
    let mut report = report();
    ask(
        &mut report,
        &config,
        &["smoke".to_owned()],
        &restored,
        &Progress::new(),
        &CancellationToken::new(),
    )
    .await;
    report
}

fn application(report: &Report, source: usize) -> Option<&CheckResult> {
    report.sources[source]
        .checks
        .iter()
        .find(|check| check.rung == Rung::Application)
}

#[tokio::test]
async fn a_hook_sees_the_restored_folder_and_speaks_for_the_source_that_it_names() {
    let report = asked("test -d \"$0\"", "30s").await;
    let check = application(&report, 0).expect("asked");
    assert_eq!((check.outcome, check.figure.as_str()), (Outcome::Passed, "smoke"));
    assert_eq!(application(&report, 1), None, "it does not name the log");
    assert_eq!(report.verdict, Verdict::Passed);
    assert_ne!(report.binding, "bound");
}

#[tokio::test]
async fn a_hook_is_told_which_drill_it_is_asked_about() {
    let script = "test \"$DR_DRILL_HOST $DR_DRILL_RESTORED/memory\" = \"host-1 $0\" && test -n \"$DR_DRILL\"";
    let report = asked(script, "30s").await;
    let check = application(&report, 0).expect("asked");
    assert_eq!(check.outcome, Outcome::Passed, "{:?}", check.findings);
}

#[tokio::test]
async fn an_application_that_can_not_use_the_copy_fails_the_drill_in_its_own_words() {
    let report = asked("echo no rows >&2; exit 3", "30s").await;
    let check = application(&report, 0).expect("asked");
    assert_eq!(check.outcome, Outcome::Failed);
    assert!(check.findings[0].what.contains("no rows"), "{:?}", check.findings);
    assert_eq!(
        (report.verdict, report.sources[1].verdict),
        (Verdict::Failed, Verdict::Passed)
    );
}

#[tokio::test]
async fn a_hook_that_does_not_end_fails_and_one_that_can_not_start_asks_nothing() {
    let report = asked("while :; do :; done", "50ms").await;
    assert_eq!(application(&report, 0).expect("asked").outcome, Outcome::Failed);
    let config: Config =
        toml::from_str("[hook]\nsmoke = { command = [\"/missing/program\"] }\n").expect("a configuration");
    let mut report = self::report();
    let restored = PathBuf::from("/");
    ask(
        &mut report,
        &config,
        &["smoke".to_owned()],
        &restored,
        &Progress::new(),
        &CancellationToken::new(),
    )
    .await;
    let check = application(&report, 1).expect("it names no source: all are meant");
    assert_eq!(check.outcome, Outcome::Inconclusive(Cause::Internal));
    assert_eq!(report.verdict, Verdict::Inconclusive);
}
