use super::*;
use crate::writer::Added;

#[tokio::test]
async fn chunks_come_back() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let chunks: Vec<Bytes> = (0..50).map(|n| noise(n, 1000 + n as usize * 300)).collect();
    let (_, ids) = snapshot(&repository, chunks.clone()).await;
    let (reader, _cache) = bench.open_afresh().await;
    let read: Vec<Bytes> = reader
        .read_chunks(&ids)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, chunks);
    let mut backwards: Vec<ChunkId> = ids.iter().rev().copied().collect();
    backwards.push(ids[3]);
    let read: Vec<Bytes> = reader
        .read_chunks(&backwards)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read[0], chunks[49]);
    assert_eq!(read[50], chunks[3]);
}

#[tokio::test]
async fn known_chunks_are_not_stored_again() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let chunks: Vec<Bytes> = (0..20).map(|n| noise(n, 4000)).collect();
    let writer = repository.writer(WriterOptions::default());
    let first = writer.add_many(chunks.clone()).await.unwrap();
    assert!(first.iter().all(|(_, added)| *added == Added::New));
    assert_eq!(writer.add(chunks[0].clone()).await.unwrap().1, Added::Known);
    let stats = writer.finish().await.unwrap();
    assert_eq!((stats.chunks_new, stats.chunks_known, stats.packs), (20, 1, 1));
    assert_eq!(stats.indexes.len(), 1);
    let (second, _cache) = bench.open_afresh().await;
    let writer = second.writer(WriterOptions::default());
    assert!(
        writer
            .add_many(chunks)
            .await
            .unwrap()
            .iter()
            .all(|(_, added)| *added == Added::Known)
    );
    let stats = writer.finish().await.unwrap();
    assert_eq!((stats.packs, stats.bytes_stored, stats.indexes.len()), (0, 0, 0));
    assert_eq!(bench.names("packs/").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_readers_fill_several_packs() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let writer = repository.writer(WriterOptions {
        uploads: 2,
        ..WriterOptions::default()
    });
    let readers: Vec<_> = (0..4_u64)
        .map(|reader| {
            let writer = writer.clone();
            tokio::task::spawn_blocking(move || {
                let add = |n: u64| writer.add_blocking(&noise(reader * 1000 + n, 100_000)).unwrap().0;
                (0..130).map(add).collect::<Vec<ChunkId>>()
            })
        })
        .collect();
    let mut ids = Vec::new();
    for reader in readers {
        ids.push(reader.await.unwrap());
    }
    let stats = writer.finish().await.unwrap();
    assert!(stats.packs >= 3, "{stats:?}");
    assert_eq!(stats.chunks_new, 520);
    let (reader, _cache) = bench.open_afresh().await;
    for (r, ids) in ids.iter().enumerate() {
        for (n, chunk) in reader.read_chunks(ids).await.into_iter().enumerate() {
            assert_eq!(chunk.unwrap(), noise(r as u64 * 1000 + n as u64, 100_000));
        }
    }
}

#[tokio::test]
async fn cancelling_stops_a_writer() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let options = WriterOptions::default();
    let writer = repository.writer(options.clone());
    writer.add(noise(1, 1000)).await.unwrap();
    options.cancel.cancel();
    assert!(matches!(writer.add(noise(2, 1000)).await, Err(Error::Cancelled)));
    assert!(matches!(writer.finish().await, Err(Error::Cancelled)));
    assert!(bench.names("packs/").await.is_empty());
}

#[tokio::test]
async fn two_writers_at_once_do_no_harm() {
    let bench = Bench::new();
    let one = bench.init().await;
    let (two, _cache) = bench.open_afresh().await;
    let chunks: Vec<Bytes> = (0..10).map(|n| noise(n, 3000)).collect();
    let ((id_one, ids), (id_two, _)) =
        tokio::join!(snapshot(&one, chunks.clone()), snapshot(&two, chunks.clone()));
    assert_ne!(id_one, id_two);
    let (reader, _cache) = bench.open_afresh().await;
    assert_eq!(reader.snapshots().await.unwrap().len(), 2);
    for chunk in reader.read_chunks(&ids).await {
        chunk.unwrap();
    }
    // Both copies are known: one damaged pack does not lose the chunk.
    let packs = bench.names("packs/").await;
    assert_eq!(packs.len(), 2);
    for pack in &packs {
        let right = bench.object(pack).await;
        let mut wrong = right.clone();
        wrong[100] ^= 1;
        bench.overwrite(pack, wrong).await;
        for (read, chunk) in reader.read_chunks(&ids).await.into_iter().zip(&chunks) {
            assert_eq!(read.unwrap(), chunk);
        }
        bench.overwrite(pack, right).await;
    }
}

