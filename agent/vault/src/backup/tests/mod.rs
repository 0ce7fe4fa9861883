//! Backups of sources in memory to a store in memory: what is read, what is stored, what is committed.

mod faults;
pub(crate) mod memory_source;

use bytes::Bytes;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::Error as VaultError;
use crate::check;
use crate::repository::tests::{Bench, noise};
use crate::storage::Storage;
use memory_source::{MemorySource, contents, request, store};

/// A database of write-once files and a log that grows.
fn database() -> MemorySource {
    MemorySource::new("memory")
        .with("t.lance/_versions/1.manifest", noise(1, 700))
        .with("t.lance/data/a.lance", noise(2, 300_000))
        .with("t.lance/data/empty", Bytes::new())
}

fn log(lines: usize) -> MemorySource {
    MemorySource::new("audit").with_changing("audit.log", Bytes::from(b"{\"line\":1}\n".repeat(lines)))
}

async fn is_sound(repository: &Repository) {
    let options = check::Options {
        depth: check::Depth::Full,
    };
    let report = check::run(repository, &options, &Progress::new(), &CancellationToken::new()).await;
    let report = report.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_holds_what_was_given() {
    let bench = Bench::new();
    let repository = bench.init().await;
    // Larger than a block, so that it takes the way of large files.
    let (memory, audit) = (database().with("t.lance/data/large", noise(3, 5 << 20)), log(50));
    let outcome = store(&repository, &[&memory, &audit], None).await.unwrap();
    let mut expected = memory.expected();
    expected.extend(audit.expected());
    assert_eq!((outcome.stats.files, outcome.stats.files_read), (5, 5));
    assert_eq!(
        outcome.stats.bytes,
        expected.values().map(|bytes| bytes.len() as u64).sum::<u64>()
    );
    let (reader, _cache) = bench.open_afresh().await;
    assert_eq!(contents(&reader, &outcome.id).await, expected);
    is_sound(&reader).await;
    assert!(
        reader.intents().await.unwrap().is_empty(),
        "the backup took its intent back"
    );
}

#[tokio::test]
async fn unchanged_files_are_not_read_again() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let first = store(&repository, &[&memory, &log(50)], None).await.unwrap();
    let read_once = memory.reads();
    assert!(read_once > 0);
    let audit = log(60);
    let second = store(&repository, &[&memory, &audit], Some(first.id))
        .await
        .unwrap();
    assert_eq!(memory.reads(), read_once, "no file of the database was touched");
    assert!(audit.reads() > 0, "the log has no identity: it is read");
    assert_eq!((second.stats.files_unchanged, second.stats.files_read), (3, 1));
    assert_eq!(second.stats.bytes_unchanged, 300_700);
    let mut expected = memory.expected();
    expected.extend(audit.expected());
    assert_eq!(contents(&repository, &second.id).await, expected);
    // The same once more stores nothing new.
    let third = store(&repository, &[&memory, &audit], Some(second.id))
        .await
        .unwrap();
    assert_eq!((third.stats.chunks_new, third.stats.packs), (0, 0));
    assert_eq!(
        third.manifest.sources[0].tree, second.manifest.sources[0].tree,
        "the list is the same"
    );
}

#[tokio::test]
async fn a_file_that_was_written_anew_is_read() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let first = store(&repository, &[&memory], None).await.unwrap();
    let other = memory
        .clone()
        .with("t.lance/data/b.lance", noise(4, 1000))
        .touched("t.lance/data/a.lance");
    let second = store(&repository, &[&other], Some(first.id)).await.unwrap();
    assert_eq!((second.stats.files_unchanged, second.stats.files_read), (2, 2));
    assert_eq!(contents(&repository, &second.id).await, other.expected());
}

#[tokio::test]
async fn a_reread_reads_everything_and_takes_it_as_it_is() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let first = store(&repository, &[&memory], None).await.unwrap();
    let rotten = memory.clone().rotten("t.lance/data/a.lance", noise(9, 300_000));
    let before = memory.reads();
    let mut request = request(&repository, &[&rotten], Some(first.id));
    request.reread = true;
    let second = run(&repository, request, &Progress::new(), &CancellationToken::new())
        .await
        .unwrap();
    assert!(memory.reads() > before);
    assert_eq!((second.stats.files_unchanged, second.stats.files_read), (0, 3));
    assert_eq!(contents(&repository, &second.id).await, rotten.expected());
    assert_eq!(contents(&repository, &first.id).await, memory.expected());
}

