use super::*;
use crate::layout;

/// Reads everything there is, each object through what it is for; the first thing that is wrong.
async fn read_everything(bench: &Bench, ids: &[ChunkId]) -> Result<()> {
    let cache = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        clock: bench.clock.clone(),
        ..OpenOptions::new(cache.path())
    };
    let repository = Repository::open(bench.store(), &bench.unlock(), options).await?;
    repository.sync_index().await?;
    for index in repository.indexes().await? {
        repository.check_index(&index).await?;
    }
    for meta in repository.inner.list(layout::PACKS).await? {
        let pack = layout::parse_pack(&meta.key).unwrap();
        repository.prove_object(&meta.key).await?;
        repository.pack_footer(&pack, meta.size).await?;
    }
    for chunk in repository.read_chunks(ids).await {
        chunk?;
    }
    for info in repository.snapshots().await? {
        repository.manifest_of(&info).await?;
        repository.facts(&info.id).await?;
    }
    repository.holds().await?;
    repository.intents().await?;
    for record in repository
        .drills()
        .await?
        .into_iter()
        .chain(repository.ledger().await?)
    {
        repository.record(&record.object).await?;
    }
    Ok(())
}

async fn furnished() -> (Bench, Vec<ChunkId>) {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (one, ids) = snapshot(&repository, vec![noise(1, 50), noise(2, 60)]).await;
    repository.put_facts(&one, b"facts").await.unwrap();
    let hold = Hold {
        reason: "x".into(),
        created: bench.clock.now(),
        until: None,
    };
    repository.put_hold(&one, &hold).await.unwrap();
    repository.put_drill(b"drill").await.unwrap();
    repository.append_ledger(b"ledger").await.unwrap();
    let hour = std::time::Duration::from_secs(3600);
    repository
        .put_intent(IntentKind::Backup, "db-1", hour)
        .await
        .unwrap();
    read_everything(&bench, &ids).await.unwrap();
    (bench, ids)
}

fn names_it(error: &Error, key: &Key) -> bool {
    error.to_string().contains(key.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_and_cuts_are_seen_in_every_kind_of_object() {
    let (bench, ids) = furnished().await;
    for key in bench.names("").await {
        let right = bench.object(&key).await;
        let mut wrongs: Vec<Vec<u8>> = Vec::new();
        for n in 0..16_usize {
            let bit = (n * 7919 + 13) % (right.len() * 8);
            let mut flipped = right.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            wrongs.push(flipped);
        }
        wrongs.push(right[..right.len() - 1].to_vec());
        wrongs.push(right[..right.len() / 2].to_vec());
        wrongs.push(Vec::new());
        for (n, wrong) in wrongs.into_iter().enumerate() {
            bench.overwrite(&key, wrong).await;
            let error = read_everything(&bench, &ids)
                .await
                .expect_err(&format!("{key}, damage {n}"));
            assert!(names_it(&error, &key), "{key}, damage {n}: {error}");
        }
        bench.overwrite(&key, right).await;
    }
    read_everything(&bench, &ids).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_objects_are_seen() {
    let (bench, ids) = furnished().await;
    let keys = bench.names("").await;
    for (n, one) in keys.iter().enumerate() {
        for two in &keys[n + 1..] {
            let (a, b) = (bench.object(one).await, bench.object(two).await);
            bench.overwrite(one, b.clone()).await;
            bench.overwrite(two, a.clone()).await;
            let error = read_everything(&bench, &ids)
                .await
                .expect_err(&format!("{one} and {two}"));
            assert!(
                names_it(&error, one) || names_it(&error, two),
                "{one} and {two}: {error}"
            );
            bench.overwrite(one, a).await;
            bench.overwrite(two, b).await;
        }
    }
}

#[tokio::test]
async fn a_lost_pack_is_named_and_spoils_only_its_own_chunks() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, first) = snapshot(&repository, vec![noise(1, 5000)]).await;
    let lost = bench.names("packs/").await[0].clone();
    let (_, second) = snapshot(&repository, vec![noise(2, 5000)]).await;
    bench.storage.delete(&lost).await.unwrap();
    let read = repository.read_chunks(&[first[0], second[0]]).await;
    assert!(matches!(&read[0], Err(Error::Missing { object, .. }) if *object == lost));
    assert!(read[1].is_ok());
    let unknown = ChunkId::from_bytes([1; 32]);
    assert!(matches!(
        repository.read_chunk(&unknown).await,
        Err(Error::ChunkNotIndexed { .. })
    ));
}

#[tokio::test]
async fn a_damaged_chunk_spoils_no_other() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, ids) = snapshot(&repository, (0..5).map(|n| noise(n, 5000)).collect()).await;
    let at = repository.locate(&ids[2]).await.unwrap().unwrap();
    let pack = layout::pack(&at.pack);
    let mut bytes = bench.object(&pack).await;
    bytes[at.offset as usize + 9] ^= 4;
    bench.overwrite(&pack, bytes).await;
    let read = repository.read_chunks(&ids).await;
    let wrong: Vec<usize> = (0..5).filter(|n| read[*n].is_err()).collect();
    assert_eq!(wrong, [2]);
    let error = read[2].as_ref().unwrap_err();
    assert!(
        names_it(error, &pack) && error.to_string().contains(&ids[2].to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_index_object_does_not_stop_reading() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, ids) = snapshot(&repository, vec![noise(1, 5000)]).await;
    let index = bench.names("index/").await[0].clone();
    let mut bytes = bench.object(&index).await;
    bytes[60] ^= 1;
    bench.overwrite(&index, bytes).await;
    let cache = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        clock: bench.clock.clone(),
        ..OpenOptions::new(cache.path())
    };
    let reader = Repository::open(bench.store(), &bench.unlock(), options)
        .await
        .unwrap();
    assert_eq!(reader.sync_index().await.unwrap().damaged, 1);
    assert_eq!(reader.read_chunk(&ids[0]).await.unwrap(), noise(1, 5000));
    let error = reader
        .check_index(&reader.indexes().await.unwrap()[0])
        .await
        .unwrap_err();
    assert_eq!(error.object(), Some(&index));
}

#[tokio::test]
async fn a_renamed_manifest_is_seen() {
    let bench = Bench::new();
    let repository = bench.init().await;
    snapshot(&repository, vec![noise(1, 100)]).await;
    let info = repository.resolve("latest").await.unwrap();
    let bytes = bench.object(&info.object).await;
    bench.storage.delete(&info.object).await.unwrap();
    let later = layout::snapshot(info.time + SignedDuration::from_hours(1), &info.id);
    bench.overwrite(&later, bytes).await;
    let error = repository.manifest(&info.id).await.unwrap_err();
    assert_eq!(error.object(), Some(&later), "{error}");
}
