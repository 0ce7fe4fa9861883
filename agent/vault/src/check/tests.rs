//! Checks of small repositories in memory: what is sound passes, what is damaged is named with what suffers, what can
//! not be asked is an error.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::backup::tests::memory_source::{MemorySource, store};
use crate::read::{Coverage, Options as ReadOptions, SnapshotReader};
use crate::repository::tests::{Bench, noise};
use crate::storage::faulty::{Fault, Faults, Faulty, Rule};
use crate::storage::{Key, Operation, Storage};
use crate::tree::TreePath;
use crate::{ChunkId, Manifest, SnapshotId};

/// A repository of two snapshots in several packs; nobody has damaged anything yet.
struct Rig {
    bench: Bench,
    repository: Repository,
    snapshot: SnapshotId,
    manifest: Manifest,
}

fn database() -> MemorySource {
    MemorySource::new("memory")
        .with("t.lance/data/a.lance", noise(1, 200_000))
        .with("t.lance/data/b.lance", noise(2, 200_000))
}

fn log(seed: u64) -> MemorySource {
    MemorySource::new("audit").with_changing("audit.log", noise(seed, 30_000))
}

impl Rig {
    async fn new() -> Self {
        let bench = Bench::new();
        let repository = bench.init().await;
        let first = store(&repository, &[&database()], None).await.unwrap();
        bench.clock.advance(jiff::SignedDuration::from_hours(1));
        let second = store(&repository, &[&database(), &log(3)], Some(first.id))
            .await
            .unwrap();
        let manifest = repository.manifest(&second.id).await.unwrap();
        Self {
            bench,
            repository,
            snapshot: second.id,
            manifest,
        }
    }

    async fn check(&self, depth: Depth) -> Report {
        let cancel = CancellationToken::new();
        run(&self.repository, &Options { depth }, &Progress::new(), &cancel)
            .await
            .unwrap()
    }

    async fn bytes(&self, options: &BytesOptions) -> BytesReport {
        let (progress, cancel) = (Progress::new(), CancellationToken::new());
        snapshot_bytes(
            &self.repository,
            &self.snapshot,
            &self.manifest,
            options,
            &progress,
            &cancel,
        )
        .await
        .unwrap()
    }

    /// Most bytes that reading everything outside `coverage` may take: packs that nobody has read whole, of the others
    /// the end, where the footer lies, and the open chunks. How the writer filled packs is its own affair.
    async fn cost_of_the_open(&self, coverage: &Coverage) -> u64 {
        let mut most = 0;
        for pack in self.repository.indexed_packs().await.unwrap() {
            let size = u64::from(pack.size);
            let chunks = self.repository.pack_footer(&pack.id, size).await.unwrap();
            let (covered, open): (Vec<_>, Vec<_>) = (0..)
                .zip(&chunks)
                .partition(|(ordinal, _)| coverage.contains_ordinal(&pack.id, *ordinal));
            most += match (covered.is_empty(), open.is_empty()) {
                (_, true) => 0,
                (true, false) => size,
                (false, false) => {
                    let sealed = open.iter().map(|(_, chunk)| u64::from(chunk.sealed_len));
                    size.min(crate::repository::FOOTER_READ) + sealed.sum::<u64>()
                }
            };
        }
        most
    }

    /// Flips one bit of the chunk with this content, wherever it lies; the pack's name.
    async fn flip(&self, content: &Bytes) -> (Key, ChunkId) {
        let chunk = self.repository.chunk_id(content);
        let at = self.repository.locate(&chunk).await.unwrap().unwrap();
        let pack = crate::layout::pack(&at.pack);
        let mut bytes = self.bench.object(&pack).await;
        bytes[(at.offset + at.sealed_len / 2) as usize] ^= 1;
        self.bench.overwrite(&pack, bytes).await;
        (pack, chunk)
    }
}

/// The first chunk of a file, as the repository cuts it.
fn first_chunk(repository: &Repository, file: &Bytes) -> Bytes {
    let cutter = repository.chunker().cutter();
    file.slice(..cutter.cut(file))
}

