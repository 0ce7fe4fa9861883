//! The rows of the three tables.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder};
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Fields};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Dimensions of the vectors.
pub(super) const DIMENSIONS: usize = 96;
/// Sentences turn around so many subjects, and so do their vectors.
const SUBJECTS: usize = 12;
/// 2026-03-01T00:00:00Z in microseconds.
pub(super) const EPOCH_MICROS: i64 = 1_772_323_200_000_000;

const ACTS: [&str; 12] = [
    "restarted",
    "scaled",
    "queried",
    "indexed",
    "rolled back",
    "patched",
    "audited",
    "migrated",
    "throttled",
    "inspected",
    "summarised",
    "approved",
];
const OBJECTS: [&str; SUBJECTS] = [
    "the billing worker",
    "the embedding cache",
    "a customer ticket",
    "the staging cluster",
    "the retrieval planner",
    "an expired certificate",
    "the nightly export",
    "a flaky integration test",
    "the vector index",
    "an on-call handover",
    "the rate limiter",
    "a failed payment",
];
const REASONS: [&str; 8] = [
    "because latency rose",
    "after the deploy",
    "to free disk space",
    "on request of the owner",
    "since the quota was near",
    "to reproduce a bug",
    "following the runbook",
    "before the audit",
];

/// Makes rows; the row of an id depends on the seed and the id alone.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    seed: u64,
    centres: Arc<Vec<[f32; DIMENSIONS]>>,
}

impl Rows {
    /// Rows of this seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let centre = |_| std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        Self {
            seed,
            centres: Arc::new((0..SUBJECTS).map(centre).collect()),
        }
    }

    fn rng(&self, id: i64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ id.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// What an agent did, for the log and the memory.
    pub(super) fn deed(&self, id: i64) -> String {
        let mut rng = self.rng(id);
        format!("{} {}", pick(&mut rng, &ACTS), pick(&mut rng, &OBJECTS))
    }

    fn memory_row(&self, id: i64) -> (String, [f32; DIMENSIONS]) {
        let mut rng = self.rng(id);
        let (act, subject) = (pick(&mut rng, &ACTS), rng.random_range(0..SUBJECTS));
        let reason = pick(&mut rng, &REASONS);
        let text = format!(
            "Agent {} {act} {} {reason}; step {id}, ticket OPS-{}.",
            rng.random_range(0..40),
            OBJECTS[subject],
            rng.random_range(1000..10_000)
        );
        let mut vector = self.centres[subject];
        vector.iter_mut().for_each(|x| *x += rng.random_range(-0.4..0.4));
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
        (text, vector)
    }

    /// Rows of `memory`: text with its vector.
    pub(super) fn memory(&self, ids: std::ops::Range<i64>) -> Result<RecordBatch> {
        let (texts, vectors): (Vec<_>, Vec<_>) = ids.clone().map(|id| self.memory_row(id)).unzip();
        let vectors = vectors
            .iter()
            .map(|vector| Some(vector.iter().copied().map(Some)));
        let size = i32::try_from(DIMENSIONS).context("count dimensions")?;
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, size);
        let agents = ids.clone().map(|id| format!("agent-{}", id % 40));
        let importance = ids.clone().map(|id| (id * 7919 % 1000) as f64 / 1000.0);
        let created = ids.clone().map(|id| EPOCH_MICROS + id * 37_000_000);
        let archived: Vec<bool> = ids.clone().map(|id| id % 11 == 0).collect();
        batch(vec![
            ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
            ("text", Arc::new(StringArray::from(texts))),
            ("vector", Arc::new(vectors)),
            ("agent", Arc::new(StringArray::from_iter_values(agents))),
            ("importance", Arc::new(Float64Array::from_iter_values(importance))),
            (
                "created_at",
                Arc::new(TimestampMicrosecondArray::from_iter_values(created).with_timezone("UTC")),
            ),
            ("archived", Arc::new(BooleanArray::from(archived))),
        ])
    }

    /// Rows of `context`: lists, structs, bytes, and nulls in each.
    pub(super) fn context(&self, ids: std::ops::Range<i64>) -> Result<RecordBatch> {
        let mut tags = ListBuilder::new(StringBuilder::new());
        let mut payload = BinaryBuilder::new();
        for id in ids.clone() {
            if id % 13 != 0 {
                tags.values().append_value(format!("t{}", id % 5));
                tags.values()
                    .append_option((id % 7 != 0).then(|| format!("u{}", id % 3)));
            }
            tags.append(id % 13 != 0);
            let bytes = blake3::hash(&id.to_le_bytes());
            let times = usize::try_from(id % 5).unwrap_or_default();
            payload.append_option((id % 17 != 0).then(|| bytes.as_bytes().repeat(times)));
        }
        let model = ids
            .clone()
            .map(|id| (id % 4 != 0).then(|| format!("m{}", id % 6)));
        let window = StructArray::new(
            Fields::from(vec![
                Field::new("from", DataType::Int64, true),
                Field::new("to", DataType::Int64, true),
                Field::new("model", DataType::Utf8, true),
            ]),
            vec![
                Arc::new(Int64Array::from_iter_values(ids.clone())),
                Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id + id % 9))),
                Arc::new(model.collect::<StringArray>()),
            ],
            None,
        );
        let turns = ids.clone().map(|id| i32::try_from(id / 97).unwrap_or(i32::MAX));
        batch(vec![
            (
                "session",
                Arc::new(StringArray::from_iter_values(
                    ids.map(|id| format!("s-{}", id % 97)),
                )) as ArrayRef,
            ),
            ("turn", Arc::new(Int32Array::from_iter_values(turns))),
            ("tags", Arc::new(tags.finish())),
            ("window", Arc::new(window)),
            ("payload", Arc::new(payload.finish())),
        ])
    }

    /// Rows of `tool_calls`: no vectors, a dictionary.
    pub(super) fn tool_calls(&self, ids: std::ops::Range<i64>) -> Result<RecordBatch> {
        let tools = ["shell", "http", "sql", "search"];
        let tool = |id: i64| tools[usize::try_from(id % 4).unwrap_or_default()];
        let tools: DictionaryArray<Int32Type> = ids.clone().map(tool).collect();
        let day = |id: i64| i32::try_from(20_513 + id * 37 / 86_400).unwrap_or(i32::MAX);
        let millis = ids
            .clone()
            .map(|id| u32::try_from(id % 4099 * (id % 4099) % 4099).unwrap_or_default());
        let ok: Vec<bool> = ids.clone().map(|id| id % 19 != 0).collect();
        batch(vec![
            (
                "id",
                Arc::new(Int64Array::from_iter_values(ids.clone())) as ArrayRef,
            ),
            ("tool", Arc::new(tools)),
            (
                "host",
                Arc::new(StringArray::from_iter_values(
                    ids.clone().map(|id| format!("db-{:02}", id % 9)),
                )),
            ),
            ("day", Arc::new(Date32Array::from_iter_values(ids.map(day)))),
            ("millis", Arc::new(UInt32Array::from_iter_values(millis))),
            ("ok", Arc::new(BooleanArray::from(ok))),
        ])
    }
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).context("make rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_depends_on_seed_and_id_alone() {
        let rows = Rows::new(3);
        let all = rows.memory(0..20).unwrap();
        assert_eq!(rows.memory(5..9).unwrap(), all.slice(5, 4));
        assert_ne!(Rows::new(4).memory(0..20).unwrap(), all);
    }
}
