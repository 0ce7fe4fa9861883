//! Chooses questions from the data: the same ones for the same data and seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use dr_probe_wire::query::{Metric, Query, Vector};
use lance::Dataset;
use lance::dataset::ProjectionRequest;

use super::Known;
use crate::exact;

/// Rows that a full-text question asks for.
const TEXT_ROWS: u32 = 50;

/// How to choose.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Seed.
    pub seed: u64,
    /// Questions per column.
    pub count: u32,
    /// Rows that a vector question asks for.
    pub k: u32,
    /// The table: another one gets other rows.
    pub path: &'a str,
}

/// Chooses questions for every vector column, every full-text index and every scalar index.
pub async fn choose(
    dataset: &Arc<Dataset>,
    known: &[Known],
    choice: &Choice<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Query>, lance::Error> {
    let mut queries = Vec::new();
    let rows = dataset.count_rows(None).await? as u64;
    if rows == 0 || choice.count == 0 {
        return Ok(queries);
    }
    let index_of = |column: &str, wanted: fn(&Known) -> bool| {
        known
            .iter()
            .find(|known| known.index.columns.iter().any(|c| c == column) && wanted(known))
    };
    for known in known.iter().filter(|known| !is_asked(dataset, known)) {
        let (name, kind) = (&known.index.name, &known.index.kind);
        notes.push(format!(
            "index {name} ({kind}) is read whole; there are no golden queries for its kind or column"
        ));
    }
    for field in dataset.schema().fields.clone() {
        let name = field.name.as_str();
        if exact::dimensions(&field.data_type()).is_some() {
            let index = index_of(name, |known| known.metric.is_some());
            let sample = sample(dataset, name, rows, choice).await?;
            queries.extend(nearest(name, &sample, index, choice.k));
        } else if matches!(field.data_type(), DataType::List(_) | DataType::LargeList(_))
            && index_of(name, |known| known.metric.is_some()).is_some()
        {
            notes.push(format!(
                "column {name} holds several vectors a row: no golden queries"
            ));
        }
        if index_of(name, |known| known.index.kind == "Inverted").is_some() {
            let sample = sample(dataset, name, rows, choice).await?;
            queries.extend(full_text(name, &sample));
        }
        let scalar = index_of(name, |known| {
            matches!(known.index.kind.as_str(), "BTree" | "Bitmap")
        });
        if scalar.is_some() {
            let sample = sample(dataset, name, rows, choice).await?;
            let predicates: BTreeSet<String> = (0..sample.len())
                .filter_map(|row| predicate(name, &sample, row))
                .collect();
            if predicates.is_empty() {
                notes.push(format!(
                    "column {name}: no golden queries for type {}",
                    field.data_type()
                ));
            }
            let filter = |predicate| Query::Filter {
                column: name.to_owned(),
                predicate,
            };
            queries.extend(predicates.into_iter().map(filter));
        }
    }
    Ok(queries)
}

/// Whether questions are chosen for an index: of a kind that is known here, on a column of the top level.
fn is_asked(dataset: &Dataset, known: &Known) -> bool {
    let kind = matches!(known.index.kind.as_str(), "Inverted" | "BTree" | "Bitmap") || known.metric.is_some();
    let top = |column: &String| dataset.schema().fields.iter().any(|field| field.name == *column);
    kind && known.index.columns.iter().all(top)
}

async fn sample(
    dataset: &Dataset,
    column: &str,
    rows: u64,
    choice: &Choice<'_>,
) -> Result<ArrayRef, lance::Error> {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(choice.path.as_bytes())
        .update(&[0])
        .update(column.as_bytes());
    hasher.update(&choice.seed.to_le_bytes());
    let mut random = hasher.finalize_xof();
    let mut offsets = BTreeSet::new();
    for _ in 0..choice.count {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        offsets.insert(u64::from_le_bytes(bytes) % rows);
    }
    let offsets: Vec<u64> = offsets.into_iter().collect();
    let batch = dataset
        .take(
            &offsets,
            ProjectionRequest::from_columns([column], dataset.schema()),
        )
        .await?;
    Ok(Arc::clone(batch.column(0)))
}

fn nearest(column: &str, sample: &ArrayRef, index: Option<&Known>, k: u32) -> Vec<Query> {
    let list = sample.as_fixed_size_list();
    let metric = index.and_then(|known| known.metric).unwrap_or(Metric::L2);
    let vectors = (0..list.len())
        .filter(|row| list.is_valid(*row))
        .filter_map(|row| exact::floats(&list.value(row)));
    let query = |vector| Query::Nearest {
        column: column.to_owned(),
        vector: Vector(vector),
        metric,
        k,
        index: index.map(|known| known.index.name.clone()),
    };
    vectors.map(query).collect()
}

/// The longest word of each sampled text: short ones are often no terms at all.
fn full_text(column: &str, sample: &ArrayRef) -> Vec<Query> {
    let texts: Vec<Option<String>> = match sample.data_type() {
        DataType::Utf8 => sample
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect(),
        DataType::LargeUtf8 => sample
            .as_string::<i64>()
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    };
    let longest = |text: String| {
        let words = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.len() < 30);
        words
            .max_by_key(|word| word.chars().count())
            .map(str::to_lowercase)
    };
    let terms: BTreeSet<String> = texts.into_iter().flatten().filter_map(longest).collect();
    let query = |terms: String| Query::FullText {
        column: column.to_owned(),
        terms,
        k: TEXT_ROWS,
    };
    terms
        .into_iter()
        .filter(|term| !term.is_empty())
        .map(query)
        .collect()
}

/// A predicate that one sampled value decides; `None` for a null and for types without a plain literal.
fn predicate(column: &str, sample: &ArrayRef, row: usize) -> Option<String> {
    use arrow_array::types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    };
    if sample.is_null(row) {
        return None;
    }
    let simple = column
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let name = if simple {
        column.to_owned()
    } else {
        format!("`{column}`")
    };
    macro_rules! at_least {
        ($kind:ty) => {
            format!("{name} >= {}", sample.as_primitive::<$kind>().value(row))
        };
    }
    let quoted = |text: &str| format!("{name} = '{}'", text.replace('\'', "''"));
    Some(match sample.data_type() {
        DataType::Utf8 => quoted(sample.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => quoted(sample.as_string::<i64>().value(row)),
        DataType::Boolean => format!("{name} = {}", sample.as_boolean().value(row)),
        DataType::Int8 => at_least!(Int8Type),
        DataType::Int16 => at_least!(Int16Type),
        DataType::Int32 => at_least!(Int32Type),
        DataType::Int64 => at_least!(Int64Type),
        DataType::UInt8 => at_least!(UInt8Type),
        DataType::UInt16 => at_least!(UInt16Type),
        DataType::UInt32 => at_least!(UInt32Type),
        DataType::UInt64 => at_least!(UInt64Type),
        DataType::Float32 if sample.as_primitive::<Float32Type>().value(row).is_finite() => {
            at_least!(Float32Type)
        }
        DataType::Float64 if sample.as_primitive::<Float64Type>().value(row).is_finite() => {
            at_least!(Float64Type)
        }
        _ => return None,
    })
}
