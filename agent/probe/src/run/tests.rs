//! Whole jobs within this process, on data that the tests write themselves.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{ArrayRef, FixedSizeListArray, Int64Array, RecordBatch, StringArray};
use dr_probe_wire::facts::Facts;
use dr_probe_wire::job::{ContentJob, KnownTable, RowKey};
use dr_probe_wire::measure::{Digest, FragmentDigest, TableMeasure};
use dr_probe_wire::serve::{Options, serve};
use lancedb::table::{CompactionOptions, OptimizeAction};
use tokio_util::sync::CancellationToken;

use self::folder::Folder;
use super::*;

#[expect(dead_code, reason = "damage is the integration tests' part")]
#[path = "../../tests/probe/folder.rs"]
mod folder;

/// Collects what is told.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn measured(location: Location, tree: Folder) -> Vec<TableMeasure> {
    measured_after(location, tree, Vec::new()).await
}

/// The same, where fragments are known from a measurement before.
async fn measured_after(location: Location, tree: Folder, known: Vec<KnownTable>) -> Vec<TableMeasure> {
    let content = Some(ContentJob {
        key: RowKey([1; 32]),
        known,
        undeleted: true,
    });
    let job = Job {
        content,
        validate: true,
        ..Job::open(location)
    };
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let lines = Lines::default();
    let reporter = Reporter::new(Box::new(lines.clone()));
    let cancel = CancellationToken::new();
    let asking = async {
        let job = client::receive(&mut theirs).await.unwrap();
        let client = TreeClient::new(theirs);
        super::measure(&job, Arc::new(client), &reporter).await.unwrap();
        cancel.cancel();
    };
    let ((_, _served), ()) = tokio::join!(
        serve(ours, &job, Some(Arc::new(tree)), Options::default(), &cancel),
        asking
    );
    let told = lines.0.lock().unwrap().clone();
    let events = told.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let tables = events.filter_map(|line| match serde_json::from_slice(line).unwrap() {
        Event::Table(table) => Some(*table),
        _ => None,
    });
    tables.collect()
}

async fn in_place(folder: &Path) -> Vec<TableMeasure> {
    let origin = Some(folder.to_string_lossy().into_owned());
    measured(Location::Tree { origin }, Folder::new(folder)).await
}

/// The table of the folder, measured by what an earlier measurement knew.
async fn again(folder: &Path, before: &TableMeasure) -> TableMeasure {
    let origin = Some(folder.to_string_lossy().into_owned());
    let facts = Facts {
        tables: vec![before.clone()],
        ..Facts::default()
    };
    measured_after(Location::Tree { origin }, Folder::new(folder), facts.known())
        .await
        .remove(0)
}

async fn compact(table: &lancedb::Table, target_rows_per_fragment: usize) {
    let options = CompactionOptions {
        target_rows_per_fragment,
        ..CompactionOptions::default()
    };
    let compaction = OptimizeAction::Compact {
        options,
        remap_options: None,
    };
    table.optimize(compaction).await.unwrap();
}

async fn digest(folder: &Path) -> Digest {
    let tables = in_place(folder).await;
    assert_eq!(tables[0].faults, []);
    tables[0].content.clone().unwrap().digest
}