#[tokio::test]
async fn a_sound_repository_passes_at_every_depth() {
    let rig = Rig::new().await;
    // How the writer fills packs is its own affair.
    let packs = rig.bench.names("packs/").await.len() as u64;
    for depth in [Depth::Quick, Depth::Budget(1), Depth::Full] {
        let report = rig.check(depth).await;
        assert!(report.is_sound() && report.findings.is_empty(), "{report:?}");
        assert_eq!((report.snapshots, report.packs), (2, packs));
        let (read, left) = match depth {
            Depth::Quick => (0, 0),
            Depth::Budget(_) => (1, packs - 1),
            Depth::Full => (packs, 0),
        };
        assert_eq!((report.packs_read, report.packs_left), (read, left));
    }
    let full = rig.check(Depth::Full).await;
    assert_eq!(full.bytes_read, full.pack_bytes);
}

#[tokio::test]
async fn a_flipped_bit_hits_the_file_and_the_source_it_belongs_to() {
    let rig = Rig::new().await;
    let file = &database().expected()["memory/t.lance/data/b.lance"];
    let (pack, chunk) = rig.flip(&first_chunk(&rig.repository, file)).await;
    assert!(
        rig.check(Depth::Quick).await.is_sound(),
        "presence and size are as they were"
    );
    let report = rig.check(Depth::Full).await;
    assert!(!report.is_sound());
    let found = &report.findings[0];
    assert_eq!((&found.object, found.problem), (&pack, Problem::Damaged));
    assert!(found.hits("memory") && !found.hits("audit"), "{found:?}");
    let affected = found
        .affected
        .iter()
        .find(|a| a.snapshot == rig.snapshot)
        .unwrap();
    assert_eq!(affected.path.as_deref(), Some("t.lance/data/b.lance"));
    assert_eq!((affected.chunk, affected.offset), (Some(chunk), Some(0)));
    let bytes = rig.bytes(&BytesOptions::default()).await;
    assert!(!bytes.complete);
    assert!(bytes.findings[0].hits("memory") && !bytes.findings[0].hits("audit"));
    let said = bytes.findings[0].describe("memory");
    assert!(
        said.contains("t.lance/data/b.lance") && said.contains(&chunk.short().to_string()),
        "{said}"
    );
}

#[tokio::test]
async fn whatever_is_gone_or_cut_is_named() {
    let rig = Rig::new().await;
    for object in rig.bench.names("").await {
        let bytes = rig.bench.object(&object).await;
        rig.bench.storage.delete(&object).await.unwrap();
        let report = rig.check(Depth::Full).await;
        let named = |report: &Report| {
            let id = object.as_str().rsplit(['-', '/']).next().unwrap();
            report
                .findings
                .iter()
                .any(|f| f.severity == Severity::Damage && f.object.as_str().contains(id))
        };
        let expected = !object.as_str().starts_with("intents/");
        assert_eq!(
            named(&report),
            expected,
            "{object} is gone: {:?}",
            report.findings
        );
        rig.bench
            .overwrite(&object, bytes[..bytes.len() / 2].to_vec())
            .await;
        let report = rig.check(Depth::Full).await;
        assert!(named(&report), "{object} is cut: {:?}", report.findings);
        rig.bench.overwrite(&object, bytes).await;
    }
    assert!(rig.check(Depth::Full).await.is_sound());
}

#[tokio::test]
async fn a_lost_pack_is_found_by_listing_alone() {
    let rig = Rig::new().await;
    let file = &database().expected()["memory/t.lance/data/a.lance"];
    let chunk = rig.repository.chunk_id(&first_chunk(&rig.repository, file));
    let at = rig.repository.locate(&chunk).await.unwrap().unwrap();
    rig.bench
        .storage
        .delete(&crate::layout::pack(&at.pack))
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    let objects = snapshot_objects(&rig.repository, &rig.snapshot, &rig.manifest, &cancel)
        .await
        .unwrap();
    let found = &objects.findings[0];
    assert_eq!(found.problem, Problem::Missing);
    assert!(found.hits("memory") && !found.hits("audit"), "{found:?}");
}

