use super::queries::Order;
use super::*;
use crate::measure::{Content, Digest, Index};
use crate::query::{Answer, Golden, Hit, Metric, Query, Vector};
use crate::sum::Sum;

fn hits(pairs: &[(u64, f32)]) -> Vec<Hit> {
    pairs
        .iter()
        .map(|(row, value)| Hit {
            row: *row,
            value: *value,
        })
        .collect()
}

fn nearest(live: &[(u64, f32)], exact: Option<&[(u64, f32)]>) -> Golden {
    let vector = Vector(vec![1.0]);
    let query = Query::Nearest {
        column: "v".into(),
        vector,
        metric: Metric::L2,
        k: 3,
        index: None,
    };
    Golden {
        query,
        answer: Answer::Nearest {
            live: hits(live),
            exact: exact.map(hits),
        },
    }
}

fn table(change: impl FnOnce(&mut TableMeasure)) -> TableMeasure {
    let mut table = TableMeasure {
        path: "t.lance".into(),
        version: Some(4),
        rows: Some(9),
        ..Default::default()
    };
    change(&mut table);
    table
}

fn facts(probe: &str, table: TableMeasure) -> Facts {
    let probe = crate::event::ProbeIdentity {
        probe: probe.into(),
        ..Default::default()
    };
    Facts {
        probe,
        tables: vec![table],
    }
}

fn content_of(sum: u8, column: u8) -> Content {
    let columns = [
        ("a".to_owned(), Sum::of(&[1; 32])),
        ("b".to_owned(), Sum::of(&[column; 32])),
    ]
    .into();
    let digest = Digest {
        rows: 9,
        sum: Sum::of(&[sum; 32]),
        columns,
    };
    Content {
        digest,
        rows_read: 9,
        ..Content::default()
    }
}

fn judge(then: Golden, now: Golden, same: bool) -> Outcome {
    let then = facts("1", table(|t| t.golden = vec![then]));
    let now = facts(if same { "1" } else { "2" }, table(|t| t.golden = vec![now]));
    worst(&queries(&then, &now, Rules::default())).unwrap()
}

#[test]
fn equal_values_may_change_places_and_the_last_ones_their_rows() {
    let same =
        |a: &[(u64, f32)], b: &[(u64, f32)]| same_ranking(&hits(a), &hits(b), Order::Ascending, 1e-4).is_ok();
    assert!(same(
        &[(1, 0.1), (2, 0.5), (3, 0.5)],
        &[(1, 0.1), (3, 0.5), (2, 0.5)]
    ));
    assert!(same(&[(1, 0.1), (2, 0.5)], &[(1, 0.1), (9, 0.500_01)]));
    assert!(!same(&[(1, 0.1), (2, 0.5)], &[(9, 0.1), (2, 0.5)]));
    assert!(!same(&[(1, 0.1), (2, 0.5)], &[(1, 0.1)]));
    assert!(!same(&[(1, 0.1), (2, 0.5)], &[(1, 0.1), (2, 0.6)]));
    assert!(same(&[], &[]));
}

#[test]
fn the_same_probe_must_answer_the_same() {
    let then = || nearest(&[(1, 0.1), (2, 0.2)], Some(&[(1, 0.1), (2, 0.2)]));
    let other = || nearest(&[(1, 0.1), (3, 0.3)], Some(&[(1, 0.1), (2, 0.2)]));
    assert_eq!(judge(then(), then(), true), Outcome::Proved);
    assert_eq!(judge(then(), other(), true), Outcome::Disproved);
}

#[test]
fn another_probe_must_not_recall_less() {
    let half = || nearest(&[(1, 0.1), (3, 0.3)], Some(&[(1, 0.1), (2, 0.2)]));
    let other_half = || nearest(&[(2, 0.2), (4, 0.4)], Some(&[(1, 0.1), (2, 0.2)]));
    let none = || nearest(&[(5, 0.5), (4, 0.4)], Some(&[(1, 0.1), (2, 0.2)]));
    assert_eq!(judge(half(), other_half(), false), Outcome::Proved);
    assert_eq!(judge(half(), none(), false), Outcome::Disproved);
}

#[test]
fn other_exact_rows_are_a_contradiction_for_any_probe() {
    let then = nearest(&[(1, 0.1)], Some(&[(1, 0.1)]));
    let now = nearest(&[(1, 0.1)], Some(&[(7, 0.05)]));
    assert_eq!(judge(then, now, false), Outcome::Disproved);
}

#[test]
fn an_unasked_query_is_unknown_and_a_lost_index_disproved() {
    let then = facts("1", table(|t| t.golden = vec![nearest(&[(1, 0.1)], None)]));
    let now = facts("1", table(|_| {}));
    assert_eq!(
        worst(&queries(&then, &now, Rules::default())),
        Some(Outcome::Unknown)
    );
    let index = Index {
        name: "i".into(),
        kind: "BTree".into(),
        columns: vec!["a".into()],
        uuids: Vec::new(),
        prewarmed: Some(true),
    };
    let then = facts("1", table(|t| t.indices = vec![index]));
    assert_eq!(
        worst(&queries(&then, &now, Rules::default())),
        Some(Outcome::Disproved)
    );
    assert_eq!(
        worst(&queries(&then, &then, Rules::default())),
        Some(Outcome::Proved)
    );
}

