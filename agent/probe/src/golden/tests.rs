//! Answers against those that numpy computed from the same rows.

use std::collections::BTreeMap;

use arrow_array::types::Int64Type;
use dr_probe_wire::compare;
use dr_probe_wire::job::RowKey;
use dr_probe_wire::query::Vector;
use futures::TryStreamExt;
use lance::dataset::builder::DatasetBuilder;

use self::unpack::fixture;
use super::*;
use crate::exact::{self, Nearest};
use crate::report::Reporter;
use crate::scan;

#[path = "../../tests/probe/unpack.rs"]
mod unpack;

/// The application's id of every row id, and the vectors of some ids.
async fn rows(dataset: &Dataset, wanted: &[i64]) -> (BTreeMap<u64, i64>, BTreeMap<i64, Vec<f32>>) {
    let mut scanner = dataset.scan();
    scanner.project(&["id", "vector"]).unwrap().with_row_id();
    let batches: Vec<RecordBatch> = scanner
        .try_into_stream()
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let (mut ids, mut vectors) = (BTreeMap::new(), BTreeMap::new());
    for batch in &batches {
        let id = batch["id"].as_primitive::<Int64Type>().values();
        let row = batch[ROW_ID].as_primitive::<UInt64Type>().values();
        ids.extend(row.iter().copied().zip(id.iter().copied()));
        for (position, id) in id.iter().enumerate().filter(|(_, id)| wanted.contains(id)) {
            vectors.insert(
                *id,
                exact::floats(&batch["vector"].as_fixed_size_list().value(position)).unwrap(),
            );
        }
    }
    (ids, vectors)
}

async fn agrees_with_numpy(version: &str) {
    let Some((_scratch, root)) = fixture(version) else {
        return;
    };
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.join("facts.json")).unwrap()).unwrap();
    let golden = facts["golden"].as_array().unwrap();
    let wanted: Vec<i64> = golden
        .iter()
        .map(|golden| golden["vector_row"].as_i64().unwrap())
        .collect();
    let uri = root.join("rocketship-db/memory.lance");
    let dataset = Arc::new(
        DatasetBuilder::from_uri(uri.to_string_lossy())
            .load()
            .await
            .unwrap(),
    );
    let (ids, vectors) = rows(&dataset, &wanted).await;
    let asked: Vec<_> = golden
        .iter()
        .filter(|g| vectors.contains_key(&g["vector_row"].as_i64().unwrap()))
        .collect();
    assert!(asked.len() > 10, "{} of the vectors are still there", asked.len());
    let vector_of = |golden: &serde_json::Value| &vectors[&golden["vector_row"].as_i64().unwrap()];
    let search = |golden: &&serde_json::Value| Nearest::new("vector", vector_of(golden), Metric::Cosine, 10);
    let request = scan::Request {
        key: RowKey([0; 32]),
        known: &[],
        undeleted: false,
        searches: asked.iter().map(search).collect(),
        threads: 2,
        memory: 1 << 30,
    };
    let reporter = Reporter::new(Box::new(std::io::sink()));
    let scanned = scan::scan(&dataset, request, &reporter, &mut Vec::new())
        .await
        .unwrap();
    let mut recall = 0.0;
    for (golden, exact) in asked.iter().zip(&scanned.nearest) {
        let truth = golden["exact_top10"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap());
        let distances = golden["distances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d.as_f64().unwrap() as f32);
        let hit = |(id, value): (i64, f32)| Hit {
            row: id.cast_unsigned(),
            value,
        };
        let truth: Vec<Hit> = truth.zip(distances).map(hit).collect();
        let found: Vec<Hit> = exact.iter().map(|h| hit((ids[&h.row], h.value))).collect();
        compare::same_ranking(&truth, &found, compare::Order::Ascending, 1e-4).unwrap();
        let query = Query::Nearest {
            column: "vector".to_owned(),
            vector: Vector(vector_of(golden).clone()),
            metric: Metric::Cosine,
            k: 10,
            index: Some("vector_idx".to_owned()),
        };
        let Answer::Nearest { live, .. } = ask(&dataset, &query).await.unwrap() else {
            unreachable!()
        };
        recall += compare::recall(exact, &live) / asked.len() as f64;
    }
    // Random vectors, as some of the fixtures have, are what a product quantiser is worst at.
    assert!(recall > 0.25, "the index finds {recall:.2} of the nearest rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_answers_are_those_of_numpy() {
    for version in ["0.14.0", "0.29.2", "0.40.0"] {
        agrees_with_numpy(version).await;
    }
}

#[test]
fn statistics_tell_kind_and_metric() {
    let statistics = r#"{"index_type":"IVF_PQ","indices":[{"metric_type":"cosine"}]}"#;
    assert_eq!(kind_of(statistics), ("IVF_PQ".to_owned(), Some(Metric::Cosine)));
    assert_eq!(
        kind_of(r#"{"index_type":"BTree","indices":[{}]}"#),
        ("BTree".to_owned(), None)
    );
    assert_eq!(kind_of("nonsense"), ("unknown".to_owned(), None));
}
