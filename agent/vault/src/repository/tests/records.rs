use std::time::Duration;

use super::*;
use crate::heads::Freshness;

#[tokio::test]
async fn snapshots_form_a_chain() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (one, _) = snapshot(&repository, vec![noise(1, 100)]).await;
    let (two, _) = snapshot(&repository, vec![noise(2, 100)]).await;
    let listed = repository.snapshots().await.unwrap();
    assert_eq!(listed.iter().map(|s| s.id).collect::<Vec<_>>(), [one, two]);
    let (first, second) = (
        repository.manifest(&one).await.unwrap(),
        repository.manifest(&two).await.unwrap(),
    );
    assert_eq!(first.previous, None);
    let previous = second.previous.unwrap();
    assert_eq!(previous.id, one);
    assert_eq!(previous.hash, Digest::of(&bench.object(&listed[0].object).await));
    assert_eq!(second.keys, repository.keys().await.unwrap());
    assert_eq!(second.created, first.created);
    assert!(second.listed > first.listed);
    assert_eq!(second.cipher, Cipher::Aes256Gcm);
    assert_eq!(second.indexes.len(), 1);
}

#[tokio::test]
async fn snapshots_are_found_by_name() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let error = repository.resolve("latest").await.unwrap_err().to_string();
    assert!(error.contains("holds none"), "{error}");
    let (one, _) = snapshot(&repository, vec![noise(1, 100)]).await;
    let mut suspect = Manifest::new(bench.clock.now(), "db-1", "test");
    suspect.suspect = Some("empty".into());
    let two = repository.commit(suspect).await.unwrap();
    assert_eq!(repository.resolve("latest").await.unwrap().id, one);
    assert_eq!(repository.resolve(&two.to_string()).await.unwrap().id, two);
    assert_eq!(repository.resolve(&two.to_string()[..12]).await.unwrap().id, two);
    let name = repository.resolve("latest").await.unwrap().object;
    assert_eq!(repository.resolve(name.as_str()).await.unwrap().id, one);
    assert!(matches!(
        repository.resolve("").await,
        Err(Error::SnapshotNotFound { .. })
    ));
    assert!(matches!(
        repository.resolve("zzz").await,
        Err(Error::SnapshotNotFound { .. })
    ));
}

#[tokio::test]
async fn an_older_state_put_back_is_seen() {
    let bench = Bench::new();
    let repository = bench.init().await;
    assert_eq!(repository.freshness().await.unwrap(), Freshness::Unknown);
    let (one, _) = snapshot(&repository, vec![noise(1, 100)]).await;
    let (two, _) = snapshot(&repository, vec![noise(2, 100)]).await;
    assert_eq!(repository.freshness().await.unwrap(), Freshness::Fresh);
    let newest = repository.resolve("latest").await.unwrap().object;
    let bytes = bench.object(&newest).await;
    bench.storage.delete(&newest).await.unwrap();
    let rolled_back = Freshness::RolledBack {
        expected: two,
        found: Some(one),
    };
    assert_eq!(repository.freshness().await.unwrap(), rolled_back);
    assert_eq!(
        bench.try_open().await.unwrap().freshness().await.unwrap(),
        rolled_back
    );
    // Another host has no memory.
    let (stranger, _cache) = bench.open_afresh().await;
    assert_eq!(stranger.freshness().await.unwrap(), Freshness::Unknown);
    assert_eq!(stranger.freshness().await.unwrap(), Freshness::Fresh);
    // What is committed after that does not make up for it.
    let (three, _) = snapshot(&repository, vec![noise(3, 100)]).await;
    let still = Freshness::RolledBack {
        expected: two,
        found: Some(three),
    };
    for _ in 0..2 {
        assert_eq!(repository.freshness().await.unwrap(), still);
        assert_eq!(bench.try_open().await.unwrap().freshness().await.unwrap(), still);
    }
    bench.overwrite(&newest, bytes).await;
    assert_eq!(repository.freshness().await.unwrap(), Freshness::Fresh);
}