#[test]
fn a_filter_must_count_the_same_with_and_without_its_index() {
    let query = || Query::Filter {
        column: "a".into(),
        predicate: "a = 1".into(),
    };
    let golden = |indexed, scanned| Golden {
        query: query(),
        answer: Answer::Filter { indexed, scanned },
    };
    assert_eq!(judge(golden(3, None), golden(3, Some(3)), true), Outcome::Proved);
    assert_eq!(
        judge(golden(3, None), golden(3, Some(4)), true),
        Outcome::Disproved
    );
    assert_eq!(
        judge(golden(3, Some(3)), golden(2, Some(2)), false),
        Outcome::Disproved
    );
}

#[test]
fn a_changed_cell_names_its_column() {
    let recorded = facts("1", table(|t| t.content = Some(content_of(5, 5))));
    let same = table(|t| t.content = Some(content_of(5, 5)));
    let other = table(|t| t.content = Some(content_of(6, 6)));
    assert_eq!(worst(&content(&recorded, &[same])), Some(Outcome::Proved));
    let findings = content(&recorded, &[other]);
    assert_eq!(findings[0].outcome, Outcome::Disproved);
    assert_eq!(findings[0].subject.as_deref(), Some("b"));
    assert_eq!(worst(&content(&recorded, &[])), Some(Outcome::Unknown));
    assert_eq!(
        worst(&content(&recorded, &[table(|_| {})])),
        Some(Outcome::Unknown)
    );
}

#[test]
fn what_was_wrong_at_the_cut_is_not_right_because_it_comes_back() {
    let now = table(|table| table.content = Some(content_of(3, 2)));
    let then = |kind| {
        let mut then = now.clone();
        then.faults.push(Fault {
            kind,
            step: Step::Scan,
            subject: None,
            file: None,
            message: "a rewrite did not conserve the rows of fragments 0, 1".into(),
        });
        facts("1", then)
    };
    let findings = content(&then(FaultKind::Contradiction), std::slice::from_ref(&now));
    assert_eq!(worst(&findings), Some(Outcome::Disproved));
    assert!(findings[0].message.contains("at the cut already"), "{findings:?}");
    // What could not be asked then says nothing about what can be asked now.
    let findings = content(&then(FaultKind::Limit), std::slice::from_ref(&now));
    assert_eq!(worst(&findings), Some(Outcome::Proved));
}

#[test]
fn faults_decide_by_their_kind() {
    let faulty = |kind| {
        let fault = Fault {
            kind,
            step: Step::Scan,
            subject: None,
            file: Some("f".into()),
            message: "m".into(),
        };
        table(|t| t.faults = vec![fault])
    };
    let recorded = facts("1", table(|t| t.content = Some(content_of(5, 5))));
    for (kind, outcome) in [
        (FaultKind::Damaged, Outcome::Disproved),
        (FaultKind::Missing, Outcome::Disproved),
        (FaultKind::Undecodable, Outcome::Disproved),
        (FaultKind::Unavailable, Outcome::Unknown),
        (FaultKind::TooNew, Outcome::Unknown),
        (FaultKind::Limit, Outcome::Unknown),
    ] {
        let findings = content(&recorded, &[faulty(kind)]);
        assert_eq!(
            (findings[0].outcome, findings[0].file.as_deref()),
            (outcome, Some("f"))
        );
    }
}

#[test]
fn version_and_rows_must_be_as_stamped() {
    let stamp = |version, rows| {
        [Stamped {
            path: "t.lance".into(),
            version,
            rows: Some(rows),
        }]
    };
    assert_eq!(
        worst(&tables(&stamp(4, 9), &[table(|_| {})])),
        Some(Outcome::Proved)
    );
    assert_eq!(
        worst(&tables(&stamp(5, 9), &[table(|_| {})])),
        Some(Outcome::Disproved)
    );
    assert_eq!(
        worst(&tables(&stamp(4, 8), &[table(|_| {})])),
        Some(Outcome::Disproved)
    );
    assert_eq!(worst(&tables(&stamp(4, 9), &[])), Some(Outcome::Unknown));
    assert_eq!(
        worst(&tables(&stamp(4, 9), &[table(|t| t.version = None)])),
        Some(Outcome::Unknown)
    );
}

#[test]
fn a_write_test_must_keep_the_rows() {
    let test = |after, cleaned| {
        let test = crate::measure::WriteTest {
            appended: 2,
            rows: (9, after),
            rows_after_cleanup: cleaned,
            ..Default::default()
        };
        table(|t| t.write_test = Some(test))
    };
    assert_eq!(worst(&write_tests(&[test(11, 11)])), Some(Outcome::Proved));
    assert_eq!(worst(&write_tests(&[test(11, 9)])), Some(Outcome::Disproved));
    assert_eq!(worst(&write_tests(&[table(|_| {})])), Some(Outcome::Unknown));
}
