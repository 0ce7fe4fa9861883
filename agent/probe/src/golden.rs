//! Golden queries: chosen from the data at the cut, asked of the live indices, asked again of every copy.

mod choose;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt64Type};
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::DataType;
use dr_probe_wire::measure::Index;
use dr_probe_wire::query::{Answer, Hit, Metric, Query};
use lance::Dataset;
use lance_index::scalar::FullTextSearchQuery;
use lance_linalg::distance::MetricType;

pub use self::choose::{Choice, choose};
use crate::scan::ROW_ID;

/// Partitions of a vector index that a query looks into: LanceDB's own default.
const PROBES: usize = 20;

/// An index and what only its statistics say.
#[derive(Debug, Clone)]
pub struct Known {
    /// The index.
    pub index: Index,
    /// The metric of a vector index.
    pub metric: Option<Metric>,
}

/// Kind and metric of an index, out of Lance's statistics.
pub fn kind_of(statistics: &str) -> (String, Option<Metric>) {
    let statistics: serde_json::Value = serde_json::from_str(statistics).unwrap_or_default();
    let kind = statistics["index_type"].as_str().unwrap_or("unknown").to_owned();
    let metric = match statistics["indices"][0]["metric_type"].as_str() {
        Some("l2") => Some(Metric::L2),
        Some("cosine") => Some(Metric::Cosine),
        Some("dot") => Some(Metric::Dot),
        Some("hamming") => Some(Metric::Hamming),
        _ => None,
    };
    (kind, metric)
}

/// Whether an answer says nothing.
pub fn is_empty(answer: &Answer) -> bool {
    match answer {
        Answer::Nearest { live, .. } | Answer::FullText { live } => live.is_empty(),
        Answer::Filter { .. } => false,
    }
}

/// Asks one question as an application would, with the index where there is one.
pub async fn ask(dataset: &Arc<Dataset>, query: &Query) -> Result<Answer, lance::Error> {
    match query {
        Query::Nearest {
            column,
            vector,
            metric,
            k,
            index,
        } => {
            let mut scanner = dataset.scan();
            let key = query_vector(dataset, column, &vector.0);
            scanner.nearest(column, key.as_ref(), *k as usize)?;
            scanner
                .nprobes(PROBES)
                .distance_metric(metric_type(*metric))
                .use_index(index.is_some());
            scanner.empty_project()?.with_row_id();
            let live = hits(&scanner.try_into_batch().await?, "_distance", false);
            Ok(Answer::Nearest { live, exact: None })
        }
        Query::FullText { column, terms, k } => {
            let search = FullTextSearchQuery::new(terms.clone()).with_column(column.clone())?;
            let mut scanner = dataset.scan();
            scanner.full_text_search(search.limit(Some(i64::from(*k))))?;
            scanner.empty_project()?.with_row_id();
            Ok(Answer::FullText {
                live: hits(&scanner.try_into_batch().await?, "_score", true),
            })
        }
        Query::Filter { predicate, .. } => {
            let indexed = count(dataset, predicate, true).await?;
            let scanned = count(dataset, predicate, false).await?;
            Ok(Answer::Filter {
                indexed,
                scanned: Some(scanned),
            })
        }
    }
}

async fn count(dataset: &Arc<Dataset>, predicate: &str, with_index: bool) -> Result<u64, lance::Error> {
    let mut scanner = dataset.scan();
    scanner
        .filter(predicate)?
        .use_scalar_index(with_index)
        .empty_project()?
        .with_row_id();
    scanner.count_rows().await
}

fn metric_type(metric: Metric) -> MetricType {
    match metric {
        Metric::L2 => MetricType::L2,
        Metric::Cosine => MetricType::Cosine,
        Metric::Dot => MetricType::Dot,
        Metric::Hamming => MetricType::Hamming,
    }
}

/// The vector in the element type of its column where Lance does not convert it.
fn query_vector(dataset: &Dataset, column: &str, vector: &[f32]) -> ArrayRef {
    let kind = dataset
        .schema()
        .field(column)
        .map(lance_core::datatypes::Field::data_type);
    match kind {
        Some(DataType::FixedSizeList(item, _)) if item.data_type() == &DataType::UInt8 => Arc::new(
            arrow_array::UInt8Array::from_iter_values(vector.iter().map(|x| *x as u8)),
        ),
        Some(DataType::FixedSizeList(item, _)) if item.data_type() == &DataType::Int8 => Arc::new(
            arrow_array::Int8Array::from_iter_values(vector.iter().map(|x| *x as i8)),
        ),
        _ => Arc::new(Float32Array::from_iter_values(vector.iter().copied())),
    }
}

/// Rows with their distance or score, best first, equal ones by row.
fn hits(batch: &RecordBatch, values: &str, descending: bool) -> Vec<Hit> {
    let (Some(rows), Some(values)) = (batch.column_by_name(ROW_ID), batch.column_by_name(values)) else {
        return Vec::new();
    };
    let rows = rows.as_primitive::<UInt64Type>().values().iter();
    let values = values.as_primitive::<Float32Type>().values().iter();
    let mut hits: Vec<Hit> = rows
        .zip(values)
        .map(|(row, value)| Hit {
            row: *row,
            value: *value,
        })
        .collect();
    hits.sort_by(|a, b| {
        let order = a.value.total_cmp(&b.value);
        (if descending { order.reverse() } else { order }).then(a.row.cmp(&b.row))
    });
    hits
}

#[cfg(test)]
mod tests;