#[tokio::test]
async fn the_share_that_was_verified_lately_comes_and_goes() {
    let rig = Rig::new().await;
    let mut recent = Recent::new();
    let month = jiff::SignedDuration::from_hours(31 * 24);
    let before = recent.share(&rig.repository).await.unwrap();
    assert!(before.packs > 0 && before.verified == 0, "{before:?}");
    rig.check(Depth::Full).await;
    let full = recent.share(&rig.repository).await.unwrap();
    assert_eq!(full.verified, before.packs);
    assert_eq!(recent.share(&rig.repository).await.unwrap(), full, "asked again");
    rig.bench.clock.advance(month);
    assert_eq!(recent.share(&rig.repository).await.unwrap(), before);
    // A restore reads and hashes what it needs: here, all of one of two sources.
    let mut restored = rig.manifest.clone();
    restored.sources.retain(|source| source.name == "audit");
    let cancel = CancellationToken::new();
    note_restored(&rig.repository, &restored, &cancel).await.unwrap();
    let part = recent.share(&rig.repository).await.unwrap();
    assert!((1..part.packs).contains(&part.verified), "{part:?}");
    let mut afresh = Recent::new();
    assert_eq!(afresh.share(&rig.repository).await.unwrap(), part);
}

#[tokio::test]
async fn a_budget_comes_round_to_every_pack() {
    let rig = Rig::new().await;
    let budget = BytesOptions {
        budget: Some(1),
        ..BytesOptions::default()
    };
    let first = rig.bytes(&budget).await;
    let others = first.packs_left;
    assert!(
        others > 0 && !first.complete && first.verified_ratio < 1.0,
        "{first:?}"
    );
    let mut last = first;
    for _ in 0..others {
        assert!(last.verified_ratio < 1.0, "{last:?}");
        rig.bench.clock.advance(jiff::SignedDuration::from_hours(24));
        last = rig.bytes(&budget).await;
        assert_eq!(last.packs_left, others);
    }
    assert!(
        (last.verified_ratio - 1.0).abs() < 1e-9,
        "every other pack had its turn: {last:?}"
    );
    rig.bench.clock.advance(jiff::SignedDuration::from_hours(31 * 24));
    let late = rig.bytes(&budget).await;
    assert!(
        late.verified_ratio < 1.0,
        "what was verified a month ago no longer counts"
    );
}

#[tokio::test]
async fn a_cycle_says_what_counts_and_whether_the_budget_reaches() {
    let rig = Rig::new().await;
    let within = |hours| BytesOptions {
        budget: Some(1),
        cycle: jiff::SignedDuration::from_hours(hours),
        ..BytesOptions::default()
    };
    let first = rig.bytes(&within(24 * 30)).await;
    assert!(
        !first.covered && first.pace.is_none(),
        "nobody knows yet: {first:?}"
    );
    let mut last = first.clone();
    for _ in 0..first.packs_left {
        assert!(!last.covered, "{last:?}");
        rig.bench.clock.advance(jiff::SignedDuration::from_hours(24));
        last = rig.bytes(&within(24 * 30)).await;
    }
    assert!(last.covered && !last.complete, "each had its turn: {last:?}");
    // One pack a day is too little where everything is wanted twice a day.
    rig.bench.clock.advance(jiff::SignedDuration::from_hours(24));
    let hasty = rig.bytes(&within(12)).await;
    assert!(
        !hasty.covered && hasty.pace.is_some_and(|pace| pace < 1.0),
        "{hasty:?}"
    );
}