#[tokio::test]
async fn what_retention_took_is_no_rollback() {
    let bench = Bench::new();
    let repository = bench.init().await;
    snapshot(&repository, vec![noise(1, 100)]).await;
    let remembered = repository.resolve("latest").await.unwrap().object;
    let (elsewhere, _cache) = bench.open_afresh().await;
    snapshot(&elsewhere, vec![noise(2, 100)]).await;
    bench.storage.delete(&remembered).await.unwrap();
    assert_eq!(repository.freshness().await.unwrap(), Freshness::Fresh);
}

#[tokio::test]
async fn facts_belong_to_their_snapshot_and_the_newest_count() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (one, _) = snapshot(&repository, vec![noise(1, 100)]).await;
    let (two, _) = snapshot(&repository, vec![noise(2, 100)]).await;
    assert_eq!(repository.facts(&one).await.unwrap(), None);
    repository.put_facts(&one, b"first").await.unwrap();
    bench.clock.advance(SignedDuration::from_secs(1));
    let object = repository.put_facts(&one, b"second").await.unwrap();
    assert_eq!(repository.facts(&one).await.unwrap().unwrap(), "second");
    assert_eq!(repository.facts(&two).await.unwrap(), None);
    assert_eq!(repository.record(&object).await.unwrap(), "second");
    assert_eq!(repository.remembered_records().len(), 2);
    // Put under the other snapshot's name they do not open.
    let stolen = Key::new(object.as_str().replace(&one.to_string(), &two.to_string()));
    bench.overwrite(&stolen, bench.object(&object).await).await;
    assert!(matches!(repository.facts(&two).await, Err(Error::Damaged { .. })));
    bench.storage.delete(&stolen).await.unwrap();
    // The next manifest names them.
    let (three, _) = snapshot(&repository, vec![noise(3, 100)]).await;
    let manifest = repository.manifest(&three).await.unwrap();
    assert!(manifest.records.contains(&object.to_string()));
    assert!(repository.remembered_records().is_empty());
}

#[tokio::test]
async fn holds_drills_and_ledger_are_kept() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (one, _) = snapshot(&repository, vec![noise(1, 100)]).await;
    let hold = Hold {
        reason: "pre-upgrade".into(),
        created: bench.clock.now(),
        until: None,
    };
    let key = repository.put_hold(&one, &hold).await.unwrap();
    assert_eq!(
        repository.holds().await.unwrap(),
        [(one, hold.clone(), key.clone())]
    );
    repository.release_hold(&key, Some("upgraded")).await.unwrap();
    assert!(repository.holds().await.unwrap().is_empty());
    assert!(!bench.names("holds/").await.contains(&key));
    assert!(repository.released_holds().await.unwrap().contains(&key));
    // An append-only host can not remove it; it is released all the same.
    let again = repository.put_hold(&one, &hold).await.unwrap();
    let kept = bench.object(&again).await;
    repository.release_hold(&again, None).await.unwrap();
    bench.overwrite(&again, kept).await;
    assert!(repository.holds().await.unwrap().is_empty());
    repository.put_drill(b"{}").await.unwrap();
    bench.clock.advance(SignedDuration::from_secs(5));
    repository.put_drill(b"{\"n\":2}").await.unwrap();
    let drills = repository.drills().await.unwrap();
    assert_eq!(drills.len(), 2);
    assert_eq!(repository.record(&drills[1].object).await.unwrap(), "{\"n\":2}");
    repository.append_ledger(b"verified").await.unwrap();
    let ledger = repository.ledger().await.unwrap();
    assert_eq!(repository.record(&ledger[0].object).await.unwrap(), "verified");
}

#[tokio::test]
async fn intents_end_by_themselves() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let hour = Duration::from_secs(3600);
    let intent = repository
        .put_intent(IntentKind::Backup, "db-1", hour)
        .await
        .unwrap();
    let seen = repository.intents().await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].kind, seen[0].host.as_str()),
        (IntentKind::Backup, "db-1")
    );
    assert_eq!(repository.record(&intent.object).await.unwrap()[..1], b"{"[..]);
    bench.clock.advance(SignedDuration::from_mins(61));
    assert!(repository.intents().await.unwrap().is_empty());
    let intent = repository
        .put_intent(IntentKind::Prune, "db-1", hour)
        .await
        .unwrap();
    repository.end_intent(&intent).await.unwrap();
    assert!(repository.intents().await.unwrap().is_empty());
}
