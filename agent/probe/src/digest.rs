//! Digests of rows: sums of keyed hashes, per fragment and per column.
//!
//! A column's cell is hashed under a key derived from the row key and the column's name; a row is the hash of its
//! cells' hashes in the order of column names. So every byte is hashed once, and both the row sum (which sees that
//! two rows have swapped a cell) and the column sums (which say where) come of it.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use dr_probe_wire::job::RowKey;
use dr_probe_wire::measure::Digest;
use dr_probe_wire::sum::Sum;

use crate::canonical::{Encoder, Unsupported};

/// Name of Lance's column of row addresses.
pub const ROW_ADDRESS: &str = "_rowaddr";

/// Digests by fragment id.
pub type ByFragment = BTreeMap<u64, Digest>;

/// Hashes rows of one table.
#[derive(Debug, Clone)]
pub struct RowHasher {
    row_key: [u8; 32],
    columns: Vec<(String, [u8; 32])>,
}

impl RowHasher {
    /// Hashes these columns.
    pub fn new(key: &RowKey, columns: &[String]) -> Self {
        let derive = |name: &String| {
            (
                name.clone(),
                *blake3::keyed_hash(&key.0, name.as_bytes()).as_bytes(),
            )
        };
        let mut columns: Vec<_> = columns.iter().map(derive).collect();
        columns.sort();
        let row_key = *blake3::keyed_hash(&key.0, b"\0row").as_bytes();
        Self { row_key, columns }
    }

    /// Adds the rows of a batch, which must hold the columns and Lance's row addresses.
    pub fn add(&self, batch: &RecordBatch, to: &mut ByFragment) -> Result<(), Unsupported> {
        let addresses = batch
            .column_by_name(ROW_ADDRESS)
            .ok_or_else(|| not_read(ROW_ADDRESS))?;
        let addresses = addresses.as_primitive::<UInt64Type>().values();
        self.add_rows(batch, addresses.iter().map(|address| address >> 32), to)
    }

    /// Adds the rows of a batch, which must hold the columns and are all of one fragment.
    pub fn add_of(&self, batch: &RecordBatch, fragment: u64, to: &mut ByFragment) -> Result<(), Unsupported> {
        self.add_rows(batch, std::iter::repeat_n(fragment, batch.num_rows()), to)
    }

    fn add_rows(
        &self,
        batch: &RecordBatch,
        fragments: impl Iterator<Item = u64>,
        to: &mut ByFragment,
    ) -> Result<(), Unsupported> {
        let encode = |(name, key): &(String, [u8; 32])| {
            let array = batch.column_by_name(name).ok_or_else(|| not_read(name))?;
            Ok((*key, Encoder::new(array)?))
        };
        let encoders = self
            .columns
            .iter()
            .map(encode)
            .collect::<Result<Vec<_>, Unsupported>>()?;
        let mut cell = Vec::new();
        let mut row_bytes = Vec::with_capacity(32 * encoders.len());
        let mut sums = Sums::new(encoders.len());
        for (row, fragment) in fragments.enumerate() {
            sums.move_to(fragment, to, &self.columns);
            row_bytes.clear();
            for (column, (key, encoder)) in encoders.iter().enumerate() {
                cell.clear();
                encoder.encode(row, &mut cell);
                let hash = blake3::keyed_hash(key, &cell);
                sums.columns[column].add(Sum::of(hash.as_bytes()));
                row_bytes.extend_from_slice(hash.as_bytes());
            }
            sums.row
                .add(Sum::of(blake3::keyed_hash(&self.row_key, &row_bytes).as_bytes()));
            sums.rows += 1;
        }
        sums.flush(to, &self.columns);
        Ok(())
    }
}

fn not_read(column: &str) -> Unsupported {
    Unsupported(format!("of column {column}, which was not read,"))
}

/// Sums of the fragment whose rows are being added: rows of one fragment come in runs.
struct Sums {
    fragment: Option<u64>,
    rows: u64,
    row: Sum,
    columns: Vec<Sum>,
}

impl Sums {
    fn new(columns: usize) -> Self {
        Self {
            fragment: None,
            rows: 0,
            row: Sum::ZERO,
            columns: vec![Sum::ZERO; columns],
        }
    }

    fn move_to(&mut self, fragment: u64, to: &mut ByFragment, names: &[(String, [u8; 32])]) {
        if self.fragment != Some(fragment) {
            self.flush(to, names);
            self.fragment = Some(fragment);
        }
    }

    fn flush(&mut self, to: &mut ByFragment, names: &[(String, [u8; 32])]) {
        if let Some(fragment) = self.fragment.take() {
            let columns = names
                .iter()
                .zip(&self.columns)
                .map(|((name, _), sum)| (name.clone(), *sum));
            let digest = Digest {
                rows: self.rows,
                sum: self.row,
                columns: columns.collect(),
            };
            to.entry(fragment).or_default().add(&digest);
        }
        *self = Self::new(self.columns.len());
    }
}

#[cfg(test)]
mod tests;