#[tokio::test]
async fn what_others_have_read_is_not_read_again() {
    let rig = Rig::new().await;
    let whole = rig.bytes(&BytesOptions::default()).await;
    assert!(whole.complete && whole.bytes_read > 430_000, "{whole:?}");
    let (coverage, spool) = (Coverage::new(), tempfile::tempdir().unwrap());
    let options = ReadOptions {
        coverage: coverage.clone(),
        ..ReadOptions::new(spool.path())
    };
    let reader = SnapshotReader::new(&rig.repository, rig.manifest.clone(), options);
    let read = async |source: &str, file: &str| {
        let source = reader.source(source).await.unwrap();
        let node = source
            .lookup(&TreePath::new(file).unwrap())
            .await
            .unwrap()
            .unwrap();
        let len = node.entry.file_len().unwrap();
        source.read(&node, 0..len).await.unwrap();
    };
    read("audit", "audit.log").await;
    read("memory", "t.lance/data/a.lance").await;
    let already = BytesOptions {
        already: coverage.clone(),
        ..BytesOptions::default()
    };
    let rest = rig.bytes(&already).await;
    assert!(
        rest.complete && (rest.chunks, rest.bytes) == (whole.chunks, whole.bytes),
        "{rest:?}"
    );
    let most = rig.cost_of_the_open(&coverage).await;
    assert!(
        (200_000..=most).contains(&rest.bytes_read),
        "what was open is read, at most {most} bytes: {rest:?}"
    );
    read("memory", "t.lance/data/b.lance").await;
    let nothing = rig.bytes(&already).await;
    assert!(nothing.complete);
    assert_eq!(nothing.bytes_read, 0);
}

#[tokio::test]
async fn damage_in_the_open_half_of_a_pack_is_found() {
    let rig = Rig::new().await;
    let (coverage, spool) = (Coverage::new(), tempfile::tempdir().unwrap());
    let options = ReadOptions {
        coverage: coverage.clone(),
        ..ReadOptions::new(spool.path())
    };
    let reader = SnapshotReader::new(&rig.repository, rig.manifest.clone(), options);
    let source = reader.source("memory").await.unwrap();
    let path = TreePath::new("t.lance/data/a.lance").unwrap();
    let node = source.lookup(&path).await.unwrap().unwrap();
    source.read(&node, 0..200_000).await.unwrap();
    let file = &database().expected()["memory/t.lance/data/b.lance"];
    let (pack, chunk) = rig.flip(&first_chunk(&rig.repository, file)).await;
    let already = BytesOptions {
        already: coverage,
        ..BytesOptions::default()
    };
    let report = rig.bytes(&already).await;
    assert!(!report.complete);
    let found = &report.findings[0];
    assert_eq!(found.object, pack);
    assert!(found.affected.iter().all(|a| a.chunk == Some(chunk)), "{found:?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_says_nothing_of_the_data() {
    let rig = Rig::new().await;
    let faults = Faults::none();
    let storage = Arc::new(Faulty::new(rig.bench.store(), faults.clone()));
    let repository = Repository::open(storage, &rig.bench.unlock(), rig.bench.options())
        .await
        .unwrap();
    let options = Options { depth: Depth::Full };
    let cancel = CancellationToken::new();
    let before = faults.calls();
    run(&repository, &options, &Progress::new(), &cancel)
        .await
        .unwrap();
    let calls = faults.calls() - before;
    assert!(calls > 15, "{calls}");
    for call in 0..calls {
        for fault in [Fault::Before, Fault::After, Fault::Deny] {
            faults.at(faults.calls() + call, fault);
            let checked = run(&repository, &options, &Progress::new(), &cancel).await;
            faults.clear();
            match checked {
                // Such as the ledger's entry, without which the next budget only begins elsewhere.
                Ok(report) => assert!(report.is_sound(), "{fault:?} at {call}: {:?}", report.findings),
                Err(error) => assert!(!error.is_damage(), "{fault:?} at {call}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_check_can_be_cancelled() {
    let rig = Rig::new().await;
    let faults = Faults::none();
    let storage = Arc::new(Faulty::new(rig.bench.store(), faults.clone()));
    let repository = Repository::open(storage, &rig.bench.unlock(), rig.bench.options())
        .await
        .unwrap();
    let hang = Fault::Slow(std::time::Duration::from_secs(24 * 3600));
    faults.add(Rule::on(Operation::Get, "packs/"), hang);
    let cancel = CancellationToken::new();
    let stop = async {
        while faults.hits() == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let options = Options { depth: Depth::Full };
    let progress = Progress::new();
    let (checked, ()) = tokio::join!(run(&repository, &options, &progress, &cancel), stop);
    assert!(checked.unwrap_err().is_cancelled());
}