#[tokio::test]
async fn a_chunk_that_the_repository_lost_is_stored_again() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let first = store(&repository, &[&memory], None).await.unwrap();
    for object in bench
        .names("packs/")
        .await
        .iter()
        .chain(&bench.names("index/").await)
    {
        bench.storage.delete(object).await.unwrap();
    }
    let (repository, _cache) = bench.open_afresh().await;
    // Its list is lost as well: all is read as if new.
    let second = store(&repository, &[&memory], Some(first.id)).await.unwrap();
    assert_eq!(second.stats.files_read, 3);
    assert_eq!(contents(&repository, &second.id).await, memory.expected());
}

/// The index still names them: without a look at the store every later snapshot would lack what they held.
#[tokio::test]
async fn what_a_lost_or_cut_pack_held_is_stored_again_and_heals_older_snapshots() {
    for cut in [false, true] {
        let bench = Bench::new();
        let repository = bench.init().await;
        let memory = database();
        let first = store(&repository, &[&memory], None).await.unwrap();
        for pack in bench.names("packs/").await {
            let bytes = bench.object(&pack).await;
            bench.storage.delete(&pack).await.unwrap();
            if cut {
                bench.overwrite(&pack, bytes[..bytes.len() / 2].to_vec()).await;
            }
        }
        bench.clock.advance(SignedDuration::from_hours(1));
        let second = store(&repository, &[&memory], Some(first.id)).await.unwrap();
        assert_eq!(second.stats.files_read, 3);
        let (repository, _cache) = bench.open_afresh().await;
        for id in [&first.id, &second.id] {
            assert_eq!(contents(&repository, id).await, memory.expected());
        }
        is_sound(&repository).await;
    }
}

#[tokio::test]
async fn packs_that_lost_their_index_are_named_again_by_the_next_backup() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let first = store(&repository, &[&memory], None).await.unwrap();
    for index in bench.names("index/").await {
        bench.storage.delete(&index).await.unwrap();
    }
    bench.clock.advance(SignedDuration::from_hours(1));
    let second = store(&repository, &[&memory], Some(first.id)).await.unwrap();
    assert_eq!(second.stats.chunks_new, 0, "everything is there");
    let (repository, _cache) = bench.open_afresh().await;
    assert!(!bench.names("index/").await.is_empty());
    assert_eq!(contents(&repository, &second.id).await, memory.expected());
    is_sound(&repository).await;
}

/// The front of a file stands in the repository, its end is lost: what is read must go on where the list stopped.
#[tokio::test]
async fn a_file_that_is_half_lost_is_read_and_must_be_the_same() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let front = noise(5, 900_000);
    let whole: Bytes = [front.clone(), noise(6, 900_000)].concat().into();
    let start = MemorySource::new("memory").with("a", front.clone());
    let first = store(&repository, &[&start], None).await.unwrap();
    let known = bench.names("index/").await;
    let memory = MemorySource::new("memory")
        .with("a", front)
        .with("b", whole.clone());
    let second = store(&repository, &[&memory], Some(first.id)).await.unwrap();
    // The list of the second snapshot is kept by a copy of its chunks in a third run's packs.
    let list = second.manifest.sources[0].tree.chunks.clone();
    let kept = repository.read_chunks(&list).await;
    for index in bench
        .names("index/")
        .await
        .iter()
        .filter(|index| !known.contains(index))
    {
        bench.storage.delete(index).await.unwrap();
    }
    let packs = bench.names("packs/").await;
    let (repository, _cache) = bench.open_afresh().await;
    let named: Vec<_> = repository.indexed_packs().await.unwrap();
    for pack in packs {
        if named.iter().all(|named| crate::layout::pack(&named.id) != pack) {
            bench.storage.delete(&pack).await.unwrap();
        }
    }
    let writer = repository.writer(WriterOptions::default());
    writer
        .add_many(kept.into_iter().map(Result::unwrap).collect())
        .await
        .unwrap();
    writer.finish().await.unwrap();
    let (repository, _cache) = bench.open_afresh().await;

    let rotten = memory.clone().rotten("b", noise(7, whole.len()));
    let error = store(&repository, &[&rotten], Some(second.id)).await.unwrap_err();
    let Error::Changed { path, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(path.to_string(), "b");
    let third = store(&repository, &[&memory], Some(second.id)).await.unwrap();
    assert_eq!((third.stats.files_unchanged, third.stats.files_read), (1, 1));
    assert_eq!(contents(&repository, &third.id).await, memory.expected());
}