fn rows(ids: &[i64]) -> RecordBatch {
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    ids.iter()
        .for_each(|id| words.append_value(format!("word {}", id % 3)));
    let vectors = ids.iter().map(|id| Some([*id as f32, 1.0].map(Some)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        (
            "text",
            Arc::new(
                ids.iter()
                    .map(|id| (id % 4 != 0).then(|| format!("text {id}")))
                    .collect::<StringArray>(),
            ),
        ),
        ("word", Arc::new(words.finish())),
        (
            "vector",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                vectors, 2,
            )),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

async fn table(folder: &Path, batches: &[&[i64]]) -> lancedb::Table {
    let connection = lancedb::connect(&folder.to_string_lossy())
        .execute()
        .await
        .unwrap();
    let table = connection
        .create_table("t", rows(batches[0]))
        .execute()
        .await
        .unwrap();
    for ids in &batches[1..] {
        table.add(rows(ids)).execute().await.unwrap();
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn order_fragments_and_compaction_leave_the_digest_alone() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    table(one.path(), &[&[1, 2, 3, 4, 5, 6, 7]]).await;
    let parts = table(other.path(), &[&[7, 3, 99], &[5], &[2, 6, 1, 4]]).await;
    parts.delete("id = 99").await.unwrap();
    let wanted = digest(one.path()).await;
    assert_eq!((wanted.rows, &digest(other.path()).await), (7, &wanted));
    compact(&parts, 1000).await;
    let compacted = in_place(other.path()).await;
    assert_eq!(compacted[0].fragments, 1);
    assert_eq!(compacted[0].content.as_ref().unwrap().digest, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_must_conserve_what_was_measured_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let parts = table(folder.path(), &[&[1, 2, 3], &[4, 5], &[6]]).await;
    parts.delete("id = 2").await.unwrap();
    let before = in_place(folder.path()).await.remove(0);
    compact(&parts, 1000).await;
    let sound = again(folder.path(), &before).await;
    assert_eq!(sound.faults, []);
    let (sound, content) = (sound.content.unwrap(), before.content.as_ref().unwrap());
    assert_eq!((sound.digest, sound.rewrites), (content.digest.clone(), 1));
    // As if the compaction had changed a cell, or lost a row.
    let after = async |change: &dyn Fn(&mut Vec<FragmentDigest>)| {
        let mut before = before.clone();
        change(&mut before.content.as_mut().unwrap().fragments);
        again(folder.path(), &before).await
    };
    let cell = |known: &mut Vec<FragmentDigest>| {
        let text = known[0].digest.columns.get_mut("text").unwrap();
        text.add(dr_probe_wire::sum::Sum::of(&[1; 32]));
    };
    let faults = after(&cell).await.faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        (faults[0].kind, faults[0].step),
        (FaultKind::Contradiction, Step::Scan)
    );
    assert!(
        faults[0].message.contains("5 rows changed, in text"),
        "{faults:?}"
    );
    let faults = after(&|known| known[0].digest.rows += 1).await.faults;
    assert!(faults[0].message.contains("6 rows became 5"), "{faults:?}");
    // A fragment that nobody measured before: nothing can be said.
    let unknown = after(&|known| drop(known.remove(0))).await;
    assert_eq!((unknown.faults, unknown.content.unwrap().rewrites), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn compactions_between_two_measurements_must_conserve_rows_too() {
    let folder = tempfile::tempdir().unwrap();
    let parts = table(folder.path(), &[&[1, 2], &[3, 4], &[5, 6, 7, 8]]).await;
    let before = in_place(folder.path()).await.remove(0);
    // The first two become one fragment, which then becomes one with the third, to which other commits happen.
    compact(&parts, 4).await;
    assert_eq!(in_place(folder.path()).await[0].fragments, 2);
    compact(&parts, 1000).await;
    parts.add(rows(&[9, 10])).execute().await.unwrap();
    parts.delete("id = 3 or id = 8").await.unwrap();
    let sound = again(folder.path(), &before).await;
    assert_eq!((&sound.faults[..], sound.notes.len()), (&[][..], 0));
    let content = sound.content.unwrap();
    assert_eq!((content.digest.rows, content.rewrites), (8, 1));
    let mut lost = before.clone();
    lost.content.as_mut().unwrap().fragments[1].digest.rows += 1;
    let faults = again(folder.path(), &lost).await.faults;
    assert!(faults[0].message.contains("9 rows became 8"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_deleted_since_are_subtracted_and_no_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<i64> = (0..200).collect();
    let table = table(folder.path(), &[&ids[..120], &ids[120..]]).await;
    let mut before = in_place(folder.path()).await.remove(0);
    for (deleted, read) in [("id in (3, 77, 119)", 3), ("id in (4, 5)", 5), ("id < 90", 29)] {
        table.delete(deleted).await.unwrap();
        let now = again(folder.path(), &before).await;
        let whole = digest(folder.path()).await;
        let content = now.content.as_ref().unwrap();
        assert_eq!((&now.faults[..], &content.digest), (&[][..], &whole), "{deleted}");
        assert_eq!(content.rows_read, read, "{deleted}");
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_one_cell_changes_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[&[1, 2, 3]]).await;
    let before = digest(folder.path()).await;
    table
        .update()
        .only_if("id = 2")
        .column("text", "'other'")
        .execute()
        .await
        .unwrap();
    let after = digest(folder.path()).await;
    assert_eq!(after.rows, 3);
    assert_ne!(after.sum, before.sum);
    let changed: Vec<&String> = after
        .columns
        .keys()
        .filter(|name| after.columns[*name] != before.columns[*name])
        .collect();
    assert_eq!(changed, ["text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_read_through_the_path_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let main = table(folder.path(), &[&[1, 2, 3]]).await;
    let mut dataset = (*main.dataset().unwrap().get().await.unwrap()).clone();
    dataset
        .create_branch("exp", dataset.manifest().version, None)
        .await
        .unwrap();
    let tables = in_place(folder.path()).await;
    let paths: Vec<&str> = tables.iter().map(|table| table.path.as_str()).collect();
    assert_eq!(paths, ["t.lance", "t.lance/tree/exp"]);
    assert_eq!(tables[1].branch.as_deref(), Some("exp"));
    for table in &tables {
        assert_eq!(table.faults, [], "{}", table.path);
        assert_eq!(table.content.as_ref().unwrap().digest.rows, 3);
    }
    let elsewhere = Location::Tree {
        origin: Some("/some/other/place".to_owned()),
    };
    let tables = measured(elsewhere, Folder::new(folder.path())).await;
    assert!(
        tables[1]
            .faults
            .iter()
            .any(|fault| fault.kind == FaultKind::Missing),
        "{:?}",
        tables[1].faults
    );
}
