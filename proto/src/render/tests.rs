//! Golden files: `UPDATE_GOLDEN=1 cargo test -p dr-proto --all-features` writes them anew.

use std::path::PathBuf;

use super::*;
use crate::model::{Bytes, Cause, CheckResult, DrillKind, Phase, ProofLevel, Rpo, Rung, SnapshotRef};

fn golden(name: &str, drawn: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/render/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, drawn).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(drawn, expected, "{}", path.display());
}

fn check(rung: Rung, outcome: Outcome, figure: &str, findings: &[(&str, &str)]) -> CheckResult {
    CheckResult {
        rung,
        outcome,
        figure: figure.to_owned(),
        findings: findings
            .iter()
            .map(|(subject, what)| Finding {
                subject: (*subject).to_owned(),
                what: (*what).to_owned(),
            })
            .collect(),
        seconds: 0.25,
    }
}

fn source(name: &str, kind: &str, checks: Vec<CheckResult>) -> SourceReport {
    SourceReport {
        name: name.to_owned(),
        kind: kind.to_owned(),
        root: "/srv/data".to_owned(),
        files: 3,
        bytes: 4096,
        capture: None,
        verdict: Verdict::Inconclusive,
        proof: ProofLevel::None,
        checks,
        notes: Vec::new(),
    }
}

fn report(sources: Vec<SourceReport>) -> Report {
    let time = |text: &str| text.parse().unwrap();
    let mut report = Report {
        schema: 1,
        drill: "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3".parse().unwrap(),
        kind: DrillKind::Restore,
        loss: None,
        host: "db-7".to_owned(),
        agent: "0.1.0".to_owned(),
        probe: Some("0.1.0 (lancedb 0.41.0)".to_owned()),
        started: time("2026-01-02T03:04:05Z"),
        finished: time("2026-01-02T03:04:15Z"),
        snapshot: Some(SnapshotRef {
            id: "00112233445566778899aabbccddeeff".to_owned(),
            cut: time("2026-01-02T03:00:00Z"),
            suspect: None,
        }),
        repository: "s3://acme-dr/hosts/db-7".to_owned(),
        encrypted: true,
        freshness: Freshness::Fresh,
        verdict: Verdict::Inconclusive,
        proof: ProofLevel::None,
        binding: "b0".repeat(32),
        time_to_usable: Some(4.5),
        time_to_proven: 10.25,
        rpo: Rpo {
            at_loss: Some(245.0),
            worst_gap: None,
            snapshots: 1,
        },
        bytes: Bytes::default(),
        phases: vec![Phase {
            name: "restore".to_owned(),
            seconds: 4.0,
        }],
        sources,
        notes: vec!["RTO is of the data alone".to_owned()],
    };
    report.settle();
    report
}

fn good() -> Vec<CheckResult> {
    vec![
        check(Rung::Objects, Outcome::Passed, "12 objects", &[]),
        check(Rung::Bytes, Outcome::Passed, "40 chunks of 3 MiB", &[]),
        check(Rung::Tables, Outcome::Passed, "3 tables, 15204 rows", &[]),
        check(Rung::Content, Outcome::Passed, "15204 rows", &[]),
        check(Rung::Queries, Outcome::NotApplicable, "no index", &[]),
        check(Rung::Restore, Outcome::Passed, "3 files, 4 KiB", &[]),
    ]
}

#[test]
fn a_passed_drill() {
    let evidence = Evidence::from(&report(vec![source("memory", "lancedb", good())]));
    assert_eq!(evidence.verdict, Verdict::Passed);
    golden("passed.xml", &junit(&evidence));
    golden("passed.md", &markdown(&evidence));
}

#[test]
fn a_drill_that_failed_and_could_not_ask_all() {
    let mut memory = good();
    memory[3] = check(
        Rung::Content,
        Outcome::Failed,
        "1 of 3 tables differs",
        &[(
            "memory.lance",
            "sum <a> & \"b\" is not | what was recorded\nat the cut",
        )],
    );
    let mut audit = source(
        "audit",
        "audit-log",
        vec![check(
            Rung::Audit,
            Outcome::Inconclusive(Cause::StoreUnavailable),
            "not read",
            &[("audit.log", "503 Slow Down")],
        )],
    );
    audit.notes.push("carried over: audit.log.9".to_owned());
    let evidence = Evidence::from(&report(vec![source("memory", "lancedb", memory), audit]));
    assert_eq!(evidence.verdict, Verdict::Failed);
    golden("failed.xml", &junit(&evidence));
    golden("failed.md", &markdown(&evidence));
}

/// A rolled back repository and a drill of nothing have a verdict that no single question explains.
#[test]
fn a_verdict_without_a_question_is_not_green() {
    let mut rolled_back = report(vec![source("memory", "lancedb", good())]);
    rolled_back.freshness = Freshness::RolledBack {
        expected: "ff".repeat(16),
    };
    rolled_back.settle();
    let drawn = junit(&Evidence::from(&rolled_back));
    assert!(drawn.contains("failures=\"1\""), "{drawn}");
    assert!(drawn.contains("ROLLED BACK"), "{drawn}");
    let nothing = junit(&Evidence::from(&report(Vec::new())));
    assert!(nothing.contains("errors=\"1\""), "{nothing}");
}

#[test]
fn many_findings_are_counted() {
    let findings: Vec<(String, String)> = (0..50)
        .map(|number| (format!("file {number}"), "is gone".to_owned()))
        .collect();
    let findings: Vec<(&str, &str)> = findings.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let checks = vec![check(Rung::Objects, Outcome::Failed, "50 gone", &findings)];
    let drawn = markdown(&Evidence::from(&report(vec![source(
        "memory", "lancedb", checks,
    )])));
    assert!(drawn.contains("file 39"), "{drawn}");
    assert!(!drawn.contains("file 40"), "{drawn}");
    assert!(drawn.contains("and 10 more"), "{drawn}");
}