#[tokio::test]
async fn snapshots_form_a_chain_and_a_lost_one_does_not_stop_the_next() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let first = store(&repository, &[&memory], None).await.unwrap();
    bench.clock.advance(SignedDuration::from_hours(1));
    let second = store(&repository, &[&memory], Some(first.id)).await.unwrap();
    let link = repository.manifest(&second.id).await.unwrap().previous.unwrap();
    assert_eq!(link.id, first.id);
    is_sound(&repository).await;
    let gone = repository.resolve(&second.id.to_string()).await.unwrap().object;
    bench.storage.delete(&gone).await.unwrap();
    let third = store(&repository, &[&memory], Some(second.id)).await.unwrap();
    assert_eq!(third.stats.files_read, 3, "there is nothing to carry over from");
    let link = repository.manifest(&third.id).await.unwrap().previous.unwrap();
    assert_eq!(link.id, first.id);
}

#[tokio::test]
async fn suspects_are_kept_and_never_latest() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let memory = database();
    let good = store(&repository, &[&memory], None).await.unwrap();
    bench.clock.advance(SignedDuration::from_hours(1));
    let empty = store(&repository, &[&MemorySource::new("memory")], Some(good.id))
        .await
        .unwrap();
    let why = repository.manifest(&empty.id).await.unwrap().suspect.unwrap();
    assert!(why.contains("memory") && why.contains("no files"), "{why}");
    bench.clock.advance(SignedDuration::from_hours(1));
    let mut doubted = request(&repository, &[&memory], Some(good.id));
    doubted.suspect = Some("lost more than half".to_owned());
    let doubted = run(&repository, doubted, &Progress::new(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(repository.snapshots().await.unwrap().len(), 3);
    assert_eq!(repository.resolve("latest").await.unwrap().id, good.id);
    assert_eq!(contents(&repository, &doubted.id).await, memory.expected());
}

#[tokio::test]
async fn what_forms_no_snapshot_is_refused_by_name() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let twice = store(&repository, &[&log(1), &log(2)], None).await.unwrap_err();
    assert!(
        matches!(&twice, Error::SameName { origin } if origin == "audit"),
        "{twice}"
    );
    let mut disorder = request(&repository, &[], None);
    let mut input = database().input();
    let entries: Vec<_> = input.entries.collect();
    input.entries = Box::new(entries.into_iter().rev());
    disorder.inputs.push(input);
    let error = run(&repository, disorder, &Progress::new(), &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Disorder { origin, .. } if origin == "memory"),
        "{error}"
    );
    assert!(repository.snapshots().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_can_not_be_read_is_named_and_nothing_is_committed() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let ill = database().on_read(|_| Err(std::io::Error::other("the disk is ill")));
    let error = store(&repository, &[&log(1), &ill], None).await.unwrap_err();
    assert!(
        matches!(&error, Error::Read { origin, .. } if origin == "memory"),
        "{error}"
    );
    let mut short = request(&repository, &[], None);
    let mut input = log(10).input();
    input.entries = Box::new(input.entries.map(|entry| {
        let mut entry = entry?;
        if let InputKind::File { len, .. } = &mut entry.kind {
            *len += 1;
        }
        Ok(entry)
    }));
    short.inputs.push(input);
    let error = run(&repository, short, &Progress::new(), &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Shrank { len: 111, .. }), "{error}");
    assert!(repository.snapshots().await.unwrap().is_empty());
    store(&repository, &[&log(1), &database()], None).await.unwrap();
    is_sound(&repository).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_mid_way_leaves_nothing_committed() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let large = || MemorySource::new("memory").with("large", noise(1, 24 << 20));
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let memory = large().on_read(move |before| {
        if before == 4 {
            token.cancel();
        }
        Ok(())
    });
    let request = request(&repository, &[&memory], None);
    let error = run(&repository, request, &Progress::new(), &cancel)
        .await
        .unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert!(repository.snapshots().await.unwrap().is_empty());
    assert!(repository.intents().await.unwrap().is_empty());
    let after = store(&repository, &[&large()], None).await.unwrap();
    assert_eq!(contents(&repository, &after.id).await, large().expected());
    is_sound(&repository).await;
}

#[tokio::test]
async fn without_rights_nothing_is_announced_and_the_error_says_so() {
    use crate::storage::faulty::{Fault, Faults, Faulty, Rule};
    let bench = Bench::new();
    bench.init().await;
    let faults = Faults::none();
    let storage = Arc::new(Faulty::new(bench.store(), faults.clone()));
    let repository = Repository::open(storage, &bench.unlock(), bench.options())
        .await
        .unwrap();
    faults.add(Rule::on(crate::storage::Operation::Put, ""), Fault::Deny);
    let error = store(&repository, &[&database()], None).await.unwrap_err();
    let Some(VaultError::Storage { source, .. }) = error.repository() else {
        panic!("{error}")
    };
    assert!(
        matches!(**source, crate::storage::Error::Denied { .. }),
        "{source}"
    );
    assert!(repository.snapshots().await.unwrap().is_empty());
}