#[tokio::test]
async fn a_crash_between_pack_and_index_loses_nothing_that_was_committed() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, before) = snapshot(&repository, vec![noise(1, 3000)]).await;
    // As if killed after the pack: the second index object never came to be.
    let known = bench.names("index/").await;
    let writer = repository.writer(WriterOptions::default());
    let (orphan, _) = writer.add(noise(2, 3000)).await.unwrap();
    writer.finish().await.unwrap();
    for index in bench.names("index/").await {
        if !known.contains(&index) {
            bench.storage.delete(&index).await.unwrap();
        }
    }
    let (next, _cache) = bench.open_afresh().await;
    assert_eq!(next.locate(&orphan).await.unwrap(), None);
    let (_, after) = snapshot(&next, vec![noise(2, 3000), noise(3, 3000)]).await;
    let (reader, _cache) = bench.open_afresh().await;
    for chunk in reader.read_chunks(&[before[0], after[0], after[1]]).await {
        chunk.unwrap();
    }
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_from_footers() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, ids) = snapshot(&repository, (0..30).map(|n| noise(n, 3000)).collect()).await;
    for index in bench.names("index/").await {
        bench.storage.delete(&index).await.unwrap();
    }
    let (reader, _cache) = bench.open_afresh().await;
    // Reading goes on without it, and nothing is written for that.
    for chunk in reader.read_chunks(&ids).await {
        chunk.unwrap();
    }
    assert!(bench.names("index/").await.is_empty());
    // Deliberately: then the index is there again.
    assert_eq!(reader.rebuild_index().await.unwrap().len(), 1);
    assert!(reader.rebuild_index().await.unwrap().is_empty());
    let (reader, _cache) = bench.open_afresh().await;
    assert!(reader.locate(&ids[7]).await.unwrap().is_some());
}

#[tokio::test]
async fn the_local_index_follows_what_vanishes() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, first) = snapshot(&repository, vec![noise(1, 3000)]).await;
    let kept = bench.names("index/").await;
    let (_, second) = snapshot(&repository, vec![noise(2, 3000)]).await;
    for index in bench.names("index/").await.iter().filter(|i| !kept.contains(i)) {
        bench.storage.delete(index).await.unwrap();
    }
    let stats = repository.sync_index().await.unwrap();
    assert_eq!(
        (stats.objects, stats.packs, stats.chunks, stats.downloaded),
        (1, 1, 1, 0)
    );
    assert!(repository.locate(&first[0]).await.unwrap().is_some());
    assert!(repository.locate(&second[0]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_rotten_cache_is_downloaded_again() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let (_, ids) = snapshot(&repository, (0..200).map(|n| noise(n, 500)).collect()).await;
    let dir = bench.cache.path().join(repository.id().to_string()).join("index");
    let segment = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for chunk in repository.read_chunks(&ids).await {
        chunk.unwrap();
    }
    assert!(!segment.exists());
    let reopened = bench.try_open().await.unwrap();
    assert!(reopened.locate(&ids[0]).await.unwrap().is_some());
}

/// `DR_BIG_DIR` should have room for `DR_BIG_GIB` (4); run it alone, for memory is counted by process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes"]
async fn gigabytes_pass_through_bounded_memory() {
    const CHUNK: usize = 16 << 10;
    let base = std::env::var_os("DR_BIG_DIR").unwrap_or_else(|| "/tmp".into());
    let gib: u64 = std::env::var("DR_BIG_GIB").map_or(4, |n| n.parse().unwrap());
    let dir = tempfile::tempdir_in(base).unwrap();
    let url = format!("file://{}", dir.path().join("repository").display());
    let storage = crate::storage::open(&url, &crate::storage::StorageOptions::default())
        .await
        .unwrap();
    let identity = Identity::generate();
    let init = InitOptions {
        recipients: vec![identity.recipient()],
        ..InitOptions::default()
    };
    let options = OpenOptions::new(dir.path().join("cache"));
    let repository = Repository::init(storage, init, options).await.unwrap();
    let writer = repository.writer(WriterOptions::default());
    let readers: Vec<_> = (0..2)
        .map(|reader: u64| {
            let writer = writer.clone();
            tokio::task::spawn_blocking(move || {
                for n in 0..(gib << 30) / 2 / CHUNK as u64 {
                    writer.add_blocking(&noise((reader << 40) + n, CHUNK)).unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let stats = writer.finish().await.unwrap();
    assert_eq!(stats.bytes_new, gib << 30);
    let peak = crate::index::tests::peak_memory() >> 20;
    println!(
        "{gib} GiB: {} packs, {} index objects, peak {peak} MiB",
        stats.packs,
        stats.indexes.len()
    );
    assert!(peak < 300, "{peak} MiB");
}
