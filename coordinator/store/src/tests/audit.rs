//! The audit log notices what was done to it.

use serde_json::json;

use super::Bench;
use crate::audit::{Chain, Head};

async fn filled() -> Bench {
    let bench = Bench::new().await;
    for number in 0..6 {
        bench.clock.pass(1);
        let details = json!({ "number": number });
        bench
            .store
            .audit()
            .append("ana", "plan.apply", "nightly", &details)
            .await
            .unwrap();
    }
    bench
}

async fn tamper(bench: &Bench, sql: &'static str) {
    for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(bench.store.writer())
            .await
            .unwrap();
    }
}

async fn broken_at(bench: &Bench, noted: Option<&Head>) -> u64 {
    match bench.store.audit().verify(noted).await.unwrap() {
        Chain::Broken { at, .. } => at,
        Chain::Intact { .. } => 0,
    }
}

#[tokio::test]
async fn an_untouched_log_is_intact_and_its_head_is_the_newest_entry() {
    let bench = filled().await;
    let head = bench.store.audit().head().await.unwrap();
    let found = bench.store.audit().verify(Some(&head)).await.unwrap();
    assert_eq!(
        found,
        Chain::Intact {
            entries: 6,
            head: head.clone()
        }
    );
    assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
}

#[tokio::test]
async fn edits_deletions_reordering_and_cuts_are_found_where_they_are() {
    let cases = [
        ("UPDATE audit SET actor = 'eve' WHERE number = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE number = 2", 2),
        ("UPDATE audit SET details = '{}' WHERE number = 6", 6),
        ("DELETE FROM audit WHERE number = 4", 4),
        ("DELETE FROM audit WHERE number >= 5", 5),
        ("DELETE FROM audit WHERE number = 1", 1),
        // Swapped places, with numbers mended.
        (
            "UPDATE audit SET number = 99 WHERE number = 2; UPDATE audit SET number = 2 WHERE number = 3;
          UPDATE audit SET number = 3 WHERE number = 99",
            2,
        ),
        // A start moved over what was taken out.
        (
            "DELETE FROM audit WHERE number <= 2; UPDATE audit_bounds SET before_first = 2,
          before_hash = 'feed'",
            3,
        ),
        ("DELETE FROM audit", 1),
    ];
    for (sql, at) in cases {
        let bench = filled().await;
        tamper(&bench, sql).await;
        assert_eq!(broken_at(&bench, None).await, at, "{sql}");
    }
}

#[tokio::test]
async fn a_start_that_fits_needs_an_entry_that_says_why() {
    let bench = filled().await;
    tamper(
        &bench,
        "UPDATE audit_bounds SET before_first = 2, before_hash = (SELECT hash FROM audit WHERE number = 2);
         DELETE FROM audit WHERE number <= 2",
    )
    .await;
    assert_eq!(broken_at(&bench, None).await, 1);
}

#[tokio::test]
async fn a_rewritten_log_is_found_by_a_head_that_was_noted() {
    let bench = filled().await;
    let noted = bench.store.audit().head().await.unwrap();
    let rewritten = filled().await;
    rewritten
        .store
        .audit()
        .append("eve", "plan.delete", "nightly", &json!({}))
        .await
        .unwrap();
    tamper(&rewritten, "DELETE FROM audit; DELETE FROM audit_bounds").await;
    for _ in 0..6 {
        rewritten
            .store
            .audit()
            .append("ana", "plan.apply", "other", &json!({}))
            .await
            .unwrap();
    }
    assert_eq!(broken_at(&rewritten, None).await, 0);
    assert_eq!(broken_at(&rewritten, Some(&noted)).await, 6);
}

#[tokio::test]
async fn an_end_cut_off_with_its_bounds_is_found_by_a_head_that_was_noted() {
    let bench = filled().await;
    let noted = bench.store.audit().head().await.unwrap();
    tamper(
        &bench,
        "DELETE FROM audit WHERE number > 4;
         UPDATE audit_bounds SET last = 4, last_hash = (SELECT hash FROM audit WHERE number = 4)",
    )
    .await;
    assert_eq!(broken_at(&bench, None).await, 0);
    assert_eq!(broken_at(&bench, Some(&noted)).await, 5);
}

#[tokio::test]
async fn pruned_entries_are_accounted_for() {
    let bench = filled().await;
    let before = bench.now() - jiff::SignedDuration::from_secs(2);
    let pruned = bench.store.audit().prune(before, 100).await.unwrap();
    assert_eq!(pruned, 3);
    let found = bench.store.audit().verify(None).await.unwrap();
    assert!(matches!(found, Chain::Intact { entries: 4, .. }), "{found:?}");
    assert_eq!(bench.store.audit().prune(before, 100).await.unwrap(), 0);
    // Once more over the entry that spoke of the first time.
    bench.clock.pass(10);
    assert_eq!(bench.store.audit().prune(bench.now(), 100).await.unwrap(), 4);
    assert!(matches!(
        bench.store.audit().verify(None).await.unwrap(),
        Chain::Intact { entries: 1, .. }
    ));
}

#[tokio::test]
async fn a_broken_log_is_not_tidied_away() {
    let bench = filled().await;
    tamper(&bench, "UPDATE audit SET actor = 'eve' WHERE number = 3").await;
    bench.clock.pass(100);
    assert_eq!(bench.store.audit().prune(bench.now(), 100).await.unwrap(), 0);
    assert_eq!(broken_at(&bench, None).await, 3);
}
