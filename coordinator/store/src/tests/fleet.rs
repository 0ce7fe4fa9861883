//! Hosts, what they protect, suspensions, reconcilers.

use dr_proto::model::{HoldInfo, Inventory, SnapshotInfo, SourceInfo};
use jiff::SignedDuration;

use super::{Bench, arrival, hello, host};

fn source(name: &str) -> SourceInfo {
    SourceInfo {
        name: name.to_owned(),
        kind: "lancedb".to_owned(),
        path: format!("/srv/{name}"),
        problem: None,
        damaged: false,
        configured: true,
    }
}

fn inventory(bench: &Bench, sources: &[&str], cuts: &[i64]) -> Inventory {
    let snapshots = cuts.iter().map(|ago| SnapshotInfo {
        id: format!("{ago:032x}"),
        cut: bench.now() - SignedDuration::from_secs(*ago),
        exact: true,
        suspect: None,
        reason: None,
        bytes: 5,
        sources: sources.iter().map(|name| (*name).to_owned()).collect(),
        hold: None,
    });
    Inventory {
        sources: sources.iter().map(|name| source(name)).collect(),
        snapshots: snapshots.collect(),
        snapshots_problem: None,
        stored_bytes: 9,
        verification: None,
    }
}

#[tokio::test]
async fn what_an_agent_says_at_hello_is_kept_and_history_is_wanted_once() {
    let bench = Bench::new().await;
    let greeting = hello("db-1", bench.now());
    let admitted = bench.store.hosts().admit(&arrival(&greeting)).await.unwrap();
    assert!(admitted.first && admitted.wants_history);
    bench
        .store
        .hosts()
        .set_history_filed(&host("db-1"))
        .await
        .unwrap();
    let again = bench.store.hosts().admit(&arrival(&greeting)).await.unwrap();
    assert!(!again.first && !again.wants_history);
    let known = bench.store.hosts().get(&host("db-1")).await.unwrap().unwrap();
    assert_eq!(known.clock_skew, Some(SignedDuration::from_millis(-1_500)));
    assert_eq!(known.repository.as_deref(), Some("file:///r"));
}

#[tokio::test]
async fn an_inventory_replaces_the_last_one_but_remembers_when_a_source_was_first_seen() {
    let bench = Bench::new().await;
    bench
        .store
        .hosts()
        .admit(&arrival(&hello("db-1", bench.now())))
        .await
        .unwrap();
    let first = bench.now();
    bench
        .store
        .inventories()
        .replace(&host("db-1"), &inventory(&bench, &["a", "b"], &[30, 20]))
        .await
        .unwrap();
    bench.clock.pass(3_600);
    bench
        .store
        .inventories()
        .replace(&host("db-1"), &inventory(&bench, &["a", "c"], &[600, 60]))
        .await
        .unwrap();
    let sources = bench.store.inventories().sources(None).await.unwrap();
    let seen: Vec<_> = sources
        .iter()
        .map(|record| (record.source.name.as_str(), record.first_seen))
        .collect();
    assert_eq!(seen, [("a", first), ("c", bench.now())]);
    assert_eq!(
        bench
            .store
            .inventories()
            .snapshots(Some(&host("db-1")))
            .await
            .unwrap()
            .len(),
        2
    );
    let cuts = bench.store.inventories().cuts().await.unwrap();
    assert_eq!(
        (
            cuts[0].source.as_str(),
            cuts[0].worst_gap.as_secs(),
            cuts[0].snapshots
        ),
        ("a", 540, 2)
    );
}

#[tokio::test]
async fn a_list_that_could_not_be_made_takes_nothing_away() {
    let bench = Bench::new().await;
    bench
        .store
        .hosts()
        .admit(&arrival(&hello("db-1", bench.now())))
        .await
        .unwrap();
    bench
        .store
        .inventories()
        .replace(&host("db-1"), &inventory(&bench, &["a"], &[30]))
        .await
        .unwrap();
    let ill = Inventory {
        snapshots: Vec::new(),
        snapshots_problem: Some("the store does not answer".to_owned()),
        ..inventory(&bench, &["a"], &[])
    };
    bench
        .store
        .inventories()
        .replace(&host("db-1"), &ill)
        .await
        .unwrap();
    assert_eq!(
        bench
            .store
            .inventories()
            .snapshots(Some(&host("db-1")))
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(bench.store.inventories().cuts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn holds_come_change_and_go_with_the_inventory() {
    let bench = Bench::new().await;
    for name in ["db-1", "db-2"] {
        let hosts = bench.store.hosts();
        hosts.admit(&arrival(&hello(name, bench.now()))).await.unwrap();
    }
    let inventories = bench.store.inventories();
    let held = |until: Option<i64>| HoldInfo {
        reason: "OPS-1".to_owned(),
        created: bench.now(),
        until: until.map(|hours| bench.now() + SignedDuration::from_hours(hours)),
    };
    for hold in [None, Some(held(Some(1))), Some(held(None)), None] {
        let mut said = inventory(&bench, &["a"], &[30, 60]);
        said.snapshots[0].hold.clone_from(&hold);
        inventories.replace(&host("db-1"), &said).await.unwrap();
        let known = inventories.snapshots(Some(&host("db-1"))).await.unwrap();
        assert_eq!(known[0].snapshot.hold, hold);
        assert_eq!(known[1].snapshot.hold, None);
    }
    let elsewhere = inventory(&bench, &["a"], &[45]);
    inventories.replace(&host("db-2"), &elsewhere).await.unwrap();
    let all = inventories.snapshots(None).await.unwrap();
    let hosts: Vec<&str> = all.iter().map(|record| record.host.as_str()).collect();
    assert_eq!(hosts, ["db-1", "db-2", "db-1"], "newest first over all hosts");
}

#[tokio::test]
async fn suspensions_end_by_themselves_and_by_hand() {
    let bench = Bench::new().await;
    let suspensions = bench.store.suspensions();
    suspensions
        .begin("fleet", "upgrade", SignedDuration::from_hours(4), "ana")
        .await
        .unwrap();
    suspensions
        .begin(
            "fleet",
            "upgrade takes longer",
            SignedDuration::from_hours(8),
            "ana",
        )
        .await
        .unwrap();
    let host_only = suspensions
        .begin("host=db-1", "disk", SignedDuration::from_hours(1), "ana")
        .await
        .unwrap();
    assert_eq!(
        suspensions.active().await.unwrap().len(),
        2,
        "one scope, one suspension"
    );
    assert_eq!(suspensions.end(&host_only.id, "ana").await.unwrap(), 1);
    assert_eq!(suspensions.end("host=db-1", "ana").await.unwrap(), 0);
    bench.clock.pass(8 * 3_600);
    assert!(suspensions.active().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_reconciler_that_never_succeeds_is_known_and_one_switched_off_is_not() {
    let bench = Bench::new().await;
    let reconcilers = bench.store.reconcilers();
    reconcilers.register(&["reaper", "backup"]).await.unwrap();
    reconcilers.failed("reaper", "the disk is full").await.unwrap();
    let list = reconcilers.list().await.unwrap();
    assert_eq!((list[1].name.as_str(), list[1].last_success), ("reaper", None));
    reconcilers.succeeded("reaper", "nothing to do").await.unwrap();
    reconcilers.register(&["reaper"]).await.unwrap();
    let list = reconcilers.list().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].last_success, None, "not yet in this incarnation");
}
