//! Exact nearest rows, by comparing with every row.
//!
//! Distances are summed in 64-bit floats in a fixed order, so that they are the same on every CPU; they need not be
//! bit-equal to Lance's, which the comparison allows for.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int8Type, UInt8Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use dr_probe_wire::query::{Hit, Metric};

/// The nearest rows to one vector so far.
#[derive(Debug, Clone)]
pub struct Nearest {
    /// The column that is searched.
    pub column: String,
    vector: Vec<f32>,
    norm: f64,
    metric: Metric,
    k: usize,
    best: Vec<Hit>,
}

/// Whether vectors of a type can be compared here.
pub fn dimensions(kind: &DataType) -> Option<u32> {
    let DataType::FixedSizeList(item, size) = kind else {
        return None;
    };
    let comparable = matches!(
        item.data_type(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::UInt8 | DataType::Int8
    );
    u32::try_from(*size).ok().filter(|size| comparable && *size > 1)
}

impl Nearest {
    /// Searches for `k` rows.
    pub fn new(column: &str, vector: &[f32], metric: Metric, k: u32) -> Self {
        let norm = vector
            .iter()
            .map(|x| f64::from(*x) * f64::from(*x))
            .sum::<f64>()
            .sqrt();
        let k = usize::try_from(k).unwrap_or(usize::MAX);
        Self {
            column: column.to_owned(),
            vector: vector.to_vec(),
            norm,
            metric,
            k,
            best: Vec::new(),
        }
    }

    /// Compares with one row.
    fn offer(&mut self, row: u64, distance: f64) {
        if distance.is_nan() {
            return;
        }
        let hit = Hit {
            row,
            value: distance as f32,
        };
        if self.best.len() == self.k && self.best.last().is_some_and(|last| !before(&hit, last)) {
            return;
        }
        let place = self.best.partition_point(|other| before(other, &hit));
        self.best.insert(place, hit);
        self.best.truncate(self.k);
    }

    fn distance(&self, other: &[f32]) -> f64 {
        match self.metric {
            Metric::L2 => squared(&self.vector, other),
            Metric::Dot => 1.0 - dot(&self.vector, other),
            Metric::Cosine => 1.0 - dot(&self.vector, other) / (self.norm * dot(other, other).sqrt()),
            Metric::Hamming => {
                let bits = |(a, b): (&f32, &f32)| ((*a as u8) ^ (*b as u8)).count_ones();
                f64::from(self.vector.iter().zip(other).map(bits).sum::<u32>())
            }
        }
    }

    /// Takes over what another search for the same found in other rows.
    pub fn merge(&mut self, other: &Self) {
        other
            .best
            .iter()
            .for_each(|hit| self.offer(hit.row, f64::from(hit.value)));
    }

    /// The rows, nearest first; equal ones by row.
    pub fn into_hits(self) -> Vec<Hit> {
        self.best
    }

    /// A search for the same that has found nothing yet.
    pub fn fresh(&self) -> Self {
        Self {
            best: Vec::new(),
            ..self.clone()
        }
    }
}

fn before(a: &Hit, b: &Hit) -> bool {
    a.value.total_cmp(&b.value).then(a.row.cmp(&b.row)).is_lt()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    let term = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    a.iter().zip(b).map(term).sum()
}

/// Offers the vectors of one batch to every search for that column.
pub fn compare(searches: &mut [Nearest], column: &str, vectors: &ArrayRef, rows: &[u64]) {
    let Some(size) = dimensions(vectors.data_type()) else {
        return;
    };
    let list = vectors.as_fixed_size_list();
    let Some(items) = floats(list.values()) else {
        return;
    };
    let size = size as usize;
    for (position, row) in rows.iter().enumerate() {
        if list.is_null(position) {
            continue;
        }
        let start = (list.value_offset(position)) as usize;
        let vector = &items[start..start + size];
        for search in searches
            .iter_mut()
            .filter(|s| s.column == column && s.vector.len() == size)
        {
            let distance = search.distance(vector);
            search.offer(*row, distance);
        }
    }
}

/// The numbers of a vector column as 32-bit floats; `None` for a type that is not compared.
pub fn floats(items: &ArrayRef) -> Option<Vec<f32>> {
    let floats = match items.data_type() {
        DataType::Float16 => items
            .as_primitive::<Float16Type>()
            .values()
            .iter()
            .map(|x| x.to_f32())
            .collect(),
        DataType::Float32 => items.as_primitive::<Float32Type>().values().to_vec(),
        DataType::Float64 => items
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|x| *x as f32)
            .collect(),
        DataType::UInt8 => items
            .as_primitive::<UInt8Type>()
            .values()
            .iter()
            .map(|x| f32::from(*x))
            .collect(),
        DataType::Int8 => items
            .as_primitive::<Int8Type>()
            .values()
            .iter()
            .map(|x| f32::from(*x))
            .collect(),
        _ => return None,
    };
    Some(floats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::FixedSizeListArray;

    fn vectors(rows: &[Option<[f32; 2]>]) -> ArrayRef {
        let rows = rows.iter().map(|row| row.map(|v| v.map(Some)));
        std::sync::Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            rows, 2,
        ))
    }

    fn search(metric: Metric, rows: &[Option<[f32; 2]>]) -> Vec<(u64, f32)> {
        let mut searches = [Nearest::new("v", &[1.0, 0.0], metric, 3)];
        let ids: Vec<u64> = (10..10 + rows.len() as u64).collect();
        compare(&mut searches, "v", &vectors(rows), &ids);
        let [search] = searches;
        search
            .into_hits()
            .into_iter()
            .map(|hit| (hit.row, hit.value))
            .collect()
    }

    #[test]
    fn the_nearest_come_first_and_equal_ones_by_row() {
        let rows = [
            Some([3.0, 0.0]),
            Some([1.0, 1.0]),
            None,
            Some([1.0, -1.0]),
            Some([1.0, 0.0]),
        ];
        assert_eq!(search(Metric::L2, &rows), [(14, 0.0), (11, 1.0), (13, 1.0)]);
    }

    #[test]
    fn each_metric_has_its_distance_and_a_zero_vector_has_no_angle() {
        let rows = [Some([2.0, 0.0]), Some([0.0, 0.0]), Some([-1.0, 0.0])];
        assert_eq!(search(Metric::Cosine, &rows), [(10, 0.0), (12, 2.0)]);
        assert_eq!(search(Metric::Dot, &rows), [(10, -1.0), (11, 1.0), (12, 2.0)]);
    }

    #[test]
    fn searches_over_parts_merge_to_the_search_over_all() {
        let rows: Vec<Option<[f32; 2]>> = (0..40u16).map(|i| Some([f32::from(i * 37 % 41), 1.0])).collect();
        let mut whole = [Nearest::new("v", &[7.0, 1.0], Metric::L2, 5)];
        let ids: Vec<u64> = (0..40).collect();
        compare(&mut whole, "v", &vectors(&rows), &ids);
        let mut merged = whole[0].fresh();
        for part in [0..13, 13..40] {
            let mut search = [whole[0].fresh()];
            compare(&mut search, "v", &vectors(&rows[part.clone()]), &ids[part]);
            merged.merge(&search[0]);
        }
        assert_eq!(merged.into_hits(), whole[0].clone().into_hits());
    }
}
